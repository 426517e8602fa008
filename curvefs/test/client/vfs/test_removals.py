"""Operations that take names away beside opens and closes of the same inode: what is open stays until it is closed."""

from types import SimpleNamespace

import pytest
import trio

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.releases import Releases
from curvefs.src.client.vfs.filesystem import RENAME_EXCHANGE, Vfs
from curvefs.src.client.vfs.kernel_pages import KernelPages
from curvefs.src.client.vfs.kernel_view import KernelView
from curvefs.src.common.errors import IOFailure, NotFound, StaleHandle
from curvefs.src.common.ids import ROOT_INODE, TRASH_PARTITION, make_id

pytestmark = pytest.mark.trio

FILE, OTHER, DIRECTORY = 2, 3, 4
WAY_S = 0.005  # of a request, and of its answer


class Group:
    """A group with two files and a directory: what it keeps for this session, and what it has purged."""

    def __init__(self):
        self.inodes = {
            FILE: pb.Inode(inode_id=FILE, mode=0o100644, nlink=1, change=1),
            OTHER: pb.Inode(inode_id=OTHER, mode=0o100644, nlink=1, change=1),
            DIRECTORY: pb.Inode(inode_id=DIRECTORY, mode=0o040755, nlink=2, change=1),
        }
        self.names = {b"file": FILE, b"other": OTHER, b"directory": DIRECTORY}
        self.held = set()

    @property
    def purged(self):
        return {FILE, OTHER, DIRECTORY} - set(self.inodes)

    def remove(self, name, held):
        inode = self.inodes[self.names.pop(name)]
        inode.nlink = 0 if inode.inode_id == DIRECTORY else inode.nlink - 1
        inode.change += 1
        if not inode.nlink and held == inode.inode_id:
            self.held.add(held)
        elif not inode.nlink:
            del self.inodes[inode.inode_id]
        return pb.OperationResult(replaced=inode, held=inode.inode_id in self.held)

    def release(self, inode_id):
        if inode_id in self.held:
            self.held.remove(inode_id)
            del self.inodes[inode_id]


class Metadata:
    """Calls of one mount; each takes its way to the group and back."""

    def __init__(self):
        self.group = Group()
        self.cache = SimpleNamespace(
            last_known=lambda _, name: self.known.get(name, 0),
            was_absent=lambda _, name: name in self.absent,
            newer=lambda _: None,
            forget_attributes=lambda _: None,
        )
        self.absent = set()
        self.lookups = 0
        self.known = dict(self.group.names)
        self.is_away = False
        self.hints = SimpleNamespace(take=lambda _: None)
        self.names = self.reads = self.trash = self
        self.releases = Releases(self.release_once)

    async def ask(self, call, *arguments):
        await trio.sleep(WAY_S)
        try:
            return call(*arguments)
        finally:
            await trio.sleep(WAY_S)

    def copy_of(self, inode_id):
        if inode_id not in self.group.inodes:
            raise NotFound
        return pb.Inode.FromString(self.group.inodes[inode_id].SerializeToString())

    async def lookup(self, parent, name):
        self.lookups += 1
        return await self.ask(lambda: self.copy_of(self.group.names.get(name)))

    async def get_attr(self, inode_id, *, fresh=False):
        return await self.ask(self.copy_of, inode_id)

    async def get_attr_and_slices(self, inode_id):
        return await self.get_attr(inode_id), []

    async def unlink(self, parent, name, held):
        return await self.ask(self.group.remove, name, held)

    rmdir = unlink

    async def rename(self, parent, name, new_parent, new_name, *, held_inode=0, no_replace=False, exchange=False):
        def moved():
            names = self.group.names
            if exchange:
                names[name], names[new_name] = names[new_name], names[name]
                return pb.OperationResult(replaced=self.group.inodes[names[name]])
            result = self.group.remove(new_name, held_inode)
            names[new_name] = names.pop(name)
            return result

        return await self.ask(moved)

    async def purge_trashed(self, inode_id, *, held):
        await self.ask(self.group.remove, b"file", inode_id if held else 0)

    def listing(self, place, name):
        async def following(_):
            return [pb.DirectoryEntry(name=name, inode=self.copy_of(FILE))]

        return SimpleNamespace(next=following)

    async def release(self, inode_id):
        await self.releases.tell(inode_id)

    async def release_once(self, inode_id):
        if self.is_away:
            raise IOFailure("no metaserver answered")
        await self.ask(self.group.release, inode_id)


class File:
    def __init__(self, inode):
        self.inode_id, self.error_count, self.length = inode.inode_id, 0, inode.length

    def revalidate(self, inode):
        pass

    def offer_slices(self, inode, slices):
        pass

    def reader(self):
        return None

    def discard(self):
        pass


class Lab:
    """One mount. ``at`` begins something after some milliseconds."""

    def __init__(self, nursery):
        self.metadata = Metadata()
        self.group = self.metadata.group
        data = SimpleNamespace(open_file=File, close_file=lambda _: None, file=lambda _: None)
        self.vfs = Vfs(mds_pb2.Filesystem(), self.metadata, data, KernelView(), KernelPages())
        self.outcomes = {}
        self._nursery = nursery

    def at(self, milliseconds, what, call, *arguments):
        async def later():
            await trio.sleep(milliseconds / 1000)
            try:
                self.outcomes[what] = await call(*arguments)
            except (StaleHandle, NotFound, IOFailure) as error:
                self.outcomes[what] = type(error)

        self._nursery.start_soon(later)

    async def open(self, inode_id=FILE):
        return (await self.vfs.open(inode_id, 0))[0]

    async def open_directory(self):
        return await self.vfs.opendir(DIRECTORY, 0)

    async def look_up(self):
        return (await self.vfs.lookup(ROOT_INODE, b"file")).inode_id

    async def unlink(self, name=b"file"):
        await self.vfs.unlink(ROOT_INODE, name)

    async def remove_directory(self):
        await self.vfs.rmdir(ROOT_INODE, b"directory")

    async def replace(self, flags=0):
        await self.vfs.rename(ROOT_INODE, b"other", ROOT_INODE, b"file", flags)

    async def purge(self):
        await self.vfs.unlink(make_id(TRASH_PARTITION, 1), b"file")

    async def settle(self):
        await trio.sleep(1)
        return self.outcomes


@pytest.fixture
async def lab(nursery):
    return Lab(nursery)


TAKING = [Lab.unlink, Lab.replace]
PURGING = [*TAKING, Lab.purge]


@pytest.mark.parametrize("begun_ms", [1, 3, 6, 9, 12, 14])
@pytest.mark.parametrize("take", TAKING)
async def test_what_was_being_opened_before_its_name_went_stays_until_it_is_closed(lab, autojump_clock, take, begun_ms):
    lab.at(0, "opened", lab.open)
    lab.at(begun_ms, "taken", take, lab)
    outcomes = await lab.settle()
    assert lab.group.held == {FILE}
    assert not lab.group.purged
    await lab.vfs.release(outcomes["opened"])
    assert lab.group.purged == {FILE}


@pytest.mark.parametrize("begun_ms", [1, 4, 6, 9])
@pytest.mark.parametrize("take", TAKING)
async def test_an_open_that_begins_meanwhile_finds_the_file_gone(lab, autojump_clock, take, begun_ms):
    lab.at(0, "taken", take, lab)
    lab.at(begun_ms, "opened", lab.open)
    assert await lab.settle() == {"taken": None, "opened": StaleHandle}
    assert lab.group.purged == {FILE}


@pytest.mark.parametrize(("take", "found"), [(Lab.unlink, NotFound), (Lab.replace, OTHER)])
async def test_a_lookup_that_finds_what_is_being_removed_says_what_is_there_then(lab, autojump_clock, take, found):
    lab.at(0, "found", lab.look_up)
    lab.at(9, "taken", take, lab)
    assert await lab.settle() == {"taken": None, "found": found}


async def test_an_open_that_begins_meanwhile_gets_what_somebody_has_open(lab, autojump_clock):
    first = await lab.open()
    lab.at(0, "taken", lab.unlink)
    lab.at(1, "opened", lab.open)
    outcomes = await lab.settle()
    await lab.vfs.release(first)
    assert lab.group.held == {FILE}
    await lab.vfs.release(outcomes["opened"])
    assert lab.group.purged == {FILE}


async def test_an_open_that_begins_meanwhile_gets_a_file_that_has_another_name(lab, autojump_clock):
    lab.group.names[b"linked"] = FILE
    lab.group.inodes[FILE].nlink = 2
    lab.at(0, "taken", lab.unlink)
    lab.at(1, "opened", lab.open)
    lab.at(20, "taken too", lab.unlink, b"linked")
    lab.metadata.known[b"linked"] = FILE
    outcomes = await lab.settle()
    assert lab.group.held == {FILE}
    await lab.vfs.release(outcomes["opened"])
    assert lab.group.purged == {FILE}


async def test_nobody_waits_for_the_end_of_an_exchange(lab, autojump_clock):
    lab.at(0, "taken", lab.replace, RENAME_EXCHANGE)
    lab.at(2, "opened", lab.open)
    await trio.sleep(2 * WAY_S + 0.003)
    assert set(lab.outcomes) == {"taken", "opened"}
    assert not lab.group.held


async def test_a_name_that_is_not_known_any_more_is_looked_up_first(lab, autojump_clock):
    lab.metadata.known.clear()
    lab.at(0, "taken", lab.unlink)
    lab.at(9, "opened", lab.open)
    outcomes = await lab.settle()
    assert lab.group.held == {FILE}
    await lab.vfs.release(outcomes["opened"])
    assert lab.group.purged == {FILE}


async def test_a_name_that_was_just_absent_is_not_looked_up_again(lab, autojump_clock):
    lab.metadata.known.clear()
    lab.metadata.absent.add(b"file")
    await lab.replace()
    assert not lab.metadata.lookups
    await lab.vfs.rename(ROOT_INODE, b"file", ROOT_INODE, b"directory", 0)
    assert lab.metadata.lookups


async def test_an_open_that_fails_after_all_lets_the_file_go(lab, autojump_clock):
    async def nobody_answers(inode_id):
        await trio.sleep(10 * WAY_S)
        raise NotFound

    lab.metadata.get_attr_and_slices = nobody_answers
    lab.at(0, "opened", lab.open)
    lab.at(1, "taken", lab.unlink)
    assert await lab.settle() == {"taken": None, "opened": StaleHandle}
    assert lab.group.purged == {FILE}


@pytest.mark.parametrize("begun_ms", [1, 9])
async def test_a_directory_that_is_opened_while_it_is_removed_is_gone(lab, autojump_clock, begun_ms):
    lab.at(0, "removed", lab.remove_directory)
    lab.at(begun_ms, "opened", lab.open_directory)
    assert await lab.settle() == {"removed": None, "opened": StaleHandle}
    assert lab.group.purged == {DIRECTORY}


async def test_a_directory_that_was_opened_before_stays_until_it_is_closed(lab, autojump_clock):
    number = await lab.open_directory()
    await lab.remove_directory()
    assert lab.group.held == {DIRECTORY}
    await lab.vfs.releasedir(number)
    assert lab.group.purged == {DIRECTORY}


@pytest.mark.parametrize("take", PURGING)
async def test_what_is_closed_before_its_removal_is_answered_is_let_go(lab, autojump_clock, take):
    number = await lab.open()
    lab.at(0, "taken", take, lab)
    lab.at(1, "closed", lab.vfs.release, number)
    assert await lab.settle() == {"taken": None, "closed": None}
    assert lab.group.purged == {FILE}


async def test_a_directory_that_is_closed_before_its_removal_is_answered_is_let_go(lab, autojump_clock):
    number = await lab.open_directory()
    lab.at(0, "removed", lab.remove_directory)
    lab.at(1, "closed", lab.vfs.releasedir, number)
    assert await lab.settle() == {"removed": None, "closed": None}
    assert lab.group.purged == {DIRECTORY}


@pytest.mark.parametrize("closed_ms", [1, 100])
async def test_what_is_held_by_an_operation_without_an_answer_is_let_go(lab, autojump_clock, closed_ms):
    number, unlink = await lab.open(), lab.metadata.unlink

    async def lost(*arguments):
        await unlink(*arguments)
        raise IOFailure("no answer")

    lab.metadata.unlink = lost
    lab.at(0, "taken", lab.unlink)
    lab.at(closed_ms, "closed", lab.vfs.release, number)
    assert await lab.settle() == {"taken": IOFailure, "closed": None}
    assert lab.group.purged == {FILE}


@pytest.mark.parametrize("is_directory", [False, True])
async def test_what_was_closed_while_nobody_heard_it_is_let_go_later(lab, autojump_clock, nursery, is_directory):
    nursery.start_soon(lab.metadata.releases.run)
    number = await (lab.open_directory() if is_directory else lab.open())
    await (lab.remove_directory() if is_directory else lab.unlink())
    lab.metadata.is_away = True
    await (lab.vfs.releasedir(number) if is_directory else lab.vfs.release(number))
    await trio.sleep(60)
    assert lab.group.held
    lab.metadata.is_away = False
    await trio.sleep(60)
    assert lab.group.purged == {DIRECTORY if is_directory else FILE}


async def test_what_came_back_and_is_removed_again_is_not_let_go_for_what_was_closed_before(
    lab, autojump_clock, nursery
):
    nursery.start_soon(lab.metadata.releases.run)
    lab.metadata.is_away = True
    number = await lab.open()
    await lab.unlink()
    await lab.vfs.release(number)
    lab.group.names[b"file"] = FILE  # out of the trash
    lab.group.inodes[FILE].nlink = 1
    number = await lab.open()
    await lab.unlink()
    lab.metadata.is_away = False
    await trio.sleep(60)
    assert lab.group.held == {FILE}
    await lab.vfs.release(number)
    assert lab.group.purged == {FILE}


async def test_who_waits_for_an_operation_goes_on_when_it_fails(lab, autojump_clock):
    async def refused(parent, name, held):
        await trio.sleep(WAY_S)
        raise NotFound

    lab.metadata.unlink = refused
    lab.at(0, "taken", lab.unlink)
    lab.at(1, "opened", lab.open)
    outcomes = await lab.settle()
    assert outcomes["taken"] is NotFound
    assert isinstance(outcomes["opened"], int)
