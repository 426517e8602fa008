"""gc against groups and a store whose state changes while it looks."""

import uuid

import pytest
from curvefs_tool.gc import groups
from curvefs_tool.gc import survey as survey_module
from curvefs_tool.gc.survey import Survey

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import reclaim_pb2 as rpb
from curvefs.src.common.ids import make_id
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices.names import block_name

UUID = uuid.UUID(int=7)
BLOCK = 1 << 20
P = 3


def id_(n):
    return make_id(P, 1000 + n)


class Known:
    """Groups: the states of chunk ids, and the slices of files. between: called when the slices are asked for."""

    def __init__(self):
        self.of = {}
        self.calls = []
        self.held = []
        self.between = lambda: None

    def states(self, partition_id, chunk_ids):
        self.calls.append((partition_id, len(chunk_ids)))
        return {one: self.of.get(one, rpb.UNREFERENCED) for one in chunk_ids}

    def slices(self, partition_id):
        self.between()
        yield from self.held


class Lab:
    def __init__(self):
        self.store, self.known, self.now_ns = MemoryStore(), Known(), 10**19

    def put(self, n, blocks=1):
        for index in range(blocks):
            self.store.put(block_name(UUID, id_(n), 0, index), b"bytes")

    def refer(self, n, size=1, inode_id=1):
        self.known.of[id_(n)] = rpb.REFERENCED
        one = pb.Slice(chunk_id=id_(n), size=size, length=size, object=pb.ObjectLocation(block_format=1))
        self.known.held.append(rpb.HeldSlice(inode_id=inode_id, slice=one))

    def look(self, older_than_ns=0):
        survey = Survey(self.store, self.known, UUID, BLOCK, older_than_ns=older_than_ns, now_ns=lambda: self.now_ns)
        found = survey.of(P)
        return survey, found


@pytest.fixture
def lab():
    return Lab()


def test_only_what_nothing_refers_to_and_nothing_will_is_garbage(lab):
    for n, state in enumerate([rpb.UNREFERENCED, rpb.REFERENCED, rpb.QUEUED, rpb.OPEN]):
        lab.put(n, blocks=2)
        lab.known.of[id_(n)] = state
    lab.store.put(f"{UUID}/{P}/1/notes.txt", b"not ours")
    lab.store.put(block_name(UUID, make_id(P + 1, 1), 0, 0), b"of another partition")
    survey, found = lab.look()
    assert [one.key for one in found.garbage] == [block_name(UUID, id_(0), 0, index) for index in range(2)]
    assert (found.objects, found.waiting, found.garbage_bytes, found.missing) == (8, 4, 10, [])
    survey.remove(found)
    assert len(lab.store.list("")) == 8
    assert not lab.look()[1].garbage


def test_young_objects_are_left(lab):
    lab.put(0)
    lab.now_ns = lab.store.list("")[0].modified_ns + 10
    assert lab.look(older_than_ns=11)[1].waiting == 1
    assert len(lab.look(older_than_ns=10)[1].garbage) == 1


def test_an_object_that_a_file_needs_and_that_is_not_there_is_reported_once(lab):
    lab.put(0, blocks=2)
    lab.refer(0, size=2 * BLOCK + 1, inode_id=5)
    lab.refer(0, size=2 * BLOCK + 1, inode_id=6)
    [missing] = lab.look()[1].missing
    assert (missing.name, missing.inode_id) == (block_name(UUID, id_(0), 0, 2), 5)


def test_what_is_published_after_the_listing_is_not_missing(lab):
    def publish():
        lab.put(0, blocks=2)
        lab.refer(0, size=2 * BLOCK)

    lab.known.between = publish
    assert not lab.look()[1].missing


def test_what_is_deleted_while_it_looks_is_not_missing(lab):
    lab.refer(0)
    lab.known.of[id_(0)] = rpb.QUEUED
    assert not lab.look()[1].missing


def test_a_group_is_asked_for_many_missing_objects_at_once(lab, monkeypatch):
    monkeypatch.setattr(survey_module, "ASKED_AT_ONCE", 4)
    for n in range(10):
        lab.refer(n)
    elsewhere = make_id(P + 1, 1)  # the home of an appended piece
    lab.known.of[elsewhere] = rpb.REFERENCED
    one = pb.Slice(chunk_id=elsewhere, size=1, length=1, object=pb.ObjectLocation(block_format=1))
    lab.known.held.append(rpb.HeldSlice(inode_id=1, slice=one))
    assert len(lab.look()[1].missing) == 11
    assert lab.known.calls == [(P, 0), (P, 4), (P, 4), (P, 2), (P + 1, 1)]


def test_a_leader_has_time_to_read_all_slices_of_its_group(monkeypatch):
    class Client:
        """Answers every check, when there are minutes for it."""

        def __init__(self, addresses):
            assert addresses == ["leader:1", "another:1"]

        def call(self, stub, method, request, *, deadline_s, try_s):
            assert method == "CheckChunks"
            assert try_s >= 300
            return rpb.CheckChunksReply(states=[rpb.OPEN] * len(request.chunk_ids))

        def close(self):
            pass

    known = mds_pb2.FilesystemReply()
    partition = known.partitions.add(partition_id=P, group_id=4, leader="leader:1")
    for address in ("another:1", "leader:1"):
        partition.peers.add(address=address)
    monkeypatch.setattr(groups, "filesystem_of", lambda mds, name: known)
    monkeypatch.setattr(groups, "BlockingClient", Client)
    with groups.Groups(["mds:1"], "fs") as one:
        assert one.states(P, [id_(1), id_(2)]) == {id_(1): rpb.OPEN, id_(2): rpb.OPEN}
