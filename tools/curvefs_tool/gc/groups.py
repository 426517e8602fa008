"""A filesystem's partitions, as their groups' leaders answer for them."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from curvefs.proto import mds_pb2, reclaim_pb2, reclaim_pb2_grpc
from curvefs.src.common.errors import Unavailable
from curvefs.src.rpc.blocking import BlockingClient

from ..filesystems import filesystem_of

CHUNKS_PER_CALL = 50_000
_DEADLINE_S = 300.0  # until a leader is found
_CHECK_S = 300.0  # a check reads all slices of a group


class Groups:
    """Use as a context manager. filesystem: as the MDS knows it; partitions: their numbers."""

    def __init__(self, mds: list[str], name: str) -> None:
        """Raises NotFound, Unreachable."""
        reply = filesystem_of(mds, name)
        self.filesystem: mds_pb2.Filesystem = reply.filesystem
        self._partitions: dict[int, mds_pb2.Partition] = {one.partition_id: one for one in reply.partitions}
        self._clients: dict[int, BlockingClient] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    @property
    def partitions(self) -> list[int]:
        """Return the filesystem's partitions."""
        return sorted(self._partitions)

    def states(self, partition_id: int, chunk_ids: Sequence[int]) -> dict[int, reclaim_pb2.ChunkState]:
        """Return what is known of chunk ids of a partition."""
        states: dict[int, reclaim_pb2.ChunkState] = {}
        for first in range(0, len(chunk_ids), CHUNKS_PER_CALL):
            some = chunk_ids[first : first + CHUNKS_PER_CALL]
            reply = self._call(
                "CheckChunks", partition_id, reclaim_pb2.CheckChunksRequest(chunk_ids=some), try_s=_CHECK_S
            )
            states |= zip(some, reply.states, strict=True)
        return states

    def slices(self, partition_id: int) -> Iterator[reclaim_pb2.HeldSlice]:
        """Yield the slices of a partition's files."""
        cursor = b""
        while True:
            reply = self._call("ListSlices", partition_id, reclaim_pb2.ListSlicesRequest(cursor=cursor))
            yield from reply.slices
            cursor = reply.cursor
            if not cursor:
                return

    def _call(self, method: str, partition_id: int, request: Any, *, try_s: float | None = None) -> Any:
        partition = self._partitions[partition_id]
        request.group_id, request.fs_id = partition.group_id, self.filesystem.fs_id
        request.partition_id = partition_id
        client = self._clients.get(partition.group_id)
        if client is None:
            addresses = sorted((one.address for one in partition.peers if one.address), key=partition.leader.__ne__)
            if not addresses:
                raise Unavailable(f"nobody is known to have partition {partition_id}")
            client = self._clients[partition.group_id] = BlockingClient(addresses)
        stub = reclaim_pb2_grpc.ReclaimServiceStub
        return client.call(stub, method, request, deadline_s=_DEADLINE_S, try_s=try_s)
