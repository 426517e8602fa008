"""The delete queue of the state machine: what is done is forgotten, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.src.metaserver.metastore.delete_queue import LATE_UPLOADS_NS, SLICES_PER_ENTRY_MAX
from curvefs.src.metaserver.storage import keys

from .lab import CHUNK, Lab
from .queue_lab import queued, reclaim
from .test_data import OFFSETS, ROOT, File

LEFT_BY_A_FILE = (b"i", b"x", b"s", b"c", b"w", b"q", b"h")


def unlink(lab):
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))


def test_an_unlinked_files_slices_are_given_up_in_bounded_steps_and_nothing_of_it_is_left():
    lab = Lab(follow_up=False)
    file = File(lab)
    for number in range(SLICES_PER_ENTRY_MAX + 200):
        file.write(number % 50 * 10, 10, 1)
    file.append(3 * CHUNK, 2)
    for number in range(600):
        file.write(CHUNK + number % 50 * 10, 10, 3)
    lab.ok(set_xattr=pb.SetXattr(inode_id=file.inode_id, name=b"user.a", value=b"b"))
    lab.ok(set_attr=pb.SetAttr(inode_id=file.inode_id, length=CHUNK))  # leaves a cut behind
    assert lab.table(b"c")
    unlink(lab)
    [key] = lab.table(b"q")
    steps = 0
    while key in lab.state.pairs:
        before = len(lab.table(b"s"))
        reclaim(lab, key)
        assert before - len(lab.table(b"s")) <= SLICES_PER_ENTRY_MAX
        steps += 1
    assert steps == 1101 // SLICES_PER_ENTRY_MAX + 1
    assert len(queued(lab)) == 1101
    reclaim(lab, *lab.table(b"q"))
    assert [len(lab.table(table)) for table in LEFT_BY_A_FILE] == [1, 0, 0, 0, 0, 0, 0], "the root is left"


def test_the_grace_of_a_files_slices_counts_from_when_it_was_unlinked():
    lab = Lab()
    File(lab).append(10, 1)
    unlink(lab)
    [key] = lab.table(b"q")
    lab.open(b"t" * 16)
    reclaim(lab, key)
    [moved] = lab.table(b"q")
    assert moved != key
    assert keys.delete_time(moved) == keys.delete_time(key)


def test_reclaiming_again_or_something_else_changes_nothing():
    lab = Lab()
    file = File(lab)
    file.append(10, 1)
    lab.ok(set_attr=pb.SetAttr(inode_id=file.inode_id, length=0))
    [key] = lab.table(b"q")
    inode_key = keys.of_inode(keys.INODE, 1, file.inode_id)
    other_fs = keys.delete(2, lab.time_ns, 1)
    lab.state.put(other_fs, state_pb2.DeleteRecord(queued_ns=1).SerializeToString())
    with lab.unchanged():
        reclaim(lab, inode_key, other_fs)
    reclaim(lab, key)
    with lab.unchanged():
        reclaim(lab, key)


def test_ids_never_published_are_looked_for_once_more_a_day_later():
    lab = Lab()
    File(lab).append(10, 1)
    lab.end()
    first = lab.table(b"q")
    looked_for = queued(lab, "never_published")
    reclaim(lab, *first)
    again = lab.table(b"q")
    assert {keys.delete_time(key) for key in again} == {lab.time_ns + LATE_UPLOADS_NS}
    assert queued(lab, "never_published") == looked_for
    reclaim(lab, *again)
    assert not lab.table(b"q")


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, st.integers(1, CHUNK)),
        st.tuples(st.just("append"), st.integers(1, 3 * CHUNK), st.just(0)),
        st.tuples(st.just("truncate"), OFFSETS, st.just(0)),
        st.tuples(st.just("punch"), OFFSETS, st.integers(1, 2 * CHUNK)),
        st.tuples(st.just("reclaim"), st.integers(0, 5), st.just(0)),
    ),
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(CHANGES)
def test_every_stored_chunk_is_referred_to_or_queued_or_deleted_and_never_two_of_these(changes):
    lab = Lab()
    file = File(lab)
    deleted = []

    def work_off(keys_):
        for key in keys_:
            record = state_pb2.DeleteRecord.FromString(lab.state.pairs[key])
            if record.HasField("slice"):
                deleted.append(record.slice.chunk_id)
        reclaim(lab, *keys_)

    def check():
        held = {pb.Slice.FromString(lab.state.pairs[key]).chunk_id for key in lab.table(b"s")} - {0}
        waiting = [one.chunk_id for one in queued(lab)]
        assert sorted([*held, *waiting, *deleted]) == sorted(file.values)

    for name, first, second in changes:
        match name:
            case "write":
                file.write(first, second, 1)
            case "punch":
                file.punch(first, second)
            case "append":
                file.append(first, 1)
            case "truncate":
                file.truncate(first)
            case "reclaim":
                work_off(lab.table(b"q")[:first])
        check()
    unlink(lab)
    while lab.table(b"q"):
        work_off(lab.table(b"q"))
        check()
    assert sorted(deleted) == sorted(file.values)
    assert [len(lab.table(table)) for table in LEFT_BY_A_FILE] == [1, 0, 0, 0, 0, 0, 0]
