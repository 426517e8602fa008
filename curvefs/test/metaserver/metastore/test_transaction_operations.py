"""Every operation across partitions does what it would do in one place, wherever things lie."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.ids import partition_of

from .fleet import Fleet
from .lab import SESSION

ROOT = 1
# Each partition in a group of its own; two in one; all in one: a transaction all the same.
LAYOUTS = [(1, 2, 3), (1, 1, 2), (1, 2, 2), (1, 2, 1), (1, 1, 1)]


@pytest.fixture(params=LAYOUTS, ids=str)
def fleet(request):
    fleet = Fleet(request.param, twice=True)
    yield fleet
    fleet.settled()


def rename(parent, name, new_parent, new_name, **more):
    return pb.Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name, **more)


def counts(fleet, inode_id):
    inode = fleet.inode(inode_id)
    return inode.nlink, inode.entry_count


def test_mkdir_elsewhere(fleet):
    before = fleet.inode(ROOT)
    request = pb.Create(parent=ROOT, name=b"d", mode=stat.S_IFDIR | 0o750, exclusive=True, partition_id=1)
    result = fleet.do(pb.Operation(create=request, credential=pb.Credential(uid=5, gid=6)))
    folder = fleet.there(ROOT, b"d")[0]
    made = fleet.inode(folder)
    assert partition_of(folder) == 1
    assert (made.mode, made.uid, made.gid, made.nlink, made.parent) == (stat.S_IFDIR | 0o750, 5, 6, 2, ROOT)
    assert result.parent == fleet.inode(ROOT)
    assert not result.HasField("new_parent")
    assert (result.parent.nlink, result.parent.entry_count, result.parent.change) == (3, 1, before.change + 1)
    found = fleet.lab(ROOT).read(lookup=pb.Lookup(parent=ROOT, name=b"d")).inode
    assert found == pb.Inode(inode_id=folder, mode=stat.S_IFDIR)


def test_mkdir_elsewhere_refuses_a_name_that_is_there(fleet):
    fleet.create(ROOT, b"d")
    request = pb.Create(parent=ROOT, name=b"d", mode=stat.S_IFDIR | 0o755, partition_id=1)
    fleet.refused(c.ALREADY_EXISTS, create=request)


def test_the_way_up_leads_through_partitions(fleet):
    a = fleet.mkdir(ROOT, b"a", 1)
    b = fleet.mkdir(a, b"b", 2)
    up = fleet.lab(b).read(lookup=pb.Lookup(parent=b, name=b"..")).inode
    assert (up.inode_id, stat.S_IFMT(up.mode)) == (a, stat.S_IFDIR)
    up = fleet.lab(a).read(lookup=pb.Lookup(parent=a, name=b"..")).inode
    assert (up.inode_id, stat.S_IFMT(up.mode)) == (ROOT, stat.S_IFDIR)


def test_a_listing_says_of_foreign_entries_what_the_names_say(fleet):
    folder, file = fleet.mkdir(ROOT, b"d", 1), fleet.create(ROOT, b"f")
    page = fleet.lab(ROOT).read(read_dir=pb.ReadDir(inode_id=ROOT, with_attributes=True))
    found = {entry.name: entry for entry in page.entries}
    assert (found[b"d"].inode_id, found[b"d"].type, found[b"d"].HasField("inode")) == (folder, pb.DIRECTORY, False)
    assert found[b"f"].inode == fleet.inode(file)


def test_rmdir_of_a_foreign_directory(fleet):
    folder = fleet.mkdir(ROOT, b"d", 1)
    fleet.create(folder, b"x")
    fleet.refused(c.NOT_EMPTY, rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    fleet.refused(c.IS_A_DIRECTORY, unlink=pb.Unlink(parent=ROOT, name=b"d"))
    fleet.ok(unlink=pb.Unlink(parent=folder, name=b"x"))
    result = fleet.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    assert result.parent == fleet.inode(ROOT)
    assert counts(fleet, ROOT) == (2, 0)
    assert fleet.inode(folder) is None
    assert fleet.lookup(ROOT, b"d") == 0


def test_a_foreign_directory_that_is_held_outlives_its_name(fleet):
    folder = fleet.mkdir(ROOT, b"d", 1)
    fleet.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d", held_inode=folder))
    assert fleet.inode(folder).nlink == 0
    lab = fleet.lab(folder)
    assert lab.do(create=pb.Create(parent=folder, name=b"x", mode=stat.S_IFREG | 0o644)).status == c.NOT_FOUND
    lab.ok(release_inode=pb.ReleaseInode(inode_id=folder))
    assert fleet.inode(folder) is None


def test_link_and_unlink_across(fleet):
    folder, file = fleet.mkdir(ROOT, b"d", 1), fleet.create(ROOT, b"f")
    result = fleet.ok(link=pb.Link(inode_id=file, new_parent=folder, new_name=b"g"))
    assert result.new_parent == fleet.inode(folder)
    assert not result.HasField("parent")
    assert fleet.there(folder, b"g") == (file, pb.REGULAR)
    assert (fleet.inode(file).nlink, fleet.inode(file).parent) == (2, ROOT)
    fleet.refused(c.ALREADY_EXISTS, link=pb.Link(inode_id=file, new_parent=folder, new_name=b"g"))
    fleet.refused(c.NOT_PERMITTED, link=pb.Link(inode_id=ROOT, new_parent=folder, new_name=b"h"))
    fleet.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    assert fleet.inode(file).nlink == 1
    fleet.ok(unlink=pb.Unlink(parent=folder, name=b"g", held_inode=file))
    assert fleet.inode(file).nlink == 0
    fleet.lab(file).end(SESSION)
    assert fleet.inode(file) is None


def test_rename_of_a_file_to_another_partition(fleet):
    folder, file = fleet.mkdir(ROOT, b"d", 1), fleet.create(ROOT, b"f")
    before = fleet.inode(file)
    result = fleet.ok(rename=rename(ROOT, b"f", folder, b"g"))
    assert result.parent == fleet.inode(ROOT)
    after = fleet.inode(file)
    assert (after.parent, after.nlink, after.change) == (folder, 1, before.change + 1)
    assert (fleet.there(ROOT, b"f"), fleet.there(folder, b"g")) == ((0, 0), (file, pb.REGULAR))
    assert (counts(fleet, ROOT), counts(fleet, folder)) == ((3, 1), (2, 1))


@pytest.mark.parametrize("home", [0, 1, 2])
def test_rename_over_a_file_drops_its_link_wherever_it_lies(fleet, home):
    a, b, third = fleet.mkdir(ROOT, b"a", 1), fleet.mkdir(ROOT, b"b", 2), fleet.mkdir(ROOT, b"c", home)
    file, target = fleet.create(a, b"f"), fleet.create(third, b"t")
    fleet.ok(link=pb.Link(inode_id=target, new_parent=b, new_name=b"g"))
    fleet.ok(rename=rename(a, b"f", b, b"g"))
    assert fleet.there(b, b"g") == (file, pb.REGULAR)
    assert fleet.inode(target).nlink == 1
    assert (counts(fleet, a), counts(fleet, b)) == ((2, 0), (2, 1))
    other = fleet.create(a, b"f")
    fleet.ok(rename=rename(a, b"f", third, b"t"))
    assert fleet.there(third, b"t") == (other, pb.REGULAR)
    assert fleet.inode(target) is None


def test_rename_over_a_file_that_is_held(fleet):
    folder = fleet.mkdir(ROOT, b"d", 1)
    fleet.create(ROOT, b"f")
    target = fleet.create(folder, b"g")
    fleet.ok(rename=rename(ROOT, b"f", folder, b"g", held_inode=target))
    assert fleet.inode(target).nlink == 0
    fleet.lab(target).ok(release_inode=pb.ReleaseInode(inode_id=target))
    assert fleet.inode(target) is None


def test_rename_of_a_directory_to_another_parent(fleet):
    a, b = fleet.mkdir(ROOT, b"a", 1), fleet.mkdir(ROOT, b"b", 2)
    moved = fleet.mkdir(a, b"x")
    below = fleet.mkdir(moved, b"y", 0)
    fleet.ok(rename=rename(a, b"x", b, b"z"))
    assert (fleet.inode(moved).parent, fleet.inode(below).parent) == (b, moved)
    assert (counts(fleet, a), counts(fleet, b), counts(fleet, moved)) == ((2, 0), (3, 1), (3, 1))
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(ROOT, b"b", below, b"n"))
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(ROOT, b"b", b, b"n"))


def test_rename_of_a_directory_within_one_partition_is_a_transaction_too(fleet):
    a, b = fleet.mkdir(ROOT, b"a"), fleet.mkdir(ROOT, b"b")
    moved = fleet.mkdir(a, b"x")
    result = fleet.ok(rename=rename(a, b"x", b, b"y"))
    assert (result.parent, result.new_parent) == (fleet.inode(a), fleet.inode(b))
    assert result.inode == fleet.inode(moved)
    assert (counts(fleet, a), counts(fleet, b), fleet.inode(moved).parent) == ((2, 0), (3, 1), b)


def test_rename_over_an_empty_directory(fleet):
    a, b = fleet.mkdir(ROOT, b"a", 1), fleet.mkdir(ROOT, b"b", 2)
    moved, target = fleet.mkdir(a, b"x"), fleet.mkdir(b, b"y", 0)
    inside = fleet.create(target, b"i")
    fleet.refused(c.NOT_EMPTY, rename=rename(a, b"x", b, b"y"))
    fleet.refused(c.ALREADY_EXISTS, rename=rename(a, b"x", b, b"y", no_replace=True))
    fleet.refused(c.NOT_A_DIRECTORY, rename=rename(a, b"x", target, b"i"))
    fleet.ok(unlink=pb.Unlink(parent=target, name=b"i"))
    assert fleet.inode(inside) is None
    fleet.ok(rename=rename(a, b"x", b, b"y"))
    assert fleet.inode(target) is None
    assert fleet.there(b, b"y") == (moved, pb.DIRECTORY)
    assert (counts(fleet, a), counts(fleet, b)) == ((2, 0), (3, 1))


def test_a_file_does_not_replace_a_directory(fleet):
    folder = fleet.mkdir(ROOT, b"d", 1)
    fleet.mkdir(folder, b"e")
    fleet.create(ROOT, b"f")
    fleet.refused(c.IS_A_DIRECTORY, rename=rename(ROOT, b"f", folder, b"e"))


def test_exchange_of_a_file_and_a_directory(fleet):
    a, b = fleet.mkdir(ROOT, b"a", 1), fleet.mkdir(ROOT, b"b", 2)
    file, folder = fleet.create(a, b"f"), fleet.mkdir(b, b"d", 0)
    fleet.ok(rename=rename(a, b"f", b, b"d", exchange=True))
    assert fleet.there(a, b"f") == (folder, pb.DIRECTORY)
    assert fleet.there(b, b"d") == (file, pb.REGULAR)
    assert (fleet.inode(folder).parent, fleet.inode(file).parent) == (a, b)
    assert (counts(fleet, a), counts(fleet, b)) == ((3, 1), (2, 1))


def test_exchange_in_one_directory(fleet):
    a, b = fleet.mkdir(ROOT, b"a", 1), fleet.mkdir(ROOT, b"b", 2)
    before = fleet.inode(ROOT)
    fleet.ok(rename=rename(ROOT, b"a", ROOT, b"b", exchange=True))
    assert (fleet.there(ROOT, b"a")[0], fleet.there(ROOT, b"b")[0]) == (b, a)
    assert (counts(fleet, ROOT), fleet.inode(ROOT).change) == ((4, 2), before.change + 1)


def test_exchange_says_which_inode_is_which():
    fleet = Fleet((1, 1, 1))
    a, b = fleet.mkdir(ROOT, b"a"), fleet.mkdir(ROOT, b"b")
    moved, target = fleet.mkdir(a, b"x"), fleet.mkdir(b, b"y")
    result = fleet.ok(rename=rename(a, b"x", b, b"y", exchange=True))
    assert (result.inode, result.replaced) == (fleet.inode(moved), fleet.inode(target))
    assert (result.parent, result.new_parent) == (fleet.inode(a), fleet.inode(b))


def test_exchange_with_what_lies_above_or_below_is_refused(fleet):
    a = fleet.mkdir(ROOT, b"a", 1)
    fleet.mkdir(a, b"b", 2)
    fleet.create(ROOT, b"f")
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(ROOT, b"a", a, b"b", exchange=True))
    fleet.refused(c.INVALID_ARGUMENT, rename=rename(a, b"b", ROOT, b"a", exchange=True))
    fleet.refused(c.NOT_FOUND, rename=rename(ROOT, b"f", a, b"none", exchange=True))


def test_two_names_of_one_inode_in_two_partitions_rename_to_nothing(fleet):
    folder, file = fleet.mkdir(ROOT, b"d", 1), fleet.create(ROOT, b"f")
    fleet.ok(link=pb.Link(inode_id=file, new_parent=folder, new_name=b"g"))
    fleet.ok(rename=rename(ROOT, b"f", folder, b"g"))
    assert (fleet.there(ROOT, b"f")[0], fleet.there(folder, b"g")[0]) == (file, file)
    assert fleet.inode(file).nlink == 2
