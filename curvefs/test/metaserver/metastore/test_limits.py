"""Every entry does a bounded amount of work, and what it leaves is gone on with, also after a restart."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2, transaction_pb2
from curvefs.src.common.ids import CHUNK_RANGE_SIZE, PARTITION_SHIFT
from curvefs.src.metaserver.metastore import scope
from curvefs.src.metaserver.metastore.unfinished import unfinished
from curvefs.src.metaserver.storage import keys

from .lab import CHUNK, FS, SESSION, Lab

ROOT, REG, DIR = 1, stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
OTHER = b"t" * 16


class Counting:
    """A state that counts how many keys an entry changes."""

    def __init__(self, state):
        self._state = state
        self.get, self.scan, self.pairs = state.get, state.scan, state.pairs
        self.changed = 0

    def put(self, key, value):
        self.changed += 1
        self._state.put(key, value)

    def delete(self, key):
        self.changed += 1
        return self._state.delete(key)


@pytest.fixture
def lab():
    lab = Lab(follow_up=False)
    lab.state = Counting(lab.state)
    return lab


def changed_by(lab, act):
    lab.state.changed = 0
    act()
    return lab.state.changed


def finish(lab):
    """Apply follow-ups, each within bounds; return how many there were."""
    steps = 0
    while lab.waiting:
        steps += 1
        assert changed_by(lab, lambda: lab.log(lab.waiting.pop(0))) < 2000
    return steps


def hold_with_attributes(lab, files, attributes):
    for n in range(files):
        file = lab.create(ROOT, b"h%d" % n)
        for m in range(attributes):
            lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.%d" % m, value=b"v"))
        lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"h%d" % n, held_inode=file))


def nothing_left(lab):
    return not [key for table in (b"w", b"W", b"g", b"r", b"x") for key in lab.table(table)]


def test_the_end_of_a_session_counts_the_attributes_of_what_it_held(lab):
    hold_with_attributes(lab, 12, 200)
    assert changed_by(lab, lab.end) < 2000
    assert finish(lab) >= 2
    assert nothing_left(lab)


def test_a_session_that_holds_many_inodes_ends_in_steps(lab):
    hold_with_attributes(lab, 600, 0)
    assert changed_by(lab, lab.end) < 2000
    assert finish(lab) >= 1
    assert nothing_left(lab)
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count == 1


def test_a_restarted_leader_goes_on_with_the_end_of_a_session(lab):
    hold_with_attributes(lab, 600, 0)
    lab.end()
    lab.waiting.clear()
    lab.waiting += unfinished(lab.state)
    assert [entry.WhichOneof("command") for entry in lab.waiting] == ["end_session"]
    finish(lab)
    assert nothing_left(lab)
    assert unfinished(lab.state) == []


def test_a_restarted_leader_goes_on_when_only_results_are_left(lab):
    """Also behind any number of sessions that hold files and live on."""
    lab.end()
    lab.state.put(keys.result(SESSION, 1), b"")
    lab.open(OTHER)
    assert [entry.end_session.session_id for entry in unfinished(lab.state)] == [SESSION]


def test_a_restarted_leader_goes_on_with_cuts_and_deletions(lab):
    file = lab.create(ROOT, b"f")
    zeros = [pb.Slice(chunk_index=1, zero=True, length=1)] * 400
    for _ in range(2):
        lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=zeros, length=CHUNK + 1))
    lab.ok(set_attr=pb.SetAttr(inode_id=file, length=0))
    lab.waiting.clear()
    assert [entry.finish_cut.inode_id for entry in unfinished(lab.state)] == [file]
    for n in range(1000):
        lab.create(ROOT, b"%d" % n)
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    lab.waiting.clear()
    lab.waiting += unfinished(lab.state)
    assert "delete_partition" in [entry.WhichOneof("command") for entry in lab.waiting]
    finish(lab)
    assert unfinished(lab.state) == []
    assert {key[:1] for key in lab.state.pairs} <= {b"S", b"r", b"g"}


def test_a_session_ends_while_its_partition_is_being_deleted(lab):
    for n in range(1000):
        lab.create(ROOT, b"%d" % n)
    hold_with_attributes(lab, 3, 2)  # their numbers are the last to be removed
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    deletion = list(lab.waiting)
    lab.waiting.clear()
    assert lab.end().failure is None
    lab.waiting += deletion
    finish(lab)
    assert nothing_left(lab)
    assert not lab.table(b"P") + lab.table(b"i")


def test_no_operation_reaches_a_partition_that_is_being_deleted(lab):
    file = lab.create(ROOT, b"f")
    for n in range(1000):
        lab.create(ROOT, b"%d" % n)
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    lab.refused(c.NOT_FOUND, create=pb.Create(parent=ROOT, name=b"g", mode=REG))
    lab.refused(c.NOT_FOUND, set_attr=pb.SetAttr(inode_id=file, length=9))
    lab.refused(c.NOT_FOUND, allocate_ids=pb.AllocateIds())


def test_a_page_of_a_listing_has_about_a_mebibyte_at_most(lab):
    target = b"t" * 4095
    for n in range(600):
        lab.create(ROOT, b"%d" % n, stat.S_IFLNK | 0o777, symlink_target=target)
    found, after, pages = [], (0, b""), 0
    while True:
        page = lab.read(
            read_dir=pb.ReadDir(inode_id=ROOT, after_hash=after[0], after_name=after[1], with_attributes=True)
        )
        assert page.ByteSize() < (1 << 20) + 10_000
        pages += 1
        found += [entry.name for entry in page.entries]
        if page.end:
            break
        after = page.entries[-1].hash, page.entries[-1].name
    assert pages == 3
    assert sorted(found) == sorted(b"%d" % n for n in range(600))


def test_replacing_an_attribute_needs_no_room_for_both(lab):
    file = lab.create(ROOT, b"f")
    for n in range(15):
        lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.%d" % n, value=bytes(65536)))
    lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.0", value=b"x" * 65536))
    assert lab.inode(file).xattr_count == 15


def given_out(partition_id, **next_numbers):
    """A lab whose partition has given out most of its numbers."""
    lab = Lab(partitions=(0, 1))
    key = keys.partition(FS, partition_id)
    record = state_pb2.PartitionRecord.FromString(lab.state.get(key))
    for field, n in next_numbers.items():
        setattr(record, field, n)
    lab.state.put(key, record.SerializeToString(deterministic=True))
    return lab


def test_the_last_numbers_of_a_partition_are_given_out_and_then_there_is_no_space():
    lab = given_out(0, next_inode=1 << PARTITION_SHIFT)
    lab.refused(c.NO_SPACE, create=pb.Create(parent=ROOT, name=b"f", mode=REG))
    lab.refused(c.NO_SPACE, allocate_ids=pb.AllocateIds(partition_id=0, kind=c.INODE))
    limit = c.QuotaAmount(inodes=10)
    assert lab.entry(set_quota=state_pb2.SetQuotaCommand(fs_id=FS, inode_id=ROOT, limit=limit)).failure is None
    lab = given_out(1, next_inode=(1 << PARTITION_SHIFT) - 1024)
    range_ = lab.ok(allocate_ids=pb.AllocateIds(partition_id=1, kind=c.INODE)).ranges[0]
    assert range_.end == 2 << PARTITION_SHIFT
    part = transaction_pb2.Part(new_directory=transaction_pb2.NewDirectory(partition_id=1, parent=ROOT, mode=DIR))
    command = state_pb2.PrepareCommand(
        id=transaction_pb2.TransactionId(group_id=9, term=1, number=1), fs_id=FS, round=1, parts=[part]
    )
    assert lab.entry(prepare=command).failure.code == c.NO_SPACE


def test_no_range_of_chunk_ids_reaches_into_the_next_partition():
    last = (1 << PARTITION_SHIFT) // CHUNK_RANGE_SIZE * CHUNK_RANGE_SIZE - CHUNK_RANGE_SIZE
    lab = given_out(0, next_chunk=last)
    range_ = lab.ok(allocate_ids=pb.AllocateIds(partition_id=0, kind=c.CHUNK)).ranges[0]
    assert (range_.first, range_.end) == (last, last + CHUNK_RANGE_SIZE)
    lab.refused(c.NO_SPACE, allocate_ids=pb.AllocateIds(partition_id=0, kind=c.CHUNK))


def with_attributes(lab, name, count):
    file = lab.create(ROOT, name)
    for n in range(count):
        lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"%d" % n, value=b"v"))
    return file


@pytest.mark.parametrize("what", ["unlink", "set_xattr"])
def test_a_batch_on_files_with_many_attributes_is_taken_in_part(lab, monkeypatch, what):
    monkeypatch.setattr(scope, "ATTRIBUTES_PER_ENTRY", 100)
    files = [with_attributes(lab, b"f%d" % n, 40) for n in range(8)]
    unlinks = [pb.Operation(unlink=pb.Unlink(parent=ROOT, name=b"f%d" % n)) for n in range(8)]
    sets = [pb.Operation(set_xattr=pb.SetXattr(inode_id=one, name=b"0", value=b"w")) for one in files]
    left, steps = {"unlink": unlinks, "set_xattr": sets}[what], 0
    while left:
        applied = lab.batch(lab.sequence + 1, left, acknowledged=lab.sequence)
        done = len(applied.results.results)
        assert all(one.status == c.OK for one in applied.results.results)
        assert (applied.results.failure.code == c.OVERLOADED) == (done < len(left))
        lab.sequence += done
        left, steps = left[done:], steps + 1
    assert steps == 3
