"""Sessions and lanes: once, in order, answered again; ids from leased ranges only."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb

from .lab import SESSION, Lab

ROOT, REG = 1, stat.S_IFREG | 0o644


@pytest.fixture
def lab():
    return Lab()


def create(name, inode_id=0):
    return pb.Operation(create=pb.Create(parent=ROOT, name=name, mode=REG, exclusive=True, inode_id=inode_id))


def test_a_repeated_batch_gets_its_first_answer_and_no_second_effect(lab):
    operations = [create(b"a"), create(b"a"), create(b"b")]
    first = lab.batch(1, operations)
    with lab.unchanged():
        again = lab.batch(1, operations)
    assert [r.status for r in first.results.results] == [c.OK, c.ALREADY_EXISTS, c.OK]
    assert again.results.results == first.results.results


def test_a_batch_that_overlaps_what_was_applied_goes_on_where_it_stopped(lab):
    lab.batch(1, [create(b"a"), create(b"b")])
    result = lab.batch(2, [create(b"b"), create(b"c")])
    assert [r.status for r in result.results.results] == [c.OK, c.OK]
    assert set(lab.names(ROOT)) == {b"a", b"b", b"c"}


def test_a_number_too_high_answers_the_gap(lab):
    with lab.unchanged():
        result = lab.batch(3, [create(b"a")])
    assert result.results.failure.code == c.SEQUENCE_GAP
    assert result.results.failure.expected_sequence == 1


def test_acknowledged_results_are_forgotten(lab):
    lab.batch(1, [create(b"a"), create(b"b")])
    lab.batch(3, [create(b"c")], acknowledged=2)
    assert len(lab.table(b"r")) == 1
    assert lab.batch(1, [create(b"a")], acknowledged=2).results.results[0].status == c.RESULT_FORGOTTEN


def test_a_failed_operation_consumes_its_number(lab):
    lab.batch(1, [create(b"a/b")])
    assert lab.batch(2, [create(b"ok")]).results.results[0].status == c.OK


def test_at_most_256_results_wait_for_acknowledgement(lab):
    noops = [pb.Operation(noop=pb.NoOperation()) for _ in range(300)]
    result = lab.batch(1, noops)
    assert len(result.results.results) == 256
    assert result.results.failure.code == c.OVERLOADED
    assert lab.batch(257, noops[256:], acknowledged=256).results.results[-1].sequence == 300


def test_only_an_open_session_is_served(lab):
    assert lab.batch(1, [create(b"a")], session=b"x" * 16).failure.code == c.SESSION_UNKNOWN
    lab.end()
    assert lab.batch(1, [create(b"a")]).failure.code == c.SESSION_ENDED
    assert lab.open(SESSION).failure.code == c.SESSION_ENDED


def test_an_unknown_session_that_is_ended_can_never_be_opened(lab):
    lab.end(b"y" * 16)
    assert lab.open(b"y" * 16).failure.code == c.SESSION_ENDED


def test_a_tombstone_is_forgotten_after_a_day(lab):
    lab.end(b"y" * 16)
    lab.time_ns += 25 * 3600 * 10**9
    lab.open(b"x" * 16)
    assert lab.open(b"y" * 16).failure is None


def test_opening_twice_keeps_the_lane(lab):
    lab.batch(1, [create(b"a")])
    assert lab.open(SESSION).failure is None
    assert lab.batch(2, [create(b"b")]).results.results[0].status == c.OK


def test_the_first_create_brings_a_range_of_each_kind(lab):
    result = lab.ok(create=pb.Create(parent=ROOT, name=b"a", mode=REG))
    assert sorted(r.kind for r in result.ranges) == [c.INODE, c.CHUNK]
    assert all(r.first % (1000 if r.kind == c.CHUNK else 1024) == 0 for r in result.ranges)


def test_inode_numbers_of_the_clients_choice_are_used_in_ascending_order_once(lab):
    ranges = lab.ok(create=pb.Create(parent=ROOT, name=b"a", mode=REG)).ranges
    first = next(r.first for r in ranges if r.kind == c.INODE)
    assert lab.create(ROOT, b"b", inode_id=first + 5) == first + 5
    for used in (first + 5, first + 4, first + 5000, 17):
        lab.refused(c.ID_REFUSED, create=pb.Create(parent=ROOT, name=b"x", mode=REG, inode_id=used))
    assert lab.create(ROOT, b"c", inode_id=first + 6) == first + 6


def test_another_session_cannot_use_a_range(lab):
    ranges = lab.ok(create=pb.Create(parent=ROOT, name=b"a", mode=REG)).ranges
    first = next(r.first for r in ranges if r.kind == c.INODE)
    lab.open(b"t" * 16)
    result = lab.batch(1, [create(b"b", first)], session=b"t" * 16)
    assert result.results.results[0].status == c.ID_REFUSED


def test_ranges_come_before_they_are_used_up_and_none_is_leased_twice(lab):
    ids, seen = [], set()
    for n in range(3000):
        result = lab.ok(create=pb.Create(parent=ROOT, name=b"%d" % n, mode=REG, inode_id=ids.pop(0) if ids else 0))
        assert result.inode.inode_id not in seen
        seen.add(result.inode.inode_id)
        for granted in result.ranges:
            if granted.kind == c.INODE:
                ids += range(granted.first, granted.end)
        assert ids, "an operation never waits for a number"
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count == 3001


def test_a_session_with_many_open_ranges_loses_the_oldest(lab):
    first = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0].first
    for _ in range(70):
        lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK))
    assert len(lab.table(b"g")) == 64
    file = lab.create(ROOT, b"f")
    one = pb.Slice(chunk_id=first, length=10, size=10, object=pb.ObjectLocation(block_format=1))
    lab.refused(c.ID_REFUSED, append_slices=pb.AppendSlices(inode_id=file, slices=[one], length=10))


def test_the_same_entries_make_the_same_state_to_the_byte():
    states = []
    for _ in range(2):
        lab = Lab()
        for n in range(40):
            lab.do(create=pb.Create(parent=ROOT, name=b"%d" % n, mode=REG))
            lab.do(rename=pb.Rename(parent=ROOT, name=b"%d" % n, new_parent=ROOT, new_name=b"x"))
        lab.end()
        states.append(dict(lab.state.pairs))
    assert states[0] == states[1]


def test_an_operation_may_depend_on_one_that_is_acknowledged_with_it(lab):
    lab.batch(1, [create(b"a"), create(b"a")])
    noop = pb.NoOperation()
    after_1 = pb.Operation(noop=noop, preconditions=[pb.Precondition(only_if_sequence=1)])
    after_2 = pb.Operation(noop=noop, preconditions=[pb.Precondition(only_if_sequence=2)])
    result = lab.batch(3, [after_1, after_2], acknowledged=2)
    assert [r.status for r in result.results.results] == [c.OK, c.SKIPPED]
    assert len(lab.table(b"r")) == 2


def test_the_successors_of_a_failed_operation_are_skipped(lab):
    first, second = create(b"a/b"), create(b"b")
    second.preconditions.add(only_if_sequence=1)
    third = create(b"c")
    third.preconditions.add(only_if_sequence=2)
    result = lab.batch(1, [first, second, third])
    assert [r.status for r in result.results.results] == [c.INVALID_ARGUMENT, c.SKIPPED, c.SKIPPED]
