"""Cached slice lists of one file, per chunk, validated by the inode's change counter (rules 5 and 21).

A list holds while the change counter is the one it was read at, and at most 60 s. Own publications extend the lists
they touch instead of dropping them, when nobody else changed the file in between.

Shared across awaits: the lists. ``version`` moves whenever they change in a way that a fetch under way has missed;
whoever fetched must compare it before using what it got.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ....proto import metaserver_pb2 as pb
from .interfaces import SliceMetadata

MAX_AGE_S = 60.0
CHUNKS_MAX = 1024


@dataclass(slots=True)
class _List:
    slices: list[pb.Slice]
    read_at_s: float


class SliceLists:
    """The lists of one inode."""

    def __init__(self, inode: pb.Inode, metadata: SliceMetadata, now_s: Callable[[], float]) -> None:
        self._inode_id = inode.inode_id
        self._metadata = metadata
        self._now_s = now_s
        self._lists: dict[int, _List] = {}
        self.change = inode.change
        self.length = inode.length  # published
        self.version = 0

    def is_known(self, chunk_index: int) -> bool:
        """Say whether a chunk's list is known, and not too old."""
        entry = self._lists.get(chunk_index)
        return entry is not None and self._now_s() - entry.read_at_s <= MAX_AGE_S

    def of_chunk(self, chunk_index: int) -> list[pb.Slice]:
        """Return a chunk's list that was known in this same step; it may have become too old within it."""
        return self._lists[chunk_index].slices

    async def fetch(self, first_chunk: int, count: int) -> None:
        """Read the lists of some chunks; afterwards they are known, unless the file changed meanwhile."""
        version = self.version
        asked_s = self._now_s()
        inode, slices = await self._metadata.read_slices(self._inode_id, first_chunk, count)
        if version != self.version:
            return
        self.revalidate(inode)
        if inode.change != self.change:
            return  # older than what is known here
        if len(self._lists) + count > CHUNKS_MAX:
            self._lists.clear()
        fresh = {first_chunk + n: _List([], asked_s) for n in range(count)}
        for one in slices:
            fresh[one.chunk_index].slices.append(one)
        self._lists |= fresh

    def offer(self, inode: pb.Inode, slices: list[pb.Slice]) -> None:
        """Take the list of the first chunk as it was at an inode's change counter, unless one is known."""
        if inode.change == self.change and not self.is_known(0):
            self._lists[0] = _List(slices, self._now_s())

    def revalidate(self, inode: pb.Inode) -> None:
        """Take attributes as the server gave them: another counter drops the lists."""
        if inode.change > self.change:
            self.change, self.length = inode.change, inode.length
            self.drop()

    def drop(self) -> None:
        """Forget the lists."""
        self._lists.clear()
        self.version += 1

    def published(self, inode: pb.Inode, slices: list[pb.Slice], chunk_size: int) -> None:
        """An own publication: extend the lists, or drop them if somebody else changed the file as well.

        A chunk past the length had no slices: its list is known from now on, without asking.
        """
        if inode.change != self.change + 1 or len(self._lists) + len(slices) > CHUNKS_MAX:
            self.drop()
        else:
            self.version += 1
            for one in slices:
                if one.chunk_index * chunk_size >= self.length and one.chunk_index not in self._lists:
                    self._lists[one.chunk_index] = _List([], self._now_s())
                entry = self._lists.get(one.chunk_index)
                if entry is not None:
                    entry.slices.append(one)
        if inode.change > self.change:
            self.change, self.length = inode.change, inode.length
