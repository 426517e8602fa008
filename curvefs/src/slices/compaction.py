"""Which slices of a chunk to merge, and when it is worth it. Pure.

A short list: a run of slices that are neighbours in commit order is merged. Leading slices that are large and mostly
alive are left alone as long as what follows becomes few and is smaller: then a byte of a file that is appended to is
written again a logarithmic number of times. What is overwritten at random leaves nothing to leave alone: all of it is
written again, when that is at most AMPLIFICATION times what came since.

A long list (SLICES_HIGH) is that of a chunk that is overwritten in small pieces. Slices that later ones hide wholly are
dropped, which costs nothing. Else the chunk is looked at in regions, and the slices of one region are merged, those
that save most for what they cost. That is at AMPLIFICATION or below, or when the list has SLICES_MAX: it is bounded,
and by then a region has so many slices that writing it again is not much. Slices that lie across regions are merged as
a run of neighbours, when that is cheapest.

Bounds: SLICES_READ_MAX slices are looked at; a longer list is merged from its bottom until it is shorter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from ...proto import metaserver_pb2 as pb
from .merging import FILLED_MAX, MERGED_MAX, Overlaid, Plan

AMPLIFICATION = 4
SLICES_HIGH = 384  # below MERGED_MAX
SLICES_MAX = 1024
SLICES_READ_MAX = 4096
REGIONS = 16  # of a chunk; one is a block at the usual sizes
LOOK_AGAIN_AFTER = 16  # slices
LOOK_AGAIN_AFTER_LONG = 64
_DEAD_MIN = 32  # slices
_FREED_MIN = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class LaterOn:
    """Nothing to do until the chunk has so many slices."""

    slices: int


def plan_all(slices: Sequence[pb.Slice], chunk_size: int) -> Plan | None:
    """Return how a list becomes as short as it can, whatever that costs; None if it is."""
    table = Overlaid(slices[:SLICES_READ_MAX], chunk_size)
    dead = _dead(table)
    if len(slices) > MERGED_MAX and dead is not None:
        return dead
    bottom = range(min(len(slices), MERGED_MAX))
    if not bottom:
        return None
    plan = table.merged(bottom)
    if len(slices) > MERGED_MAX and 2 * plan.count > len(bottom):
        plan = table.merged(bottom, filled=chunk_size)
    return plan if plan.saved > 0 else None


def plan_worthwhile(slices: Sequence[pb.Slice], chunk_size: int) -> Plan | LaterOn:
    """Return what is worth merging now. slices: of the chunk in commit order, without what cuts hide."""
    if len(slices) < 2:
        return LaterOn(LOOK_AGAIN_AFTER)
    table = Overlaid(slices[:SLICES_READ_MAX], chunk_size)
    return _of_short(table) if len(slices) < SLICES_HIGH else _of_long(table)


# ------------------------------------------------------------------------------------------------ short lists


def _of_short(table: Overlaid) -> Plan | LaterOn:
    total = len(table.slices)
    plan = _run_from(table, _first_to_merge(table))
    if plan.saved > 0 and _is_half_dead(table, plan):
        return plan
    if 4 * plan.saved < len(plan.members):
        return LaterOn(2 * total)
    lengths = [table.stored(number) for number in plan.members]
    if plan.written_bytes > AMPLIFICATION * (sum(lengths) - max(lengths)):
        return LaterOn(total + LOOK_AGAIN_AFTER)
    return plan


def _run_from(table: Overlaid, first: int) -> Plan:
    """Return the merge of all slices from one on. What lies below is not written along: else it would stay, as well."""
    return table.merged(range(first, len(table.slices)), filled=0 if first else FILLED_MAX)


def _first_to_merge(table: Overlaid) -> int:
    """Return how many leading slices stay: each larger than what becomes of all after it, and mostly alive."""
    slices, first = table.slices, 0
    while first < len(slices) - 2:
        head = slices[first]
        if head.zero or 2 * table.alive[first] < head.length:
            break
        rest = _run_from(table, first + 1)
        if rest.written_bytes > head.length or 2 * (first + 1 + rest.count) > len(slices):
            break
        first += 1
    return first


# ------------------------------------------------------------------------------------------------- long lists


def _of_long(table: Overlaid) -> Plan | LaterOn:
    total = len(table.slices)
    dead = _dead(table)
    if dead is not None:
        return dead
    best = min((one for one in _candidates(table) if _is_worthwhile(table, one)), key=_cost, default=None)
    if best is not None:
        return best
    return LaterOn(total + LOOK_AGAIN_AFTER_LONG)


def _dead(table: Overlaid) -> Plan | None:
    """Return the plan that drops what is wholly hidden by later slices; None when it is little."""
    dead = [number for number, alive in enumerate(table.alive) if not alive]
    size = sum(map(table.stored, dead))
    if not dead or (len(dead) < _DEAD_MIN and 4 * size < sum(table.alive)):
        return None
    return Plan(dead[:MERGED_MAX], (), ())


def _candidates(table: Overlaid) -> Iterator[Plan]:
    """Yield what could be merged."""
    size = table.chunk_size // REGIONS or 1
    for region, members in enumerate(_by_region(table.slices, size)):
        if len(members) > 1:
            for filled in (FILLED_MAX, size):
                yield table.merged(members[:MERGED_MAX], region * size, (region + 1) * size, filled=filled)
    total = len(table.slices)
    windows = [range(first, min(first + MERGED_MAX, total)) for first in range(0, total, MERGED_MAX)]
    deadest = max(windows, key=lambda window: sum(table.stored(n) - table.alive[n] for n in window))
    yield table.merged(windows[0])
    yield table.merged(deadest)
    if total >= 2 * SLICES_MAX:
        yield table.merged(windows[0], filled=table.chunk_size)


def _is_worthwhile(table: Overlaid, plan: Plan) -> bool:
    freed = sum(map(table.stored, plan.members)) - plan.read_bytes
    if plan.saved <= 0 or (plan.saved < LOOK_AGAIN_AFTER and freed < _FREED_MIN):
        return False  # a step has a price of its own
    if _is_half_dead(table, plan):
        return True
    if 4 * plan.saved < len(plan.members):
        return False
    # What came since the last time is small, and most; what was merged then is large.
    usual = median_low(table.stored(number) for number in plan.members)
    return plan.written_bytes <= AMPLIFICATION * plan.saved * usual or len(table.slices) >= SLICES_MAX


def _cost(plan: Plan) -> float:
    return (plan.written_bytes + plan.read_bytes) / plan.saved


def _by_region(slices: Sequence[pb.Slice], size: int) -> list[list[int]]:
    """Return of each region the longest run of slices that lie in it, with none in between that lies partly in it."""
    longest: list[list[int]] = [[] for _ in range(REGIONS + 1)]  # the last: of what does not divide evenly
    runs: list[list[int]] = [[] for _ in longest]

    def close(region: int) -> None:
        longest[region] = max(longest[region], runs[region], key=len)
        runs[region] = []

    for number, one in enumerate(slices):
        first, last = one.offset // size, (one.offset + one.length - 1) // size
        if first == last:
            runs[first].append(number)
            continue
        for region in range(first, last + 1):
            close(region)
    for region in range(len(runs)):
        close(region)
    return longest


def _is_half_dead(table: Overlaid, plan: Plan) -> bool:
    """Say whether at least half of what is stored goes."""
    return sum(map(table.stored, plan.members)) >= 2 * plan.read_bytes
