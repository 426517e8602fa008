"""What a lane and a read do when they meet a transaction: LOCKED where its outcome matters, and only there."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.metastore.reads import ENTRIES_MAX
from curvefs.src.metaserver.storage import keys

from .fleet import add_link, drop_link, finish, move_inode, move_lock, new_directory, prepare, put_name, remove_name
from .lab import SESSION, Lab

ROOT = 1
ELSEWHERE = make_id(5, 7)
REG, DIR = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


class Place(Lab):
    """/f, /d/g (a file), /e (empty), /l = /m (two names of a file)."""

    def __init__(self):
        super().__init__()
        self.file = self.create(ROOT, b"f")
        self.folder = self.mkdir(ROOT, b"d")
        self.inside = self.create(self.folder, b"g")
        self.empty = self.mkdir(ROOT, b"e")
        self.linked = self.create(ROOT, b"l")
        self.ok(link=pb.Link(inode_id=self.linked, new_parent=ROOT, new_name=b"m"))


@pytest.fixture
def lab():
    return Place()


def rename(parent, name, new_parent, new_name, **more):
    return {"rename": pb.Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name, **more)}


def create(parent, name, mode=REG):
    return {"create": pb.Create(parent=parent, name=name, mode=mode, exclusive=True)}


def unlink(parent, name):
    return {"unlink": pb.Unlink(parent=parent, name=name)}


def rmdir(parent, name):
    return {"rmdir": pb.Rmdir(parent=parent, name=name)}


def link(inode_id, new_parent, new_name):
    return {"link": pb.Link(inode_id=inode_id, new_parent=new_parent, new_name=new_name)}


# (what is prepared, the operation that meets it)
MEETINGS = {
    "create, its name comes": (lambda x: put_name(ROOT, b"n", ELSEWHERE), lambda x: create(ROOT, b"n")),
    "create, its name goes": (lambda x: remove_name(ROOT, b"f", x.file), lambda x: create(ROOT, b"f")),
    "create in what goes": (lambda x: drop_link(x.empty, is_directory=True), lambda x: create(x.empty, b"n")),
    "mkdir in what goes": (lambda x: drop_link(x.empty, is_directory=True), lambda x: create(x.empty, b"n", DIR)),
    "unlink, its name goes": (lambda x: remove_name(ROOT, b"f", x.file), lambda x: unlink(ROOT, b"f")),
    "unlink, its name comes": (lambda x: put_name(ROOT, b"n", ELSEWHERE), lambda x: unlink(ROOT, b"n")),
    "unlink, another link comes": (lambda x: add_link(x.file), lambda x: unlink(ROOT, b"f")),
    "unlink, another link goes": (lambda x: drop_link(x.linked), lambda x: unlink(ROOT, b"m")),
    "unlink, it moves": (lambda x: move_inode(x.file, ELSEWHERE), lambda x: unlink(ROOT, b"f")),
    "rmdir, its name goes": (
        lambda x: remove_name(ROOT, b"e", x.empty, is_directory=True),
        lambda x: rmdir(ROOT, b"e"),
    ),
    "rmdir, it moves": (lambda x: move_inode(x.empty, ELSEWHERE, is_directory=True), lambda x: rmdir(ROOT, b"e")),
    "rmdir, it is removed": (lambda x: drop_link(x.empty, is_directory=True), lambda x: rmdir(ROOT, b"e")),
    "rmdir, a name comes": (lambda x: put_name(x.empty, b"n", ELSEWHERE), lambda x: rmdir(ROOT, b"e")),
    "rmdir, a name goes": (lambda x: remove_name(x.folder, b"g", x.inside), lambda x: rmdir(ROOT, b"d")),
    "link, its name comes": (lambda x: put_name(ROOT, b"n", ELSEWHERE), lambda x: link(x.file, ROOT, b"n")),
    "link, another link comes": (lambda x: add_link(x.file), lambda x: link(x.file, ROOT, b"n")),
    "link, its last link goes": (lambda x: drop_link(x.file), lambda x: link(x.file, ROOT, b"n")),
    "link in what goes": (lambda x: drop_link(x.empty, is_directory=True), lambda x: link(x.file, x.empty, b"n")),
    "rename, its name goes": (lambda x: remove_name(ROOT, b"f", x.file), lambda x: rename(ROOT, b"f", ROOT, b"n")),
    "rename, its new name comes": (lambda x: put_name(ROOT, b"n", ELSEWHERE), lambda x: rename(ROOT, b"f", ROOT, b"n")),
    "rename into what goes": (
        lambda x: drop_link(x.empty, is_directory=True),
        lambda x: rename(ROOT, b"f", x.empty, b"n"),
    ),
    "rename, it moves": (lambda x: move_inode(x.file, ELSEWHERE), lambda x: rename(ROOT, b"f", ROOT, b"n")),
    "rename, it gets a link": (lambda x: add_link(x.file), lambda x: rename(ROOT, b"f", ROOT, b"n")),
    "rename, the target loses a link": (lambda x: drop_link(x.linked), lambda x: rename(ROOT, b"f", ROOT, b"l")),
    "rename, a name comes in the target": (
        lambda x: put_name(x.empty, b"n", ELSEWHERE),
        lambda x: rename(ROOT, b"d", ROOT, b"e"),
    ),
    "exchange, the other moves": (
        lambda x: move_inode(x.linked, ELSEWHERE),
        lambda x: rename(ROOT, b"f", ROOT, b"l", exchange=True),
    ),
    "no_replace, the target goes": (
        lambda x: remove_name(ROOT, b"l", x.linked),
        lambda x: rename(ROOT, b"f", ROOT, b"l", no_replace=True),
    ),
}


@pytest.mark.parametrize("meeting", MEETINGS, ids=str)
def test_an_operation_that_meets_a_lock_is_a_no_op_and_goes_on_afterwards(lab, meeting):
    part, operation = (make(lab) for make in MEETINGS[meeting])
    assert prepare(lab, 1, part).facts is not None
    lab.refused(c.LOCKED, **operation)
    finish(lab, 1, commit=False)
    assert lab.do(**operation).status not in (c.LOCKED, c.CROSS_PARTITION)


def test_a_precondition_on_a_locked_name_is_not_decided(lab):
    prepare(lab, 1, put_name(ROOT, b"n", ELSEWHERE))
    absent = pb.Precondition(name_is=pb.NameIs(parent=ROOT, name=b"n"))
    lab.refused(c.LOCKED, preconditions=[absent], **create(ROOT, b"other"))


def test_what_is_not_concerned_goes_on(lab):
    parts = [add_link(lab.file), put_name(lab.folder, b"n", ELSEWHERE), move_inode(lab.linked, ROOT), move_lock()]
    assert prepare(lab, 1, *parts).facts is not None
    for operation in (
        {"set_attr": pb.SetAttr(inode_id=lab.file, mode=0o600, length=10)},
        {"set_attr": pb.SetAttr(inode_id=lab.folder, mode=0o700)},
        {"set_xattr": pb.SetXattr(inode_id=lab.file, name=b"user.a", value=b"v")},
        {"remove_xattr": pb.RemoveXattr(inode_id=lab.file, name=b"user.a")},
        {"fallocate": pb.Fallocate(inode_id=lab.file, length=100)},
        {"append_slices": pb.AppendSlices(inode_id=lab.file, slices=[pb.Slice(length=5, zero=True)], length=5)},
        create(lab.folder, b"m"),
        unlink(lab.folder, b"g"),
        create(ROOT, b"o"),
        rename(ROOT, b"d", ROOT, b"dd"),
    ):
        assert lab.do(**operation).status == c.OK, operation
    finish(lab, 1, commit=True)
    assert (lab.inode(lab.file).nlink, lab.inode(lab.folder).entry_count) == (2, 2)


def test_a_release_waits_for_the_removal_that_it_follows(lab):
    # The unlink is answered before it is committed where the inode lies; the file is closed in between.
    prepare(lab, 1, drop_link(lab.file, session_id=SESSION, held=True))
    lab.refused(c.LOCKED, release_inode=pb.ReleaseInode(inode_id=lab.file))
    finish(lab, 1, commit=True)
    lab.ok(release_inode=pb.ReleaseInode(inode_id=lab.file))
    assert lab.inode(lab.file) is None


def test_a_directory_that_moves_takes_names(lab):
    prepare(lab, 1, move_inode(lab.empty, ELSEWHERE, is_directory=True))
    lab.ok(**create(lab.empty, b"n"))
    lab.ok(**unlink(lab.empty, b"n"))


def test_a_new_directory_is_waited_for(lab):
    (fact,) = prepare(lab, 1, new_directory(0, ROOT)).facts
    new = fact.inode_id
    for operation in (
        create(new, b"x"),
        unlink(new, b"x"),
        link(lab.file, new, b"x"),
        rename(ROOT, b"f", new, b"x"),
        {"set_attr": pb.SetAttr(inode_id=new, mode=0o700)},
        {"set_xattr": pb.SetXattr(inode_id=new, name=b"user.a", value=b"v")},
    ):
        lab.refused(c.LOCKED, **operation)
    for request in (
        {"get_attr": pb.GetAttr(inode_id=new)},
        {"lookup": pb.Lookup(parent=new, name=b"x")},
        {"read_dir": pb.ReadDir(inode_id=new)},
        {"list_xattr": pb.ListXattr(inode_id=new)},
    ):
        assert lab.read(**request).failure.code == c.LOCKED
    finish(lab, 1, commit=True)
    lab.ok(**create(new, b"x"))


# ------------------------------------------------------------------------------------------ CROSS_PARTITION


@pytest.fixture
def wide():
    """Two partitions of one group: /f in the first; /f in the root of the second, so to speak."""
    lab = Lab(partitions=(0, 1))
    lab.file = lab.create(ROOT, b"f")
    (fact,) = prepare(lab, 1, new_directory(1, ROOT), put_name(ROOT, b"far", make_id(1, 2), pb.DIRECTORY)).facts[:1]
    finish(lab, 1, commit=True)
    lab.far = fact.inode_id
    lab.far_file = lab.create(lab.far, b"f")
    lab.folder = lab.mkdir(ROOT, b"d")
    prepare(lab, 2, add_link(lab.far_file), put_name(ROOT, b"g", lab.far_file))
    finish(lab, 2, commit=True)
    return lab


def test_what_lies_in_two_partitions_is_for_a_transaction(wide):
    for operation in (
        rmdir(ROOT, b"far"),
        unlink(ROOT, b"far"),
        unlink(ROOT, b"g"),
        link(wide.file, wide.far, b"n"),
        link(wide.far_file, ROOT, b"n"),
        rename(ROOT, b"f", wide.far, b"n"),
        rename(ROOT, b"far", ROOT, b"n"),
        rename(ROOT, b"f", ROOT, b"g"),
        rename(ROOT, b"f", ROOT, b"g", exchange=True),
        rename(ROOT, b"g", ROOT, b"f", exchange=True),
    ):
        wide.refused(c.CROSS_PARTITION, **operation)


def test_a_directory_that_gets_another_parent_is_for_a_transaction(wide):
    sub = wide.mkdir(wide.folder, b"sub")
    wide.create(wide.folder, b"x")
    wide.refused(c.CROSS_PARTITION, **rename(wide.folder, b"sub", ROOT, b"n"))
    wide.refused(c.CROSS_PARTITION, **rename(ROOT, b"f", wide.folder, b"sub", exchange=True))
    wide.refused(c.CROSS_PARTITION, **rename(wide.folder, b"sub", ROOT, b"f", exchange=True))
    wide.ok(**rename(wide.folder, b"sub", wide.folder, b"n"))
    wide.ok(**rename(wide.folder, b"n", wide.folder, b"x", exchange=True))
    assert wide.lookup(wide.folder, b"x") == sub


def test_what_needs_no_other_partition_is_answered_in_the_lane(wide):
    wide.refused(c.ALREADY_EXISTS, **create(ROOT, b"far"))
    wide.refused(c.ALREADY_EXISTS, **create(ROOT, b"g"))
    wide.refused(c.ALREADY_EXISTS, **rename(ROOT, b"f", ROOT, b"g", no_replace=True))
    wide.refused(c.NOT_FOUND, **rename(ROOT, b"none", ROOT, b"g"))
    refused = wide.refused(c.ALREADY_EXISTS, **create(ROOT, b"g"))
    assert refused.inode == pb.Inode(inode_id=wide.far_file, mode=stat.S_IFREG)


def test_a_lane_places_no_directory_elsewhere(wide):
    for partition_id in (0, 1):
        request = pb.Create(parent=ROOT, name=b"n", mode=DIR, exclusive=True, partition_id=partition_id)
        wide.refused(c.INVALID_ARGUMENT, create=request)


def test_names_that_lead_elsewhere_say_what_and_where(wide):
    for name, inode_id, type_ in ((b"far", wide.far, stat.S_IFDIR), (b"g", wide.far_file, stat.S_IFREG)):
        found = wide.read(lookup=pb.Lookup(parent=ROOT, name=name)).inode
        assert found == pb.Inode(inode_id=inode_id, mode=type_)
    entries = wide.read(read_dir=pb.ReadDir(inode_id=ROOT, with_attributes=True)).entries
    assert {one.name: one.HasField("inode") for one in entries} == {b"f": True, b"d": True, b"far": False, b"g": False}


# ---------------------------------------------------------------------------------------------------- reads


def failure(lab, **request):
    return lab.read(**request).failure.code


def test_reads_of_what_is_about_to_change_wait(lab):
    parts = [
        put_name(ROOT, b"n", ELSEWHERE),
        remove_name(lab.folder, b"g", lab.inside),
        add_link(lab.file),
        drop_link(lab.empty, is_directory=True),
    ]
    prepare(lab, 1, *parts)
    for request in (
        {"lookup": pb.Lookup(parent=ROOT, name=b"n")},
        {"lookup": pb.Lookup(parent=lab.folder, name=b"g")},
        {"lookup": pb.Lookup(parent=ROOT, name=b"f")},
        {"lookup": pb.Lookup(parent=ROOT, name=b"e")},
        {"lookup": pb.Lookup(parent=ROOT, name=b"d")},
        {"lookup": pb.Lookup(parent=lab.folder, name=b"..")},
        {"lookup": pb.Lookup(parent=lab.folder, name=b".")},
        {"get_attr": pb.GetAttr(inode_id=ROOT)},
        {"get_attr": pb.GetAttr(inode_id=lab.file)},
        {"get_attr": pb.GetAttr(inode_id=lab.folder)},
        {"get_attr": pb.GetAttr(inode_id=lab.empty)},
        {"read_dir": pb.ReadDir(inode_id=ROOT)},
        {"read_dir": pb.ReadDir(inode_id=lab.folder)},
    ):
        assert failure(lab, **request) == c.LOCKED, request
    for request in (
        {"lookup": pb.Lookup(parent=ROOT, name=b"none")},
        {"lookup": pb.Lookup(parent=ROOT, name=b"l")},
        {"get_attr": pb.GetAttr(inode_id=lab.linked)},
        {"get_attr": pb.GetAttr(inode_id=lab.inside)},
        {"get_slices": pb.GetSlices(inode_id=lab.file, count=1)},
        {"list_xattr": pb.ListXattr(inode_id=lab.file)},
        {"read_dir": pb.ReadDir(inode_id=lab.empty + 1000)},
        {"stat_fs": pb.StatFs()},
    ):
        assert failure(lab, **request) != c.LOCKED, request
    finish(lab, 1, commit=True)
    assert lab.lookup(ROOT, b"f") == lab.file
    assert lab.names(lab.folder) == []


def test_the_way_up_waits_for_a_move(lab):
    prepare(lab, 1, move_inode(lab.folder, lab.empty, is_directory=True))
    assert failure(lab, lookup=pb.Lookup(parent=lab.folder, name=b"..")) == c.LOCKED
    finish(lab, 1, commit=True)
    assert lab.lookup(lab.folder, b"..") == lab.empty


def test_a_listing_leaves_out_attributes_that_are_about_to_change(lab):
    prepare(lab, 1, add_link(lab.file), put_name(lab.folder, b"n", ELSEWHERE))
    page = lab.read(read_dir=pb.ReadDir(inode_id=ROOT, with_attributes=True, limit=ENTRIES_MAX))
    shown = {entry.name: entry.HasField("inode") for entry in page.entries}
    assert shown == {b"f": False, b"d": False, b"e": True, b"l": True, b"m": True}


class Counted:
    """A view that counts what is read of the locks."""

    def __init__(self, state):
        self._state = state
        self.asked = 0

    def get(self, key):
        self.asked += key[:1] == keys.LOCK
        return self._state.get(key)

    def scan(self, start, end, limit=None):
        self.asked += start[:1] == keys.LOCK
        return self._state.scan(start, end, limit)


def test_a_group_without_locks_hardly_looks_for_them(lab):
    view = Counted(lab.state)
    lab.state = view
    lab.read(read_dir=pb.ReadDir(inode_id=ROOT, with_attributes=True))
    assert view.asked <= 2
    view.asked = 0
    lab.read(lookup=pb.Lookup(parent=ROOT, name=b"f"))
    assert view.asked <= 3


def test_the_commit_shows_and_the_abort_hides(lab):
    for number, commit in ((1, False), (2, True)):
        prepare(lab, number, put_name(ROOT, b"n", ELSEWHERE, rule=t.PutName.ANY))
        finish(lab, number, commit=commit)
        found = lab.read(lookup=pb.Lookup(parent=ROOT, name=b"n"))
        assert found.HasField("inode") == commit
