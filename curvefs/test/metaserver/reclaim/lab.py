"""A group on a real log and state, its reclaimer, and fakes of what is around: worker, store, MDS, other groups."""

import asyncio
import itertools
from uuid import UUID

from curvefs.proto import common_pb2, mds_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Unavailable
from curvefs.src.common.status import error_of
from curvefs.src.metaserver.reclaim.reclaimer import Reclaimer
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.transactions.calls import Place
from curvefs.src.metaserver.worker.jobs import Stores, run
from curvefs.src.object.fault import FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices.names import block_name
from curvefs.test.metaserver.copyset import lab as groups

FS, GROUP, SESSION = groups.FS, groups.GROUP, groups.SESSION
FS_UUID = UUID(int=9)
BLOCK = 4 << 20
GRACE_S = 600
S = 10**9


class Clock:
    def __init__(self):
        self.now_s = 1.0

    def time_ns(self):
        return int(self.now_s * S)

    def boottime_s(self):
        return self.now_s


class Mds:
    """Answers ListFilesystems. behind_s: how far its clock is. away: it does not answer."""

    def __init__(self, clock):
        self.clock, self.behind_s, self.away, self.asked = clock, 0.0, False, 0
        self.state = mds_pb2.ACTIVE

    async def call(self, stub, method, request):
        assert method == "ListFilesystems"
        self.asked += 1
        if self.away:
            raise Unavailable("injected")
        reply = mds_pb2.ListFilesystemsReply(mds_time_ns=self.clock.time_ns() - int(self.behind_s * S))
        reply.filesystems.add(
            fs_id=FS, uuid=FS_UUID.bytes, object_store="x", block_size=BLOCK, delete_grace_s=GRACE_S, state=self.state
        )
        return reply


class Jobs:
    def __init__(self, store):
        self.stores = Stores(lambda _: store)

    async def run_job(self, job, deadline_s):
        reply = run(self.stores, job)
        if reply.failure.code:
            raise error_of(reply.failure)
        return reply


class Calls:
    """Other groups: partition p is in group 100 + p. away: they do not answer."""

    def __init__(self):
        self.released, self.away = [], False

    async def place(self, fs_id, partition_id):
        return Place(100 + partition_id, ())

    async def call(self, method, request, fs_id, deadline_s):
        assert method == "Release"
        if self.away:
            raise Unavailable("injected")
        self.released.append((request.group_id, [one.chunk_id for one in request.slices]))


class Lab:
    """Use as an async context manager."""

    def __init__(self, folder):
        self.groups = groups.Lab(folder)
        self.clock = Clock()
        self.mds, self.calls = Mds(self.clock), Calls()
        self.store = FaultStore(MemoryStore())
        self.ids = itertools.count()

    async def __aenter__(self):
        await self.groups.begin()
        self.renew()
        range_ = (await self.do(allocate_ids=pb.AllocateIds(kind=common_pb2.CHUNK))).ranges[0]
        self.ids = itertools.count(range_.first)
        return self

    async def __aexit__(self, *_):
        await self.groups.stop()

    def renew(self):
        """Another reclaimer, as after a restart."""
        self.reclaimer = Reclaimer(
            self.groups.manager,
            self.calls,
            Jobs(self.store),
            self.mds,
            clock=self.clock,
            metrics=self.groups.metrics,
        )

    async def do(self, **operation):
        batch = self.groups.batch(1)
        batch.operations[0].CopyFrom(pb.Operation(**operation))
        applied = await self.groups.run(operations=state_pb2.OperationsCommand(batch=batch))
        result = applied.results.results[0]
        assert not result.status, result
        return result

    async def file(self, name, *sizes):
        """A file with slices of these sizes over one another, stored."""
        inode_id = (await self.do(create=pb.Create(parent=1, name=name, mode=0o100644))).inode.inode_id
        for size in sizes:
            one = pb.Slice(chunk_id=next(self.ids), length=size, size=size, object=pb.ObjectLocation(block_format=1))
            self.put(one.chunk_id, size)
            await self.do(append_slices=pb.AppendSlices(inode_id=inode_id, slices=[one], length=size))
        return inode_id

    def put(self, chunk_id, size=1):
        for index in range(-(-size // BLOCK)):
            self.store.put(block_name(FS_UUID, chunk_id, 0, index), b"bytes")

    async def unlink(self, name):
        await self.do(unlink=pb.Unlink(parent=1, name=name))

    async def round(self):
        """One look at all queues, and the work that follows."""
        async with asyncio.TaskGroup() as tasks:
            await self.reclaimer.round(tasks)

    async def after(self, seconds):
        self.clock.now_s += seconds
        await self.round()

    @property
    def objects(self):
        return [one.key for one in self.store.list("")]

    @property
    def queue(self):
        with self.groups.group.view() as view:
            return [key for key, _ in view.scan(keys.DELETE, keys.after_prefix(keys.DELETE))]

    def table(self, table):
        with self.groups.group.view() as view:
            return [key for key, _ in view.scan(table, keys.after_prefix(table))]

    def metric(self, name, **labels):
        return self.groups.metrics.registry.get_sample_value(f"metaserver_{name}", labels)
