"""What takes the place of some slices of a chunk: stored runs of their bytes, and zeros. Pure.

The members of a merge are slices of a list, not always neighbours. What takes their place takes the order of the last
ones. So no slice between them that is no member may lie where members lie, or between them; those before and after may.

Stored are the bytes of members that nothing later hides. A gap between them that is not longer than ``filled`` is
stored along: with what lies below, and with zeros where a later slice hides what is there anyway. Zeros of members are
kept as zero slices where they hide something below.

Invariant: the overlay of the chunk is the same before and after, and with anything that comes later on top.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ...proto import metaserver_pb2 as pb
from .overlay import Extent, Ranges

MERGED_MAX = 400  # slices in one step: an entry that replaces them touches twice as many keys (rule 14)
FILLED_MAX = 64 << 10  # bytes so few between others lie in the stored run: cheaper than another slice
_HOLE = -1


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Bytes to be stored as one: pieces that follow one another; those without a slice are zeros."""

    pieces: tuple[Extent, ...]

    @property
    def offset(self) -> int:
        """Return where it begins in the chunk."""
        return self.pieces[0].offset

    @property
    def length(self) -> int:
        """Return its bytes."""
        last = self.pieces[-1]
        return last.offset + last.length - self.offset


@dataclass(frozen=True)
class Plan:
    """Members of a list, by their ascending numbers, give way to stored runs and zeros (offset, length).

    None of these overlap.
    """

    members: Sequence[int]
    runs: tuple[StoredRun, ...]
    zeros: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Return how many slices take their place."""
        return len(self.runs) + len(self.zeros)

    @property
    def saved(self) -> int:
        """Return by how many slices the list becomes shorter."""
        return len(self.members) - self.count

    @cached_property
    def written_bytes(self) -> int:
        """Return how much is stored."""
        return sum(run.length for run in self.runs)

    @cached_property
    def read_bytes(self) -> int:
        """Return how much is read."""
        return sum(piece.length for run in self.runs for piece in run.pieces if piece.slice is not None)


class _Owned(NamedTuple):
    """Bytes [start, end) come from the slice with this number; _HOLE: from none."""

    start: int
    end: int
    number: int


class Overlaid:
    """The slices of a chunk in commit order, and which of them each byte comes from."""

    def __init__(self, slices: Sequence[pb.Slice], chunk_size: int) -> None:
        self.slices = slices
        self.chunk_size = chunk_size
        self._owned = _owners(slices, chunk_size)
        self._starts = [one.start for one in self._owned]

    @cached_property
    def alive(self) -> list[int]:
        """Return of each slice how many of its bytes nothing hides."""
        found = [0] * len(self.slices)
        for start, end, number in self._owned:
            if number != _HOLE:
                found[number] += end - start
        return found

    def stored(self, number: int) -> int:
        """Return how many bytes of the chunk are stored for a slice, hidden ones included."""
        one = self.slices[number]
        return 0 if one.zero else one.length

    def merged(
        self, members: Sequence[int], low: int = 0, high: int | None = None, *, filled: int = FILLED_MAX
    ) -> Plan:
        """Return what takes the place of members, all of which lie in [low, high).

        It may be more than there were, because later slices and zeros can split what they hide.
        """
        own = frozenset(members)
        below = _covered(self.slices[: members[0]])
        runs: list[StoredRun] = []
        zeros: list[tuple[int, int]] = []
        pieces: list[Extent] = []
        gap: list[_Owned] = []
        for one in self._between(low, self.chunk_size if high is None else high):
            if one.number not in own or self.slices[one.number].zero:
                gap.append(one)
                continue
            if pieces and one.start - _end_of(pieces) <= filled:
                pieces += [self._filling(other, members[0]) for other in gap]
            else:
                zeros += self._kept_zeros(gap, own, below)
                if pieces:
                    runs.append(StoredRun(tuple(pieces)))
                pieces = []
            gap = []
            pieces.append(self._extent(one))
        zeros += self._kept_zeros(gap, own, below)
        if pieces:
            runs.append(StoredRun(tuple(pieces)))
        return Plan(members, tuple(runs), tuple(zeros))

    def _between(self, low: int, high: int) -> Sequence[_Owned]:
        """Return whose the bytes from low to high are; what sticks out on either side is no member's."""
        first = max(bisect_right(self._starts, low) - 1, 0)
        return self._owned[first : bisect_right(self._starts, high - 1)]

    def _extent(self, one: _Owned) -> Extent:
        owner = self.slices[one.number]
        return Extent(one.start, one.end - one.start, owner, owner.object.offset + one.start - owner.offset)

    def _filling(self, one: _Owned, first: int) -> Extent:
        """Return what is stored in a gap: what lies below the first member, zeros where it does not matter."""
        if one.number == _HOLE or one.number >= first or self.slices[one.number].zero:
            return Extent(one.start, one.end - one.start, None, 0)
        return self._extent(one)

    def _kept_zeros(
        self, gap: list[_Owned], own: frozenset[int], below: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Return the zeros of members in a gap that hide something of what is covered below."""
        joined: list[tuple[int, int]] = []
        for start, end, number in gap:
            if number not in own:
                continue
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        return [(start, end - start) for start, end in joined if _is_overlapped(below, start, end)]


def _end_of(pieces: list[Extent]) -> int:
    """Return where a run that is being put together ends so far."""
    return pieces[-1].offset + pieces[-1].length


def _owners(slices: Sequence[pb.Slice], chunk_size: int) -> list[_Owned]:
    """Return which slice each byte of a chunk comes from, in order."""
    missing = Ranges(0, chunk_size)
    found: list[_Owned] = []
    for number in range(len(slices) - 1, -1, -1):
        one = slices[number]
        if not one.length:
            continue
        found += [_Owned(start, end, number) for start, end in missing.take(one.offset, one.offset + one.length)]
        if not missing.starts:
            break
    found += [_Owned(start, end, _HOLE) for start, end in zip(missing.starts, missing.ends, strict=True)]
    found.sort()
    return found


def _covered(slices: Sequence[pb.Slice]) -> list[tuple[int, int]]:
    """Return the ranges that slices cover together, apart from one another, in order."""
    ranges: list[tuple[int, int]] = []
    for low, high in sorted((one.offset, one.offset + one.length) for one in slices):
        if ranges and low <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(high, ranges[-1][1])
        else:
            ranges.append((low, high))
    return ranges


def _is_overlapped(covered: list[tuple[int, int]], start: int, end: int) -> bool:
    at = bisect_left(covered, (end, end)) - 1
    return at >= 0 and covered[at][1] > start
