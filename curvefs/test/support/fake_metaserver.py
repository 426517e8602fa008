"""A metaserver as the MDS sees it: a gRPC server that records what it is asked and keeps just enough state."""
# ruff: noqa: N802 -- gRPC gives the methods their names

import asyncio
import os
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
from curvefs.src.common import tokens
from curvefs.src.common.errors import CurveFSError, Redirect, Unavailable, WrongPartition
from curvefs.src.common.status import failure_of
from curvefs.src.rpc.asyncio_server import AsyncServer, start_server

PATIENCE_S = 20.0


class FakeMetaserver:
    """Records calls as (method, request). ``failing`` maps a method to what it answers instead of doing it;
    ``losing`` names methods that do it and then answer UNAVAILABLE, like a lost reply.

    It leads the groups it has, but for those in ``following``, which name their leader's address, or nobody's. Of a
    group that is made, the first peer is the leader."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.groups: set[int] = set()
        self.following: dict[int, str] = {}
        self.terms: dict[int, int] = {}
        self.members: dict[int, list[common_pb2.Peer]] = {}
        self.configurations: dict[int, int] = {}
        self.committed = 100
        self.partitions: set[tuple[int, int, int]] = set()  # group, filesystem, partition
        self.specs: dict[tuple[int, int, int], metaserver_pb2.PartitionSpec] = {}
        self.in_full = False
        self.sessions: set[bytes] = set()
        self.identities: dict[bytes, int] = {}  # those of the sessions that are identities: of which filesystem
        self.ended: set[tuple[int, bytes]] = set()
        self.failing: dict[str, CurveFSError] = {}
        self.losing: dict[str, CurveFSError] = {}
        self.address = "127.0.0.1:0"
        self.metaserver_id = 0
        self.token = b""
        self.cluster_id = ""
        self.server = ""
        self.instance = os.urandom(8)
        self.highest_epoch = 0
        self.changes_told = 0
        self.secret = b""
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
            instance=self.instance,
            server=self.server,
            highest_epoch=self.highest_epoch,
            changes_told=self.changes_told,
            proof=tokens.membership_proof(self.secret, self.metaserver_id, self.token),
        )

    def registered(self, reply: Any) -> None:
        """Keep the identity it was given, by a reply or a record."""
        self.metaserver_id, self.token = reply.metaserver_id, reply.token

    def heartbeat(self, **fields: Any) -> heartbeat_pb2.HeartbeatRequest:
        """Return a heartbeat that reports all it has."""
        copysets = [
            heartbeat_pb2.CopysetReport(
                group_id=group,
                leading=group not in self.following,
                term=self.terms.get(group, 1),
                configuration_index=self.configurations.get(group, 0),
                committed_index=self.committed,
                applied_index=self.committed,
                peers=self.members.get(group, []),
                partitions=[self._report(place) for place in sorted(self.partitions) if place[0] == group],
                sessions=[
                    heartbeat_pb2.SessionReport(
                        session_id=session, fs_id=self.identities.get(session, 0), durable=session in self.identities
                    )
                    for session in sorted(self.sessions)
                ],
            )
            for group in sorted(self.groups)
        ]
        request = heartbeat_pb2.HeartbeatRequest(
            metaserver_id=self.metaserver_id,
            token=self.token,
            instance=self.instance,
            highest_epoch=self.highest_epoch,
            changes_told=self.changes_told,
            in_full=self.in_full,
            disk_total_bytes=1000,
            disk_used_bytes=400,
            copysets=copysets,
        )
        for name, value in fields.items():
            setattr(request, name, value)
        return request

    def _report(self, place: tuple[int, int, int]) -> heartbeat_pb2.PartitionReport:
        _, fs_id, partition_id = place
        said = heartbeat_pb2.PartitionReport(fs_id=fs_id, partition_id=partition_id, inode_count=7, used_bytes=99)
        if self.in_full and partition_id == 0:
            said.spec.CopyFrom(self.specs[place])
        return said

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

    def create_copyset(self, request: copyset_pb2.CreateCopysetRequest) -> None:
        """Have a replica; one that is there stays as it is."""
        if request.group_id in self.groups:
            return
        self.groups.add(request.group_id)
        self.members[request.group_id] = list(request.peers)
        for peer in request.peers:
            if peer.metaserver_id == request.first_metaserver_id != self.metaserver_id:
                self.following[request.group_id] = peer.address

    def create_partition(self, spec: metaserver_pb2.PartitionSpec) -> None:
        """Have a partition."""
        self.check_leads(spec.group_id)
        place = (spec.group_id, spec.fs_id, spec.partition_id)
        self.partitions.add(place)
        self.specs.setdefault(place, spec)

    def delete_partition(self, place: tuple[int, int, int]) -> None:
        """Have it no longer."""
        self.check_leads(place[0])
        self.partitions.discard(place)

    def end_session(self, group_id: int, session_id: bytes) -> None:
        """End a session in a group."""
        self.check_leads(group_id)
        self.ended.add((group_id, session_id))

    def check_leads(self, group_id: int) -> None:
        """Raise what a metaserver says that does not lead a group."""
        if group_id not in self.groups:
            raise WrongPartition(f"group {group_id} is not on this metaserver")
        if group_id in self.following:
            if not self.following[group_id]:
                raise Unavailable(f"group {group_id} has no leader")
            raise Redirect(leader=self.following[group_id])


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
            "DeletePartition", request, metaserver_pb2.AdminReply(), lambda: self._fake.delete_partition(place)
        )

    async def EndSession(self, request, context):
        def end() -> None:
            for group_id in request.groups:
                self._fake.end_session(group_id, request.session_id)

        return self._fake.answer("EndSession", request, metaserver_pb2.AdminReply(), end)


class _CopysetService(copyset_pb2_grpc.CopysetServiceServicer):
    def __init__(self, fake: FakeMetaserver) -> None:
        self._fake = fake

    async def CreateCopyset(self, request, context):
        return self._fake.answer(
            "CreateCopyset", request, copyset_pb2.CopysetReply(), lambda: self._fake.create_copyset(request)
        )
