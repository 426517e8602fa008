"""The trash of the state machine: what gets there, how it is seen, how it comes back and how it goes."""

import stat
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.src.common.ids import HOUR_NS, hour_of_trash, make_id
from curvefs.src.metaserver.metastore.trash import KEYS_PER_ENTRY
from curvefs.src.metaserver.storage import keys

from .fleet import Fleet, Transaction, pairs_of
from .lab import FS, Lab

ROOT = 1
DAY_S = 24 * 3600
OF_TRASH = (keys.TRASH, keys.TRASH_PLACE)


@pytest.fixture
def lab():
    return Lab(retention_s=DAY_S)


def unlink(lab, name, parent=ROOT, **more):
    return lab.ok(unlink=pb.Unlink(parent=parent, name=name, **more))


def rmdir(lab, name, parent=ROOT):
    return lab.ok(rmdir=pb.Rmdir(parent=parent, name=name))


def restore(inode_id, new_name, new_parent=ROOT):
    return pb.Restore(inode_id=inode_id, new_parent=new_parent, new_name=new_name)


def purge_old(lab, upto_ns=1 << 62):
    return lab.entry(purge_trash=state_pb2.PurgeTrashCommand(fs_id=FS, upto_ns=upto_ns)).purged


def later(lab, seconds):
    lab.time_ns += seconds * 10**9


def listed(lab, place, limit=2, name=b""):
    """List a place page by page; return inode numbers."""
    found, after = [], None
    while True:
        page = lab.read(list_trash=pb.ListTrash(place=place, after=after, limit=limit, name=name))
        found += [entry.inode_id for entry in page.entries]
        if page.end:
            return found
        after = page.trash_cursor


def record(lab, partition_id=0):
    return state_pb2.PartitionRecord.FromString(lab.state.get(keys.partition(FS, partition_id)))


def in_trash(lab):
    return [key for table in OF_TRASH for key in lab.table(table)]


def test_what_loses_its_last_link_is_in_the_trash_and_charged_as_before(lab):
    inode_id = lab.create(ROOT, b"f")
    lab.ok(set_attr=pb.SetAttr(inode_id=inode_id, length=100))
    before = record(lab)
    result = unlink(lab, b"f")
    inode = lab.inode(inode_id)
    assert (inode.nlink, inode.trashed_ns, inode.trashed_parent, inode.trashed_name) == (0, lab.time_ns, ROOT, b"f")
    assert result.replaced == inode
    assert not result.held
    assert record(lab) == before
    assert not lab.table(keys.DELETE)
    assert (len(lab.table(keys.TRASH)), len(lab.table(keys.TRASH_PLACE))) == (1, 2)
    assert lab.lookup(ROOT, b"f") == 0


def test_what_has_another_name_is_not(lab):
    inode_id = lab.create(ROOT, b"f")
    lab.ok(link=pb.Link(inode_id=inode_id, new_parent=ROOT, new_name=b"g"))
    unlink(lab, b"f")
    assert not in_trash(lab)
    unlink(lab, b"g")
    assert lab.inode(inode_id).trashed_name == b"g"


def test_without_a_retention_it_is_purged_at_once():
    lab = Lab()
    inode_id = lab.create(ROOT, b"f")
    unlink(lab, b"f")
    assert lab.inode(inode_id) is None
    assert not in_trash(lab)


@pytest.mark.parametrize("replaced", [False, True])
def test_what_a_rename_replaces_is_kept_only_where_the_filesystem_says_so(replaced):
    lab = Lab(retention_s=DAY_S, replaced=replaced)
    old, _ = lab.create(ROOT, b"old"), lab.create(ROOT, b"new")
    lab.ok(rename=pb.Rename(parent=ROOT, name=b"new", new_parent=ROOT, new_name=b"old"))
    assert (lab.inode(old) is not None) == replaced
    assert bool(in_trash(lab)) == replaced


def test_a_file_comes_back_as_it_was(lab):
    inode_id = lab.create(ROOT, b"f", stat.S_IFREG | 0o640)
    lab.ok(set_xattr=pb.SetXattr(inode_id=inode_id, name=b"user.a", value=b"b"))
    before, parent = lab.inode(inode_id), lab.inode(ROOT)
    unlink(lab, b"f")
    result = lab.ok(restore=restore(inode_id, b"f"))
    after = lab.inode(inode_id)
    assert (result.inode, result.new_parent) == (after, lab.inode(ROOT))
    assert (after.change, after.ctime_ns) == (before.change + 2, lab.time_ns)
    after.change, after.ctime_ns = before.change, before.ctime_ns
    assert after == before
    assert (lab.inode(ROOT).entry_count, lab.inode(ROOT).nlink) == (parent.entry_count, parent.nlink)
    assert lab.lookup(ROOT, b"f") == inode_id
    assert not in_trash(lab)


def test_a_directory_comes_back_empty_and_counts_in_its_parent(lab):
    folder = lab.mkdir(ROOT, b"d")
    rmdir(lab, b"d")
    other = lab.mkdir(ROOT, b"other")
    lab.ok(restore=restore(folder, b"e", other))
    inode = lab.inode(folder)
    assert (inode.nlink, inode.entry_count, inode.parent, lab.inode(other).nlink) == (2, 0, other, 3)
    lab.create(folder, b"f")


def test_restoring_is_refused_without_effect(lab):
    inode_id, there = lab.create(ROOT, b"f"), lab.create(ROOT, b"there")
    folder, gone = lab.mkdir(ROOT, b"d"), lab.mkdir(ROOT, b"gone")
    unlink(lab, b"f")
    rmdir(lab, b"gone")
    lab.refused(c.ALREADY_EXISTS, restore=restore(inode_id, b"there"))
    lab.refused(c.NOT_FOUND, restore=restore(there, b"x"))
    lab.refused(c.NOT_FOUND, restore=restore(inode_id, b"x", gone))
    lab.refused(c.NOT_FOUND, restore=restore(gone, b"x", gone))
    lab.refused(c.NOT_FOUND, restore=restore(inode_id + 100, b"x"))
    lab.refused(c.NOT_A_DIRECTORY, restore=restore(inode_id, b"x", there))
    lab.refused(c.INVALID_ARGUMENT, restore=restore(inode_id, b"", folder))
    lab.refused(c.CROSS_PARTITION, restore=restore(make_id(1, 7), b"x"))


def test_what_is_open_is_purged_when_both_are_over(lab):
    inode_id = lab.create(ROOT, b"f")
    assert unlink(lab, b"f", held_inode=inode_id).held
    later(lab, 2 * DAY_S)
    assert purge_old(lab) == 1
    assert not in_trash(lab)
    assert lab.inode(inode_id).trashed_ns == 0
    lab.refused(c.NOT_FOUND, restore=restore(inode_id, b"f"))
    lab.ok(release_inode=pb.ReleaseInode(inode_id=inode_id))
    assert lab.inode(inode_id) is None
    assert len(lab.table(keys.DELETE)) == 1


def test_the_last_close_does_not_purge_what_is_in_the_trash(lab):
    inode_id = lab.create(ROOT, b"f")
    unlink(lab, b"f", held_inode=inode_id)
    lab.ok(release_inode=pb.ReleaseInode(inode_id=inode_id))
    assert lab.inode(inode_id).trashed_ns
    lab.end()
    assert lab.inode(inode_id).trashed_ns


def test_what_was_restored_and_is_replaced_lives_while_another_session_holds_it(lab):
    held, other = lab.create(ROOT, b"f"), b"o" * 16
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f", held_inode=held))
    lab.open(other)
    lab.create(ROOT, b"g")
    rename = pb.Rename(parent=ROOT, name=b"g", new_parent=ROOT, new_name=b"f")
    for number, operation in enumerate(
        (pb.Operation(restore=restore(held, b"f")), pb.Operation(rename=rename)), start=1
    ):
        applied = lab.batch(number, [operation], session=other, acknowledged=number - 1)
        assert applied.results.results[0].status == c.OK
    assert lab.inode(held).nlink == 0
    lab.ok(release_inode=pb.ReleaseInode(inode_id=held))
    assert lab.inode(held) is None


def test_one_can_be_purged_at_once_and_held_open(lab):
    one, other = lab.create(ROOT, b"f"), lab.create(ROOT, b"g")
    lab.refused(c.NOT_FOUND, purge_trashed=pb.PurgeTrashed(inode_id=one))
    unlink(lab, b"f")
    unlink(lab, b"g")
    assert not lab.ok(purge_trashed=pb.PurgeTrashed(inode_id=one)).held
    assert lab.inode(one) is None
    assert lab.ok(purge_trashed=pb.PurgeTrashed(inode_id=other, held=True)).held
    assert lab.inode(other) is not None
    assert not in_trash(lab)
    lab.end()
    assert lab.inode(other) is None


def test_nothing_is_purged_before_its_retention_is_over_by_the_time_of_the_entry(lab):
    first = lab.create(ROOT, b"f")
    unlink(lab, b"f")
    removed_ns = lab.time_ns
    later(lab, DAY_S - 1)
    with lab.unchanged():
        assert purge_old(lab) == 0
    second = lab.create(ROOT, b"g")
    unlink(lab, b"g")
    later(lab, 1)
    with lab.unchanged():
        assert purge_old(lab, removed_ns - 1) == 0
    assert purge_old(lab, removed_ns) == 1
    assert lab.inode(first) is None
    assert lab.inode(second).trashed_ns


def test_an_entry_purges_a_bounded_number(lab):
    count = KEYS_PER_ENTRY
    for number in range(count):
        lab.create(ROOT, b"%d" % number)
        unlink(lab, b"%d" % number)
    later(lab, 2 * DAY_S)
    steps = []
    while purged := purge_old(lab):
        steps.append(purged)
    assert sum(steps) == count
    assert max(steps) <= KEYS_PER_ENTRY // 7
    assert not in_trash(lab)
    assert record(lab).inode_count == 1


def test_extended_attributes_count_when_an_entry_is_bounded(lab):
    for number in range(4):
        inode_id = lab.create(ROOT, b"%d" % number)
        for name in range(KEYS_PER_ENTRY // 2):
            lab.ok(set_xattr=pb.SetXattr(inode_id=inode_id, name=b"user.%d" % name, value=b""))
        unlink(lab, b"%d" % number)
    later(lab, 2 * DAY_S)
    assert [purge_old(lab), purge_old(lab), purge_old(lab)] == [2, 2, 0]


def test_a_listing_below_a_directory_has_the_newest_of_a_name_first(lab):
    folder = lab.mkdir(ROOT, b"d")
    same = []
    for _ in range(3):
        same.append(lab.create(folder, b"same"))
        unlink(lab, b"same", folder)
    others = []
    for number in range(7):
        others.append(lab.create(folder, b"%d" % number))
        unlink(lab, b"%d" % number, folder)
    lab.create(ROOT, b"elsewhere")
    unlink(lab, b"elsewhere")
    found = listed(lab, folder)
    assert sorted(found) == sorted(same + others)
    assert [one for one in found if one in same] == list(reversed(same))
    assert listed(lab, folder, name=b"same") == list(reversed(same))
    assert listed(lab, folder, name=b"absent") == []


def test_an_hour_shows_what_was_removed_in_it_out_of_directories_that_are_there(lab):
    folder = lab.mkdir(ROOT, b"d")
    inside, beside = lab.create(folder, b"inside"), lab.create(ROOT, b"beside")
    unlink(lab, b"inside", folder)
    unlink(lab, b"beside")
    first = hour_of_trash(lab.time_ns)
    assert sorted(listed(lab, first)) == sorted([inside, beside])
    later(lab, 3600)
    rmdir(lab, b"d")
    second = hour_of_trash(lab.time_ns)
    assert listed(lab, first) == [beside]
    assert listed(lab, second) == [folder]
    assert listed(lab, folder) == [inside]
    assert list(lab.read(list_trash_hours=pb.ListTrashHours()).trash_hours) == [
        (lab.time_ns // HOUR_NS) - 1,
        lab.time_ns // HOUR_NS,
    ]
    lab.ok(restore=restore(folder, b"d"))
    assert sorted(listed(lab, first)) == sorted([inside, beside])
    assert listed(lab, second) == []


def test_a_deleted_partition_takes_its_trash_along(lab):
    lab.create(ROOT, b"f")
    unlink(lab, b"f")
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    assert not in_trash(lab)


LAYOUTS = [(1, 2, 3), (1, 1, 2), (1, 2, 1), (1, 1, 1)]


@pytest.fixture(params=LAYOUTS, ids=str)
def fleet(request):
    fleet = Fleet(request.param, twice=True, lab=partial(Lab, retention_s=DAY_S))
    yield fleet
    fleet.settled()


def test_removing_and_restoring_across_partitions(fleet):
    folder, other = fleet.mkdir(ROOT, b"d", 1), fleet.mkdir(ROOT, b"o", 2)
    file = fleet.create(folder, b"f")
    fleet.ok(rename=pb.Rename(parent=folder, name=b"f", new_parent=other, new_name=b"g"))
    fleet.ok(unlink=pb.Unlink(parent=other, name=b"g"))
    fleet.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    inode = fleet.inode(file)
    assert (inode.nlink, inode.trashed_parent, inode.trashed_name) == (0, other, b"g")
    assert (fleet.inode(folder).trashed_parent, fleet.inode(folder).trashed_name) == (ROOT, b"d")
    before = fleet.inode(ROOT)
    fleet.ok(restore=restore(folder, b"back", other))
    fleet.ok(restore=restore(file, b"f", ROOT))
    assert fleet.there(other, b"back") == (folder, pb.DIRECTORY)
    assert fleet.there(ROOT, b"f") == (file, pb.REGULAR)
    assert (fleet.inode(folder).nlink, fleet.inode(folder).parent, fleet.inode(other).nlink) == (2, other, 3)
    assert (fleet.inode(file).nlink, fleet.inode(file).parent) == (1, ROOT)
    assert fleet.inode(ROOT).entry_count == before.entry_count + 1
    assert not [key for lab in fleet.groups.values() for key in in_trash(lab)]


def test_what_is_just_being_restored_is_not_purged():
    fleet = Fleet((1, 2, 3), lab=partial(Lab, retention_s=DAY_S))
    folder = fleet.mkdir(ROOT, b"d", 1)
    fleet.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d"))
    lab = fleet.lab(folder)
    before = pairs_of(lab)
    restoring = Transaction(fleet, pb.Operation(restore=restore(folder, b"d")), 99)
    restoring.prepare_all()
    later(lab, 2 * DAY_S)
    assert purge_old(lab) == 0
    lab.refused(c.LOCKED, purge_trashed=pb.PurgeTrashed(inode_id=folder))
    restoring.abort()
    without = (keys.FINISHED, keys.FINISHED_AT, keys.RESULT, keys.SESSION)
    assert pairs_of(lab, without=without) == {key: value for key, value in before.items() if key[:1] not in without}
    assert purge_old(lab) == 1


class Trashing(RuleBasedStateMachine):
    """Random removals, restores and purges against what a dict says."""

    def __init__(self):
        super().__init__()
        self.lab = Lab(retention_s=DAY_S)
        self.names, self.trash, self.open = {}, {}, set()

    names_ = st.sampled_from([b"a", b"b", b"c"])

    @rule(name=names_, is_directory=st.booleans())
    def create(self, name, is_directory):
        if name not in self.names:
            make = self.lab.mkdir if is_directory else self.lab.create
            self.names[name] = make(ROOT, name), is_directory

    @rule(name=names_, held=st.booleans())
    def remove(self, name, held):
        if name in self.names:
            inode_id, is_directory = self.names.pop(name)
            request = {"parent": ROOT, "name": name, "held_inode": inode_id if held else 0}
            kind = {"rmdir": pb.Rmdir(**request)} if is_directory else {"unlink": pb.Unlink(**request)}
            self.lab.ok(**kind)
            self.trash[inode_id] = (self.lab.time_ns, is_directory)
            if held:
                self.open.add(inode_id)

    @precondition(lambda self: self.trash)
    @rule(data=st.data(), name=names_)
    def restore(self, data, name):
        inode_id = data.draw(st.sampled_from(sorted(self.trash)))
        result = self.lab.do(restore=restore(inode_id, name))
        assert result.status == (c.ALREADY_EXISTS if name in self.names else c.OK)
        if not result.status:
            self.names[name] = inode_id, self.trash.pop(inode_id)[1]

    @precondition(lambda self: self.trash)
    @rule(data=st.data())
    def purge(self, data):
        inode_id = data.draw(st.sampled_from(sorted(self.trash)))
        self.lab.ok(purge_trashed=pb.PurgeTrashed(inode_id=inode_id))
        del self.trash[inode_id]

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours):
        later(self.lab, hours * 3600)

    @rule()
    def purge_old(self):
        due = {one for one, (at, _) in self.trash.items() if at + DAY_S * 10**9 <= self.lab.time_ns + 1000}
        assert purge_old(self.lab) == len(due)
        for inode_id in due:
            del self.trash[inode_id]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close(self, data):
        inode_id = data.draw(st.sampled_from(sorted(self.open)))
        self.open.discard(inode_id)
        self.lab.ok(release_inode=pb.ReleaseInode(inode_id=inode_id))

    @invariant()
    def the_state_says_the_same(self):
        lab = self.lab
        named = {inode_id for inode_id, _ in self.names.values()}
        there = {int.from_bytes(key[-8:], "big") for key in lab.table(keys.INODE)} - {ROOT}
        assert there == named | self.trash.keys() | (self.open & there)
        assert there >= self.open
        assert record(lab).inode_count == 1 + len(there)
        assert sorted(keys.unpack_trash(key) for key in lab.table(keys.TRASH)) == sorted(
            (at, inode_id) for inode_id, (at, _) in self.trash.items()
        )
        assert sorted(listed(lab, ROOT)) == sorted(self.trash)
        assert len(lab.table(keys.TRASH_PLACE)) == 2 * len(self.trash)
        for name, (inode_id, is_directory) in self.names.items():
            assert lab.lookup(ROOT, name) == inode_id
            assert lab.inode(inode_id).nlink == 1 + is_directory


TestTrashing = Trashing.TestCase
TestTrashing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
