"""Where the bytes of small files lie, as told with their names: an open can fetch them while it still asks.

A block never changes, so an old hint costs a request and some memory for a while, and nothing else: what is read is
decided by the slices that the open brings. Pure. Bounded: the oldest go first.
"""

from ....proto import metaserver_pb2 as pb

HINTS_MAX = 8192


class SliceHints:
    """The only slices of small files, each for one open."""

    def __init__(self, hints_max: int = HINTS_MAX) -> None:
        self._hints_max = hints_max
        self._slices: dict[int, bytes] = {}  # serialised: a fraction of the memory

    def learn(self, inode_id: int, only_slice: pb.Slice) -> None:
        """Take the slice of a file that was told with its name; one without bytes in the store is of no use."""
        self._slices.pop(inode_id, None)
        if not only_slice.HasField("object"):
            return
        self._slices[inode_id] = only_slice.SerializeToString()
        if len(self._slices) > self._hints_max:
            del self._slices[next(iter(self._slices))]

    def take(self, inode_id: int) -> pb.Slice | None:
        """Return the slice a file had when last heard of, once."""
        raw = self._slices.pop(inode_id, None)
        return None if raw is None else pb.Slice.FromString(raw)
