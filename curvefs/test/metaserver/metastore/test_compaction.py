"""Compaction in the state machine: counted chunks, leased ids, and replacing exactly what was merged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.src.metaserver.metastore import compaction, tallies
from curvefs.src.metaserver.metastore.unfinished import unfinished
from curvefs.src.metaserver.storage import keys
from curvefs.src.slices.merging import Overlaid
from curvefs.src.slices.overlay import overlay

from .lab import CHUNK, FS, Lab
from .test_data import File

ROOT = 1


def step(lab, **what):
    return lab.entry(compact=state_pb2.CompactCommand(fs_id=FS, **what))


def lease(lab):
    return step(lab, lease=state_pb2.CompactLease(partition_id=0)).ranges[0]


def pairs_of(lab, inode_id, chunk=0):
    return list(lab.state.scan(*keys.slices_of_chunk(FS, inode_id, chunk)))


class Compactor:
    """Plans and commits as the leader does, with the values of a File instead of bytes."""

    def __init__(self, file):
        self.file = file
        self.lab = file.lab
        self.ids = iter(())

    def chunk_id(self):
        found = next(self.ids, 0)
        if not found:
            granted = lease(self.lab)
            self.ids = iter(range(granted.first, granted.end))
            found = next(self.ids)
        return found

    def prepare(self, first=0, end=None, chunk=0):
        """Return the commit that merges slices [first, end) of a chunk as it is now; None if they stay as many."""
        pairs = pairs_of(self.lab, self.file.inode_id, chunk)[:end]
        slices = [pb.Slice.FromString(value) for _, value in pairs]
        if first >= len(slices):
            return None
        plan = Overlaid(slices, CHUNK).merged(range(first, len(slices)))
        if plan.saved < 0:
            return None
        commit = state_pb2.CompactCommit(
            inode_id=self.file.inode_id,
            chunk_index=chunk,
            orders=[keys.slice_order(key) for key, _ in pairs[first:]],
            digest=compaction.digest_of(pairs[first:]),
            look_again_at=16,
        )
        for run in plan.runs:
            chunk_id = self.chunk_id()
            self.file.values[chunk_id] = [value for piece in run.pieces for value in self.values(piece)]
            commit.replacement.add(
                chunk_id=chunk_id,
                compaction=1,
                chunk_index=chunk,
                offset=run.offset,
                length=run.length,
                size=run.length,
                object=pb.ObjectLocation(block_format=1),
            )
        for offset, length in plan.zeros:
            commit.replacement.add(chunk_index=chunk, offset=offset, length=length, zero=True)
        return commit

    def values(self, piece):
        if piece.slice is None:
            return [0] * piece.length
        value = self.file.values[piece.slice.chunk_id]
        return [value] * piece.length if isinstance(value, int) else value[piece.run_offset :][: piece.length]

    def commit(self, commit):
        return step(self.lab, commit=commit)

    def merge(self, first=0, end=None, chunk=0):
        commit = self.prepare(first, end, chunk)
        assert commit is not None
        applied = self.commit(commit)
        assert applied.failure is None, applied.failure
        return applied


def lab_with_writes(*writes):
    file = File(Lab())
    for offset, length, value in writes:
        file.write(offset, length, value)
    return file, Compactor(file)


def queued(lab):
    records = [state_pb2.DeleteRecord.FromString(lab.state.get(key)) for key in lab.table(b"q")]
    return sorted(one.slice.chunk_id for one in records if one.HasField("slice"))


def was_refused(applied, code=c.SKIPPED):
    return applied.failure is not None and applied.failure.code == code


# ------------------------------------------------------------------------------------------------ tallies


def check_tallies(lab):
    """Every chunk's tally says how many slices it has; what is on the list says so."""
    counts = {}
    for key in lab.table(keys.SLICE):
        place = key[1:-8]
        counts[place] = counts.get(place, 0) + 1
    stored = {key[1:]: tallies.parse(lab.state.get(key)) for key in lab.table(keys.TALLY)}
    assert {place: one.count for place, one in stored.items()} == {p: n for p, n in counts.items() if n > 1}
    assert {key[1:] for key in lab.table(keys.LISTED)} == {place for place, one in stored.items() if one.listed}


def test_a_chunk_with_one_slice_is_not_counted():
    file, _ = lab_with_writes((0, 1000, 1), (CHUNK, 1000, 2))
    assert not file.lab.table(keys.TALLY)


def test_a_chunk_with_many_slices_is_listed_with_the_time_it_came_there():
    file, _ = lab_with_writes(*((n * 100, 100, 1) for n in range(15)))
    assert not tallies.listed(file.lab.state, None, 10)
    file.write(1500, 100, 1)
    (one,) = tallies.listed(file.lab.state, None, 10)
    assert (one.fs_id, one.inode_id, one.chunk_index, one.since_ns) == (FS, file.inode_id, 0, file.lab.time_ns)
    assert tallies.listed(file.lab.state, one, 10) == []


def test_many_dead_bytes_list_a_chunk_with_few_slices():
    lab = Lab()
    lab.state.pairs.clear()
    spec = pb.PartitionSpec(fs_id=FS, group_id=7, hash_seed=b"h" * 16, chunk_size=64 << 20, block_size=4 << 20)
    lab.entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
    lab.open(b"s" * 16)
    lab.sequence = 0
    inode_id = lab.create(ROOT, b"f")
    first = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0].first
    for n in range(2):
        assert not tallies.listed(lab.state, None, 10)
        one = pb.Slice(chunk_id=first + n, length=8 << 20, size=8 << 20, object=pb.ObjectLocation(block_format=1))
        lab.ok(append_slices=pb.AppendSlices(inode_id=inode_id, slices=[one], length=8 << 20))
    assert len(tallies.listed(lab.state, None, 10)) == 1


def test_a_chunk_that_lost_its_slices_is_listed_no_longer():
    file, _ = lab_with_writes(*((n * 100, 100, 1) for n in range(20)))
    assert tallies.listed(file.lab.state, None, 10)
    file.truncate(0)
    assert not tallies.listed(file.lab.state, None, 10)
    check_tallies(file.lab)


def test_what_is_written_after_a_cut_in_the_same_entry_is_counted_with_what_the_cut_hides():
    file, _ = lab_with_writes(*((n * 10, 10, 1) for n in range(600)))
    lab = file.lab
    other = lab.create(ROOT, b"other")
    appended = [file.slice(0, 10, 7) for _ in range(2)]
    lab.follow_up = False
    operations = [
        # This looks whether there are cuts.
        pb.Operation(append_slices=pb.AppendSlices(inode_id=other, slices=appended[:1], length=10)),
        pb.Operation(set_attr=pb.SetAttr(inode_id=file.inode_id, length=0)),
        pb.Operation(append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=appended[1:], length=10)),
    ]
    first = lab.sequence + 1
    lab.sequence += len(operations)
    applied = lab.batch(first, operations)
    assert [one.status for one in applied.results.results] == [c.OK] * 3
    check_tallies(lab)
    lab.follow_up = True
    lab.ok(noop=pb.NoOperation())
    assert not lab.table(keys.CUT)
    check_tallies(lab)


def test_nothing_is_left_of_a_file_that_was_purged():
    file, _ = lab_with_writes(*((n * 100, 100, 1) for n in range(700)))
    assert tallies.listed(file.lab.state, None, 10)
    file.lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    (key,) = [
        key
        for key in file.lab.table(b"q")
        if state_pb2.DeleteRecord.FromString(file.lab.state.get(key)).HasField("inode")
    ]
    while file.lab.state.get(key) is not None:
        file.lab.entry(reclaim=state_pb2.ReclaimCommand(fs_id=FS, keys=[key]))
        check_tallies(file.lab)
    assert not file.lab.table(keys.TALLY)
    assert not file.lab.table(keys.LISTED)


def test_a_chunk_that_is_cut_and_written_anew_by_one_entry_is_counted_right():
    lab = Lab()
    file = lab.create(ROOT, b"f")
    one = pb.Slice(chunk_id=1000, length=10, size=10, object=pb.ObjectLocation(block_format=1))
    lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=[one], length=10))
    anew = pb.AppendSlices(inode_id=file, slices=[pb.Slice(zero=True, length=10)] * 3, length=10)
    cut = pb.SetAttr(inode_id=file, length=0)
    lab.batch(lab.sequence + 1, [pb.Operation(set_attr=cut), pb.Operation(append_slices=anew)])
    assert tallies.count_of(lab.state, FS, file, 0) == 3
    check_tallies(lab)


def test_slices_from_before_there_were_tallies_are_counted_with_the_next():
    file, _ = lab_with_writes(*((n * 100, 100, 1) for n in range(20)))
    for table in (keys.TALLY, keys.LISTED):
        for key in file.lab.table(table):
            file.lab.state.delete(key)
    file.write(0, 10, 1)
    assert tallies.listed(file.lab.state, None, 10)
    check_tallies(file.lab)


def test_a_chunk_that_is_not_worth_it_waits_until_it_has_more_slices():
    file, _ = lab_with_writes(*((n * 100, 100, 1) for n in range(16)))
    step(file.lab, look_again=state_pb2.CompactLookAgain(inode_id=file.inode_id, slices=20))
    for _ in range(3):
        file.write(0, 10, 1)
        assert not tallies.listed(file.lab.state, None, 10)
    file.write(0, 10, 1)
    assert tallies.listed(file.lab.state, None, 10)


# ------------------------------------------------------------------------------------------------- commit


def test_merged_slices_give_way_and_their_objects_are_queued():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2), (700, 100, 3))
    old = [one.chunk_id for one in file.lab.slices(file.inode_id)]
    before = file.lab.inode(file.inode_id)
    compactor.merge()
    (one,) = file.lab.slices(file.inode_id)
    assert (one.offset, one.length, one.compaction) == (0, 1500, 1)
    assert queued(file.lab) == sorted(old)
    assert file.lab.inode(file.inode_id) == before
    check_tallies(file.lab)


def test_what_was_written_after_planning_wins():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    file.write(600, 100, 9)
    assert compactor.commit(commit).failure is None
    assert file.lab.slices(file.inode_id)[0].chunk_id == commit.replacement[0].chunk_id
    assert content(file) == bytes(file.model)


def test_a_punched_hole_and_a_truncate_after_planning_win():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    file.punch(100, 50)
    file.truncate(1200)
    file.truncate(3000)
    assert compactor.commit(commit).failure is None
    assert content(file) == bytes(file.model)


def test_a_truncate_to_nothing_after_planning_wins():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    file.truncate(0)
    with file.lab.unchanged():
        assert was_refused(compactor.commit(commit))


def test_a_cut_that_is_not_finished_hides_what_takes_the_place_of_what_it_hid():
    file, compactor = lab_with_writes(*((n, 1, 1) for n in range(510)))
    commit = compactor.prepare(end=20)
    file.lab.follow_up = False
    file.truncate(0)
    assert compactor.commit(commit).failure is None
    assert file.lab.slices(file.inode_id) == []
    file.truncate(1000)
    assert content(file) == bytes(1000)
    file.lab.follow_up = True
    step(file.lab, close=state_pb2.CompactClose())
    assert not pairs_of(file.lab, file.inode_id)
    assert commit.replacement[0].chunk_id in queued(file.lab)
    check_tallies(file.lab)


def test_of_two_compactions_of_the_same_slices_one_is_refused():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    first, second = compactor.prepare(), compactor.prepare()
    assert compactor.commit(first).failure is None
    with file.lab.unchanged():
        assert was_refused(compactor.commit(second))
        assert was_refused(compactor.commit(first))  # the same entry again


def test_a_replacement_in_the_place_of_a_merged_slice_is_not_taken_for_it():
    """The order of the last merged one is used again; what has it is another slice."""
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2), (0, 100, 3), (200, 100, 4))
    late = compactor.prepare(first=2)
    compactor.merge(end=3)
    with file.lab.unchanged():
        assert was_refused(compactor.commit(late))
    assert content(file) == bytes(file.model)


def test_zeros_that_took_the_place_of_zeros_are_told_apart():
    file, compactor = lab_with_writes((0, 1000, 1))
    file.punch(0, 100)
    file.punch(100, 100)
    late = compactor.prepare(first=2)
    compactor.merge(first=1)
    with file.lab.unchanged():
        assert was_refused(compactor.commit(late))
    assert content(file) == bytes(file.model)


def test_a_file_that_is_gone_refuses():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    file.lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    with file.lab.unchanged():
        assert was_refused(compactor.commit(commit), c.NOT_FOUND)


def test_a_file_that_is_unlinked_and_open_may_be_compacted():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    file.lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f", held_inode=file.inode_id))
    compactor.merge()
    assert content(file) == bytes(file.model)


def test_the_tally_waits_for_more_slices_after_a_commit():
    file, compactor = lab_with_writes(*((n * 100, 100, 1) for n in range(20)))
    assert tallies.listed(file.lab.state, None, 10)
    compactor.merge(end=10)
    assert not tallies.listed(file.lab.state, None, 10)
    check_tallies(file.lab)


# ---------------------------------------------------------------------------------------------------- ids


def test_ids_of_another_term_are_refused():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    file.lab.term = 2
    with file.lab.unchanged():
        assert was_refused(compactor.commit(commit), c.ID_REFUSED)


def test_ids_nobody_leased_are_refused():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    commit.replacement[0].chunk_id += 5000
    with file.lab.unchanged():
        assert was_refused(compactor.commit(commit), c.ID_REFUSED)


def test_a_session_cannot_publish_under_ids_leased_to_the_leader():
    file, _ = lab_with_writes((0, 1000, 1))
    chunk_id = lease(file.lab).first
    one = pb.Slice(chunk_id=chunk_id, length=10, size=10, object=pb.ObjectLocation(block_format=1))
    file.lab.refused(c.ID_REFUSED, append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=[one], length=10))


def test_a_new_leader_closes_what_earlier_terms_leased_and_nothing_else():
    lab = Lab()
    old = lease(lab)
    lab.term = 2
    new = lease(lab)
    entries = [one for one in unfinished(lab.state) if one.HasField("compact")]
    assert [one.compact.WhichOneof("step") for one in entries] == ["close"]
    lab.log(entries[0])
    records = [state_pb2.DeleteRecord.FromString(lab.state.get(key)) for key in lab.table(b"q")]
    assert [(one.never_published.first, one.never_published.end) for one in records] == [(old.first, old.end)]
    left = [state_pb2.RangeRecord.FromString(lab.state.get(key)).range.first for key in lab.table(b"g")]
    assert left == [new.first]


def test_nothing_is_closed_where_nothing_was_leased():
    assert not [one for one in unfinished(Lab().state) if one.HasField("compact")]


def test_given_up_ids_are_queued_once_and_refused_afterwards():
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    chunk_id = commit.replacement[0].chunk_id
    for _ in range(2):
        step(file.lab, give_up=state_pb2.CompactGiveUp(chunk_ids=[chunk_id]))
    records = [state_pb2.DeleteRecord.FromString(file.lab.state.get(key)) for key in file.lab.table(b"q")]
    assert [(one.never_published.first, one.never_published.end) for one in records] == [(chunk_id, chunk_id + 1)]
    assert was_refused(compactor.commit(commit), c.ALREADY_DONE)


def test_giving_up_what_was_published_after_all_deletes_nothing():
    """A commit of unknown outcome that was applied."""
    file, compactor = lab_with_writes((0, 1000, 1), (500, 1000, 2))
    commit = compactor.prepare()
    compactor.commit(commit)
    with file.lab.unchanged():
        step(file.lab, give_up=state_pb2.CompactGiveUp(chunk_ids=[commit.replacement[0].chunk_id]))


# --------------------------------------------------------------------------------------------- everything


def content(file):
    """What a reader sees; runs that compaction stored hold one value for each byte."""
    inode = file.lab.inode(file.inode_id)
    found = bytearray()
    for chunk in range(-(-inode.length // CHUNK)):
        end = min(CHUNK, inode.length - chunk * CHUNK)
        for extent in overlay(file.lab.slices(file.inode_id, chunk, 1), 0, end):
            value = 0 if extent.slice is None else file.values[extent.slice.chunk_id]
            if isinstance(value, int):
                found += bytes([value]) * extent.length
            else:
                found += bytes(value[extent.run_offset : extent.run_offset + extent.length])
    return bytes(found)


LIMIT = 3000
places = st.integers(0, LIMIT)
steps = st.one_of(
    st.tuples(st.just("write"), places, st.integers(1, 1200)),
    st.tuples(st.just("append"), places, st.integers(1, 300)),
    st.tuples(st.just("truncate"), places, st.just(0)),
    st.tuples(st.just("punch"), places, st.integers(1, 1200)),
    st.tuples(st.just("plan"), st.integers(0, 8), st.integers(1, 9)),
    st.tuples(st.just("commit"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("term"), st.just(0), st.just(0)),
    st.tuples(st.just("give up"), st.integers(0, 3), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40), st.booleans())
def test_whatever_happens_between_planning_and_committing_no_byte_changes(todo, follow_up):
    file, compactor = lab_with_writes((0, 1000, 1))
    file.lab.follow_up = follow_up
    planned = []
    for n, (what, at, size) in enumerate(todo):
        match what:
            case "write":
                file.write(at, size, n % 250 + 2)
            case "append":
                file.append(size, n % 250 + 2)
            case "truncate":
                file.truncate(at)
            case "punch":
                file.punch(at, size)
            case "plan":
                planned.append(compactor.prepare(at, at + size))
            case "commit":
                commit = planned[at] if at < len(planned) else None
                if commit is not None:
                    compactor.commit(commit)
            case "term":
                file.lab.term += 1
                compactor.ids = iter(())
                step(file.lab, close=state_pb2.CompactClose())
            case _:
                commit = planned[at] if at < len(planned) else None
                if commit is not None:
                    ids = [one.chunk_id for one in commit.replacement if not one.zero]
                    step(file.lab, give_up=state_pb2.CompactGiveUp(chunk_ids=ids))
        assert content(file) == bytes(file.model)
    check_tallies(file.lab)
    alive = {one.chunk_id for key in file.lab.table(b"s") if (one := pb.Slice.FromString(file.lab.state.get(key)))}
    assert not (alive - {0}) & set(queued(file.lab)), "an object that is read is to be deleted"
    for key in file.lab.table(b"q"):
        record = state_pb2.DeleteRecord.FromString(file.lab.state.get(key))
        if record.HasField("never_published"):
            bits = int.from_bytes(record.published, "little")
            span = record.never_published
            lost = {one for one in alive if span.first <= one < span.end and not bits >> (one - span.first) & 1}
            assert not lost, "an object that is read counts as never published"


@pytest.mark.parametrize("what", ["lease", "commit", "look_again"])
def test_a_partition_that_is_not_here_refuses(what):
    lab = Lab(partitions=(1,))
    place = {"lease": state_pb2.CompactLease(partition_id=3)}
    place["commit"] = state_pb2.CompactCommit(inode_id=1)
    place["look_again"] = state_pb2.CompactLookAgain(inode_id=1, slices=5)
    applied = step(lab, **{what: place[what]})
    assert applied.failure is not None or what == "look_again"
    assert not lab.table(keys.TALLY)
    assert not lab.table(b"g")


def partition_record(lab, fs_id, partition_id):
    raw = lab.state.get(keys.partition(fs_id, partition_id))
    return None if raw is None else state_pb2.PartitionRecord.FromString(raw)


def lease_of(lab, fs_id, partition_id):
    command = state_pb2.CompactCommand(fs_id=fs_id, lease=state_pb2.CompactLease(partition_id=partition_id))
    return lab.entry(compact=command).ranges[0]


def with_another_filesystem(lab, partition_id):
    spec = pb.PartitionSpec(fs_id=FS + 1, partition_id=partition_id, group_id=7, hash_seed=b"x" * 16, chunk_size=CHUNK)
    lab.entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))


def test_closing_the_leases_of_two_filesystems_leaves_their_partitions_as_they_are():
    lab = Lab(partitions=(0,))
    with_another_filesystem(lab, 0)
    lease_of(lab, FS, 0)
    for _ in range(5):
        lease_of(lab, FS + 1, 0)
    before = [partition_record(lab, fs_id, 0) for fs_id in (FS, FS + 1)]
    lab.term = 2
    lab.log(compaction.close_entry())
    assert [partition_record(lab, fs_id, 0) for fs_id in (FS, FS + 1)] == before
    assert not lab.table(keys.RANGE)
    assert len(lab.table(keys.DELETE)) == 6


def test_closing_leases_makes_no_partition_of_one_filesystem_in_another():
    lab = Lab(partitions=(3,))
    with_another_filesystem(lab, 4)
    lease_of(lab, FS, 3)
    lease_of(lab, FS + 1, 4)
    lab.term = 2
    lab.log(compaction.close_entry())
    assert partition_record(lab, FS + 1, 3) is None
    assert partition_record(lab, FS, 4) is None


def test_what_ends_after_its_partition_was_deleted_leaves_nothing_in_the_queue():
    lab = Lab()
    lab.create(1, b"f")
    leased = lease(lab)
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    step(lab, give_up=state_pb2.CompactGiveUp(chunk_ids=[leased.first]))
    lab.end()
    lab.term = 2
    lab.log(compaction.close_entry())
    assert not lab.table(keys.DELETE)
    assert not lab.table(keys.RANGE)
