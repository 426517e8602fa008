"""Which slice each byte of a chunk comes from: the list is in commit order, later ones win. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...proto import metaserver_pb2 as pb


class Extent(NamedTuple):
    """A run of bytes of a chunk that comes from one place; ``slice`` is None for a hole (zeros)."""

    offset: int  # in the chunk
    length: int
    slice: pb.Slice | None
    run_offset: int  # of the first byte within the slice's stored run


def overlay(slices: Sequence[pb.Slice], start: int, end: int) -> list[Extent]:
    """Return extents that cover chunk bytes [start, end) exactly, in order.

    Walks from the newest slice to the oldest and fills what is still uncovered: a slice that others hide costs
    a comparison, and the walk ends as soon as everything is covered.
    """
    if start >= end:
        return []
    missing = [(start, end)]
    found: list[Extent] = []
    for one in reversed(slices):
        low, high = one.offset, one.offset + one.length
        if low >= end or high <= start or low == high:
            continue
        missing, taken = _take(missing, low, high)
        for first, last in taken:
            if one.zero:
                found.append(Extent(first, last - first, None, 0))
            else:
                found.append(Extent(first, last - first, one, one.object.offset + first - low))
        if not missing:
            break
    found.extend(Extent(first, last - first, None, 0) for first, last in missing)
    found.sort()
    return _joined_holes(found)


def _take(
    missing: Iterable[tuple[int, int]], low: int, high: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Split the uncovered ranges into what stays uncovered and what [low, high) covers."""
    left, taken = [], []
    for first, last in missing:
        if high <= first or low >= last:
            left.append((first, last))
            continue
        if first < low:
            left.append((first, low))
        taken.append((max(first, low), min(last, high)))
        if high < last:
            left.append((high, last))
    return left, taken


def _joined_holes(extents: list[Extent]) -> list[Extent]:
    joined: list[Extent] = []
    for extent in extents:
        if extent.slice is None and joined and joined[-1].slice is None:
            joined[-1] = joined[-1]._replace(length=joined[-1].length + extent.length)
        else:
            joined.append(extent)
    return joined
