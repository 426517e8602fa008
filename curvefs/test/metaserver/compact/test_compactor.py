"""The compactor over a state machine, the worker's job and a store in memory: what files hold never changes."""

import asyncio
import dataclasses
import random
from contextlib import contextmanager
from uuid import UUID

import pytest

from curvefs.proto import common_pb2, state_pb2, transaction_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.data_keys import key_check, new_key
from curvefs.src.common.errors import CurveFSError, InvalidArgument, NotFound, Redirect, Unavailable
from curvefs.src.common.status import error_of
from curvefs.src.metaserver.compact import compactor as module
from curvefs.src.metaserver.compact.compactor import Compactor
from curvefs.src.metaserver.compact.pace import Pace
from curvefs.src.metaserver.metastore import tallies
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.reclaim.filesystems import Filesystem, Told
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.worker import jobs, runs
from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices import framing
from curvefs.src.slices.geometry import Geometry
from curvefs.src.slices.names import block_name, parse_block_name
from curvefs.src.slices.overlay import overlay

from ..metastore.lab import BLOCK, CHUNK, FS, Lab

GEOMETRY = Geometry(UUID(int=5), CHUNK, BLOCK, 1)
URL = "memory:"


class Clock:
    """Stands still."""

    def __init__(self):
        self.now_s = 100.0

    def boottime_s(self):
        return self.now_s

    def time_ns(self):
        return 10**18 + 10**12


class Group:
    """A group whose entries are applied at once. before: called before the next proposal, with what it is."""

    group_id = 7
    is_leader = True

    def __init__(self, lab):
        self.lab = lab
        self.before = lambda _: None
        self.environment = self

    @property
    def term(self):
        return self.lab.term

    @contextmanager
    def view(self):
        yield self.lab.state

    read_at_length = view

    def propose(self, entry, complete):
        self.before(entry.compact.WhichOneof("step"))
        if not self.is_leader:
            raise self.redirect()
        complete(self.lab.log(entry))

    def redirect(self):
        return Redirect("another leads", leader="")


class Worker:
    """Does jobs at once. before: called before each."""

    def __init__(self, store):
        self.stores = jobs.Stores(lambda _: store)
        self.before = lambda: None
        self.count = 0

    async def run_job(self, job, deadline_s):
        assert deadline_s > 1
        self.count += 1
        await asyncio.sleep(0)
        self.before()
        reply = await asyncio.to_thread(jobs.run, self.stores, job)
        if reply.failure.code:
            raise error_of(reply.failure)
        return reply


class World:
    """One file, and a compactor that has it on its list."""

    def __init__(self, key_dir=None):
        self.lab = Lab()
        self.objects = MemoryStore()
        self.store = FaultStore(self.objects)
        self.group, self.worker = Group(self.lab), Worker(self.store)
        self.clock, self.metrics = Clock(), Metrics()
        self.inode_id = self.lab.create(1, b"f")
        self.ids = iter(())
        self.model = bytearray()
        self.rng = random.Random(1)
        self.compactor = Compactor(
            self, self.worker, None, clock=self.clock, metrics=self.metrics, bytes_per_s=float("inf"), key_dir=key_dir
        )
        filesystem = Filesystem("demo", GEOMETRY.uuid, URL, BLOCK, 0, 1, b"")
        self.compactor._told = Told(1, {FS: filesystem})

    def all(self):
        return [self.group]

    def get(self, group_id):
        assert group_id == self.group.group_id
        return self.group

    def write(self, offset, size):
        chunk_id = next(self.ids, 0)
        if not chunk_id:
            one = self.lab.ok(allocate_ids=pb.AllocateIds(kind=common_pb2.CHUNK)).ranges[0]
            self.ids = iter(range(one.first, one.end))
            chunk_id = next(self.ids)
        data = self.rng.randbytes(size)
        for index in range(-(-size // BLOCK)):
            block = data[index * BLOCK : (index + 1) * BLOCK]
            self.objects.put(block_name(GEOMETRY.uuid, chunk_id, 0, index), framing.encode([block]))
        place = pb.ObjectLocation(block_format=1)
        one = pb.Slice(chunk_id=chunk_id, offset=offset, length=size, size=size, object=place)
        self.lab.ok(append_slices=pb.AppendSlices(inode_id=self.inode_id, slices=[one], length=offset + size))
        self.model.extend(bytes(max(0, offset + size - len(self.model))))
        self.model[offset : offset + size] = data

    def truncate(self, length):
        self.lab.ok(set_attr=pb.SetAttr(inode_id=self.inode_id, length=length))
        self.model = self.model[:length] + bytes(max(0, length - len(self.model)))

    def somewhere(self, count, end=CHUNK):
        for _ in range(count):
            size = self.rng.randrange(1, 50_000)
            self.write(self.rng.randrange(end - size), size)

    def content(self):
        found = b""
        inode = self.lab.inode(self.inode_id)
        for extent in overlay(self.lab.slices(self.inode_id), 0, inode.length):
            if extent.slice is None:
                found += bytes(extent.length)
                continue
            for block in GEOMETRY.blocks(extent.run_offset, extent.length, extent.slice.size):
                one = extent.slice
                framed = self.objects.get(block_name(GEOMETRY.uuid, one.chunk_id, one.compaction, block.block))
                found += b"".join(framing.decode(framed, block.block_length))[block.offset :][: block.length]
        return found

    def check(self):
        assert self.content() == bytes(self.model)
        accounted = self.alive() | self.queued()
        stored = {parse_block_name(one.key).chunk_id for one in self.objects.list("")}
        assert stored <= accounted, "every object is in use or to be deleted"
        assert not self.alive() & self.queued(), "no object in use is to be deleted"

    def alive(self):
        return {one.chunk_id for one in self.lab.slices(self.inode_id)} - {0}

    def queued(self):
        found = set()
        for key in self.lab.table(b"q"):
            record = state_pb2.DeleteRecord.FromString(self.lab.state.get(key))
            if record.HasField("slice"):
                found.add(record.slice.chunk_id)
            elif record.HasField("never_published"):
                bits, span = int.from_bytes(record.published, "little"), record.never_published
                found |= {one for one in range(span.first, span.end) if not bits >> (one - span.first) & 1}
        return found

    def listed(self):
        return tallies.listed(self.lab.state, None, 10)

    def counted(self, outcome):
        value = self.metrics.registry.get_sample_value("metaserver_compactions_total", {"outcome": outcome})
        return value or 0

    async def round(self):
        async with asyncio.TaskGroup() as tasks:
            return await self.compactor.round(tasks)

    async def on_demand(self):
        """Ask as an operator's call does, until there is an answer."""
        request = transaction_pb2.CompactChunkRequest(group_id=7, fs_id=FS, inode_id=self.inode_id)
        failure = None
        async with asyncio.TaskGroup() as tasks:
            self.compactor._tasks = tasks
            try:
                while (reply := await self.compactor.compact_chunk(request)).pending:
                    pass
            except CurveFSError as error:
                failure = error
        if failure is not None:
            raise failure
        return reply.compacted


@pytest.fixture
def world():
    return World()


def test_pace_keeps_the_mean_and_lets_one_begin_at_once():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def moves():
        pace = Pace(100.0, lambda: 5.0, sleep)
        for size in (1000, 10, 20):
            await pace.take(size)

    asyncio.run(moves())
    assert slept == [10.0, 10.1]


@pytest.mark.asyncio
async def test_what_is_on_the_list_is_merged_and_taken_from_it(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    assert world.listed()
    assert await world.round()
    assert not world.listed()
    assert len(world.alive()) == 1
    world.check()
    assert world.counted("done") == 1
    assert not await world.round()


@pytest.mark.asyncio
async def test_what_is_not_worth_it_waits_for_more(world):
    for number in range(16):
        world.write(number * 65_536 + 10, 10)
    world.truncate(CHUNK)
    world.write(CHUNK - 10, 10)
    assert world.listed()
    before = world.alive()
    await world.round()
    assert not world.listed()
    world.check()
    assert len(world.alive()) <= len(before)


@pytest.mark.asyncio
async def test_an_operator_gets_one_slice_whatever_it_costs(world):
    world.write(0, CHUNK)
    world.somewhere(3)
    said = await world.on_demand()
    assert (said.slices_before, said.slices_after, said.written_bytes) == (4, 1, CHUNK)
    world.check()
    assert (await world.on_demand()).slices_before == 1
    assert world.worker.count == 1


@pytest.mark.asyncio
async def test_more_slices_than_one_step_takes_are_merged_in_several(world):
    world.write(0, 100_000)
    for number in range(900):
        world.write(number * 100, 100)
    said = await world.on_demand()
    assert said.slices_after == 1
    assert world.worker.count >= 3
    world.check()


@pytest.mark.asyncio
async def test_a_file_that_is_written_all_the_time_is_compacted_once(world):
    for n in range(5):
        world.write(n * 10, 1000)
    written = []

    def write(step):
        if step == "commit":
            assert len(written) < 10, "it does not end"
            written.append(step)
            world.write(len(written) * 100, 50)

    world.group.before = write
    said = await world.on_demand()
    assert (said.slices_before, said.slices_after) == (5, 1)


@pytest.mark.asyncio
async def test_a_long_list_stays_on_the_list_until_it_is_short(world):
    world.write(0, CHUNK)
    for number in range(1100):
        world.write(number % 1024 * 1024 + 7, 100)
    while world.listed():
        world.clock.now_s += 1000
        await world.round()
    assert len(world.lab.slices(world.inode_id)) < 1024
    world.check()
    # Nothing was merged that was not committed with slices in between that stayed.
    assert world.counted("done") >= 1


@pytest.mark.asyncio
async def test_the_list_is_read_again_when_an_earlier_leader_may_have_committed(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    seen = []

    def at_the_first_lease(step):
        if step == "lease" and not seen:
            world.truncate(0)
            world.somewhere(20, 300_000)
        seen.append(step)

    world.group.before = at_the_first_lease
    await world.round()
    assert seen[0] == "lease"
    assert world.counted("done") == 1
    world.check()


@pytest.mark.asyncio
async def test_what_is_written_meanwhile_stays_on_top(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    world.worker.before = lambda: world.write(1000, 500)
    await world.round()
    world.check()
    assert world.counted("done") == 1


@pytest.mark.asyncio
async def test_a_truncate_meanwhile_makes_it_a_conflict_that_is_tried_again(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    cut = iter([True])
    world.worker.before = lambda: next(cut, False) and (world.truncate(0), world.somewhere(30, 300_000))
    await world.round()
    assert world.counted("conflict") == 1
    world.check()
    world.clock.now_s += 1000
    await world.round()
    assert world.counted("done") == 1
    world.check()


@pytest.mark.asyncio
async def test_a_file_that_is_removed_meanwhile_leaves_nothing(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    world.worker.before = lambda: world.lab.ok(unlink=pb.Unlink(parent=1, name=b"f"))
    await world.round()
    stored = {parse_block_name(one.key).chunk_id for one in world.objects.list("")}
    kept = {pb.Slice.FromString(world.lab.state.get(key)).chunk_id for key in world.lab.table(keys.SLICE)}
    assert stored - kept <= world.queued()
    world.clock.now_s += 1000
    world.worker.before = lambda: pytest.fail("a file that is gone is not compacted")
    await world.round()
    assert not world.listed()


@pytest.mark.asyncio
async def test_a_leader_that_lost_its_term_gives_nothing_up_and_the_next_closes_its_range(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)

    def another_leads():
        world.lab.term += 1
        world.group.is_leader = False

    world.worker.before = another_leads
    await world.round()
    world.group.is_leader = True
    world.lab.entry(compact=state_pb2.CompactCommand(close=state_pb2.CompactClose()))
    world.check()
    world.worker.before = lambda: None
    world.clock.now_s += 1000
    await world.round()
    world.check()
    assert world.counted("done") == 1


@pytest.mark.asyncio
async def test_a_commit_of_unknown_outcome_that_was_applied_deletes_nothing(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    propose = world.group.propose

    def lose_the_answer(entry, complete):
        if entry.compact.WhichOneof("step") != "commit":
            propose(entry, complete)
            return
        propose(entry, lambda _: None)
        raise Unavailable("the answer was lost")

    world.group.propose = lose_the_answer
    await world.round()
    assert len(world.alive()) == 1
    world.check()


@pytest.mark.asyncio
async def test_a_job_that_fails_leaves_only_what_is_to_be_deleted(world, monkeypatch):
    monkeypatch.setattr("curvefs.src.metaserver.worker.runs._PAUSES_S", ())
    world.write(0, 900_000)
    world.somewhere(20, 900_000)
    world.store.plan(Fault("put", times=None, matches=lambda name: name.endswith("_1")))
    await world.round()
    assert world.counted("failed") == 1
    assert world.alive().isdisjoint(world.queued())
    world.check()
    world.store.forget_faults()
    assert not await world.round(), "the filesystem is left alone for a while"
    world.clock.now_s += 1000
    await world.round()
    assert world.counted("done") == 1
    world.check()


@pytest.mark.asyncio
async def test_what_cannot_be_given_up_at_once_is_given_up_later(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    world.worker.before = lambda: world.truncate(0)

    def refuse(step):
        if step == "give_up":
            raise Unavailable("the log takes nothing just now")

    world.group.before = refuse
    await world.round()
    world.group.before = lambda _: None
    world.worker.before = lambda: None
    await world.round()
    world.check()


@pytest.mark.asyncio
async def test_a_missing_object_sets_the_chunk_aside_for_longer_and_longer(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    lost = block_name(GEOMETRY.uuid, min(world.alive()), 0, 0)
    world.objects.delete([lost])
    tries = 0
    for _ in range(200):
        world.clock.now_s += 1
        tries += await world.round()
    assert world.counted("failed") == tries <= 9
    assert world.listed()
    with pytest.raises(NotFound, match=lost):
        await world.on_demand()


@pytest.mark.asyncio
async def test_an_encrypted_filesystem_whose_key_is_not_here_is_left_alone_for_a_while(world, tmp_path):
    key = new_key(tmp_path / "file", lambda size: b"k" * size)
    locked = dataclasses.replace(world.compactor._told.filesystems[FS], block_format=4, key_check=key_check(key))
    world.compactor._told.filesystems[FS] = locked
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    for folder, reason in ((None, "no key_dir"), (tmp_path, "no key of filesystem 'demo'")):
        world.compactor._key_dir = folder
        with pytest.raises(InvalidArgument, match=reason):
            await world.on_demand()
    assert await world.round()
    assert not await world.round()
    assert world.counted("failed") == 1
    assert world.listed()
    assert not world.worker.count


@pytest.mark.asyncio
async def test_an_operator_who_asks_again_joins_what_is_under_way(world, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    world.write(0, 300_000)
    world.somewhere(5, 300_000)
    said = await world.on_demand()
    assert (said.slices_before, said.slices_after) == (6, 1)
    assert world.worker.count == 1


@pytest.mark.asyncio
async def test_the_list_is_counted_with_the_age_of_its_oldest(world):
    world.write(0, 300_000)
    world.somewhere(20, 300_000)
    count, since_ns = world.compactor._count(world.group)
    assert (count, since_ns) == (1, world.listed()[0].since_ns)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_comes_in_between_no_byte_changes(world, seed):
    """Writes, cuts, elections and failing jobs while compaction goes on."""
    rng = world.rng = random.Random(seed)

    def something(*_):
        match rng.randrange(8):
            case 0 | 1:
                world.somewhere(rng.randrange(1, 20), 400_000)
            case 2:
                world.truncate(rng.randrange(400_000))
            case 3:
                world.lab.term += 1
                world.lab.entry(compact=state_pb2.CompactCommand(close=state_pb2.CompactClose()))
            case 4:
                world.store.plan(Fault("put", times=1))

    world.write(0, 400_000)
    world.worker.before = something
    world.group.before = something
    for _ in range(25):
        world.somewhere(rng.randrange(20), 400_000)
        world.clock.now_s += 1000
        await world.round()
        assert world.content() == bytes(world.model)
    world.group.before = world.worker.before = lambda *_: None
    world.store.forget_faults()
    world.lab.term += 1
    world.lab.entry(compact=state_pb2.CompactCommand(close=state_pb2.CompactClose()))
    world.check()
    await world.on_demand()
    world.check()
    assert len(world.alive()) <= 3


@pytest.mark.asyncio
async def test_the_pause_of_a_filesystem_is_short_again_after_a_success(world, monkeypatch):
    monkeypatch.setattr(runs, "_PAUSES_S", ())
    pauses = []
    for _ in range(4):
        world.write(0, 300_000)
        world.somewhere(20, 300_000)
        world.store.go_down()
        await world.round()
        world.store.come_up()
        pauses.append(world.compactor._pauses._pauses[FS][0])
        while world.listed():
            world.clock.now_s += 1000
            await world.round()
    world.check()
    assert pauses == [pauses[0]] * 4
