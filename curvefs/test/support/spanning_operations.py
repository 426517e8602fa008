"""Operations that span partitions and groups, and what observers may see of each: all of it, or nothing.

A scenario makes what it needs in the top-level directories A, B and C (in groups 2, 3 and 1) and says which reads tell
whether its operation has happened. The group of A coordinates all of them, those of B and of the root take part.
Observers make these reads all the time. Each read is linearizable and each operation happens at one moment, so once a
read has said "it happened", no read that begins later may say "not yet".
"""

import asyncio
import random
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.ids import ROOT_INODE

BEFORE, AFTER = "before", "after"
HOMES = {b"A": 1, b"B": 2, b"C": 3}  # top-level directories: their partitions
_LOOK_PAUSE_S = 0.004
_FILE, _DIR = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


@dataclass(frozen=True)
class Fact:
    """A read, and what it gives before and after the operation."""

    what: str
    read: Callable[[], Awaitable[object]]
    before: object
    after: object


class Happened(AssertionError):
    """An observer saw what must not be seen."""


class Observers:
    """Several readers with sessions of their own; ``after`` is set when somebody knows that it has happened."""

    def __init__(self, facts, clients, rng):
        self._facts = facts
        self._clients = clients
        self._rng = rng
        self.after = False
        self.never = False
        self.looks = 0
        self._tasks = []
        self._is_over = False

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._look(client)) for client in self._clients]
        return self

    async def __aexit__(self, kind, *_):
        self._is_over = True
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome

    async def answered(self, *, done):
        """The client knows now; every observer must see the same from now on."""
        self.after, self.never = done, not done
        for client in self._clients:
            for fact in self._facts(client):
                await self._one(fact)

    async def _look(self, client):
        facts = self._facts(client)
        while not self._is_over:
            await self._one(self._rng.choice(facts))
            await asyncio.sleep(_LOOK_PAUSE_S)

    async def _one(self, fact):
        known_after = self.after
        seen = await fact.read()
        self.looks += 1
        if fact.before == fact.after:
            if seen != fact.before:
                raise Happened(f"{fact.what}: {seen!r} instead of {fact.before!r}")
            return
        if seen == fact.after:
            if self.never:
                raise Happened(f"{fact.what}: {seen!r}, although the operation failed")
            self.after = True
        elif seen != fact.before:
            raise Happened(f"{fact.what}: {seen!r} is neither {fact.before!r} nor {fact.after!r}")
        elif known_after:
            raise Happened(f"{fact.what}: still {seen!r}, although it had happened before this read began")


class World:
    """The top-level directories, and helpers to fill them."""

    def __init__(self, client, prefix=b""):
        self.client = client
        self.tops = {}
        self._names = (prefix + b"%06d" % n for n in range(1_000_000))

    async def begin(self):
        for name, partition_id in HOMES.items():
            self.tops[name] = (await self.mkdir(ROOT_INODE, name, partition_id)).inode_id

    def name(self):
        """A name that was never used."""
        return next(self._names)

    async def ok(self, **operation):
        result = await self.client.operate(pb.Operation(**operation))
        assert not result.status, f"{operation}: {common_pb2.StatusCode.Name(result.status)} {result.message}"
        return result

    async def file(self, top):
        """Make a file in a top-level directory; returns (directory, name, inode)."""
        parent, name = self.tops[top], self.name()
        made = await self.ok(create=pb.Create(parent=parent, name=name, mode=_FILE, exclusive=True))
        return parent, name, made.inode.inode_id

    async def directory(self, top):
        parent, name = self.tops[top], self.name()
        made = await self.ok(create=pb.Create(parent=parent, name=name, mode=_DIR, exclusive=True))
        return parent, name, made.inode.inode_id

    async def mkdir(self, parent, name, partition_id):
        create = pb.Create(parent=parent, name=name, mode=_DIR, exclusive=True, partition_id=partition_id)
        result = await self.client.transact(pb.Operation(create=create))
        assert not result.status, common_pb2.StatusCode.Name(result.status)
        return result.inode

    async def moved(self, source, target_top):
        """Move a name into another top-level directory; returns where it is."""
        parent, name, inode_id = source
        there, new_name = self.tops[target_top], self.name()
        await self.ok(rename=pb.Rename(parent=parent, name=name, new_parent=there, new_name=new_name))
        return there, new_name, inode_id

    async def counts(self, top):
        """Return (nlink, names) of a top-level directory."""
        inode = await self.client.inode(self.tops[top])
        return inode.nlink, inode.entry_count


@dataclass(frozen=True)
class Prepared:
    """An operation that may begin. status: what it must answer. made: it is a mkdir, whose inode is not known yet."""

    operation: pb.Operation
    facts: Callable[[object], list[Fact]]
    status: int = common_pb2.OK


def leads(client, place, before, after):
    parent, name = place[:2]
    return Fact(f"{name!r} in {parent:x}", lambda: client.lookup(parent, name), before, after)


def nlink(client, inode_id, before, after):
    async def read():
        inode = await client.inode(inode_id)
        return 0 if inode is None else inode.nlink

    return Fact(f"nlink of {inode_id:x}", read, before, after)


def parent_of(client, inode_id, before, after):
    async def read():
        return (await client.inode(inode_id)).parent

    return Fact(f"parent of {inode_id:x}", read, before, after)


def counts_of(client, inode_id, before, after):
    """nlink and number of names of a directory."""

    async def read():
        inode = await client.inode(inode_id)
        return inode.nlink, inode.entry_count

    return Fact(f"counts of {inode_id:x}", read, before, after)


def listed(client, place, before, after):
    """Whether a directory's listing has a name."""
    parent, name = place[:2]

    async def read():
        page = await client.read(parent, read_dir=pb.ReadDir(inode_id=parent))
        assert page.end
        return {entry.name: entry.inode_id for entry in page.entries}.get(name, 0)

    return Fact(f"{name!r} in the listing of {parent:x}", read, before, after)


def plus(counts, *, directories=0, names=0):
    return counts[0] + directories, counts[1] + names


async def _move(world, source, target, displaced=None, *, is_directory=False, **flags):
    """A rename of ``source`` to ``target`` (directory, name)."""
    parent, name, inode_id = source
    from_counts, to_counts = await _counts(world, parent), await _counts(world, target[0])
    there = 0 if displaced is None else displaced[2]
    was_directory = is_directory and there

    def facts(client):
        found = [
            leads(client, source, inode_id, 0),
            leads(client, target, there, inode_id),
            listed(client, source, inode_id, 0),
            listed(client, target, there, inode_id),
            parent_of(client, inode_id, parent, target[0]),
            counts_of(client, parent, from_counts, plus(from_counts, directories=-is_directory, names=-1)),
            counts_of(
                client,
                target[0],
                to_counts,
                plus(to_counts, directories=bool(is_directory and not was_directory), names=not there),
            ),
        ]
        if there:
            found.append(nlink(client, there, 2 if is_directory else 1, 0))
        else:
            found.append(nlink(client, inode_id, 2 if is_directory else 1, 2 if is_directory else 1))
        return found

    rename = pb.Rename(parent=parent, name=name, new_parent=target[0], new_name=target[1], **flags)
    return Prepared(pb.Operation(rename=rename), facts)


async def _counts(world, directory):
    inode = await world.client.inode(directory)
    return inode.nlink, inode.entry_count


def _free(world, top):
    return world.tops[top], world.name()


async def rename_file(world):
    return await _move(world, await world.file(b"A"), _free(world, b"B"))


async def rename_foreign_file_without_replacing(world):
    """The inode lies in a third group."""
    source = await world.moved(await world.file(b"C"), b"A")
    return await _move(world, source, _free(world, b"B"), no_replace=True)


async def rename_file_over_file(world):
    target = await world.file(b"B")
    return await _move(world, await world.file(b"A"), target, target)


async def rename_file_over_foreign_file(world):
    """What loses its name lies in a third group, which is learned late."""
    target = await world.moved(await world.file(b"C"), b"B")
    return await _move(world, await world.file(b"A"), target, target)


async def rename_directory(world):
    return await _move(world, await world.directory(b"A"), _free(world, b"B"), is_directory=True)


async def rename_directory_over_directory(world):
    target = await world.directory(b"B")
    return await _move(world, await world.directory(b"A"), target, target, is_directory=True)


async def rename_refused(world):
    """NOREPLACE, and the name is there, after the inode was locked in a third group."""
    source = await world.moved(await world.file(b"C"), b"A")
    target = await world.file(b"B")

    def facts(client):
        return [
            leads(client, source, source[2], source[2]),
            leads(client, target, target[2], target[2]),
            parent_of(client, source[2], source[0], source[0]),
            nlink(client, target[2], 1, 1),
        ]

    rename = pb.Rename(parent=source[0], name=source[1], new_parent=target[0], new_name=target[1], no_replace=True)
    return Prepared(pb.Operation(rename=rename), facts, common_pb2.ALREADY_EXISTS)


async def _exchange(world, one, other, change):
    """change: by how much the number of directories in the first parent rises."""
    counts = [await _counts(world, place[0]) for place in (one, other)]

    def facts(client):
        return [
            leads(client, one, one[2], other[2]),
            leads(client, other, other[2], one[2]),
            parent_of(client, one[2], one[0], other[0]),
            parent_of(client, other[2], other[0], one[0]),
            counts_of(client, one[0], counts[0], plus(counts[0], directories=change)),
            counts_of(client, other[0], counts[1], plus(counts[1], directories=-change)),
        ]

    rename = pb.Rename(parent=one[0], name=one[1], new_parent=other[0], new_name=other[1], exchange=True)
    return Prepared(pb.Operation(rename=rename), facts)


async def exchange_files(world):
    return await _exchange(world, await world.file(b"A"), await world.file(b"B"), 0)


async def exchange_file_with_directory(world):
    return await _exchange(world, await world.file(b"A"), await world.directory(b"B"), 1)


async def exchange_directory_with_foreign_file(world):
    """What is at the other name lies in a third group, which is learned late."""
    other = await world.moved(await world.file(b"C"), b"B")
    return await _exchange(world, await world.directory(b"A"), other, -1)


async def make_directory_elsewhere(world):
    place = _free(world, b"A")
    counts = await _counts(world, place[0])

    def facts(client):
        async def is_there():
            inode_id = await client.lookup(*place)
            return bool(inode_id) and (await client.inode(inode_id)).parent == place[0]

        return [
            Fact(f"{place[1]!r} leads to a directory", is_there, before=False, after=True),
            counts_of(client, place[0], counts, plus(counts, directories=1, names=1)),
        ]

    create = pb.Create(parent=place[0], name=place[1], mode=_DIR, exclusive=True, partition_id=HOMES[b"B"])
    return Prepared(pb.Operation(create=create), facts)


async def remove_directory_elsewhere(world):
    parent, name = _free(world, b"A")
    inode = await world.mkdir(parent, name, HOMES[b"B"])
    counts = await _counts(world, parent)

    def facts(client):
        return [
            leads(client, (parent, name), inode.inode_id, 0),
            nlink(client, inode.inode_id, 2, 0),
            counts_of(client, parent, counts, plus(counts, directories=-1, names=-1)),
        ]

    return Prepared(pb.Operation(rmdir=pb.Rmdir(parent=parent, name=name)), facts)


async def link_foreign_file(world):
    source = await world.file(b"B")
    place = _free(world, b"A")
    counts = await _counts(world, place[0])

    def facts(client):
        return [
            leads(client, place, 0, source[2]),
            nlink(client, source[2], 1, 2),
            counts_of(client, place[0], counts, plus(counts, names=1)),
            leads(client, source, source[2], source[2]),
        ]

    link = pb.Link(inode_id=source[2], new_parent=place[0], new_name=place[1])
    return Prepared(pb.Operation(link=link), facts)


async def unlink_one_of_two_names(world):
    source = await world.file(b"B")
    parent, name = _free(world, b"A")
    await world.ok(link=pb.Link(inode_id=source[2], new_parent=parent, new_name=name))

    def facts(client):
        return [
            leads(client, (parent, name), source[2], 0),
            nlink(client, source[2], 2, 1),
            leads(client, source, source[2], source[2]),
        ]

    return Prepared(pb.Operation(unlink=pb.Unlink(parent=parent, name=name)), facts)


async def unlink_foreign_file(world):
    parent, name, inode_id = await world.moved(await world.file(b"B"), b"A")

    def facts(client):
        return [leads(client, (parent, name), inode_id, 0), nlink(client, inode_id, 1, 0)]

    return Prepared(pb.Operation(unlink=pb.Unlink(parent=parent, name=name)), facts)


SCENARIOS = {
    one.__name__: one
    for one in (
        rename_file,
        rename_file_over_foreign_file,
        rename_directory,
        make_directory_elsewhere,
        link_foreign_file,
        exchange_file_with_directory,
        unlink_one_of_two_names,
        rename_file_over_file,
        remove_directory_elsewhere,
        rename_foreign_file_without_replacing,
        exchange_directory_with_foreign_file,
        unlink_foreign_file,
        rename_directory_over_directory,
        exchange_files,
        rename_refused,
    )
}


async def perform(world, name, observers, seed):
    """Carry a scenario out, watched; returns how often the observers looked."""
    prepared = await SCENARIOS[name](world)
    async with Observers(prepared.facts, observers, random.Random(seed)) as watching:
        result = await world.client.operate(prepared.operation)
        assert result.status == prepared.status, f"{name}: {common_pb2.StatusCode.Name(result.status)} {result.message}"
        await watching.answered(done=prepared.status == common_pb2.OK)
    return watching.looks
