"""The tree of files that commands walk, and how patiently."""

import stat

import pytest
from curvefs_tool.files import access
from curvefs_tool.files.access import Files

from curvefs.proto import files_pb2, mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Locked, PermissionDenied, Unavailable

DEPTH = 1500  # more than calls can be nested
CHUNK = 64 << 20


class Deep:
    """Answers for directories within one another, each with a file before and one after the next."""

    def call(self, stub, method, request, *, deadline_s):
        at = request.inode_id
        result = pb.ReadResult(end=True)
        for name, inode_id, kind in (
            (b"a", -at, stat.S_IFREG),
            (b"d", at + 1, stat.S_IFDIR),
            (b"z", -at, stat.S_IFREG),
        ):
            if inode_id <= DEPTH:
                type_ = pb.DIRECTORY if kind == stat.S_IFDIR else pb.REGULAR
                entry = result.entries.add(name=name, inode_id=abs(inode_id), type=type_)
                entry.inode.inode_id, entry.inode.mode = abs(inode_id), kind
        return files_pb2.ReadReply(result=result)


ROOT = pb.Inode(inode_id=1, mode=stat.S_IFDIR)


def never(path, error):
    raise AssertionError(path) from error


def files_of(monkeypatch, client, **times):
    filesystem = mds_pb2.Filesystem(fs_id=1, chunk_size=CHUNK)
    monkeypatch.setattr("curvefs_tool.files.access.any_metaserver", lambda mds, fs: (filesystem, client))
    return Files(["mds:1"], "fs", **times)


def test_a_tree_may_be_deeper_than_calls_can_be_nested(monkeypatch):
    found = files_of(monkeypatch, Deep()).regular_files(ROOT, b"/", never)
    paths = [path for path, _ in found]
    folders = [b"/" + b"d/" * level for level in range(DEPTH)]
    assert paths == [folder + b"a" for folder in folders] + [folder + b"z" for folder in reversed(folders)]


class Time:
    """A clock that goes on while somebody sleeps."""

    def __init__(self):
        self.now_s = 0.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class Failing:
    """Fails with each of some errors, then answers."""

    def __init__(self, *errors):
        self.errors, self.asked = list(errors), 0

    def call(self, stub, method, request, *, deadline_s):
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return files_pb2.ReadReply(result=pb.ReadResult(end=True))


@pytest.fixture
def time(monkeypatch):
    made = Time()
    monkeypatch.setattr(access, "time", made)
    return made


def failures(files):
    """What a walk through an empty tree fails with."""
    failed = []
    assert not [*files.regular_files(ROOT, b"/", lambda path, error: failed.append((path, type(error))))]
    return failed


def test_what_is_unavailable_is_asked_for_again_for_a_while_and_less_and_less_often(monkeypatch, time):
    assert not failures(files_of(monkeypatch, Failing(Unavailable(), Locked()), patience_s=30.0))
    client = Failing(*[Unavailable()] * 1000)
    assert failures(files_of(monkeypatch, client, patience_s=30.0)) == [(b"/", Unavailable)]
    assert 5 < client.asked < 60


def test_nobody_waits_for_what_another_waited_for_in_vain(monkeypatch, time):
    client = Failing(*[Unavailable()] * 1000)
    files = files_of(monkeypatch, client, patience_s=30.0)
    assert failures(files)
    asked = client.asked
    assert failures(files)
    assert client.asked == asked + 1
    client.errors = []
    assert not failures(files)
    client.errors = [Unavailable()]
    assert not failures(files)


def test_patience_ends_with_the_deadline_and_is_for_what_passes(monkeypatch, time):
    for error, times in (
        (Unavailable(), {"patience_s": 30.0, "ends_at": 0.0}),
        (PermissionDenied(), {"patience_s": 30.0}),
        (Unavailable(), {}),
    ):
        client = Failing(error)
        assert failures(files_of(monkeypatch, client, **times)) == [(b"/", type(error))]
        assert client.asked == 1


def test_the_deadline_ends_the_way_through_the_holes_of_a_file(monkeypatch, time):
    class Slow(Failing):
        def call(self, *arguments, **more):
            time.now_s += 0.1
            return super().call(*arguments, **more)

    client = Slow()
    files = files_of(monkeypatch, client, ends_at=0.95)
    assert not [*files.slices(pb.Inode(inode_id=2, mode=stat.S_IFREG, length=1 << 50))]
    assert client.asked == 10
