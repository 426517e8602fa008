"""Metaservers that come back at other addresses are found by one another, though configurations keep the old ones."""

import socket

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from ..support.cluster import wait_until
from ..support.group_client import GroupClient
from ..support.real_servers import RealServers

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

METASERVER = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
MDS = {"heartbeat_interval_ms": 500, "session_lease_ms": 60_000}


def free_address():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def all_led_and_alike(servers):
    with Copysets([servers.mds.address]) as copysets:
        compared = [compare_replicas(copysets, one.group_id) for one in copysets.all()]
    return all(not one.errors and not one.differing and len(one.digests) == 3 for one in compared)


async def create(servers, prefix):
    async with GroupClient(servers.mds.address) as client:
        await client.create(*(f"{prefix}{n}" for n in range(100)))
        return client.group_id, await client.names()


async def test_three_metaservers_that_all_moved_elect_leaders_serve_and_are_rebuilt():
    with RealServers(metaserver=METASERVER, mds=MDS) as servers:
        servers.start()
        servers.create_fs()
        await create(servers, "before")
        old = {number: server.address for number, server in servers.metaservers.items()}
        for server in servers.metaservers.values():
            server.stop()
            server.address = free_address()
        servers.start_again()
        assert all(server.address != old[number] for number, server in servers.metaservers.items())
        group_id, names = await create(servers, "after")
        assert len(names) == 200
        wait_until(lambda: all_led_and_alike(servers), 60)
        with Copysets([servers.mds.address]) as copysets:
            leader = copysets.leader(group_id)
        follower = next(one for one in leader.voters if one != leader.metaserver_id)
        servers.tool("copyset", "rebuild", group_id, "--on", follower, "--yes")
        wait_until(lambda: all_led_and_alike(servers), 60)
        with Copysets([servers.mds.address]) as copysets:
            said = copysets.leader(group_id).status.peers
        assert {one.metaserver_id: one.address for one in said} == {
            number: server.address for number, server in servers.metaservers.items()
        }
