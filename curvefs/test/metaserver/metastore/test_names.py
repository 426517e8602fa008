"""create, unlink, rmdir, link, rename: what they change, and what they refuse without a trace."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb

from .fleet import Fleet
from .lab import Lab

ROOT = 1
DIR, REG, LNK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777


@pytest.fixture
def lab():
    return Lab()


def test_the_root_is_an_empty_directory_that_is_its_own_parent(lab):
    root = lab.inode(ROOT)
    assert (root.mode, root.nlink, root.parent, root.entry_count) == (stat.S_IFDIR | 0o755, 2, ROOT, 0)


def test_create_makes_inode_name_and_parent_in_one(lab):
    before = lab.inode(ROOT)
    result = lab.ok(uid=5, gid=6, create=pb.Create(parent=ROOT, name=b"f", mode=REG, exclusive=True))
    made, parent = result.inode, result.parent
    assert (made.uid, made.gid, made.nlink, made.change, made.length) == (5, 6, 1, 1, 0)
    assert made.atime_ns == made.mtime_ns == made.ctime_ns == made.btime_ns == lab.time_ns
    assert (parent.change, parent.entry_count, parent.nlink) == (before.change + 1, 1, 2)
    assert parent.mtime_ns == parent.ctime_ns == lab.time_ns
    assert lab.lookup(ROOT, b"f") == made.inode_id
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count == 2


def test_an_existing_name_is_refused_or_told(lab):
    first = lab.create(ROOT, b"f")
    refused = lab.refused(c.ALREADY_EXISTS, create=pb.Create(parent=ROOT, name=b"f", mode=REG, exclusive=True))
    assert refused.inode.inode_id == first
    there = lab.ok(create=pb.Create(parent=ROOT, name=b"f", mode=REG))
    assert there.existed
    assert there.inode.inode_id == first
    lab.mkdir(ROOT, b"d")
    lab.refused(c.ALREADY_EXISTS, create=pb.Create(parent=ROOT, name=b"d", mode=REG))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"", c.INVALID_ARGUMENT),
        (b".", c.INVALID_ARGUMENT),
        (b"..", c.INVALID_ARGUMENT),
        (b"a/b", c.INVALID_ARGUMENT),
        (b"a\0b", c.INVALID_ARGUMENT),
        (b"x" * 256, c.NAME_TOO_LONG),
    ],
)
def test_what_is_no_name_is_refused(lab, name, code):
    lab.refused(code, create=pb.Create(parent=ROOT, name=name, mode=REG))


def test_creation_needs_a_living_directory(lab):
    file = lab.create(ROOT, b"f")
    lab.refused(c.NOT_A_DIRECTORY, create=pb.Create(parent=file, name=b"x", mode=REG))
    lab.refused(c.NOT_FOUND, create=pb.Create(parent=999, name=b"x", mode=REG))
    lab.refused(c.INVALID_ARGUMENT, create=pb.Create(parent=ROOT, name=b"x", mode=0o644))
    directory = lab.mkdir(ROOT, b"d")
    lab.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d", held_inode=directory))
    lab.refused(c.NOT_FOUND, create=pb.Create(parent=directory, name=b"x", mode=REG))


def test_a_set_group_id_directory_hands_on_its_group(lab):
    directory = lab.mkdir(ROOT, b"d")
    lab.ok(set_attr=pb.SetAttr(inode_id=directory, mode=0o2775, gid=77))
    assert lab.inode(lab.create(directory, b"f")).gid == 77
    below = lab.inode(lab.mkdir(directory, b"e"))
    assert below.gid == 77
    assert below.mode & stat.S_ISGID


def test_symlinks_and_devices_keep_what_they_are_given(lab):
    link = lab.inode(lab.create(ROOT, b"l", LNK, symlink_target=b"some/where"))
    assert (link.symlink_target, link.length) == (b"some/where", 10)
    device = lab.inode(lab.create(ROOT, b"c", stat.S_IFCHR | 0o600, rdev=259))
    assert device.rdev == 259
    lab.refused(c.NAME_TOO_LONG, create=pb.Create(parent=ROOT, name=b"m", mode=LNK, symlink_target=b"x" * 4096))


def test_unlink_of_the_last_name_queues_the_inode_and_frees_its_bytes(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(set_attr=pb.SetAttr(inode_id=file, length=1000))
    result = lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    assert result.replaced.nlink == 0
    assert not result.held
    assert lab.inode(file) is None
    assert len(lab.table(b"q")) == 1
    counters = lab.read(stat_fs=pb.StatFs()).stat_fs
    assert (counters.inode_count, counters.used_bytes) == (1, 0)
    lab.refused(c.NOT_FOUND, unlink=pb.Unlink(parent=ROOT, name=b"f"))


def test_a_held_inode_lives_until_it_is_released(lab):
    file = lab.create(ROOT, b"f")
    assert lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f", held_inode=file)).held
    assert lab.inode(file).nlink == 0
    lab.refused(c.NOT_FOUND, link=pb.Link(inode_id=file, new_parent=ROOT, new_name=b"g"))
    lab.ok(release_inode=pb.ReleaseInode(inode_id=file))
    assert lab.inode(file) is None
    assert not lab.table(b"w") + lab.table(b"W")


def test_the_end_of_its_session_releases_a_held_inode(lab):
    files = [lab.create(ROOT, b"%d" % n) for n in range(450)]
    for n, file in enumerate(files):
        lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"%d" % n, held_inode=file))
    lab.end()
    assert not any(lab.inode(file) for file in files)
    assert not lab.table(b"w") + lab.table(b"W") + lab.table(b"g") + lab.table(b"r")


def test_links_count_names(lab):
    file = lab.create(ROOT, b"f")
    directory = lab.mkdir(ROOT, b"d")
    assert lab.ok(link=pb.Link(inode_id=file, new_parent=directory, new_name=b"g")).inode.nlink == 2
    lab.refused(c.ALREADY_EXISTS, link=pb.Link(inode_id=file, new_parent=directory, new_name=b"g"))
    lab.refused(c.NOT_PERMITTED, link=pb.Link(inode_id=directory, new_parent=ROOT, new_name=b"h"))
    assert lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f")).replaced.nlink == 1
    assert lab.lookup(directory, b"g") == file


def test_rmdir_wants_an_empty_directory(lab):
    directory = lab.mkdir(ROOT, b"d")
    lab.create(directory, b"f")
    lab.refused(c.NOT_EMPTY, rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    lab.refused(c.NOT_A_DIRECTORY, rmdir=pb.Rmdir(parent=directory, name=b"f"))
    lab.refused(c.IS_A_DIRECTORY, unlink=pb.Unlink(parent=ROOT, name=b"d"))
    lab.ok(unlink=pb.Unlink(parent=directory, name=b"f"))
    lab.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    assert lab.inode(ROOT).nlink == 2


def rename(parent, name, new_parent, new_name, **more):
    return pb.Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name, **more)


def test_rename_moves_links_of_directories(lab):
    a, b = lab.mkdir(ROOT, b"a"), lab.mkdir(ROOT, b"b")
    moved = lab.mkdir(a, b"x")
    Fleet.around(lab).ok(rename=rename(a, b"x", b, b"y"))
    assert (lab.inode(a).nlink, lab.inode(b).nlink, lab.inode(moved).parent) == (2, 3, b)
    assert (lab.inode(a).entry_count, lab.inode(b).entry_count) == (0, 1)


def test_rename_replaces(lab):
    old, new = lab.create(ROOT, b"old"), lab.create(ROOT, b"new")
    result = lab.ok(rename=rename(ROOT, b"old", ROOT, b"new"))
    assert result.replaced.inode_id == new
    assert lab.lookup(ROOT, b"new") == old
    assert lab.lookup(ROOT, b"old") == 0
    a, b = lab.mkdir(ROOT, b"a"), lab.mkdir(ROOT, b"b")
    lab.ok(rename=rename(ROOT, b"a", ROOT, b"b"))
    assert lab.inode(b) is None
    assert lab.inode(ROOT).nlink == 3
    assert lab.lookup(ROOT, b"b") == a


def test_rename_refuses_what_cannot_be(lab):
    file, a = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"a")
    b = lab.mkdir(a, b"b")
    lab.create(b, b"x")
    lab.refused(c.NOT_FOUND, rename=rename(ROOT, b"none", ROOT, b"x"))
    fleet = Fleet.around(lab)
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(ROOT, b"a", b, b"y"))
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(ROOT, b"a", a, b"y"))
    lab.refused(c.IS_A_DIRECTORY, rename=rename(ROOT, b"f", ROOT, b"a"))
    lab.refused(c.NOT_A_DIRECTORY, rename=rename(ROOT, b"a", ROOT, b"f"))
    lab.mkdir(ROOT, b"c")
    lab.refused(c.NOT_EMPTY, rename=rename(ROOT, b"c", ROOT, b"a"))
    lab.refused(c.ALREADY_EXISTS, rename=rename(ROOT, b"c", ROOT, b"f", no_replace=True))
    lab.refused(c.NOT_FOUND, rename=rename(ROOT, b"c", ROOT, b"none", exchange=True))
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(b, b"x", ROOT, b"a", exchange=True))
    assert lab.lookup(ROOT, b"f") == file


def test_exchange_swaps_across_directories(lab):
    a, b = lab.mkdir(ROOT, b"a"), lab.mkdir(ROOT, b"b")
    file, directory = lab.create(a, b"f"), lab.mkdir(b, b"d")
    Fleet.around(lab).ok(rename=rename(a, b"f", b, b"d", exchange=True))
    assert (lab.lookup(a, b"f"), lab.lookup(b, b"d")) == (directory, file)
    assert (lab.inode(a).nlink, lab.inode(b).nlink) == (3, 2)
    assert (lab.inode(directory).parent, lab.inode(file).parent) == (a, b)


def test_two_names_of_one_inode_rename_to_nothing(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(link=pb.Link(inode_id=file, new_parent=ROOT, new_name=b"g"))
    with lab.unchanged():
        lab.ok(rename=rename(ROOT, b"f", ROOT, b"g"))


def test_listing_is_stable_in_pages_of_any_size(lab):
    names = {b"n%d" % n for n in range(50)}
    for name in names:
        lab.create(ROOT, name)
    for limit in (1, 7, 50, 4096):
        found = lab.names(ROOT, limit)
        assert len(found) == 50
        assert set(found) == names


def test_each_operation_raises_the_change_counter_of_what_it_touches_by_one(lab):
    a = lab.mkdir(ROOT, b"a")
    lab.create(ROOT, b"f")
    for operation in (
        {"rename": rename(ROOT, b"f", ROOT, b"g")},
        {"rename": rename(ROOT, b"g", a, b"g")},
        {"create": pb.Create(parent=a, name=b"h", mode=REG)},
        {"rename": rename(a, b"g", a, b"h")},
        {"unlink": pb.Unlink(parent=a, name=b"h")},
        {"set_attr": pb.SetAttr(inode_id=a, mode=0o700)},
    ):
        before = {i: lab.inode(i).change for i in (ROOT, a)}
        result = lab.ok(**operation)
        touched = {m.inode_id for m in (result.parent, result.new_parent, result.inode)} & {ROOT, a}
        for i in (ROOT, a):
            assert lab.inode(i).change == before[i] + (i in touched), operation


def test_preconditions_skip_without_effect(lab):
    file = lab.create(ROOT, b"f")
    name_is = pb.Precondition(name_is=pb.NameIs(parent=ROOT, name=b"f", inode_id=file + 1))
    lab.refused(c.SKIPPED, preconditions=[name_is], unlink=pb.Unlink(parent=ROOT, name=b"f"))
    absent = pb.Precondition(name_is=pb.NameIs(parent=ROOT, name=b"none"))
    lab.ok(preconditions=[absent], create=pb.Create(parent=ROOT, name=b"g", mode=REG))
    change = pb.Precondition(change_is=pb.ChangeIs(inode_id=file, change=99))
    lab.refused(c.SKIPPED, preconditions=[change], set_attr=pb.SetAttr(inode_id=file, mode=0))
