"""Plans of compaction: what a chunk holds stays the same, with whatever comes later; lists and work stay bounded."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.slices import compaction
from curvefs.src.slices.compaction import LaterOn, merged, plan_all, plan_worthwhile
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
        self.slices[plan.first : plan.end] = replacement


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
    plan = merged(chunk.slices[:end], first, CHUNK)
    chunk.carry_out(plan)
    assert chunk.content() == before


@settings(max_examples=150, deadline=None)
@given(lists, st.integers(0, UNITS - 1))
def test_what_is_hidden_stays_hidden_when_later_slices_are_cut_away(writes, cut_at):
    """A truncate between planning and replacing: zeros on top, in both."""
    chunk = chunk_of(writes)
    plan = merged(chunk.slices, len(writes) // 2, CHUNK)
    chunk.zero(cut_at * KIB, CHUNK - cut_at * KIB)
    before = chunk.content()
    chunk.carry_out(plan)
    assert chunk.content() == before


@settings(max_examples=150, deadline=None)
@given(lists)
def test_a_run_from_the_bottom_never_becomes_more_slices(writes):
    chunk = chunk_of(writes)
    plan = merged(chunk.slices, 0, CHUNK)
    assert plan.count <= plan.end
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
        assert plan.count < plan.end - plan.first
        chunk.carry_out(plan)
        assert chunk.content() == before
        assert len(chunk.slices) < count


@settings(max_examples=100, deadline=None)
@given(lists)
def test_stored_runs_do_not_overlap_and_begin_and_end_with_bytes(writes):
    plan = merged(chunk_of(writes).slices, len(writes) // 3, CHUNK)
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
    assert (plan.first, plan.end, plan.written_bytes) == (1, 21, 80 * KIB)


def looked_after(chunk, write, writes):
    """Write and merge as the counters would have it; return the longest list."""
    look_at, longest = compaction.LOOK_AGAIN_AFTER, 0
    for _ in range(writes):
        write()
        longest = max(longest, len(chunk.slices))
        if len(chunk.slices) < look_at:
            continue
        plan = plan_worthwhile(chunk.slices, chunk.chunk_size)
        if isinstance(plan, LaterOn):
            look_at = plan.slices
        else:
            chunk.carry_out(plan)
            look_at = max(len(chunk.slices) + compaction.LOOK_AGAIN_AFTER, 16)
    return longest


def test_appending_writes_a_byte_again_a_few_times():
    chunk = Chunk(64 * MIB, 4 * KIB)
    longest = looked_after(chunk, lambda: chunk.write(chunk.written, 16 * KIB), 4000)
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
    longest = looked_after(chunk, write, 3000)
    assert longest <= compaction.SLICES_HIGH + 2 * compaction.LOOK_AGAIN_AFTER
    assert chunk.rewritten <= (compaction.AMPLIFICATION + 1) * chunk.written
