"""Which slices of a chunk to merge, and what takes their place. Pure.

A run of slices that are neighbours in commit order is replaced by stored runs of its bytes, and by zero slices where it
hid something below that must stay hidden. So later slices still win over it, and it over earlier ones, whatever is
published, cut or punched before and after the replacement.

Leading slices that are large and mostly alive are left alone as long as what follows becomes few and is smaller: then a
byte of a file that is appended to is written again a logarithmic number of times. What is overwritten at random leaves
nothing to leave alone: all of it is written again, but only when that is at most AMPLIFICATION times what came since,
or when the list has SLICES_HIGH slices. So lists stay bounded, and a chunk is written again once per that many slices.

Invariant: the overlay of the chunk is the same before and after, and with anything that comes later on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...proto import metaserver_pb2 as pb
from .overlay import Extent, overlay

MERGED_MAX = 400  # slices in one step: an entry that replaces them touches twice as many keys (rule 14)
SLICES_READ_MAX = MERGED_MAX + 16  # of a chunk; there are never more large ones to leave alone
FILLED_MAX = 64 << 10  # zeros so few lie in the stored run: cheaper than another slice
AMPLIFICATION = 4
SLICES_HIGH = 384
LOOK_AGAIN_AFTER = 16  # slices


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
    """Slices [first, end) of a list give way to stored runs and zeros (offset, length); none of these overlap."""

    first: int
    end: int
    runs: tuple[StoredRun, ...]
    zeros: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Return how many slices take their place."""
        return len(self.runs) + len(self.zeros)

    @cached_property
    def written_bytes(self) -> int:
        """Return how much is stored."""
        return sum(run.length for run in self.runs)

    @cached_property
    def read_bytes(self) -> int:
        """Return how much is read."""
        return sum(piece.length for run in self.runs for piece in run.pieces if piece.slice is not None)


@dataclass(frozen=True, slots=True)
class LaterOn:
    """Nothing to do until the chunk has so many slices."""

    slices: int


def plan_all(slices: Sequence[pb.Slice], chunk_size: int) -> Plan | None:
    """Return how a list becomes as short as it can, whatever that costs; None if it is."""
    plan = merged(slices[:SLICES_READ_MAX], 0, chunk_size)
    return plan if plan.count < plan.end else None


def plan_worthwhile(slices: Sequence[pb.Slice], chunk_size: int) -> Plan | LaterOn:
    """Return what is worth merging now. slices: of the chunk in commit order, without what cuts hide."""
    considered = slices[:SLICES_READ_MAX]
    total = len(slices)
    if total < 2:
        return LaterOn(LOOK_AGAIN_AFTER)
    plan = merged(considered, _first_to_merge(considered, chunk_size), chunk_size)
    saved = plan.end - plan.first - plan.count
    length = sum(one.length for one in considered[plan.first : plan.end] if not one.zero)
    dead = length - plan.read_bytes
    if dead >= plan.read_bytes and saved > 0:
        return plan  # at least half of what is stored goes
    if 4 * saved < plan.end - plan.first:
        return LaterOn(2 * total)
    largest = max((one.length for one in considered[plan.first : plan.end] if not one.zero), default=0)
    if plan.written_bytes > AMPLIFICATION * (length - largest) and total < SLICES_HIGH:
        return LaterOn(total + LOOK_AGAIN_AFTER)
    return plan


def merged(slices: Sequence[pb.Slice], first: int, chunk_size: int) -> Plan:
    """Return what takes the place of slices from ``first`` on, at most MERGED_MAX of them.

    There may be more of it than there were slices if ``first`` is not 0, because zeros can split what they hide.
    """
    end = min(len(slices), first + MERGED_MAX)
    group = slices[first:end]
    if not first:  # nothing lies below: zeros need no slice
        runs, _ = _parted(overlay(group, 0, chunk_size))
        return Plan(first, end, runs, ())
    all_runs: list[StoredRun] = []
    all_zeros: list[tuple[int, int]] = []
    for low, high in _covered(group):
        runs, zeros = _parted(overlay(group, low, high))
        all_runs += runs
        all_zeros += [one for one in zeros if _is_overlapped(slices[:first], *one)]
    return Plan(first, end, tuple(all_runs), tuple(all_zeros))


def _first_to_merge(slices: Sequence[pb.Slice], chunk_size: int) -> int:
    """Return how many leading slices stay: each larger than what becomes of all after it, and mostly alive."""
    alive = [0] * len(slices)
    places = {id(one): n for n, one in enumerate(slices)}
    for extent in overlay(slices, 0, chunk_size):
        if extent.slice is not None:
            alive[places[id(extent.slice)]] += extent.length
    first = 0
    while first < len(slices) - 2:
        head = slices[first]
        if head.zero or 2 * alive[first] < head.length:
            break
        rest = merged(slices, first + 1, chunk_size)
        if rest.written_bytes > head.length or 2 * (first + 1 + rest.count) > len(slices):
            break
        first += 1
    return first


def _parted(extents: Sequence[Extent]) -> tuple[tuple[StoredRun, ...], list[tuple[int, int]]]:
    """Part extents that follow one another into stored runs and zeros; a few zeros between bytes are stored."""
    runs: list[StoredRun] = []
    zeros: list[tuple[int, int]] = []
    pieces: list[Extent] = []
    for n, extent in enumerate(extents):
        is_between = bool(pieces) and n + 1 < len(extents)
        if extent.slice is not None or (is_between and extent.length <= FILLED_MAX):
            pieces.append(extent)
            continue
        zeros.append((extent.offset, extent.length))
        if pieces:
            runs.append(StoredRun(tuple(pieces)))
            pieces = []
    if pieces:
        runs.append(StoredRun(tuple(pieces)))
    return tuple(runs), zeros


def _covered(slices: Sequence[pb.Slice]) -> list[tuple[int, int]]:
    """Return the ranges [low, high) that slices cover together, apart from one another, in order."""
    ranges: list[tuple[int, int]] = []
    for low, high in sorted((one.offset, one.offset + one.length) for one in slices):
        if ranges and low <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(high, ranges[-1][1])
        else:
            ranges.append((low, high))
    return ranges


def _is_overlapped(slices: Sequence[pb.Slice], offset: int, length: int) -> bool:
    return any(one.offset < offset + length and offset < one.offset + one.length for one in slices)
