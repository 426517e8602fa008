"""Which group holds which partition, who leads it, and calls to that leader; this metaserver itself is asked directly.

The table comes from the MDS, once a filesystem, and again when a call finds it wrong. Redirects are followed.

Shared across awaits: the table; looked up afresh after every await.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from ....proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc, transaction_pb2_grpc
from ...common.errors import NotFound, PermissionDenied, Redirect, Unavailable, Unreachable, WrongPartition
from ...rpc.asyncio_client import AsyncClient
from ...rpc.client_pool import ClientPool

_FILESYSTEMS_MAX = 10_000
_PAUSE_S = 0.05
_TRY_S = 2.0  # but for Prepare, which may wait for locks


class Local(Protocol):
    """What answers calls to groups that this metaserver leads (participant.py, coordinator.py)."""

    def leads(self, group_id: int) -> bool:
        """Say whether this metaserver leads a group."""
        ...

    async def answer(self, method: str, request: Any) -> Any:
        """Answer a call. Raises CurveFSError."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition is."""

    group_id: int
    addresses: tuple[str, ...]


class Calls:
    """See the module. secret: the cluster's; it proves membership."""

    def __init__(self, mds: AsyncClient, secret: Callable[[], bytes], *, mds_deadline_s: float) -> None:
        self._mds = mds
        self._secret = secret
        self._mds_deadline_s = mds_deadline_s
        self._places: dict[int, dict[int, Place]] = {}
        self._addresses: dict[int, tuple[str, ...]] = {}  # of groups
        self._clients = ClientPool()
        self._asking: dict[int, asyncio.Task[None]] = {}
        self.local: Local | None = None

    async def place(self, fs_id: int, partition_id: int) -> Place:
        """Return where a partition is. Raises Unavailable, WrongPartition when there is none."""
        place = self._places.get(fs_id, {}).get(partition_id)
        if place is None:
            await self.refresh(fs_id)
            place = self._places.get(fs_id, {}).get(partition_id)
        if place is None:
            raise WrongPartition(f"filesystem {fs_id} has no partition {partition_id}")
        return place

    async def partitions(self, fs_id: int, *, fresh: bool) -> list[int]:
        """Return the partitions of a filesystem. Raises Unavailable."""
        if fresh or not self._places.get(fs_id):
            await self.refresh(fs_id)
        return sorted(self._places[fs_id])

    async def refresh(self, fs_id: int) -> None:
        """Ask the MDS where the partitions of a filesystem are. Raises Unavailable."""
        reply = await self._mds.call(
            mds_pb2_grpc.MdsServiceStub,
            "ListPartitions",
            mds_pb2.ListPartitionsRequest(fs_id=fs_id),
            deadline_s=self._mds_deadline_s,
        )
        places = {}
        for one in reply.partitions:
            addresses = [peer.address for peer in one.peers if peer.address]
            ordered = tuple(sorted(addresses, key=lambda address, leader=one.leader: address != leader))  # type: ignore[misc]
            places[one.partition_id] = Place(one.group_id, ordered)
            self._addresses[one.group_id] = ordered
        while len(self._places) >= _FILESYSTEMS_MAX:
            self._places.pop(next(iter(self._places)))
        self._places[fs_id] = places

    async def call(self, method: str, request: Any, fs_id: int, deadline_s: float, *, is_long: bool = False) -> Any:
        """Call the leader of request.group_id and return its reply.

        is_long: the answer takes long; the leader, once found, has all the time until the deadline.

        Raises what the leader says, Unavailable when nobody leads in time.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    try:
                        return await self._try(method, request, deadline_s, is_long=is_long)
                    except (Redirect, Unreachable, WrongPartition):
                        await asyncio.sleep(_PAUSE_S)
                        await self._find(request.group_id, fs_id)
        except TimeoutError as error:
            raise Unavailable(f"no leader of group {request.group_id} answered in time") from error

    async def _find(self, group_id: int, fs_id: int) -> None:
        """Ask the MDS where a group is, also one of a filesystem that is gone. Raises Unavailable."""
        with contextlib.suppress(NotFound):
            await self.refresh(fs_id)
        reply = await self._mds.call(
            topology_pb2_grpc.TopologyServiceStub,
            "ListCopysets",
            topology_pb2.ListCopysetsRequest(group_ids=[group_id]),
            deadline_s=self._mds_deadline_s,
        )
        for copyset in reply.copysets:
            peers = sorted(copyset.peers, key=lambda peer: peer.metaserver_id != copyset.leader_id)
            self._addresses[copyset.group_id] = tuple(peer.address for peer in peers if peer.address)

    async def _try(self, method: str, request: Any, deadline_s: float, *, is_long: bool) -> Any:
        if self.local is not None and self.local.leads(request.group_id):
            return await self.local.answer(method, request)
        addresses = self._addresses.get(request.group_id)
        if not addresses:
            raise WrongPartition(f"group {request.group_id} is unknown")
        sign(self._secret(), request)
        return await self._clients.call(
            addresses,
            transaction_pb2_grpc.TransactionServiceStub,
            method,
            request,
            deadline_s=deadline_s if method == "Prepare" else min(deadline_s, _TRY_S),
            try_s=deadline_s if is_long else None,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()


def sign(secret: bytes, request: Any) -> None:
    """Add the proof that a request comes from this cluster."""
    request.proof = b""
    request.proof = hmac.digest(secret, request.SerializeToString(deterministic=True), sha256)


def verify(secret: bytes, request: Any) -> None:
    """Raise PermissionDenied unless the request comes from this cluster."""
    proof = request.proof
    request.proof = b""
    if not secret or not hmac.compare_digest(
        proof, hmac.digest(secret, request.SerializeToString(deterministic=True), sha256)
    ):
        raise PermissionDenied("the request is not from this cluster")
