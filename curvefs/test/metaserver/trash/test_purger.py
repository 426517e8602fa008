"""Emptying the trash: when it begins, what it asks, what stops it. The group is the state machine itself."""

from contextlib import contextmanager

import pytest

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Redirect, Unreachable
from curvefs.src.metaserver.metastore.apply import apply
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.trash.purger import ENTRIES_PER_ROUND, TrashPurger

from ..metastore.lab import Lab

pytestmark = pytest.mark.asyncio
ROOT, RETENTION_S, SECOND = 1, 3600, 10**9


class Group:
    """Applies at once what is proposed, at the time of the world."""

    def __init__(self, world):
        self.world = world
        self.lab = Lab(retention_s=RETENTION_S)
        self.group_id, self.is_leader = 7, True
        self.entries = 0
        self.refusal = None

    @contextmanager
    def view(self):
        yield self.lab.state

    def propose(self, entry, complete):
        if self.refusal is not None:
            raise self.refusal
        self.entries += 1
        self.lab.index += 1
        entry.time_ns = self.world.now_ns
        complete(apply(self.lab.state, self.lab.index, 1, entry))


class World:
    """A clock, the MDS and one group."""

    def __init__(self):
        self.group = Group(self)
        self.now_ns = self.group.lab.time_ns
        self.mds_behind_ns, self.mds_is_there = 0, True
        self.may_lead, self.asked = True, 0
        self.metrics = Metrics()
        self.purger = TrashPurger(self, self, clock=self, metrics=self.metrics)

    def all(self):
        return [self.group]

    def time_ns(self):
        return self.now_ns

    def boottime_s(self):
        return self.now_ns / SECOND

    async def call(self, _stub, method, _request):
        assert method == "ListFilesystems"
        self.asked += 1
        if not self.mds_is_there:
            raise Unreachable("no MDS")
        return mds_pb2.ListFilesystemsReply(mds_time_ns=self.now_ns - self.mds_behind_ns)

    def remove(self, count):
        """Have files removed now."""
        lab = self.group.lab
        lab.time_ns = self.now_ns
        for number in range(count):
            lab.create(ROOT, b"%d" % number)
            lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"%d" % number))
        self.now_ns = lab.time_ns

    @property
    def left(self):
        return len(self.group.lab.table(keys.TRASH))

    async def after(self, seconds):
        self.now_ns += int(seconds * SECOND)
        await self.purger.round()
        return self.left


@pytest.fixture
def world():
    return World()


async def test_nothing_is_asked_or_proposed_while_nothing_is_due(world):
    world.remove(3)
    assert await world.after(RETENTION_S - 1) == 3
    assert (world.asked, world.group.entries) == (0, 0)


async def test_what_is_due_goes_and_is_counted(world):
    world.remove(3)
    assert await world.after(RETENTION_S + 1) == 0
    assert world.metrics.trash_purged._value.get() == 3


async def test_without_the_mds_nothing_goes_and_it_is_asked_ever_more_seldom(world):
    world.remove(3)
    world.mds_is_there = False
    await world.after(RETENTION_S + 1)
    for _ in range(300):
        assert await world.after(1) == 3
    assert world.group.entries == 0
    assert world.asked < 20
    world.mds_is_there = True
    assert await world.after(120) == 0


async def test_it_is_not_due_before_the_mds_says_so(world):
    world.remove(3)
    world.mds_behind_ns = 600 * SECOND
    for _ in range(5):
        assert await world.after(RETENTION_S // 5 + 60) == 3
    assert await world.after(400) == 0


async def test_who_may_not_lead_purges_nothing(world):
    world.remove(3)
    world.may_lead = False
    assert await world.after(RETENTION_S + 1) == 3
    world.may_lead, world.group.is_leader = True, False
    assert await world.after(1) == 3


async def test_another_leader_goes_on_where_this_one_lost_its_place(world):
    world.remove(300)
    world.group.refusal = Redirect("another leads", leader="")
    assert await world.after(RETENTION_S + 1) == 300
    world.group.refusal = None
    assert await world.after(60) == 0


async def test_a_round_proposes_a_bounded_number_of_entries(world):
    world.remove(ENTRIES_PER_ROUND * 128 + 500)
    await world.after(RETENTION_S + 1)
    assert world.group.entries == ENTRIES_PER_ROUND
    assert 0 < world.left < 1000
    assert await world.after(1) == 0
