"""What operations do to modes, owners, times and counters, as POSIX has it for each."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.storage import keys

from .lab import CHUNK, FS, Lab

ROOT = 1
REG = stat.S_IFREG | 0o644


@pytest.fixture
def lab():
    return Lab()


def times(inode):
    return inode.atime_ns, inode.mtime_ns, inode.ctime_ns


def test_chmod_and_chown_change_what_they_name_and_ctime(lab):
    file = lab.create(ROOT, b"f")
    before = lab.inode(file)
    lab.ok(set_attr=pb.SetAttr(inode_id=file, mode=0o4755))
    lab.ok(set_attr=pb.SetAttr(inode_id=file, uid=3))
    after = lab.ok(set_attr=pb.SetAttr(inode_id=file, gid=4)).inode
    assert (after.mode, after.uid, after.gid) == (stat.S_IFREG | 0o4755, 3, 4)
    assert times(after) == (before.atime_ns, before.mtime_ns, lab.time_ns)
    assert after.change == before.change + 3
    lab.refused(c.NOT_FOUND, set_attr=pb.SetAttr(inode_id=999, mode=0))


def test_the_type_is_not_changed_by_a_mode(lab):
    file = lab.create(ROOT, b"f")
    assert lab.ok(set_attr=pb.SetAttr(inode_id=file, mode=stat.S_IFDIR | 0o700)).inode.mode == stat.S_IFREG | 0o700


def test_times_are_set_to_a_value_or_to_the_entrys_time(lab):
    file = lab.create(ROOT, b"f")
    born = lab.inode(file)
    given = lab.ok(set_attr=pb.SetAttr(inode_id=file, atime_ns=-5, mtime_ns=0)).inode
    assert times(given) == (-5, 0, lab.time_ns)
    now = lab.ok(set_attr=pb.SetAttr(inode_id=file, atime_now=True, mtime_now=True, atime_ns=1, mtime_ns=1)).inode
    assert times(now) == (lab.time_ns,) * 3
    assert now.btime_ns == born.btime_ns


def test_a_new_length_changes_mtime_and_ctime(lab):
    file = lab.create(ROOT, b"f")
    for length in (10, 10, 5):
        before = lab.inode(file)
        after = lab.ok(set_attr=pb.SetAttr(inode_id=file, length=length)).inode
        assert times(after) == (before.atime_ns, lab.time_ns, lab.time_ns)
        assert after.length == length


def test_a_lost_link_changes_ctime_and_the_change_counter(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(link=pb.Link(inode_id=file, new_parent=ROOT, new_name=b"g"))
    lab.create(ROOT, b"h")
    for operation in (
        {"unlink": pb.Unlink(parent=ROOT, name=b"g")},
        {"link": pb.Link(inode_id=file, new_parent=ROOT, new_name=b"g")},
        {"rename": pb.Rename(parent=ROOT, name=b"h", new_parent=ROOT, new_name=b"g")},
    ):
        before = lab.inode(file)
        lab.ok(**operation)
        after = lab.inode(file)
        assert after.change == before.change + 1
        assert times(after) == (before.atime_ns, before.mtime_ns, lab.time_ns)


def test_a_rename_changes_the_times_of_both_parents_and_the_ctime_of_what_moves(lab):
    a, b = lab.mkdir(ROOT, b"a"), lab.mkdir(ROOT, b"b")
    file = lab.create(a, b"f")
    before = lab.inode(file)
    lab.ok(rename=pb.Rename(parent=a, name=b"f", new_parent=b, new_name=b"f"))
    for folder in (a, b):
        assert times(lab.inode(folder))[1:] == (lab.time_ns, lab.time_ns)
    assert times(lab.inode(file)) == (before.atime_ns, before.mtime_ns, lab.time_ns)


@pytest.mark.parametrize(
    ("mode", "after"),
    [(0o6755, 0o755), (0o4755, 0o755), (0o2755, 0o755), (0o2745, 0o2745), (0o6745, 0o2745)],
)
def test_a_write_by_others_clears_set_user_id_and_set_group_id(lab, mode, after):
    """S_ISGID without group execution means mandatory locking and stays, as in Linux."""
    file = lab.create(ROOT, b"f", stat.S_IFREG | mode)
    zeros = [pb.Slice(zero=True, length=1)]
    kept = lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=zeros, length=1)).inode
    assert stat.S_IMODE(kept.mode) == mode
    cleared = lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=zeros, length=1, clear_suid=True)).inode
    assert stat.S_IMODE(cleared.mode) == after


def test_room_that_is_asked_for_lengthens_the_file_unless_its_size_is_kept(lab):
    file = lab.create(ROOT, b"f")
    assert lab.ok(fallocate=pb.Fallocate(inode_id=file, offset=10, length=90)).inode.length == 100
    assert lab.ok(fallocate=pb.Fallocate(inode_id=file, offset=0, length=500, keep_size=True)).inode.length == 100
    assert lab.ok(fallocate=pb.Fallocate(inode_id=file, offset=50, length=90, zero_range=True)).inode.length == 140
    assert lab.ok(fallocate=pb.Fallocate(inode_id=file, offset=0, length=20)).inode.length == 140
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.used_bytes == 140


def test_a_hole_is_no_longer_allocated(lab):
    file = lab.create(ROOT, b"f")
    first = lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0].first
    one = pb.Slice(chunk_id=first, length=1000, size=1000, object=pb.ObjectLocation(block_format=1))
    assert lab.ok(append_slices=pb.AppendSlices(inode_id=file, slices=[one], length=1000)).inode.allocated == 1000
    hole = pb.Fallocate(inode_id=file, offset=100, length=300, punch_hole=True, keep_size=True)
    assert lab.ok(fallocate=hole).inode.allocated == 700
    assert lab.ok(set_attr=pb.SetAttr(inode_id=file, length=50)).inode.allocated == 50


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        (c.INVALID_ARGUMENT, {"length": 0}),
        (c.UNSUPPORTED, {"length": 5, "punch_hole": True}),
        (c.FILE_TOO_LARGE, {"offset": 1 << 62, "length": 1}),
        (c.UNSUPPORTED, {"length": 501 * CHUNK, "zero_range": True}),
    ],
)
def test_what_cannot_be_allocated_is_refused(lab, code, asked):
    file = lab.create(ROOT, b"f")
    lab.ok(set_attr=pb.SetAttr(inode_id=file, length=600 * CHUNK))
    lab.refused(code, fallocate=pb.Fallocate(inode_id=file, **asked))
    fifo = lab.create(ROOT, b"p", stat.S_IFIFO | 0o600)
    lab.refused(c.INVALID_ARGUMENT, fallocate=pb.Fallocate(inode_id=fifo, length=5))


def test_only_a_symlink_has_a_target(lab):
    link = stat.S_IFLNK | 0o777
    lab.refused(c.INVALID_ARGUMENT, create=pb.Create(parent=ROOT, name=b"l", mode=link))
    lab.refused(c.INVALID_ARGUMENT, create=pb.Create(parent=ROOT, name=b"f", mode=REG, symlink_target=b"t"))


def test_an_inode_waits_for_the_last_who_holds_it(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f", held_inode=file))
    other = b"t" * 16
    lab.open(other)
    lab.state.put(keys.waiter(FS, file, other), b"")
    lab.state.put(keys.holding(other, FS, file), b"")
    lab.ok(release_inode=pb.ReleaseInode(inode_id=file))
    assert lab.inode(file).nlink == 0
    lab.end(other)
    assert lab.inode(file) is None


def test_releasing_what_is_not_held_changes_nothing(lab):
    file = lab.create(ROOT, b"f")
    with lab.unchanged():
        lab.ok(release_inode=pb.ReleaseInode(inode_id=file))
        lab.ok(release_inode=pb.ReleaseInode(inode_id=999))


def test_a_lookup_answers_the_parents_change_also_for_an_absent_name(lab):
    folder = lab.mkdir(ROOT, b"d")
    absent = lab.read(lookup=pb.Lookup(parent=ROOT, name=b"none"))
    assert absent.parent_change == lab.inode(ROOT).change
    assert not absent.HasField("inode")
    assert lab.lookup(folder, b"..") == ROOT
    assert lab.lookup(folder, b".") == folder
    file = lab.create(ROOT, b"f")
    for wanted, code in (
        (pb.Lookup(parent=file, name=b"x"), c.NOT_A_DIRECTORY),
        (pb.Lookup(parent=999, name=b"x"), c.NOT_FOUND),
        (pb.Lookup(parent=5 << 40, name=b"x"), c.WRONG_PARTITION),
        (pb.Lookup(parent=ROOT, name=b"x" * 256), c.NAME_TOO_LONG),
    ):
        assert lab.read(lookup=wanted).failure.code == code


def test_reads_of_what_is_absent_say_so(lab):
    assert lab.read(get_attr=pb.GetAttr(inode_id=999)).failure.code == c.NOT_FOUND
    assert lab.read(get_slices=pb.GetSlices(inode_id=999)).failure.code == c.NOT_FOUND
    assert lab.read(list_xattr=pb.ListXattr(inode_id=999)).failure.code == c.NOT_FOUND
    assert lab.read(get_xattr=pb.GetXattr(inode_id=999, name=b"n")).failure.code == c.NOT_FOUND
    assert lab.read(get_xattr=pb.GetXattr(inode_id=ROOT, name=b"n")).failure.code == c.NO_ATTRIBUTE
    assert lab.read(read_dir=pb.ReadDir(inode_id=lab.create(ROOT, b"f"))).failure.code == c.NOT_A_DIRECTORY
    assert lab.read().failure.code == c.UNSUPPORTED
