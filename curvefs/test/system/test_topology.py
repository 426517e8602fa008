"""Real processes in zones: copysets are spread, metaservers drained and retired under load, mistakes refused."""

import asyncio
import json

import pytest

from curvefs.src.common.exits import ExitCode

from ..mds.topology.topologies import pool, text
from ..support.cluster import wait_until
from ..support.group_client import GroupClient
from ..support.netns import HUB, Network
from ..support.real_servers import Ended, RealServers, Where
from .test_recovery import MDS, METASERVER, PATIENCE_S, all_alike, members

pytestmark = pytest.mark.asyncio

ZONES = {"zone1": ["s1", "s2"], "zone2": ["s3", "s4"], "zone3": ["s5"]}


@pytest.fixture
def servers():
    """An MDS that serves, and five metaservers that are not started; copysets get three replicas from the topology."""
    with RealServers(count=5, metaserver=METASERVER, mds=MDS | {"replica_count": 1}) as made:
        made.mds.start()
        yield made


def apply(servers, *pools, check=True):
    file = servers.root / "topology.json"
    file.write_bytes(text(*pools))
    return servers.tool("create-topology", file, check=check)


def start(servers, *numbers):
    for number in numbers:
        servers.start_metaserver(servers.metaservers[number], "--server", f"s{number}")


def shown(servers, *words):
    return json.loads(servers.tool(*words, "--json").stdout)


def zones(servers):
    """Return the zones of each copyset's replicas."""
    at = {one["metaserver_id"]: one["zone"] for one in shown(servers, "list-metaservers")}
    return {group_id: sorted(at[peer] for peer in peers) for group_id, peers in members(servers).items()}


def is_spread(servers):
    found = zones(servers)
    return bool(found) and all(one == ["zone1", "zone2", "zone3"] for one in found.values())


async def test_copysets_are_spread_over_zones_and_one_metaserver_retires_while_files_are_created(servers):
    assert "add server s5" in apply(servers, pool("main", ZONES)).stdout
    assert apply(servers, pool("main", ZONES)).stdout == "nothing to change\n"
    start(servers, 1, 2, 3, 4)
    assert members(servers) == {}  # the third zone is still empty
    start(servers, 5)
    servers.create_fs()
    assert is_spread(servers)
    assert {(one["pool"], one["health"]) for one in shown(servers, "list-metaservers")} == {("main", "online")}
    refused = servers.tool("retire", 5, check=False)
    assert (refused.returncode, refused.stdout) == (ExitCode.BUSY, "")
    assert refused.stderr.count("\n") == 1
    assert "has nowhere to go" in refused.stderr

    created = 0
    done = asyncio.Event()

    async def create():
        nonlocal created
        async with GroupClient(servers.mds.address) as client:
            while not done.is_set():
                await client.create(*(f"file{created + n}" for n in range(20)))
                created += 20

    async with asyncio.TaskGroup() as group:
        group.create_task(create())
        drained = await asyncio.to_thread(servers.tool, "drain", 3)
        assert drained.stdout.splitlines()[-1] == "metaserver 3 is drained: it holds nothing"
        retired = await asyncio.to_thread(servers.tool, "retire", 3)
        assert retired.stdout.splitlines()[-1] == "metaserver 3 is no longer part of the cluster"
        before = created
        while created == before:  # files can be created still
            await asyncio.sleep(0.1)
        done.set()
    assert [one["metaserver_id"] for one in shown(servers, "list-metaservers")] == [1, 2, 4, 5]
    assert is_spread(servers)
    wait_until(lambda: all_alike(servers), PATIENCE_S, "replicas that are alike")
    servers.metaservers[3].kill()
    with pytest.raises(Ended) as ended:
        servers.start_metaserver(servers.metaservers[3])
    assert ended.value.code == ExitCode.REFUSED
    left = apply(servers, pool("main", ZONES | {"zone2": ["s4"]}))
    assert left.stdout == "remove server s3\n"


async def test_one_that_has_lost_its_disk_comes_back_as_another_and_is_made_up_for(servers):
    apply(servers, pool("main", ZONES))
    start(servers, 1, 2, 3, 4, 5)
    servers.create_fs()
    async with GroupClient(servers.mds.address) as client:
        await client.create(*(f"file{n}" for n in range(500)))
    wiped = servers.metaservers[5]
    address = wiped.address
    wiped.kill()
    wiped.data = servers.root / "empty"
    start(servers, 5)  # it waits until the other one counts as silent
    assert wiped.address == address

    def is_made_up_for():
        ids = [one["metaserver_id"] for one in shown(servers, "list-metaservers")]
        return ids == [1, 2, 3, 4, 6] and is_spread(servers) and all_alike(servers)

    wait_until(is_made_up_for, PATIENCE_S, "the replicas on the new one, and the old one gone")


async def test_mistakes_are_told_in_a_line_each_and_change_nothing(servers):
    apply(servers, pool("main", ZONES))
    start(servers, 1, 5)
    before = shown(servers, "list-servers")

    def refused(*pools):
        done = apply(servers, *pools, check=False)
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
        assert shown(servers, "list-servers") == before
        return [line.partition("topology.json: ")[2] for line in done.stderr.splitlines()]

    doubled = pool("main", ZONES | {"zone3": ["s5", "s1"]}, colour="red")
    assert refused(doubled) == ["pools[0].colour: this field is unknown"]
    del doubled["colour"]
    assert refused(doubled)[0].startswith("pools[0].zones[2].servers[1].name: there is a server 's1' already, at pools")
    assert refused(pool("main", {"zone1": ["s1"]})) == [
        "pools[0].zones: 1 with servers, but 3 replicas need as many zones"
    ]
    without = {"zone1": ["s1"], "zone2": ["s3"], "zone4": ["s4"]}
    [line] = refused(pool("main", without))
    assert line.startswith("pools[0].zones: zone 'zone3' is left out, but metaserver 2 (")
    with pytest.raises(Ended) as ended:
        servers.start_metaserver(servers.metaservers[2], "--server", "s9")
    assert ended.value.code == ExitCode.NOT_FOUND
    assert ended.value.said.splitlines()[-1] == (
        "curvefs-metaserver: the MDS refused the registration: there is no server 's9' in the topology; "
        "there are s1, s2, s3, s4, s5"
    )
    assert len(shown(servers, "list-metaservers")) == 2


async def test_a_second_metaserver_at_one_address_ends_with_a_line_and_the_first_goes_on():
    # Two machines, whose metaservers say the same address: as with one that listens at 127.0.0.1.
    with Network([1, 2]) as network:
        where = {HUB: Where(network.prefix(HUB), network.host(HUB))}
        where |= {number: Where(network.prefix(number)) for number in (1, 2)}
        with RealServers(count=2, where=where, metaserver=METASERVER, mds={"replica_count": 1}) as servers:
            servers.mds.start()
            first, second = servers.metaservers.values()
            servers.start_metaserver(first)
            before = shown(servers, "query-metaserver", first.address)
            second.address = first.address
            with pytest.raises(Ended) as ended:
                servers.start_metaserver(second)
            assert ended.value.code == ExitCode.ADDRESS_IN_USE
            line = ended.value.said.splitlines()[-1]
            assert line.startswith(
                "curvefs-metaserver: the MDS refused the registration: metaserver 1 is at 127.0.0.1:"
            )
            now = shown(servers, "list-metaservers")
            assert [(one["metaserver_id"], one["health"]) for one in now] == [(1, "online")]
            assert now[0]["registered"] == before["registered"]
