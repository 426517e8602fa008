"""Which slice each byte of a chunk comes from: the list is in commit order, later ones win. Pure.

What is still uncovered is kept as ranges in order, so that a slice finds its part by bisection, and one
that others hide costs next to nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ...proto import metaserver_pb2 as pb


class Extent(NamedTuple):
    """A run of bytes of a chunk that comes from one place; ``slice`` is None for a hole (zeros)."""

    offset: int  # in the chunk
    length: int
    slice: pb.Slice | None
    run_offset: int  # of the first byte within the slice's stored run


def overlay(slices: Sequence[pb.Slice], start: int, end: int) -> list[Extent]:
    """Return extents that cover chunk bytes [start, end) exactly, in order; neighbouring holes are one.

    Walks from the newest slice to the oldest and fills what is still uncovered; ends as soon as nothing is.
    """
    if start >= end:
        return []
    missing = Ranges(start, end)
    found: list[Extent] = []
    for one in reversed(slices):
        low = one.offset
        high = low + one.length
        if low >= end or high <= start or low == high:
            continue
        taken = missing.take(low, high)
        if one.zero:
            found += [Extent(first, last - first, None, 0) for first, last in taken]
        elif taken:
            base = one.object.offset - low
            found += [Extent(first, last - first, one, base + first) for first, last in taken]
        if not missing.starts:
            break
    found += [Extent(first, last - first, None, 0) for first, last in zip(missing.starts, missing.ends, strict=True)]
    found.sort()  # by offset: no two are equal
    return _joined_holes(found)


class Ranges:
    """What is uncovered yet: disjoint ranges in order, none empty: range k is [starts[k], ends[k])."""

    __slots__ = ("ends", "starts")

    def __init__(self, start: int, end: int) -> None:
        self.starts = [start]
        self.ends = [end]

    def take(self, low: int, high: int) -> list[tuple[int, int]]:
        """Remove [low, high) and return what of it was there."""
        first = bisect_right(self.ends, low)
        last = bisect_left(self.starts, high)
        if first >= last:
            return []
        starts, ends = self.starts[first:last], self.ends[first:last]
        left_start, right_end = starts[0], ends[-1]
        starts[0], ends[-1] = max(left_start, low), min(right_end, high)
        # What sticks out on either side stays.
        kept = [(left_start, low)] * (left_start < low) + [(high, right_end)] * (high < right_end)
        self.starts[first:last] = [one for one, _ in kept]
        self.ends[first:last] = [one for _, one in kept]
        return list(zip(starts, ends, strict=True))


def _joined_holes(extents: list[Extent]) -> list[Extent]:
    joined: list[Extent] = []
    for extent in extents:
        if extent.slice is None and joined and joined[-1].slice is None:
            joined[-1] = joined[-1]._replace(length=joined[-1].length + extent.length)
        else:
            joined.append(extent)
    return joined
