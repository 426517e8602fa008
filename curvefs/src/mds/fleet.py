"""What the MDS asks of metaservers, group by group. Every request carries the epoch (rule 25) and may be repeated.

What a group is asked goes to its leader: redirects are followed, and while there is no leader, or a peer has no replica
of the group, the next peer is asked, until the deadline.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...proto import common_pb2, copyset_pb2, copyset_pb2_grpc, metaserver_pb2, metaserver_pb2_grpc
from ..common.errors import CurveFSError, NotFound, Unavailable, WrongPartition
from ..rpc.client_pool import ClientPool
from .parallel import run_all

_PEERS_AT_A_TIME = 8  # at least as many as a group has, so that none waits for one that is away
# A peer that answers so is no leader, or has no replica of the group; another one may.
_ELSEWHERE = (Unavailable, NotFound, WrongPartition)


class Fleet:
    """Calls to metaservers. Errors of every call: Unavailable (no answer in time), and what the metaserver says.

    epoch: of this MDS. deadline_s: for one call, retries and redirects included.
    """

    def __init__(self, epoch: int, *, deadline_s: float) -> None:
        self._epoch = epoch
        self._deadline_s = deadline_s
        self._clients = ClientPool()

    async def create_copyset(self, group_id: int, peers: Sequence[common_pb2.Peer]) -> None:
        """Make the replicas of a new group, one on each peer; the first peer stands for election at once.

        Peers that answered have theirs, also when an error is raised.
        """
        first, others = peers[0], peers[1:]
        request = copyset_pb2.CreateCopysetRequest(
            mds_epoch=self._epoch, group_id=group_id, peers=peers, first_metaserver_id=first.metaserver_id
        )

        async def create(peer: common_pb2.Peer) -> None:
            stub = copyset_pb2_grpc.CopysetServiceStub
            await self._call([peer.address], stub, "CreateCopyset", request, elsewhere=(Unavailable,))

        failed: CurveFSError | None = None
        try:
            await run_all((partial(create, peer) for peer in others), limit=_PEERS_AT_A_TIME)
        except CurveFSError as error:
            failed = error
        # Last, because the others have to be there to vote for it; and also when one of them is away.
        await create(first)
        if failed is not None:
            raise failed

    async def create_partition(self, addresses: list[str], partition: metaserver_pb2.PartitionSpec) -> None:
        """Make a partition in its group."""
        request = metaserver_pb2.CreatePartitionRequest(mds_epoch=self._epoch, partition=partition)
        await self._ask_group(addresses, "CreatePartition", request)

    async def delete_partition(self, addresses: list[str], group_id: int, fs_id: int, partition_id: int) -> None:
        """Delete a partition; one that is not there counts as deleted, a group that no peer has as well."""
        request = metaserver_pb2.DeletePartitionRequest(
            mds_epoch=self._epoch, fs_id=fs_id, partition_id=partition_id, group_id=group_id
        )
        try:
            await self._ask_group(addresses, "DeletePartition", request)
        except (NotFound, WrongPartition):
            return

    async def end_session(self, addresses: list[str], group_id: int, session_id: bytes) -> None:
        """End a session in a group. A group that no peer has knows no session.

        Should it be there after all, it lists the session in its heartbeats, and the end is ordered again.
        """
        request = metaserver_pb2.EndSessionRequest(mds_epoch=self._epoch, session_id=session_id, groups=[group_id])
        try:
            await self._ask_group(addresses, "EndSession", request)
        except (NotFound, WrongPartition):
            return

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    async def _ask_group(self, addresses: list[str], method: str, request: Any) -> None:
        stub = metaserver_pb2_grpc.MetaServerServiceStub
        await self._call(addresses, stub, method, request, elsewhere=_ELSEWHERE)

    async def _call(self, addresses: list[str], stub: type[Any], method: str, request: Any, **how: Any) -> None:
        if not addresses or not all(addresses):
            raise Unavailable("no metaserver holds this group")
        await self._clients.call(tuple(addresses), stub, method, request, deadline_s=self._deadline_s, **how)
