"""Metaservers that are gone for good are made up for, and new ones get their share, without anybody touching it."""

from collections import Counter

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from curvefs.src.common.errors import CurveFSError

from ..support.cluster import wait_until
from ..support.group_client import GroupClient
from ..support.real_servers import RealServers

pytestmark = pytest.mark.asyncio

METASERVER = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
MDS = {
    "replica_count": 3,
    "copysets_per_metaserver": 2,
    "heartbeat_interval_ms": 500,
    "unstable_after_s": 2.0,
    "offline_after_s": 4.0,
    "orders_after_s": 2.0,
    "schedule_interval_s": 0.5,
    "leader_cooling_s": 1.0,
}
PATIENCE_S = 120.0


@pytest.fixture
def servers():
    """Four metaservers with a filesystem, its copysets of three replicas each."""
    with RealServers(count=4, metaserver=METASERVER, mds=MDS) as made:
        made.start()
        made.create_fs()
        yield made


def members(servers):
    with Copysets([servers.mds.address]) as copysets:
        return {one.group_id: sorted(peer.metaserver_id for peer in one.peers) for one in copysets.all()}


def all_alike(servers):
    """Whether each copyset has three replicas that answer and are alike."""
    try:
        with Copysets([servers.mds.address]) as copysets:
            compared = [compare_replicas(copysets, one.group_id) for one in copysets.all()]
    except CurveFSError:
        return False
    return all(not one.errors and not one.differing and len(one.digests) == 3 for one in compared)


def leaders(servers):
    """Return how many groups each metaserver leads, or nothing while one of them is on its way elsewhere."""
    try:
        with Copysets([servers.mds.address]) as copysets:
            return Counter(copysets.leader(one.group_id).metaserver_id for one in copysets.all())
    except CurveFSError:
        return Counter()


async def create(servers, prefix):
    async with GroupClient(servers.mds.address) as client:
        await client.create(*(f"{prefix}{n}" for n in range(500)))
        return client.group_id


async def test_every_copyset_has_three_replicas_again_after_one_metaserver_is_gone_for_good(servers):
    await create(servers, "before")
    before = members(servers)
    gone = Counter(id_ for ids in before.values() for id_ in ids).most_common(1)[0][0]
    servers.metaservers[gone].kill()

    def is_whole():
        now = members(servers)
        return all(gone not in ids and len(ids) == 3 for ids in now.values()) and all_alike(servers)

    wait_until(is_whole, PATIENCE_S, "three replicas of every copyset on the others")
    assert members(servers).keys() == before.keys()
    await create(servers, "after")
    assert all_alike(servers)


async def test_a_metaserver_that_joins_takes_its_share_of_replicas_and_leaders(servers):
    await create(servers, "before")
    new = servers.add(5)
    servers.start_metaserver(new)

    def is_level():
        counts = Counter(id_ for ids in members(servers).values() for id_ in ids)
        led = leaders(servers)
        return (
            len(counts) == 5
            and max(counts.values()) - min(counts.values()) <= 1
            and led[new.number] >= 1
            and max(led.values()) - min(led.values()) <= 2
            and all_alike(servers)
        )

    wait_until(is_level, PATIENCE_S, "a fair share for the new metaserver")
    await create(servers, "after")
    assert all_alike(servers)
