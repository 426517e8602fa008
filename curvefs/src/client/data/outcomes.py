"""What became of publications of unknown outcome whose ids the metaserver does not answer for any more.

As long as ids are leased, a publication is simply tried again: the metaserver says that it was done before. When their
session (or identity) is over, the file tells. The slice is in it: done. The file did not change since before the first
try: not done. Otherwise nobody knows: compaction may have merged the slice with others, another mount may have cut it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from ....proto import metaserver_pb2 as pb
from ...common.errors import IdRefused
from ...slices.geometry import Geometry
from .interfaces import SliceMetadata
from .slice_lists import SliceLists

CHUNKS_PER_SEARCH = 16


@dataclass(frozen=True, slots=True)
class Before:
    """A file as it was known before the first try; what was tried together for the first time has the same one."""

    change: int
    length: int


TRIED_BY_ANOTHER_MOUNT = Before(change=-1, length=0)


class Tried(Protocol):
    """What is published; before: None as long as its outcome is certain."""

    before: Before | None


class Outcome(Enum):
    """See the module."""

    DONE = auto()
    NOT_DONE = auto()
    UNKNOWN = auto()


@contextlib.contextmanager
def trying(batch: Sequence[Tried], lists: SliceLists) -> Iterator[None]:
    """Remember what the file is like before a publication is tried; a first try that is refused leaves no doubt."""
    first = [one for one in batch if one.before is None]
    before = Before(lists.change, lists.length)
    for one in first:
        one.before = before
    try:
        yield
    except IdRefused:
        for one in first:
            one.before = None
        raise


async def find(
    metadata: SliceMetadata, geometry: Geometry, inode_id: int, one: pb.Slice, before: Before | None, *, at_end: bool
) -> Outcome:
    """Say whether a slice was published; at_end: somewhere from the end of the file on, as it was before."""
    if before is None:
        return Outcome.NOT_DONE
    chunk = before.length // geometry.chunk_size if at_end else one.chunk_index
    count = CHUNKS_PER_SEARCH if at_end else 1
    while True:
        inode, slices = await metadata.read_slices(inode_id, chunk, count)
        if inode.change == before.change:
            return Outcome.NOT_DONE
        if any(found.chunk_id == one.chunk_id for found in slices):
            return Outcome.DONE
        chunk += count
        if not at_end or chunk * geometry.chunk_size >= inode.length:
            return Outcome.UNKNOWN
