"""Any operations from two sessions, over several groups, while quotas are set, changed and removed and their owners
die: the counters equal a recount after every step, no limit is passed, and a refusal is never wrong.
"""

import asyncio
import random
import stat
from collections import Counter
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.quotas import counting

from .fleet import Quotas

DIR, REG = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
LAYOUTS = st.sampled_from([(1, 2, 3), (1, 1, 2), (1, 2, 2)])
PLACES = st.integers(0, 7)
NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
SIZES = st.sampled_from([0, 1, 7, 40, 90, 200])
STEP = st.one_of(
    st.tuples(st.just("create"), PLACES, NAMES),
    st.tuples(st.just("create"), PLACES, NAMES),
    st.tuples(st.just("mkdir"), PLACES, NAMES, st.integers(0, 2)),
    st.tuples(st.just("mkdir"), PLACES, NAMES, st.integers(0, 2)),
    st.tuples(st.just("unlink"), PLACES, NAMES, st.booleans()),
    st.tuples(st.just("rmdir"), PLACES, NAMES),
    st.tuples(st.just("link"), PLACES, PLACES, NAMES),
    st.tuples(st.just("rename"), PLACES, NAMES, PLACES, NAMES, st.sampled_from(["", "", "exchange", "no_replace"])),
    st.tuples(st.just("rename"), PLACES, NAMES, PLACES, NAMES, st.sampled_from(["", "later"])),
    st.tuples(st.just("truncate"), PLACES, SIZES),
    st.tuples(st.just("write"), PLACES, SIZES, SIZES),
    st.tuples(st.just("reserve"), PLACES, SIZES, SIZES),
    st.tuples(st.just("give back"), PLACES, SIZES),
    st.tuples(st.just("end")),
    st.tuples(st.just("set"), PLACES, st.sampled_from([0, 50, 300, 1000]), st.sampled_from([0, 3, 6, 20])),
    st.tuples(st.just("set"), PLACES, st.sampled_from([0, 50, 300, 1000]), st.sampled_from([0, 3, 6, 20])),
    st.tuples(st.just("delete"), PLACES),
    st.tuples(st.just("go on"), st.integers(1, 40)),
    st.tuples(st.just("go on"), st.integers(1, 40)),
    st.tuples(st.just("work"), st.integers(1, 60)),
    st.tuples(st.just("stop")),
)


class Steps:
    def __init__(self, layout):
        self.fleet = Quotas(layout)
        self.reserved = {}  # inode -> what the second session has for it

    async def run(self, steps):
        with patch.multiple(counting, PAGE=2, SAVED_EVERY=1):
            await self._run(steps)

    async def _run(self, steps):
        for kind, *arguments in steps:
            await getattr(self, "_" + kind.replace(" ", "_"))(*arguments)
            self.fleet.check_counters()
            self.fleet.check_limits()
        await self.fleet.stop()
        self.fleet.begin_work()
        await self.fleet.finish_all()
        self.fleet.settled()
        self.fleet.check_counters()
        self.fleet.check_limits()
        self.fleet.check_chains()

    def directory(self, place):
        there = [one.inode_id for one in self.fleet.inodes() if stat.S_ISDIR(one.mode) and one.nlink]
        return sorted(there)[place % len(there)]

    def file(self, place):
        there = sorted(one.inode_id for one in self.fleet.inodes() if stat.S_ISREG(one.mode))
        return there[place % len(there)] if there else 0

    async def _create(self, place, name):
        parent = self.directory(place)
        await self.fleet.run(pb.Operation(create=pb.Create(parent=parent, name=name, mode=REG)))

    async def _mkdir(self, place, name, partition_id):
        request = pb.Create(parent=self.directory(place), name=name, mode=DIR, exclusive=True)
        if partition_id:
            request.partition_id = partition_id
        await self.fleet.run(pb.Operation(create=request))

    async def _unlink(self, place, name, held):
        parent = self.directory(place)
        inode_id = self.fleet.there(parent, name)[0]
        request = pb.Unlink(parent=parent, name=name, held_inode=inode_id if held else 0)
        await self.fleet.run(pb.Operation(unlink=request))

    async def _rmdir(self, place, name):
        await self.fleet.run(pb.Operation(rmdir=pb.Rmdir(parent=self.directory(place), name=name)))

    async def _link(self, place, into, name):
        if inode_id := self.file(place):
            request = pb.Link(inode_id=inode_id, new_parent=self.directory(into), new_name=name)
            await self.fleet.run(pb.Operation(link=request))

    async def _rename(self, place, name, into, new_name, how):
        operation = pb.Operation(
            rename=pb.Rename(
                parent=self.directory(place),
                name=name,
                new_parent=self.directory(into),
                new_name=new_name,
                exchange=how == "exchange",
                no_replace=how == "no_replace",
            )
        )
        if how == "later" and len(self.fleet.prepared) < 2:
            self.fleet.transact(operation, commit=False)
        else:
            await self.fleet.run(operation)

    async def _truncate(self, place, length):
        if inode_id := self.file(place):
            operation = pb.Operation(set_attr=pb.SetAttr(inode_id=inode_id, length=length))
            await self.fleet.run(operation, home=inode_id)

    async def _write(self, place, length, brought):
        """Publish in the second session what it may have reserved."""
        if inode_id := self.file(place):
            request = pb.AppendSlices(inode_id=inode_id, length=length)
            if inode_id in self.reserved:
                request.reserved.CopyFrom(self.reserved[inode_id])
                request.reserved.bytes = brought
            self.fleet.second_session(pb.Operation(append_slices=request), inode_id)

    async def _reserve(self, place, bytes_, wish):
        if inode_id := self.file(place):
            request = pb.Reserve(inode_id=inode_id, bytes=bytes_, wish=wish)
            result = self.fleet.second_session(pb.Operation(reserve=request), inode_id)
            if not result.status:
                self.reserved[inode_id] = result.reserved

    async def _give_back(self, place, bytes_):
        if (inode_id := self.file(place)) in self.reserved:
            request = pb.GiveBack(partition_id=inode_id >> 40, reserved=self.reserved[inode_id])
            request.reserved.bytes = bytes_
            assert not self.fleet.second_session(pb.Operation(give_back=request), inode_id).status

    async def _end(self):
        self.fleet.new_session()
        self.reserved.clear()

    async def _set(self, place, bytes_, inodes):
        self.fleet.set_quota(self.directory(place), bytes_, inodes)
        self.fleet.within = set()
        self.fleet.begin_work()

    async def _delete(self, place):
        records = sorted(self.fleet.records())
        if records:
            self.fleet.delete_quota(records[place % len(records)])
            self.fleet.begin_work()

    async def _go_on(self, turns):
        self.fleet.begin_work()
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _work(self, turns):
        if self.fleet.prepared:
            self.fleet.commit(*self.fleet.prepared.pop(0))
        await self._go_on(10 * turns)

    async def _stop(self):
        await self.fleet.stop()


@settings(max_examples=150, deadline=None)
@given(LAYOUTS, st.lists(STEP, max_size=60))
def test_counters_equal_a_recount_and_no_limit_is_passed(layout, steps):
    asyncio.run(_run(layout, steps))


async def _run(layout, steps):
    await Steps(layout).run(steps)


SEEDS = 20
STEPS = 250


def random_steps(seed):
    """Return steps like those above, in the proportions of busy directories."""
    chosen = random.Random(seed)

    def place():
        return chosen.randrange(8)

    def name():
        return chosen.choice([b"a", b"b", b"c", b"d"])

    def size():
        return chosen.choice([0, 1, 7, 40, 90, 200])

    kinds = {
        "create": (2, lambda: (place(), name())),
        "mkdir": (1, lambda: (place(), name(), chosen.randrange(3))),
        "unlink": (1, lambda: (place(), name(), chosen.random() < 0.3)),
        "link": (1, lambda: (place(), place(), name())),
        "rename": (2, lambda: (place(), name(), place(), name(), chosen.choice(["", "", "exchange", "later"]))),
        "truncate": (2, lambda: (place(), size())),
        "write": (1, lambda: (place(), size(), size())),
        "reserve": (1, lambda: (place(), size(), size())),
        "set": (1, lambda: (place(), chosen.choice([0, 50, 300]), chosen.choice([0, 6, 20]))),
        "delete": (1, lambda: (place(),)),
        "go on": (1, lambda: (chosen.randrange(1, 40),)),
        "work": (2, lambda: (chosen.randrange(1, 60),)),
        "stop": (1, lambda: ()),
    }
    weights = [weight for weight, _ in kinds.values()]
    for kind in chosen.choices(list(kinds), weights, k=STEPS):
        yield kind, *kinds[kind][1]()


def test_such_operations_meet_what_they_are_to_meet():
    seen = Counter()
    for seed in range(SEEDS):
        steps = Steps((1, 2, 3))
        asyncio.run(steps.run(random_steps(seed)))
        seen.update(steps.fleet.answers)
    for one in ("OK", "NO_ALLOWANCE", "QUOTA_EXCEEDED", "NO_SPACE", "CROSS_DEVICE", "LOCKED"):
        assert seen[one], seen
