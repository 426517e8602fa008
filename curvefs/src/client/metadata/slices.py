"""What the data path needs of the metadata: publishing slices, reading slice lists, chunk ids, lengths.

Implements data.interfaces.SliceMetadata over the typed calls. Retryable failures are retried below, in the router,
until its deadline; what comes out is final, or SessionEnded / IOFailure with an unknown outcome.
"""

from collections.abc import Sequence

from ....proto import metaserver_pb2 as pb
from .client import MetadataClient


class SliceCalls:
    """Slices of one filesystem."""

    def __init__(self, metadata: MetadataClient) -> None:
        self._metadata = metadata

    async def append_slices(
        self,
        inode_id: int,
        slices: Sequence[pb.Slice],
        length: int,
        mtime_ns: int,
        *,
        at_end: bool = False,
        clear_suid: bool = False,
        reserved: pb.Reservation | None = None,
    ) -> tuple[pb.Inode, int]:
        """Publish stored slices with the length and mtime they make; the inode afterwards, where they begin."""
        return await self._metadata.append_slices(
            pb.AppendSlices(
                inode_id=inode_id,
                slices=slices,
                length=length,
                mtime_ns=mtime_ns,
                at_end=at_end,
                clear_suid=clear_suid,
                reserved=reserved,
            )
        )

    async def read_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        """Return the inode and the slices of ``count`` chunks, each chunk's in commit order."""
        return await self._metadata.reads.get_slices(inode_id, first_chunk, count)

    async def take_chunk_id(self, inode_id: int) -> int:
        """Return an unused chunk id of the inode's partition."""
        return await self._metadata.take_chunk_id(inode_id)

    def give_up_id(self, chunk_id: int) -> None:
        """Nothing will be published under an id that was taken."""
        self._metadata.given_up.add(chunk_id)

    async def set_length(self, inode_id: int, length: int) -> pb.Inode:
        """Set a file's length: cut, or leave a hole."""
        return await self._metadata.set_attr(pb.SetAttr(inode_id=inode_id, length=length))

    @property
    def epoch(self) -> int:
        """Return a number that is another one when everything reserved before is void."""
        return self._metadata.reservations.epoch

    def limits(self, inode_id: int, quotas: tuple[int, ...]) -> bool:
        """Say whether the growth of a file is to be reserved."""
        return self._metadata.reservations.apply_to(inode_id, quotas)

    async def take_room(self, inode_id: int, size: int, quotas: tuple[int, ...]) -> pb.Reservation:
        """Reserve bytes for a file's growth. Raises QuotaExceeded, NoSpace."""
        return await self._metadata.reservations.take(inode_id, size, quotas)

    def put_room_back(self, inode_id: int, reserved: pb.Reservation) -> None:
        """Give back what was reserved."""
        self._metadata.reservations.put_back(inode_id, reserved)
