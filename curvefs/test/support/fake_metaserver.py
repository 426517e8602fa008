"""A metaserver as the MDS sees it: a gRPC server that records what it is asked and keeps just enough state."""
# ruff: noqa: N802 -- gRPC gives the methods their names

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from curvefs.proto import (
    common_pb2,
    copyset_pb2,
    copyset_pb2_grpc,
    heartbeat_pb2,
    metaserver_pb2,
    metaserver_pb2_grpc,
    topology_pb2,
)
from curvefs.src.common.errors import CurveFSError, NotFound
from curvefs.src.common.status import failure_of
from curvefs.src.rpc.asyncio_server import AsyncServer, start_server

PATIENCE_S = 20.0


class FakeMetaserver:
    """Records calls as (method, request). ``failing`` maps a method to what it answers instead of doing it;
    ``losing`` names methods that do it and then answer UNAVAILABLE, like a lost reply."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.groups: set[int] = set()
        self.partitions: set[tuple[int, int, int]] = set()  # group, filesystem, partition
        self.sessions: set[bytes] = set()
        self.ended: set[tuple[int, bytes]] = set()
        self.failing: dict[str, CurveFSError] = {}
        self.losing: dict[str, CurveFSError] = {}
        self.address = "127.0.0.1:0"
        self.metaserver_id = 0
        self.token = b""
        self.cluster_id = ""
        self.highest_epoch = 0
        self._server: AsyncServer | None = None
        self._happened = asyncio.Event()

    # ------------------------------------------------------------------------------------------ the process

    async def start(self) -> None:
        """Listen, the second time at the same address."""
        services = [
            partial(metaserver_pb2_grpc.add_MetaServerServiceServicer_to_server, _MetaServerService(self)),
            partial(copyset_pb2_grpc.add_CopysetServiceServicer_to_server, _CopysetService(self)),
        ]
        self._server = await start_server(self.address, services)
        self.address = self._server.address

    async def stop(self) -> None:
        """Go away."""
        if self._server is not None:
            await self._server.stop(0.0)
            self._server = None

    # ----------------------------------------------------------------------------------- what it says itself

    def registration(self) -> topology_pb2.RegisterMetaserverRequest:
        """Return what it registers with."""
        return topology_pb2.RegisterMetaserverRequest(
            cluster_id=self.cluster_id,
            metaserver_id=self.metaserver_id,
            token=self.token,
            address=self.address,
            pid=42,
        )

    def registered(self, reply: Any) -> None:
        """Keep the identity it was given, by a reply or a record."""
        self.metaserver_id, self.token = reply.metaserver_id, reply.token

    def heartbeat(self, **fields: Any) -> heartbeat_pb2.HeartbeatRequest:
        """Return a heartbeat that reports all it has."""
        copysets = [
            heartbeat_pb2.CopysetReport(
                group_id=group,
                leading=True,
                term=1,
                peers=[common_pb2.Peer(metaserver_id=self.metaserver_id, address=self.address)],
                partitions=[
                    heartbeat_pb2.PartitionReport(fs_id=fs_id, partition_id=partition, inode_count=7, used_bytes=99)
                    for owner, fs_id, partition in sorted(self.partitions)
                    if owner == group
                ],
                sessions=[heartbeat_pb2.SessionReport(session_id=session) for session in sorted(self.sessions)],
            )
            for group in sorted(self.groups)
        ]
        request = heartbeat_pb2.HeartbeatRequest(
            metaserver_id=self.metaserver_id,
            token=self.token,
            highest_epoch=self.highest_epoch,
            disk_total_bytes=1000,
            disk_used_bytes=400,
            copysets=copysets,
        )
        for name, value in fields.items():
            setattr(request, name, value)
        return request

    # ----------------------------------------------------------------------------------- looking at it

    def asked(self, method: str) -> list[Any]:
        """Return the requests of a method so far."""
        return [request for name, request in self.calls if name == method]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds after some call."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                happened = self._happened
                await happened.wait()

    # --------------------------------------------------------------------------------------- being asked

    def answer(self, method: str, request: Any, reply: Any, do: Callable[[], None]) -> Any:
        """Record a call, do it or fail."""
        self.calls.append((method, request))
        self.highest_epoch = max(self.highest_epoch, request.mds_epoch)
        error = self.failing.get(method)
        if error is None:
            try:
                do()
                error = self.losing.get(method)
            except CurveFSError as refused:
                error = refused
        if error is not None:
            reply.failure.CopyFrom(failure_of(error))
        self._happened.set()
        self._happened = asyncio.Event()
        return reply

    def create_partition(self, spec: metaserver_pb2.PartitionSpec) -> None:
        """Have a partition."""
        if spec.group_id not in self.groups:
            raise NotFound(f"no copyset {spec.group_id}")
        self.partitions.add((spec.group_id, spec.fs_id, spec.partition_id))


class _MetaServerService(metaserver_pb2_grpc.MetaServerServiceServicer):
    def __init__(self, fake: FakeMetaserver) -> None:
        self._fake = fake

    async def CreatePartition(self, request, context):
        return self._fake.answer(
            "CreatePartition",
            request,
            metaserver_pb2.AdminReply(),
            lambda: self._fake.create_partition(request.partition),
        )

    async def DeletePartition(self, request, context):
        place = (request.group_id, request.fs_id, request.partition_id)
        return self._fake.answer(
            "DeletePartition", request, metaserver_pb2.AdminReply(), lambda: self._fake.partitions.discard(place)
        )

    async def EndSession(self, request, context):
        ends = {(group, request.session_id) for group in request.groups}
        return self._fake.answer(
            "EndSession", request, metaserver_pb2.AdminReply(), lambda: self._fake.ended.update(ends)
        )


class _CopysetService(copyset_pb2_grpc.CopysetServiceServicer):
    def __init__(self, fake: FakeMetaserver) -> None:
        self._fake = fake

    async def CreateCopyset(self, request, context):
        return self._fake.answer(
            "CreateCopyset", request, copyset_pb2.CopysetReply(), lambda: self._fake.groups.add(request.group_id)
        )
