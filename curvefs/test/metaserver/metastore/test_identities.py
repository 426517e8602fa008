"""A durable identity owns chunk ids: they survive its sessions, and end with it."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.src.metaserver.metastore import ids, reads
from curvefs.src.metaserver.storage import keys

from .lab import FS, SESSION, Lab

REG = stat.S_IFREG | 0o644
IDENTITY, FIRST, SECOND = b"i" * 16, b"1" * 16, b"2" * 16


@pytest.fixture
def lab():
    return Lab()


def open_with(lab, session, identity=IDENTITY):
    return lab.entry(open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=session, identity=identity))


def do(lab, session, sequence, **operation):
    batch = lab.batch(sequence, [pb.Operation(**operation)], session=session)
    assert batch.failure is None
    return batch.results.results[0]


def create(name):
    return pb.Create(parent=1, name=name, mode=REG, exclusive=True)


def append(inode_id, *chunk_ids):
    slices = [pb.Slice(chunk_id=one, length=10, size=10, object=pb.ObjectLocation(block_format=1)) for one in chunk_ids]
    return pb.AppendSlices(inode_id=inode_id, slices=slices, length=10)


def allocate():
    return pb.AllocateIds(partition_id=0, kind=c.CHUNK)


def publish_all(lab, inode_id, leased, sequence):
    for n, first in enumerate(range(leased.first, leased.end, 250)):
        chunk_ids = range(first, first + 250)
        assert do(lab, FIRST, sequence + n, append_slices=append(inode_id, *chunk_ids)).status == c.OK
    return sequence + 4


def chunk_range(result):
    return next(one for one in result.ranges if one.kind == c.CHUNK)


def test_ids_taken_in_one_session_are_published_in_the_next_and_once(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    first, inode_id = chunk_range(made).first, made.inode.inode_id
    assert do(lab, FIRST, 2, append_slices=append(inode_id, first)).status == c.OK
    lab.end(FIRST)
    open_with(lab, SECOND)
    assert do(lab, SECOND, 1, append_slices=append(inode_id, first)).status == c.ALREADY_DONE
    assert do(lab, SECOND, 2, append_slices=append(inode_id, first, first + 1)).status == c.ID_REFUSED
    assert do(lab, SECOND, 3, append_slices=append(inode_id, first + 1)).status == c.OK
    assert len(lab.slices(inode_id)) == 2


def test_ids_of_an_identity_are_nobody_elses(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    lab.refused(c.ID_REFUSED, append_slices=append(made.inode.inode_id, chunk_range(made).first))


def test_inode_numbers_end_with_the_session(lab):
    open_with(lab, FIRST)
    do(lab, FIRST, 1, create=create(b"a"))
    lab.end(FIRST)
    assert [key[1:17] for key in lab.table(keys.RANGE)] == [IDENTITY]


def test_the_end_of_an_identity_closes_its_ranges_and_refuses_its_ids(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    lab.end(IDENTITY)
    queued = len(lab.table(b"q"))
    assert queued == 1  # what was never published of it
    result = do(lab, FIRST, 2, append_slices=append(made.inode.inode_id, chunk_range(made).first))
    assert result.status == c.ID_REFUSED
    assert open_with(lab, SECOND).failure.code == c.SESSION_ENDED


def test_an_identity_is_listed_like_a_session_until_it_ends(lab):
    open_with(lab, FIRST)
    assert set(reads.open_sessions(lab.state, 10)) == {SESSION, FIRST, IDENTITY}
    assert [one for one, record in reads.open_sessions(lab.state, 10).items() if record.durable] == [IDENTITY]
    lab.end(FIRST)
    assert set(reads.open_sessions(lab.state, 10)) == {SESSION, IDENTITY}
    lab.end(IDENTITY)
    assert list(reads.open_sessions(lab.state, 10)) == [SESSION]


def test_ids_that_were_staged_keep_their_range_however_many_come_after(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    for n in range(ids.RANGES_MAX):
        do(lab, FIRST, 2 + n, allocate_ids=allocate())
    last = do(lab, FIRST, 2 + ids.RANGES_MAX, append_slices=append(made.inode.inode_id, chunk_range(made).first))
    assert last.status == c.OK


def test_an_identity_with_very_many_ranges_is_refused_more_and_loses_none(lab, monkeypatch):
    monkeypatch.setattr(ids, "DURABLE_RANGES_MAX", 3)
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    assert do(lab, FIRST, 2, allocate_ids=allocate()).status == c.OK
    assert do(lab, FIRST, 3, allocate_ids=allocate()).status == c.OK
    before = lab.table(keys.RANGE)
    assert do(lab, FIRST, 4, allocate_ids=allocate()).status == c.OVERLOADED
    assert lab.table(keys.RANGE) == before
    sequence = publish_all(lab, made.inode.inode_id, chunk_range(made), 5)
    assert do(lab, FIRST, sequence, allocate_ids=allocate()).status == c.OK


def given_up(lab):
    """Return which ids the delete queue looks for."""
    found = []
    for key in lab.table(b"q"):
        record = state_pb2.DeleteRecord.FromString(lab.state.get(key))
        first, bits = record.never_published.first, int.from_bytes(record.published, "little")
        found += [one for one in range(first, record.never_published.end) if not bits >> one - first & 1]
    return sorted(found)


def test_given_up_ids_are_used_up_and_looked_for(lab, monkeypatch):
    monkeypatch.setattr(ids, "DURABLE_RANGES_MAX", 2)
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    inode_id, leased = made.inode.inode_id, chunk_range(made)
    assert do(lab, FIRST, 2, allocate_ids=allocate()).status == c.OK
    assert do(lab, FIRST, 3, allocate_ids=allocate()).status == c.OVERLOADED
    published = [leased.first + n for n in (0, 7, 800)]
    assert do(lab, FIRST, 4, append_slices=append(inode_id, *published)).status == c.OK
    every = range(leased.first, leased.end)
    for n in range(0, len(every), 200):
        assert do(lab, FIRST, 5 + n // 200, give_up_ids=pb.GiveUpIds(chunk_ids=every[n : n + 200])).status == c.OK
    assert len(lab.table(b"q")) == len(every) // 200
    assert given_up(lab) == [one for one in every if one not in published]
    lab.end(FIRST)
    open_with(lab, SECOND)
    assert do(lab, SECOND, 1, allocate_ids=allocate()).status == c.OK
    assert do(lab, SECOND, 2, append_slices=append(inode_id, leased.first + 1)).status == c.ALREADY_DONE
    with lab.unchanged():
        do(lab, SECOND, 3, give_up_ids=pb.GiveUpIds(chunk_ids=[leased.first, leased.first + 1]))
    assert len(lab.slices(inode_id)) == len(published)


def test_only_leased_ids_are_given_up_and_not_too_many_at_once(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    first = chunk_range(made).first
    lab.ok(give_up_ids=pb.GiveUpIds(chunk_ids=[first, 1 << 63, 5]))  # of another session
    too_many = range(first, first + ids.GIVEN_UP_MAX + 1)
    assert do(lab, FIRST, 2, give_up_ids=pb.GiveUpIds(chunk_ids=too_many)).status == c.INVALID_ARGUMENT
    assert given_up(lab) == []
    assert do(lab, FIRST, 3, append_slices=append(made.inode.inode_id, first)).status == c.OK


def test_a_range_that_is_used_up_still_says_what_was_published(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    first, others = chunk_range(made), chunk_range(do(lab, FIRST, 2, allocate_ids=allocate()))
    third = chunk_range(do(lab, FIRST, 3, allocate_ids=allocate()))
    sequence = publish_all(lab, made.inode.inode_id, first, 4)
    sequence = publish_all(lab, made.inode.inode_id, third, sequence)

    def published_again(*chunk_ids):
        nonlocal sequence
        sequence += 1
        return do(lab, FIRST, sequence - 1, append_slices=append(made.inode.inode_id, *chunk_ids)).status

    assert published_again(first.first) == c.ALREADY_DONE
    assert published_again(third.first, first.end - 1) == c.ALREADY_DONE
    assert published_again(first.first, others.first) == c.ID_REFUSED
    assert published_again(others.first) == c.OK
    assert published_again(first.first - 1) == c.ID_REFUSED


def test_no_range_outlives_its_identity(lab):
    open_with(lab, FIRST)
    made = do(lab, FIRST, 1, create=create(b"a"))
    publish_all(lab, made.inode.inode_id, chunk_range(made), 2)
    lab.end(IDENTITY)
    queued = len(lab.table(b"q"))
    assert do(lab, FIRST, 6, allocate_ids=allocate()).status == c.SESSION_ENDED
    assert do(lab, FIRST, 7, create=create(b"b")).status == c.OK
    lab.end(FIRST)
    assert lab.table(keys.RANGE) == []
    assert queued == 1  # the range that came when the first was nearly used up; of that, nothing is left to look for
