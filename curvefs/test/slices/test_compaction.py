"""Plans of compaction: what a chunk holds stays the same, with whatever comes later; lists and work stay bounded."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.slices import compaction
from curvefs.src.slices.compaction import LaterOn, plan_all, plan_worthwhile
from curvefs.src.slices.merging import FILLED_MAX, MERGED_MAX, Overlaid, Plan
from curvefs.src.slices.overlay import overlay

KIB, MIB = 1 << 10, 1 << 20
CHUNK, LARGE = MIB, 4 * MIB


class Chunk:
    """A list of slices, and the chunk's bytes in units: each is the number of who wrote it, 0 for zeros."""

    def __init__(self, chunk_size=CHUNK, unit=KIB):
        self.chunk_size = chunk_size
        self.unit = unit
        self.slices = []
        self.ids = iter(range(1, 10**9))
        self.stored = {}  # chunk id -> what each unit of its run holds
        self.written = self.rewritten = 0

    def write(self, offset, length):
        chunk_id = next(self.ids)
        self.stored[chunk_id] = [chunk_id] * (length // self.unit)
        self.slices.append(data_slice(chunk_id, offset, length))
        self.written += length

    def zero(self, offset, length):
        self.slices.append(pb.Slice(offset=offset, length=length, zero=True))

    def content(self, slices=None):
        return [
            value
            for extent in overlay(self.slices if slices is None else slices, 0, self.chunk_size)
            for value in self.values(extent)
        ]

    def values(self, extent):
        count = extent.length // self.unit
        if extent.slice is None:
            return [0] * count
        first = extent.run_offset // self.unit
        return self.stored[extent.slice.chunk_id][first : first + count]

    def carry_out(self, plan):
        replacement = []
        for run in plan.runs:
            chunk_id = next(self.ids)
            self.stored[chunk_id] = [value for piece in run.pieces for value in self.values(piece)]
            assert len(self.stored[chunk_id]) * self.unit == run.length
            replacement.append(data_slice(chunk_id, run.offset, run.length))
            self.rewritten += run.length
        replacement += [pb.Slice(offset=offset, length=length, zero=True) for offset, length in plan.zeros]
        assert len(replacement) <= len(plan.members)
        assert len(plan.members) <= MERGED_MAX
        assert list(plan.members) == sorted(set(plan.members))
        # It takes the last places, as a commit does.
        places = dict(zip(plan.members[len(plan.members) - len(replacement) :], replacement, strict=True))
        gone = set(plan.members)
        self.slices = [places.get(n, one) for n, one in enumerate(self.slices) if n in places or n not in gone]
        alive = {one.chunk_id for one in self.slices}
        self.stored = {chunk_id: run for chunk_id, run in self.stored.items() if chunk_id in alive}

    def merged(self, first, end=None):
        end = len(self.slices) if end is None else end
        return Overlaid(self.slices, self.chunk_size).merged(range(first, end))

    def stored_bytes(self):
        return sum(map(len, self.stored.values())) * self.unit


def data_slice(chunk_id, offset, length):
    return pb.Slice(
        chunk_id=chunk_id, offset=offset, length=length, size=length, object=pb.ObjectLocation(block_format=1)
    )


UNITS = CHUNK // KIB
pieces = st.tuples(st.integers(0, UNITS - 1), st.integers(1, UNITS), st.booleans())
# Mostly small ones, so that gaps are left.
small = st.tuples(st.integers(0, UNITS - 1), st.integers(1, 200), st.sampled_from([False, False, False, True]))
lists = st.lists(st.one_of(pieces, small, small, small), min_size=1, max_size=30)


def chunk_of(writes):
    chunk = Chunk()
    for offset, length, zero in writes:
        (chunk.zero if zero else chunk.write)(offset * KIB, min(length, UNITS - offset) * KIB)
    return chunk


@settings(max_examples=150, deadline=None)
@given(lists, st.data())
def test_merging_any_run_changes_no_byte_also_below_what_came_later(writes, data):
    chunk = chunk_of(writes)
    end = data.draw(st.integers(1, len(writes)))
    first = data.draw(st.integers(0, end - 1))
    before = chunk.content()
    plan = chunk.merged(first, end)
    if plan.saved >= 0:
        chunk.carry_out(plan)
    assert chunk.content() == before


@settings(max_examples=150, deadline=None)
@given(lists, st.data(), st.sampled_from([0, 4 * KIB, CHUNK]))
def test_a_merge_planned_without_what_came_later_changes_no_byte_of_it(writes, data, filled):
    chunk = chunk_of(writes)
    end = data.draw(st.integers(1, len(writes)))
    first = data.draw(st.integers(0, end - 1))
    before = chunk.content()
    plan = Overlaid(chunk.slices[:end], CHUNK).merged(range(first, end), filled=filled)
    if plan.saved >= 0:
        chunk.carry_out(plan)
    assert chunk.content() == before


@settings(max_examples=150, deadline=None)
@given(lists, st.integers(0, UNITS - 1))
def test_what_is_hidden_stays_hidden_when_later_slices_are_cut_away(writes, cut_at):
    """A truncate between planning and replacing: zeros on top, in both."""
    chunk = chunk_of(writes)
    plan = chunk.merged(len(writes) // 2)
    chunk.zero(cut_at * KIB, CHUNK - cut_at * KIB)
    before = chunk.content()
    if plan.saved >= 0:
        chunk.carry_out(plan)
    assert chunk.content() == before


@settings(max_examples=150, deadline=None)
@given(lists)
def test_a_run_from_the_bottom_never_becomes_more_slices(writes):
    plan = chunk_of(writes).merged(0)
    assert plan.saved >= 0
    assert not plan.zeros


@settings(max_examples=150, deadline=None)
@given(lists)
def test_what_is_planned_can_take_the_place_of_what_goes(writes):
    for planned in (plan_all, plan_worthwhile):
        chunk = chunk_of(writes)
        plan = planned(chunk.slices, CHUNK)
        if plan is None or isinstance(plan, LaterOn):
            continue
        before, count = chunk.content(), len(chunk.slices)
        assert plan.saved > 0
        chunk.carry_out(plan)
        assert chunk.content() == before
        assert len(chunk.slices) < count


@settings(max_examples=100, deadline=None)
@given(lists)
def test_stored_runs_do_not_overlap_and_begin_and_end_with_bytes(writes):
    plan = chunk_of(writes).merged(len(writes) // 3)
    places = sorted([(run.offset, run.length) for run in plan.runs] + list(plan.zeros))
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(places))
    for run in plan.runs:
        assert run.pieces[0].slice is not None
        assert run.pieces[-1].slice is not None


def test_everything_written_becomes_one_slice():
    chunk = Chunk(LARGE)
    for n in range(16):
        chunk.write(n * 256 * KIB, 256 * KIB)
    for n in range(100):
        chunk.write(n * 40 * KIB, 4 * KIB)
    chunk.carry_out(plan_all(chunk.slices, LARGE))
    assert len(chunk.slices) == 1
    assert plan_all(chunk.slices, LARGE) is None


def test_what_nobody_reads_costs_nothing():
    chunk = Chunk(LARGE)
    for _ in range(20):
        chunk.write(0, MIB)
    chunk.zero(0, MIB)
    plan = plan_worthwhile(chunk.slices, LARGE)
    assert (plan.runs, plan.zeros, plan.written_bytes) == ((), (), 0)


def test_a_sparse_chunk_is_left_alone_until_it_has_twice_as_many_slices():
    chunk = Chunk(LARGE)
    for n in range(16):
        chunk.write(n * 256 * KIB, 4 * KIB)
    assert plan_worthwhile(chunk.slices, LARGE) == LaterOn(32)


def test_a_large_slice_that_others_follow_is_left_alone():
    chunk = Chunk(LARGE)
    chunk.write(0, 2 * MIB)
    for n in range(20):
        chunk.write(2 * MIB + n * 4 * KIB, 4 * KIB)
    plan = plan_worthwhile(chunk.slices, LARGE)
    assert (plan.members, plan.written_bytes) == (range(1, 21), 80 * KIB)


def looked_after(chunk, write, writes, every=1):
    """Write and merge as the counters would have it; return the longest list and the most bytes stored."""
    look_at, longest, largest = compaction.LOOK_AGAIN_AFTER, 0, 0
    for n in range(writes):
        write()
        if n % every:
            continue
        longest, largest = max(longest, len(chunk.slices)), max(largest, chunk.stored_bytes())
        while len(chunk.slices) >= look_at:
            count = len(chunk.slices)
            plan = plan_worthwhile(chunk.slices, chunk.chunk_size)
            if isinstance(plan, LaterOn):
                look_at = max(plan.slices, count + 1)
                continue
            chunk.carry_out(plan)
            if count < compaction.SLICES_HIGH:
                look_at = len(chunk.slices) + max(len(chunk.slices), compaction.LOOK_AGAIN_AFTER)
    return longest, largest


def test_appending_writes_a_byte_again_a_few_times():
    chunk = Chunk(64 * MIB, 4 * KIB)
    longest, _ = looked_after(chunk, lambda: chunk.write(chunk.written, 16 * KIB), 4000)
    assert longest <= 40
    assert chunk.rewritten <= 8 * chunk.written


def test_overwriting_at_random_keeps_lists_and_work_bounded():
    """As the soak test does it: 4 KiB to 1 MiB anywhere."""
    rng = random.Random(1)
    chunk = Chunk(64 * MIB, 4 * KIB)

    def write():
        length = 4 * KIB << rng.randrange(9)
        chunk.write(rng.randrange(0, 64 * MIB - length, 4 * KIB), length)

    chunk.write(0, 64 * MIB)
    longest, _ = looked_after(chunk, write, 3000)
    assert longest <= compaction.SLICES_HIGH + 2 * compaction.LOOK_AGAIN_AFTER
    assert chunk.rewritten <= (compaction.AMPLIFICATION + 1) * chunk.written


class Sparse:
    """A chunk's bytes in units as a plain array."""

    def __init__(self, full, seed):
        self.rng = random.Random(seed)
        self.chunk = Chunk(64 * MIB, 4 * KIB)
        self.model = [0] * (16 << 10)
        if full:
            self.chunk.write(0, 64 * MIB)
            self.model = [1] * len(self.model)

    def write_at(self, unit):
        self.chunk.write(unit * 4 * KIB, 4 * KIB)
        self.model[unit] = self.chunk.slices[-1].chunk_id

    def anywhere(self):
        self.write_at(self.rng.randrange(len(self.model)))

    def check(self):
        # What is merged keeps who wrote it: values are carried along.
        assert self.chunk.content() == self.model


@pytest.mark.parametrize(("full", "every"), [(True, 1), (False, 300), (True, 5000)])
def test_small_random_overwrites_leave_bounded_lists_and_bytes(full, every):
    sparse = Sparse(full, every)
    longest, largest = looked_after(sparse.chunk, sparse.anywhere, 20_000, every)
    sparse.check()
    assert longest <= compaction.SLICES_MAX + every + 2 * compaction.LOOK_AGAIN_AFTER_LONG
    assert len(sparse.chunk.slices) <= compaction.SLICES_MAX + every
    assert largest <= 3 * 64 * MIB
    amplification = (sparse.chunk.rewritten + sparse.chunk.written) / (20_000 * 4 * KIB)
    assert amplification <= 11


def test_what_lies_apart_and_is_overwritten_is_dropped_for_nothing():
    """More places than one look once read, none of which joins its neighbour."""
    sparse = Sparse(full=False, seed=0)
    places = itertools.cycle(range(0, 16 << 10, 32))
    longest, _ = looked_after(sparse.chunk, lambda: sparse.write_at(next(places)), 5000)
    sparse.check()
    assert longest <= 1024
    assert sparse.chunk.stored_bytes() <= 4 * MIB
    assert not sparse.chunk.rewritten


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1, 3, 40, 300]), st.booleans())
def test_long_lists_of_any_shape_become_short_without_changing_a_byte(seed, largest, thorough):
    rng = random.Random(seed)
    chunk = Chunk(CHUNK, KIB)
    for _ in range(rng.randrange(2000, 3000)):
        length = rng.randrange(1, largest + 1)
        where = rng.randrange(0, UNITS - length)
        (chunk.zero if rng.random() < 0.1 else chunk.write)(where * KIB, length * KIB)
    before, steps = chunk.content(), 0
    while True:
        found = plan_all(chunk.slices, CHUNK) if thorough else plan_worthwhile(chunk.slices, CHUNK)
        if not isinstance(found, Plan):
            break
        chunk.carry_out(found)
        steps += 1
        assert chunk.content() == before
    # Thorough: what is left has holes between that are not worth storing.
    assert len(chunk.slices) <= (CHUNK // FILLED_MAX if thorough else compaction.SLICES_MAX)
    assert steps <= 40
