"""What the data path needs of the metadata."""

from collections.abc import Sequence
from typing import Protocol

from ....proto import metaserver_pb2 as pb


class SliceMetadata(Protocol):
    """Retryable failures are retried inside, until a deadline.

    What comes out: FilesystemError (the answer; NoSpace may pass), SessionEnded and IdRefused (publish again under new
    chunk ids), AlreadyDone (was published), IOFailure and any other ClusterError (the deadline passed, the outcome is
    unknown: the same ids may be tried again).
    """

    async def append_slices(
        self,
        inode_id: int,
        slices: Sequence[pb.Slice],
        length: int,
        mtime_ns: int,
        *,
        at_end: bool = False,
        reserved: pb.Reservation | None = None,
    ) -> tuple[pb.Inode, int]:
        """Publish slices whose bytes are stored. Returns the inode afterwards, and where an append began.

        reserved: what was reserved for the growth.
        """
        ...

    async def read_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        """Return the inode and the slices of ``count`` chunks, each chunk's in commit order."""
        ...

    async def take_chunk_id(self, inode_id: int) -> int:
        """Return a chunk id that nobody used, of the inode's partition."""
        ...

    def give_up_id(self, chunk_id: int) -> None:
        """Nothing will be published under an id that was taken."""
        ...

    async def set_length(self, inode_id: int, length: int) -> pb.Inode:
        """Set the length: cut, or leave a hole."""
        ...

    @property
    def epoch(self) -> int:
        """Return a number that is another one when everything reserved before is void."""
        ...

    def limits(self, inode_id: int, quotas: tuple[int, ...]) -> bool:
        """Say whether the growth of a file is to be reserved."""
        ...

    async def take_room(self, inode_id: int, size: int, quotas: tuple[int, ...]) -> pb.Reservation:
        """Reserve bytes for a file's growth. Raises QuotaExceeded, NoSpace."""
        ...

    def put_room_back(self, inode_id: int, reserved: pb.Reservation) -> None:
        """Give back what was reserved."""
        ...
