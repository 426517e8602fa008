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
    ) -> tuple[pb.Inode, int]:
        """Publish slices whose bytes are stored. Returns the inode afterwards, and where an append began."""
        ...

    async def read_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        """Return the inode and the slices of ``count`` chunks, each chunk's in commit order."""
        ...

    async def take_chunk_id(self, inode_id: int) -> int:
        """Return a chunk id that nobody used, of the inode's partition."""
        ...

    async def set_length(self, inode_id: int, length: int) -> pb.Inode:
        """Set the length: cut, or leave a hole."""
        ...
