"""What the MDS asks of metaservers, group by group. Every request carries the epoch (rule 25) and may be repeated.

Shared across awaits: the clients, one per set of addresses, bounded; an evicted one is closed once it is idle.
"""

import asyncio
from collections import OrderedDict
from typing import Any

from ...proto import common_pb2, copyset_pb2, copyset_pb2_grpc, metaserver_pb2, metaserver_pb2_grpc
from ..common.errors import NotFound, Unavailable, WrongPartition
from ..rpc.asyncio_client import AsyncClient

_CLIENTS_MAX = 2000


class Fleet:
    """Calls to metaservers. Errors of every call: Unavailable (no answer in time), and what the metaserver says.

    epoch: of this MDS. deadline_s: for one call, retries and redirects included.
    """

    def __init__(self, epoch: int, *, deadline_s: float) -> None:
        self._epoch = epoch
        self._deadline_s = deadline_s
        self._clients: OrderedDict[tuple[str, ...], AsyncClient] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def create_copyset(self, address: str, group_id: int, peers: list[common_pb2.Peer]) -> None:
        """Make a replica of a group on the metaserver at ``address``."""
        request = copyset_pb2.CreateCopysetRequest(mds_epoch=self._epoch, group_id=group_id, peers=peers)
        await self._call([address], copyset_pb2_grpc.CopysetServiceStub, "CreateCopyset", request)

    async def create_partition(self, addresses: list[str], partition: metaserver_pb2.PartitionSpec) -> None:
        """Make a partition in its group."""
        request = metaserver_pb2.CreatePartitionRequest(mds_epoch=self._epoch, partition=partition)
        await self._call(addresses, metaserver_pb2_grpc.MetaServerServiceStub, "CreatePartition", request)

    async def delete_partition(self, addresses: list[str], group_id: int, fs_id: int, partition_id: int) -> None:
        """Delete a partition; one that is not there counts as deleted."""
        request = metaserver_pb2.DeletePartitionRequest(
            mds_epoch=self._epoch, fs_id=fs_id, partition_id=partition_id, group_id=group_id
        )
        try:
            await self._call(addresses, metaserver_pb2_grpc.MetaServerServiceStub, "DeletePartition", request)
        except (NotFound, WrongPartition):
            return

    async def end_session(self, addresses: list[str], group_id: int, session_id: bytes) -> None:
        """End a session in a group. A group that is not there knows no session.

        Should it be there after all, it lists the session in its heartbeats, and the end is ordered again.
        """
        request = metaserver_pb2.EndSessionRequest(mds_epoch=self._epoch, session_id=session_id, groups=[group_id])
        try:
            await self._call(addresses, metaserver_pb2_grpc.MetaServerServiceStub, "EndSession", request)
        except (NotFound, WrongPartition):
            return

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _call(self, addresses: list[str], stub: type[Any], method: str, request: Any) -> None:
        if not addresses:
            raise Unavailable("no metaserver holds this group")
        key = tuple(addresses)
        client = self._clients.pop(key, None) or AsyncClient(key, deadline_s=self._deadline_s)
        self._clients[key] = client
        if len(self._clients) > _CLIENTS_MAX:
            _, oldest = self._clients.popitem(last=False)
            task = asyncio.create_task(self._close_later(oldest))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        await client.call(stub, method, request)

    async def _close_later(self, client: AsyncClient) -> None:
        # Calls under way on it end within their deadline.
        await asyncio.sleep(self._deadline_s)
        await client.close()
