"""A large group of real metaservers: restarted, rebuilt after its machine stopped, and given to a fourth by snapshot.

What it takes on a quiet machine is for tools/bench/large_group.py to say; here are limits for any machine.
"""

import os

import pytest

from ..support.large_group import LargeGroup
from ..support.real_servers import RealServers

pytestmark = pytest.mark.asyncio

LONG = bool(os.environ.get("CURVEFS_TEST_LONG"))
COUNT = 1_000_000 if LONG else 50_000
PAUSE_S_MAX = 10.0
# Of a process without what it maps of LMDB's file: whatever the group's size.
OWN_MIB_MAX = 300


@pytest.mark.timeout(3600 if LONG else 300)
async def test_a_large_group_restarts_is_rebuilt_and_moves_by_snapshot_while_clients_go_on():
    with RealServers() as servers:
        servers.start()
        servers.create_fs()
        group = LargeGroup(servers)
        await group.fill(COUNT, random_bytes=80)
        leader = await group.leader()
        follower, dead = (one for one in servers.metaservers if one != leader)
        await group.restart(follower)
        await group.alike()
        await group.restart(follower, machine_stopped=True)
        assert "the state is rebuilt" in servers.metaservers[follower].said()
        await group.alike()
        servers.metaservers[dead].kill()
        new = servers.add(4)
        servers.start_metaserver(new)
        async with group.watched() as seen:
            words = ["copyset", "replace-peer", group.group_id, dead, new.number, "--timeout", 1800]
            await group.tool(*words)
        print(seen)
        assert "a snapshot was installed" in new.said()
        assert seen.creations > 0
        assert seen.longest_pause < PAUSE_S_MAX
        assert set(seen.peaks) == {leader, follower, new.number}
        for number, peaks in seen.peaks.items():
            assert peaks.own < OWN_MIB_MAX, (number, peaks)
        await group.alike()
