"""What happens between the preparing of a transaction and its end, while quotas are set or files grow."""

import asyncio
import stat
from unittest.mock import patch

import pytest

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.ids import partition_of
from curvefs.src.metaserver.metastore import quotas
from curvefs.src.metaserver.quotas import counting
from curvefs.src.metaserver.storage import keys
from curvefs.test.metaserver.metastore.fleet import code_of, prepare
from curvefs.test.metaserver.metastore.lab import FS

from .fleet import FleetPort, Quotas, needs_work

REG = stat.S_IFREG | 0o644


class Tree:
    """Directories a and b in different groups, and a file in a that lies in a third."""

    def __init__(self):
        self.fleet = Quotas((1, 2, 3))
        self.a = self.fleet.mkdir(1, b"a", 1)
        self.b = self.fleet.mkdir(1, b"b", 2)
        self.file = self.fleet.create(1, b"file")
        self.fleet.ok(rename=pb.Rename(parent=1, name=b"file", new_parent=self.a, new_name=b"file"))

    async def limit(self, directory, bytes_, inodes=0):
        self.fleet.set_quota(directory, bytes_, inodes)
        self.fleet.begin_work()
        await self.fleet.finish_all()

    def rename(self, *, commit):
        operation = pb.Rename(parent=self.a, name=b"file", new_parent=self.b, new_name=b"file")
        return self.fleet.transact(pb.Operation(rename=operation), commit=commit)

    def truncate(self, length):
        operation = pb.Operation(set_attr=pb.SetAttr(inode_id=self.file, length=length))
        return self.fleet.once(operation, self.file)

    def used(self, directory):
        quota_id = self.fleet.inode(directory).own_quota
        return sum(share.used.bytes for share in self.fleet.shares(quota_id).values())

    def check(self):
        self.fleet.settled()
        self.fleet.check_counters()
        self.fleet.check_limits()
        self.fleet.check_chains()


def test_what_comes_in_while_its_directory_gets_a_quota_is_counted():
    async def run():
        tree = Tree()
        tree.truncate(70)
        assert not tree.rename(commit=False).status
        tree.fleet.set_quota(1, 1000, 0)
        assert code_of(tree.fleet.set_quota(tree.b, 1000, 0)) == "LOCKED"
        assert code_of(tree.fleet.set_quota(tree.a, 1000, 0)) == "OK"
        tree.fleet.begin_work()
        for _ in range(3000):
            await asyncio.sleep(0)
        await tree.fleet.finish_all()
        tree.check()
        await tree.limit(tree.b, 1000)
        assert (tree.used(tree.a), tree.used(tree.b)) == (0, 70)
        tree.check()

    asyncio.run(run())


def test_a_subdirectory_with_a_name_about_to_come_is_counted_after_it_came():
    async def run():
        tree = Tree()
        top = tree.fleet.mkdir(1, b"top", 1)
        tree.b = tree.fleet.mkdir(top, b"inner", 2)
        tree.truncate(70)
        assert not tree.rename(commit=False).status
        tree.fleet.set_quota(top, 1000, 0)
        tree.fleet.begin_work()
        for _ in range(3000):
            await asyncio.sleep(0)
        inner = next(one for one in tree.fleet.inodes() if one.inode_id == tree.b)
        assert not inner.quotas, "it waits"
        await tree.fleet.finish_all()
        assert tree.used(top) == 70
        tree.check()

    asyncio.run(run())


def test_who_creates_where_a_quota_is_being_counted_does_not_wait_for_the_count():
    async def run():
        tree = Tree()
        top = tree.fleet.mkdir(1, b"top", 1)
        tree.b = tree.fleet.mkdir(top, b"inner", 2)
        assert not tree.rename(commit=False).status  # the count waits for its end
        tree.fleet.set_quota(top, 1000, 0)
        request = pb.Operation(create=pb.Create(parent=top, name=b"new", mode=REG))
        assert tree.fleet.once(request, top).status == common_pb2.NO_ALLOWANCE
        tree.fleet.begin_work()
        assert not (await tree.fleet.run(request)).status
        await tree.fleet.finish_all()
        tree.check()

    asyncio.run(run())


def test_a_file_that_comes_to_a_quota_does_not_grow_until_it_is_there():
    async def run():
        tree = Tree()
        await tree.limit(tree.b, 100)
        tree.truncate(60)
        asked = await tree.fleet.run(pb.Operation(create=pb.Create(parent=tree.b, name=b"other", mode=REG)))
        assert not asked.status
        need = tree.rename(commit=True).need
        await tree.fleet.ask(need)
        assert not tree.rename(commit=False).status
        assert tree.truncate(101).status == common_pb2.LOCKED
        assert not tree.truncate(50).status
        assert not tree.truncate(30).status
        await tree.fleet.finish_all()
        assert tree.used(tree.b) == 30
        tree.check()

    asyncio.run(run())


def test_what_was_set_aside_for_a_move_that_never_happens_goes_back():
    async def run():
        tree = Tree()
        await tree.limit(tree.b, 100)
        tree.truncate(60)
        quota_id = tree.fleet.inode(tree.b).own_quota
        await tree.fleet.ask(tree.rename(commit=True).need)
        assert not tree.rename(commit=False).status
        assert sum(one.reserved.bytes for one in tree.fleet.shares(quota_id).values()) == 60
        _, number, group, _, participants = tree.fleet.prepared.pop()
        for one in participants:
            tree.fleet.end(one, number, group, commit=False)
        assert not sum(one.reserved.bytes for one in tree.fleet.shares(quota_id).values())
        tree.check()

    asyncio.run(run())


def test_a_name_is_not_put_where_other_quotas_apply_than_was_planned():
    async def run():
        tree = Tree()
        part = t.PutName(parent=tree.b, name=b"new", inode_id=tree.file, type=pb.REGULAR, chain=t.QuotaChain())
        assert code_of(prepare(tree.fleet.lab(tree.b), 900, t.Part(put_name=part))) == "OK"
        part.name = b"newer"
        part.chain.quotas.append(77)
        assert code_of(prepare(tree.fleet.lab(tree.b), 901, t.Part(put_name=part))) == "SKIPPED"

    asyncio.run(run())


def test_a_late_mark_of_a_quota_that_was_removed_marks_nothing():
    async def run():
        tree = Tree()
        await tree.limit(tree.a, 100)
        quota_id = tree.fleet.inode(tree.a).own_quota
        assert list(tree.fleet.inode(tree.file).quotas) == [quota_id]
        tree.fleet.delete_quota(quota_id)
        tree.fleet.begin_work()
        await tree.fleet.finish_all()
        late = state_pb2.MarkInodesCommand(fs_id=FS, quota_id=quota_id, parent=tree.a, inodes=[tree.file])
        tree.fleet.lab(tree.file).entry(mark_inodes=late)
        assert not tree.fleet.inode(tree.file).quotas
        assert quotas.below(tree.fleet.inode(tree.a)) == []
        tree.check()

    asyncio.run(run())


def test_a_count_goes_on_where_an_owner_that_died_had_come():
    async def run():
        tree = Tree()
        for number in range(40):
            tree.fleet.create(tree.a, b"%d" % number)
        tree.fleet.set_quota(tree.a, 0, 100)
        tree.fleet.begin_work()
        quota_id = tree.fleet.inode(tree.a).own_quota
        while not tree.fleet.records()[quota_id].progress.levels:
            await asyncio.sleep(0)
        await tree.fleet.stop()
        [level] = tree.fleet.records()[quota_id].progress.levels
        names = []

        async def seen(port, read, partition_id, its=FleetPort.read):
            result = await its(port, read, partition_id)
            names.extend(entry.name for entry in result.entries)
            return result

        with patch.object(FleetPort, "read", seen):
            tree.fleet.begin_work()
            await tree.fleet.finish_all()
        assert level.after_hash
        assert 0 < len(names) < 40
        record = tree.fleet.records()[quota_id]
        assert not needs_work(record)
        assert not record.HasField("progress")
        assert sum(share.used.inodes for share in tree.fleet.shares(quota_id).values()) == 41
        tree.check()

    with patch.multiple(counting, PAGE=5, SAVED_EVERY=2):
        asyncio.run(run())


class Walked(FleetPort):
    """A port at which something happens just after a directory was listed, or before."""

    def __init__(self, tree, top, *, after=None, before=None):
        super().__init__(tree.fleet, tree.fleet.group_of(top))
        self.after, self.before = after or {}, before or {}

    async def read(self, read, partition_id):
        listed = read.read_dir.inode_id if read.HasField("read_dir") else 0
        self.before.pop(listed, lambda: None)()
        result = await super().read(read, partition_id)
        self.after.pop(listed, lambda: None)()
        return result

    def count(self, top):
        quota_id = self.fleet.inode(top).own_quota
        return counting.Counting(self, FS, quota_id, top, asyncio.Lock()).count()


def move(tree, parent, name, new_parent, new_name=None):
    operation = pb.Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name or name)
    result = tree.fleet.do(pb.Operation(rename=operation))
    return common_pb2.StatusCode.Name(result.status)


def tree_with_a_deep_file(*, limited=True):
    """Return (tree, top, x, p, d, s): top has x and p, p has D, D has S and a file of 70 bytes."""
    tree = Tree()
    top = tree.fleet.mkdir(1, b"top")
    x, p = tree.fleet.mkdir(top, b"x"), tree.fleet.mkdir(top, b"p")
    d = tree.fleet.mkdir(p, b"D")
    s = tree.fleet.mkdir(d, b"S")
    tree.truncate(70)
    tree.fleet.ok(rename=pb.Rename(parent=tree.a, name=b"file", new_parent=d, new_name=b"file"))
    if limited:
        tree.fleet.set_quota(top, 1000, 0)
    return tree, top, x, p, d, s


def test_a_directory_that_leaves_the_tree_before_it_is_marked_is_not_walked():
    async def run():
        tree, top, _x, p, d, s = tree_with_a_deep_file()
        other, moved = tree.fleet.mkdir(1, b"other"), []
        port = Walked(tree, top, after={p: lambda: moved.append(move(tree, p, b"D", other))})
        await port.count(top)
        assert moved == ["OK"]
        assert not tree.used(top)
        assert not tree.fleet.inode(s).quotas
        tree.check()
        assert move(tree, d, b"S", other) == "OK"

    asyncio.run(run())


def test_a_directory_moved_to_where_the_walk_has_been_is_found_by_the_owner_that_goes_on():
    async def run():
        for starts_in_p in (True, False):  # x or p is walked first
            tree, top, x, p, d, s = tree_with_a_deep_file(limited=False)
            if not starts_in_p:
                assert move(tree, p, b"D", x) == "OK"
                x, p = p, x
            tree.fleet.set_quota(top, 1000, 0)

            def die(tree=tree, x=x, p=p):
                assert move(tree, p, b"D", x) == "OK"
                raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await Walked(tree, top, before={d: die}).count(top)
            tree.fleet.begin_work()
            await tree.fleet.finish_all()
            assert tree.used(top) == 70
            assert tree.fleet.inode(s).quotas == tree.fleet.inode(d).quotas
            tree.check()

    with patch.multiple(counting, SAVED_EVERY=2):
        asyncio.run(run())


def test_a_directory_is_not_renamed_to_where_the_walk_of_its_parent_has_been():
    async def run():
        tree = Tree()
        top = tree.fleet.mkdir(1, b"top")
        names = {b"%d" % n: tree.fleet.mkdir(top, b"%d" % n) for n in range(6)}
        tree.fleet.set_quota(top, 0, 100)
        order = tree.fleet.lab(top).names(top)
        last = order[-1]
        new = next(b"n%d" % n for n in range(99) if comes_first(tree, top, b"n%d" % n, order[0]))
        answers = []
        port = Walked(tree, top, before={names[order[0]]: lambda: answers.append(move(tree, top, last, top, new))})
        port.before[names[order[1]]] = port.before[names[order[0]]]
        await port.count(top)
        assert set(answers) == {"CROSS_DEVICE"}
        tree.check()
        assert move(tree, top, last, top, new) == "OK"

    with patch.multiple(counting, PAGE=2):
        asyncio.run(run())


def comes_first(tree, directory, name, other):
    raw = tree.fleet.lab(directory).state.get(keys.partition(FS, partition_of(directory)))
    seed = state_pb2.PartitionRecord.FromString(raw).spec.hash_seed
    return keys.name_hash(seed, name) < keys.name_hash(seed, other)


def test_a_removed_quota_in_the_chain_of_a_directory_keeps_it_nowhere():
    async def run():
        tree, top, _x, p, d, _s = tree_with_a_deep_file()
        tree.fleet.begin_work()
        await tree.fleet.finish_all()
        quota_id = tree.fleet.inode(top).own_quota
        tree.fleet.delete_quota(quota_id)
        other, moved = tree.fleet.mkdir(1, b"other"), []
        port = Walked(tree, top, before={top: lambda: moved.append(move(tree, p, b"D", other))})
        await counting.Counting(port, FS, quota_id, top, asyncio.Lock()).remove()
        assert moved == ["OK"]
        assert not tree.fleet.inode(d).quotas
        assert move(tree, d, b"S", other) == "OK"
        tree.check()

    asyncio.run(run())


def test_a_file_whose_first_name_is_gone_is_counted_in_the_directory_that_gets_a_quota_and_no_more_where_it_was():
    async def run():
        tree = Tree()
        mine, other = tree.fleet.mkdir(1, b"mine"), tree.fleet.mkdir(1, b"other")
        await tree.limit(mine, 1 << 40)
        file = tree.fleet.create(mine, b"f")
        grown = pb.Operation(set_attr=pb.SetAttr(inode_id=file, length=70))
        assert not (await tree.fleet.run(grown, home=file)).status
        tree.fleet.ok(link=pb.Link(inode_id=file, new_parent=other, new_name=b"g"))
        tree.fleet.ok(unlink=pb.Unlink(parent=mine, name=b"f"))
        assert tree.used(mine) == 70
        await tree.limit(other, 1000)
        assert (tree.used(mine), tree.used(other)) == (0, 70)
        inode = tree.fleet.inode(file)
        assert (inode.parent, inode.parent_gone) == (other, False)
        tree.check()

    asyncio.run(run())


def test_such_a_file_stays_where_it_was_when_another_quota_has_no_room_for_it():
    async def run():
        tree = Tree()
        mine, top = tree.fleet.mkdir(1, b"mine"), tree.fleet.mkdir(1, b"top")
        inner = tree.fleet.mkdir(top, b"inner")
        file = tree.fleet.create(mine, b"f")
        assert not tree.fleet.once(pb.Operation(set_attr=pb.SetAttr(inode_id=file, length=70)), file).status
        await tree.limit(top, 10)
        tree.fleet.ok(link=pb.Link(inode_id=file, new_parent=inner, new_name=b"g"))
        tree.fleet.ok(unlink=pb.Unlink(parent=mine, name=b"f"))
        await tree.limit(inner, 1000)
        assert (tree.used(top), tree.used(inner)) == (0, 0)
        assert tree.fleet.inode(file).parent_gone
        tree.check()

    asyncio.run(run())
