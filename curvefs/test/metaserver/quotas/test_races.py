"""What happens between the preparing of a transaction and its end, while quotas are set or files grow."""

import asyncio
import stat
from unittest.mock import patch

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as t
from curvefs.src.metaserver.metastore import quotas
from curvefs.src.metaserver.quotas import counting
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
