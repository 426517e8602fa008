"""Inodes that are not open any more are told to their groups, until these have heard it."""

import pytest
import trio
from prometheus_client import CollectorRegistry

from curvefs.src.client.metadata import releases
from curvefs.src.client.metadata.releases import Releases
from curvefs.src.client.metrics import ReleasesCollector
from curvefs.src.common.errors import IOFailure, NoSpace, SessionEnded
from curvefs.src.common.ids import make_id, partition_of

from .lab import TIMEOUT_S, A, running

pytestmark = pytest.mark.trio


class Groups:
    def __init__(self):
        self.released = []
        self.deaf = {}  # partition -> what it answers
        self.asked = []

    async def release(self, inode_id):
        self.asked.append(inode_id)
        await trio.sleep(0.01)
        if partition_of(inode_id) in self.deaf:
            raise self.deaf[partition_of(inode_id)]
        self.released.append(inode_id)


@pytest.fixture
async def groups(nursery):
    made = Groups()
    made.releases = Releases(made.release)
    nursery.start_soon(made.releases.run)
    return made


async def test_what_is_heard_is_told_once(groups, autojump_clock):
    await groups.releases.tell(5)
    assert groups.released == [5]
    await trio.sleep(60)
    assert groups.released == [5]
    assert len(groups.releases) == 0


@pytest.mark.parametrize("error", [IOFailure("away"), SessionEnded("over"), NoSpace("its disk is full")])
async def test_what_is_not_heard_is_told_again_until_it_is(groups, autojump_clock, error):
    groups.deaf[0] = error
    await groups.releases.tell(5)
    await trio.sleep(60)
    assert len(groups.releases) == 1
    groups.deaf.clear()
    await trio.sleep(60)
    assert groups.released == [5]
    assert len(groups.releases) == 0
    groups.deaf[0] = error
    await groups.releases.tell(6)
    groups.deaf.clear()
    await trio.sleep(60)
    assert groups.released == [5, 6]


async def test_a_group_that_hears_nothing_delays_no_other(groups, autojump_clock):
    groups.deaf = {0: IOFailure("away"), 1: IOFailure("away")}
    for n in range(3):
        await groups.releases.tell(make_id(0, n))
        await groups.releases.tell(make_id(1, n))
    del groups.deaf[1]
    groups.asked.clear()
    await trio.sleep(releases.RETRY_S + 1)
    assert sorted(groups.released) == [make_id(1, n) for n in range(3)]
    assert len([one for one in groups.asked if partition_of(one) == 0]) == 1


async def test_what_is_held_again_is_not_told(groups, autojump_clock):
    groups.deaf[0] = IOFailure("away")
    await groups.releases.tell(5)
    groups.releases.forget(5)
    groups.deaf.clear()
    await trio.sleep(60)
    assert groups.released == []


async def test_what_waits_is_bounded_and_shown(groups, autojump_clock, monkeypatch):
    monkeypatch.setattr(releases, "WAITING_MAX", 10)
    registry = CollectorRegistry()
    registry.register(ReleasesCollector(groups.releases))
    groups.deaf[0] = IOFailure("away")
    for n in range(20):
        await groups.releases.tell(n)
    assert registry.get_sample_value("curvefs_client_releases_waiting") == 10
    groups.deaf.clear()
    await trio.sleep(60)
    assert sorted(groups.released) == list(range(10))


async def test_a_mount_tells_it_through_the_lane_when_there_is_a_leader_again(autojump_clock, nursery):
    async with running({1: [0, 1]}) as lab:
        nursery.start_soon(lab.metadata.releases.run)
        lab.servers.freeze(A)
        await lab.metadata.release(make_id(1, 7))
        assert len(lab.metadata.releases) == 1
        lab.servers.thaw(A)
        await trio.sleep(2 * TIMEOUT_S)
        assert make_id(1, 7) in [one.release_inode.inode_id for _, _, one in lab.group().applied]
        assert len(lab.metadata.releases) == 0
