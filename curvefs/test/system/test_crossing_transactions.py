"""Operations across partitions that cross each other: each gets an answer, and some order explains the tree."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import stat
from collections import Counter

import pytest

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.ids import ROOT_INODE

from ..support.fleet_client import FleetClient, Refused
from ..support.group_states import check_everything, unfinished
from ..support.metaservers import GROUPS, LAYOUT, Metaservers
from ..support.spanning_operations import HOMES, World

pytestmark = [pytest.mark.asyncio, pytest.mark.slow, pytest.mark.timeout(900)]

LONG = os.environ.get("CURVEFS_TEST_LONG") == "1"
CLIENTS, RENAMES = 8, 1000 if LONG else 200
ROUNDS = 60 if LONG else 12
DIRECTORY = stat.S_IFDIR | 0o755
A, B, C = HOMES
EXPECTED = {
    common_pb2.OK,
    common_pb2.NOT_FOUND,
    common_pb2.NOT_EMPTY,
    common_pb2.ALREADY_EXISTS,
    common_pb2.IS_A_DIRECTORY,
    common_pb2.NOT_A_DIRECTORY,
    common_pb2.INVALID_ARGUMENT,
}


class Scene:
    """A cluster and its clients, each with a session of its own."""

    def __init__(self, servers, clients):
        self.servers = servers
        self.clients = clients
        self.worlds = []

    async def begin(self):
        first = World(self.clients[0])
        await first.begin()
        for n, client in enumerate(self.clients):
            world = World(client, b"%d-" % n)
            world.tops = first.tops
            self.worlds.append(world)

    async def at_once(self, *operations):
        """Each client carries one out, all at the same time; returns the statuses."""
        wanted = [client.operate(operation) for client, operation in zip(self.clients, operations, strict=False)]
        return [result.status for result in await asyncio.gather(*wanted)]


@contextlib.asynccontextmanager
async def scene(clients):
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Metaservers())
        made = Scene(
            servers,
            [await stack.enter_async_context(FleetClient(servers, bytes([n]) * 16)) for n in range(1, clients + 1)],
        )
        try:
            await made.begin()
            yield made
        except BaseException:
            print(servers.logs(), unfinished(servers), sep="\n")
            raise


def rename(place, new_parent, new_name, **flags):
    request = pb.Rename(parent=place[0], name=place[1], new_parent=new_parent, new_name=new_name, **flags)
    return pb.Operation(rename=request)


async def test_renames_that_cross_end_and_happen():
    """A/x -> B/x while B/y -> A/y; then each onto the other's name: whoever is first replaces the other."""
    async with scene(2) as made:
        world = made.worlds[0]
        for _ in range(ROUNDS):
            one, other = await world.file(A), await world.file(B)
            statuses = await made.at_once(
                rename(one, other[0], one[1]),
                rename(other, one[0], other[1]),
            )
            assert statuses == [common_pb2.OK, common_pb2.OK]
            assert await world.client.lookup(other[0], one[1]) == one[2]
            assert await world.client.lookup(one[0], other[1]) == other[2]
        for _ in range(ROUNDS):
            one, other = await world.file(A), await world.file(B)
            statuses = await made.at_once(rename(one, *other[:2]), rename(other, *one[:2]))
            assert statuses == [common_pb2.OK, common_pb2.OK]
            found = [await world.client.lookup(*place[:2]) for place in (one, other)]
            assert found in ([one[2], 0], [0, other[2]]), "the second moves what the first has put there"
        await check_everything(made.servers)


async def test_of_many_that_move_one_name_to_the_same_place_all_but_one_find_it_gone():
    """Whoever comes later learns that the new name leads to what it is to move, and must not take that for done."""
    async with scene(CLIENTS) as made:
        world = made.worlds[0]
        for make in (world.file, world.directory):
            for _ in range(ROUNDS):
                one, target = await make(A), (world.tops[B], world.name())
                statuses = await made.at_once(*[rename(one, *target)] * CLIENTS)
                assert Counter(statuses) == {common_pb2.OK: 1, common_pb2.NOT_FOUND: CLIENTS - 1}
                assert await world.client.lookup(*target) == one[2]
        await check_everything(made.servers)


async def test_chains_of_three_end_and_happen():
    """A/x -> B/x, B/y -> C/y, C/z -> A/z; then each onto the next one's name."""
    async with scene(3) as made:
        world = made.worlds[0]
        for _ in range(ROUNDS):
            files = [await world.file(top) for top in (A, B, C)]
            nexts = files[1:] + files[:1]
            statuses = await made.at_once(
                *(rename(file, there[0], file[1]) for file, there in zip(files, nexts, strict=True))
            )
            assert statuses == [common_pb2.OK] * 3
            for file, there in zip(files, nexts, strict=True):
                assert await world.client.lookup(there[0], file[1]) == file[2]
        for _ in range(ROUNDS):
            files = [await world.file(top) for top in (A, B, C)]
            nexts = files[1:] + files[:1]
            statuses = await made.at_once(*(rename(file, *there[:2]) for file, there in zip(files, nexts, strict=True)))
            # Each finds either its own file there, or the one before it: there is always something to move.
            assert statuses == [common_pb2.OK] * 3
            left = [inode_id for file in files if (inode_id := await world.client.lookup(*file[:2]))]
            assert len(set(left)) == len(left) and 1 <= len(left) <= 2, "one or two were replaced, by the order"
        await check_everything(made.servers)


async def test_directory_moves_never_make_a_circle():
    """a -> b/a while b -> a/b, and a ring of three: exactly one is refused."""
    async with scene(3) as made:
        world = made.worlds[0]
        for count in [2, 3] * ROUNDS:
            tops = (A, B, C)[:count]
            places = [await world.directory(top) for top in tops]
            nexts = places[1:] + places[:1]
            statuses = await made.at_once(
                *(rename(place, there[2], place[1]) for place, there in zip(places, nexts, strict=True))
            )
            assert sorted(statuses) == [common_pb2.OK] * (count - 1) + [common_pb2.INVALID_ARGUMENT], statuses
        await check_everything(made.servers)


async def test_exchanges_of_directories_never_make_a_circle():
    """Exchange a with b/d while b moves into a."""
    async with scene(2) as made:
        world = made.worlds[0]
        for _ in range(ROUNDS):
            one, other = await world.directory(A), await world.directory(B)
            name = world.name()
            create = pb.Create(parent=other[2], name=name, mode=DIRECTORY, exclusive=True)
            await world.ok(create=create)
            statuses = await made.at_once(
                rename(one, other[2], name, exchange=True),
                rename(other, one[2], world.name()),
            )
            assert statuses in (
                [common_pb2.OK, common_pb2.INVALID_ARGUMENT],
                [common_pb2.INVALID_ARGUMENT, common_pb2.OK],
            )
        await check_everything(made.servers)


async def test_a_removed_directory_takes_no_names_and_a_filled_one_stays():
    """rmdir of a directory elsewhere while a file is moved, linked or created into it: one of the two wins."""
    async with scene(2) as made:
        world = made.worlds[0]
        for n in range(ROUNDS):
            name = world.name()
            directory = (await world.mkdir(ROOT_INODE, name, HOMES[B])).inode_id
            file = await world.file(A)
            into = [
                rename(file, directory, b"in"),
                pb.Operation(link=pb.Link(inode_id=file[2], new_parent=directory, new_name=b"in")),
                pb.Operation(create=pb.Create(parent=directory, name=b"in", mode=stat.S_IFREG | 0o644)),
            ][n % 3]
            remove = pb.Operation(rmdir=pb.Rmdir(parent=ROOT_INODE, name=name))
            statuses = await made.at_once(into, remove)
            assert statuses in ([common_pb2.OK, common_pb2.NOT_EMPTY], [common_pb2.NOT_FOUND, common_pb2.OK]), statuses
        await check_everything(made.servers)


async def test_a_copy_of_a_refused_operation_that_comes_late_to_another_leader_is_not_carried_out():
    """Its first copy was answered; the second waited in a process that stood still, and leads by now."""
    async with scene(1) as made:
        world, client = made.worlds[0], made.clients[0]
        group_id = LAYOUT[HOMES[A]]
        for _ in range(ROUNDS):
            name, target = world.name(), world.name()
            operation = rename((world.tops[A], name), world.tops[B], target)
            assert (await client.operate(operation)).status == common_pb2.NOT_FOUND
            await world.ok(create=pb.Create(parent=world.tops[A], name=name, mode=stat.S_IFREG | 0o644))
            leader = await made.servers.leader_of(group_id)
            await made.servers.lead(group_id, leader % len(made.servers.servers) + 1)
            assert (await client.transact_again(operation)).status == common_pb2.NOT_FOUND
            assert await client.lookup(world.tops[A], name)
            assert not await client.lookup(world.tops[B], target)
        await check_everything(made.servers)


async def test_a_copy_of_an_operation_that_had_nothing_to_do_has_nothing_to_do_either():
    """A rename of one name of a file onto another changes nothing, also when the second was removed since."""
    async with scene(1) as made:
        world, client = made.worlds[0], made.clients[0]
        group_id = LAYOUT[HOMES[A]]
        file, target = await world.file(A), world.name()
        link = pb.Link(inode_id=file[2], new_parent=world.tops[B], new_name=target)
        assert (await client.operate(pb.Operation(link=link))).status == common_pb2.OK
        operation = rename(file, world.tops[B], target)
        assert (await client.operate(operation)).status == common_pb2.OK
        assert await client.lookup(*file[:2]) == file[2]
        unlink = pb.Operation(unlink=pb.Unlink(parent=world.tops[B], name=target))
        assert (await client.operate(unlink)).status == common_pb2.OK
        leader = await made.servers.leader_of(group_id)
        await made.servers.lead(group_id, leader % len(made.servers.servers) + 1)
        assert (await client.transact_again(operation)).status == common_pb2.OK
        assert await client.lookup(*file[:2]) == file[2]
        assert not await client.lookup(world.tops[B], target)
        await check_everything(made.servers)


class Wanderer:
    """A client that renames at random among the directories and names that all of them use."""

    def __init__(self, world, places, rng):
        self.world = world
        self.places = places  # directories: inode numbers, shared by all; some are gone
        self.rng = rng
        self.done = 0

    async def step(self):
        """A rename, and now and then something new, or the end of something."""
        chance = self.rng.random()
        if chance < 0.1:
            await _add_directory(self.world, self.places, self.rng)
        elif chance < 0.2:
            await _add_file(self.world, self.places, self.rng)
        elif chance < 0.25:
            parent, name = await self._somewhere()
            await self._operate(pb.Operation(rmdir=pb.Rmdir(parent=parent, name=name)))
        await self._rename()

    async def _rename(self):
        place, new_place = await self._somewhere(), await self._somewhere()
        new_name = new_place[1] if self.rng.random() < 0.4 else self.world.name()
        flags = self.rng.choice([{}, {}, {"exchange": True}, {"no_replace": True}])
        self.done += await self._operate(rename(place, new_place[0], new_name, **flags))

    async def _operate(self, operation):
        result = await self.world.client.operate(operation)
        assert result.status in EXPECTED, f"{common_pb2.StatusCode.Name(result.status)} {result.message}"
        return result.status == common_pb2.OK

    async def _somewhere(self):
        """Return (directory, name) of what was there just now."""
        while True:
            directory = self.rng.choice(self.places)
            try:
                page = await self.world.client.read(directory, read_dir=pb.ReadDir(inode_id=directory))
            except Refused as refused:
                assert refused.code == common_pb2.NOT_FOUND  # it was removed, or replaced by another directory
                continue
            if page.entries:
                return directory, self.rng.choice(page.entries).name


async def _add_directory(world, places, rng):
    create = pb.Create(
        parent=rng.choice(places),
        name=world.name(),
        mode=DIRECTORY,
        exclusive=True,
        partition_id=rng.choice(list(HOMES.values())),
    )
    result = await world.client.operate(pb.Operation(create=create))
    assert result.status in (common_pb2.OK, common_pb2.NOT_FOUND)
    if not result.status:
        places.append(result.inode.inode_id)


async def _add_file(world, places, rng):
    create = pb.Create(parent=rng.choice(places), name=world.name(), mode=stat.S_IFREG | 0o644, exclusive=True)
    result = await world.client.operate(pb.Operation(create=create))
    assert result.status in (common_pb2.OK, common_pb2.NOT_FOUND)


async def _forest(world, rng):
    """Make directories in one another, and files, in all partitions; return the directories."""
    places = list(world.tops.values())
    for _ in range(12):
        await _add_directory(world, places, rng)
    for _ in range(40):
        await _add_file(world, places, rng)
    return places


async def _nothing(_servers, _rng):
    await asyncio.Event().wait()


async def _leaders_move(servers, rng):
    while True:
        await servers.lead(rng.choice(GROUPS), rng.choice(list(servers.servers)))
        await asyncio.sleep(0.3)


async def _servers_end(servers, rng):
    """By kill -9, or asked to: then cleanly, with 0."""
    for n in itertools.count():
        await asyncio.sleep(rng.random())
        await rng.choice(list(servers.servers.values())).die((signal.SIGKILL, signal.SIGTERM)[n % 2])
        for group_id in GROUPS:
            await servers.leader_of(group_id)


@pytest.mark.parametrize("disturb", [_nothing, _leaders_move, _servers_end])
async def test_random_crossing_renames_leave_a_tree(disturb):
    rng = random.Random(7)
    async with scene(CLIENTS) as made:
        places = await _forest(made.worlds[0], rng)
        wanderers = [Wanderer(world, places, random.Random(n)) for n, world in enumerate(made.worlds)]

        async def wander(one):
            for _ in range(RENAMES // CLIENTS):
                await one.step()

        disturbing = asyncio.create_task(disturb(made.servers, rng))
        try:
            await asyncio.gather(*(wander(one) for one in wanderers))
        finally:
            disturbing.cancel()
            outcome = (await asyncio.gather(disturbing, return_exceptions=True))[0]
        assert isinstance(outcome, asyncio.CancelledError), repr(outcome)
        assert sum(one.done for one in wanderers) > RENAMES // 3
        tree = await check_everything(made.servers)
        assert len(tree.inodes) > 20
