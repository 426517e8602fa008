"""What a group says of chunk ids."""

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import reclaim_pb2 as rpb
from curvefs.proto import state_pb2
from curvefs.src.common.errors import InvalidArgument, WrongPartition
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.reclaim import checking
from curvefs.src.metaserver.reclaim.checking import check_chunks, list_slices
from curvefs.test.metaserver.metastore.lab import CHUNK, FS, Lab
from curvefs.test.metaserver.metastore.queue_lab import reclaim
from curvefs.test.metaserver.metastore.test_data import ROOT, File


def states(lab, *chunk_ids):
    return check_chunks(lab.state, FS, 0, chunk_ids)


def test_an_id_goes_from_open_to_referenced_to_queued_to_unreferenced():
    lab = Lab()
    file = File(lab)
    range_ = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
    file.ids = iter(range(range_.first, range_.end))
    assert states(lab, range_.first, range_.first + 1) == [rpb.OPEN] * 2
    file.append(10, 1)
    assert states(lab, range_.first + 1, range_.first) == [rpb.OPEN, rpb.REFERENCED]
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    assert states(lab, range_.first) == [rpb.REFERENCED], "its slices are not given up yet"
    reclaim(lab, *lab.table(b"q"))
    assert states(lab, range_.first) == [rpb.QUEUED]
    reclaim(lab, *lab.table(b"q"))
    assert states(lab, range_.first, range_.first + 1) == [rpb.UNREFERENCED, rpb.OPEN]


def test_ids_of_an_ended_session_are_queued_until_they_were_looked_for_twice():
    lab = Lab()
    range_ = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
    lab.end()
    assert states(lab, range_.first) == [rpb.QUEUED]
    for expected in (rpb.QUEUED, rpb.UNREFERENCED):
        reclaim(lab, *lab.table(b"q"))
        assert states(lab, range_.first) == [expected]


def test_used_up_ids_of_an_identity_are_not_open():
    lab = Lab()
    file = File(lab)
    session, identity = b"1" * 16, b"i" * 16
    lab.entry(open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=session, identity=identity))

    def do(sequence, **operation):
        return lab.batch(sequence, [pb.Operation(**operation)], session=session).results.results[0]

    range_ = do(1, allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
    slices = [
        pb.Slice(chunk_id=one, length=1, size=1, object=pb.ObjectLocation(block_format=1))
        for one in range(range_.first, range_.end)
    ]
    for n, at in enumerate(range(0, len(slices), 250), 2):
        part = pb.AppendSlices(inode_id=file.inode_id, slices=slices[at : at + 250], length=1)
        assert do(n, append_slices=part).status == c.OK
    for key in lab.table(b"s"):
        lab.state.delete(key)
    assert states(lab, range_.first) == [rpb.UNREFERENCED]


def test_ids_open_in_another_filesystem_are_not_open_in_this_one():
    """Partitions of all filesystems are counted from 0, and their ids too."""
    lab = Lab()
    mine = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
    spec = pb.PartitionSpec(fs_id=FS + 1, group_id=7, hash_seed=b"h" * 16, chunk_size=CHUNK, block_size=CHUNK)
    lab.entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
    other = b"o" * 16
    lab.entry(open_session=state_pb2.OpenSessionCommand(fs_id=FS + 1, session_id=other))
    asked = pb.OperationBatch(fs_id=FS + 1, session_id=other, group_id=7, first_sequence=1)
    asked.operations.add(allocate_ids=pb.AllocateIds(kind=c.CHUNK))
    granted = lab.entry(operations=state_pb2.OperationsCommand(batch=asked)).results.results[0].ranges[0]
    compact = state_pb2.CompactCommand(fs_id=FS + 1, lease=state_pb2.CompactLease(partition_id=0))
    lab.entry(compact=compact)
    assert granted.first == mine.first
    lab.end()
    assert states(lab, mine.first) == [rpb.QUEUED]
    assert check_chunks(lab.state, FS + 1, 0, [mine.first]) == [rpb.OPEN]
    compact.fs_id = FS
    one = lab.entry(compact=compact).ranges[0]
    assert states(lab, one.first) == [rpb.OPEN]


def test_ids_that_were_not_given_out_yet_are_open():
    assert states(Lab(), make_id(0, 10**6)) == [rpb.OPEN]


def test_what_only_another_group_refers_to_is_referenced():
    lab = Lab()
    file = File(lab)
    file.append(CHUNK + 10, 1)
    one, other = lab.slices(file.inode_id)
    assert one.chunk_id == other.chunk_id
    for key in lab.table(b"s"):
        lab.state.delete(key)
    assert states(lab, one.chunk_id) == [rpb.REFERENCED]


def test_strangers_are_refused():
    with pytest.raises(WrongPartition):
        check_chunks(Lab().state, FS, 5, [])
    with pytest.raises(InvalidArgument):
        states(Lab(), make_id(5, 1))
    with pytest.raises(InvalidArgument):
        list_slices(Lab().state, FS, 0, b"\xff")


def test_slices_are_listed_page_by_page_without_holes(monkeypatch):
    monkeypatch.setattr(checking, "SLICES_PER_PAGE", 3)
    lab = Lab(partitions=(0, 1))
    file = File(lab)
    for number in range(8):
        file.write(number * 10, 10, number)
    lab.ok(fallocate=pb.Fallocate(inode_id=file.inode_id, offset=0, length=5, punch_hole=True, keep_size=True))
    found, cursor, pages = [], b"", 0
    while pages == 0 or cursor:
        page = list_slices(lab.state, FS, 0, cursor)
        found += page.slices
        cursor = page.cursor
        pages += 1
    assert pages == 4
    assert [one.slice for one in found] == [one for one in lab.slices(file.inode_id) if not one.zero]
    assert {one.inode_id for one in found} == {file.inode_id}
    assert not list_slices(lab.state, FS, 1, b"").slices
