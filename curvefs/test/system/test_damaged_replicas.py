"""Damage of one replica's log or checkpoints: it is told where, serves nothing, and is rebuilt from its peers."""

import re
import secrets

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from curvefs.proto import raft_pb2
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.asyncio_peers import FRAME_SIZE_MAX, FrameTooLarge, StreamRefused, dialled

from ..support.cluster import wait_until
from ..support.group_client import GroupClient
from ..support.large_group import forget_boot
from ..support.real_servers import Ended, RealServers

pytestmark = pytest.mark.asyncio

# Checkpoints early, and a log that does not reach back to the beginning.
SETTINGS = {
    "election_timeout_ms": 500,
    "heartbeat_interval_ms": 500,
    "wal_segment_size_bytes": 64 << 10,
    "wal_size_bytes_max": 1 << 20,
    "checkpoint_log_size_bytes": 64 << 10,
}


@pytest.fixture
def servers():
    """Three metaservers with a filesystem."""
    with RealServers(metaserver=SETTINGS) as made:
        made.start()
        made.create_fs()
        yield made


async def create(servers, count, prefix="f"):
    """Create files in the root; returns the group's id."""
    async with GroupClient(servers.mds.address) as client:
        for first in range(0, count, 1000):
            await client.create(*(f"{prefix}{n}" for n in range(first, min(first + 1000, count))))
        return client.group_id


def flip(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))


def groups_of(servers):
    with Copysets([servers.mds.address]) as copysets:
        return [one.group_id for one in copysets.all()]


def status(servers, group_id, metaserver_id):
    with Copysets([servers.mds.address]) as copysets:
        return copysets.statuses(group_id, [metaserver_id])[metaserver_id]


def all_alike(servers):
    with Copysets([servers.mds.address]) as copysets:
        for one in copysets.all():
            found = compare_replicas(copysets, one.group_id)
            if found.errors or found.differing or len(found.digests) != 3:
                return False
    return True


def follower_of(servers, group_id):
    with Copysets([servers.mds.address]) as copysets:
        leader = copysets.leader(group_id).metaserver_id
    return servers.metaservers[next(one for one in servers.metaservers if one != leader)]


async def test_a_damaged_log_is_refused_set_aside_and_every_replica_rebuilt(servers):
    group_id = await create(servers, 500)
    hurt = follower_of(servers, group_id)
    hurt.kill()
    segment = max(hurt.data.glob("wal/*.wal"), key=lambda one: one.stat().st_size)
    offset = segment.stat().st_size // 2
    flip(segment, offset)
    with pytest.raises(Ended) as refused:
        servers.start_metaserver(hurt)
    assert refused.value.code == ExitCode.DAMAGED
    (line,) = [line for line in hurt.said().splitlines() if "the log is damaged" in line]
    found = re.search(rf"{re.escape(str(segment))} has no valid record at byte (\d+)", line)
    assert found, line
    assert 0 <= offset - int(found[1]) < 64 << 10
    await create(servers, 100, "meanwhile")

    servers.start_metaserver(hurt, "--set-damaged-log-aside")
    for again in (False, True):
        if again:  # it is remembered, without the flag too
            hurt.stop()
            servers.start_metaserver(hurt)
        for one in groups_of(servers):
            said = status(servers, one, hurt.number)
            assert said.damaged, "a replica that was set aside must not seem to be a good and empty one"
            assert "must be rebuilt" in said.damage
    assert servers.tool("copyset", "compare", group_id, check=False).returncode == ExitCode.DAMAGED
    await create(servers, 100, "still")
    servers.tool("copyset", "rebuild", "--all", "--on", hurt.number, "--yes")
    wait_until(lambda: all_alike(servers), what="replicas that are alike")
    assert len(list(hurt.data.glob("damaged-1/groups/*/group.json"))) == len(groups_of(servers))
    assert (hurt.data / "damaged-1" / "wal" / segment.name).exists(), "nothing is thrown away"
    hurt.kill()
    servers.start_metaserver(hurt)
    wait_until(lambda: all_alike(servers), what="replicas that are alike after another restart")
    assert "no replica" in servers.tool("copyset", "rebuild", "--all", "--on", hurt.number, "--yes").stderr


async def test_a_log_that_is_good_is_not_set_aside(servers):
    await create(servers, 10)
    one = servers.metaservers[1]
    one.kill()
    servers.start_metaserver(one, "--set-damaged-log-aside")
    assert not (one.data / "damaged-1").exists()
    wait_until(lambda: all_alike(servers), what="replicas that are alike")


async def test_with_damaged_checkpoints_a_replica_that_needs_them_says_so_and_is_rebuilt(servers):
    group_id = await create(servers, 500)
    hurt = follower_of(servers, group_id)
    folder = hurt.data / "groups" / str(group_id) / "checkpoints"

    def checkpoints():
        return sorted(folder.glob("*.json"))

    def is_trimmed():
        return len(checkpoints()) == 2 and not (hurt.data / "wal" / f"{1:016x}.wal").exists()

    number = 0
    while sum(one.stat().st_size for one in hurt.data.glob("wal/*.wal")) < 5 << 18:
        number += 1
        assert number < 100
        await create(servers, 500, secrets.token_hex(100))  # what the log cannot compress
    wait_until(is_trimmed, what="a log that begins behind the older checkpoint")
    hurt.kill()
    newest = checkpoints()[-1].with_suffix(".mdb")
    flip(newest, newest.stat().st_size // 2)
    forget_boot(hurt.data)
    servers.start_metaserver(hurt)
    wait_until(lambda: all_alike(servers), what="replicas that are alike, from the older checkpoint")
    assert str(newest) in hurt.said()

    hurt.kill()
    for one in checkpoints():
        flip(one.with_suffix(".mdb"), one.with_suffix(".mdb").stat().st_size // 2)
    forget_boot(hurt.data)
    servers.start_metaserver(hurt)
    said = status(servers, group_id, hurt.number)
    assert said.damaged
    assert "no checkpoint reaches so far" in said.damage
    for one in groups_of(servers):
        if one != group_id:
            assert not status(servers, one, hurt.number).damaged, "the others are good"
    await create(servers, 100, "still")
    servers.tool("copyset", "rebuild", group_id, "--on", hurt.number, "--yes")
    wait_until(lambda: all_alike(servers), what="replicas that are alike")


async def test_strangers_and_frames_that_are_too_large_are_refused_and_logged(servers):
    one = servers.metaservers[1]

    def dial():
        return dialled(one.address, frame_size_max=FRAME_SIZE_MAX, deadline_s=10.0)

    hello = raft_pb2.PeerHello(protocol_version=1, cluster_id="another", to=1, address="127.0.0.1:1", proof=b"x" * 32)
    async with dial() as stream:
        await stream.write(raft_pb2.RaftFrame(hello=hello).SerializeToString())
        with pytest.raises(StreamRefused, match="another cluster"):
            await stream.read()
    async with dial() as stream:
        await stream.write(raft_pb2.RaftFrame(messages=[raft_pb2.GroupMessage(group_id=1)]).SerializeToString())
        with pytest.raises(StreamRefused, match="hello"):
            await stream.read()
    async with dial() as stream:
        with pytest.raises(FrameTooLarge):
            await stream.write(b"x" * (FRAME_SIZE_MAX + 1))
            await stream.read()

    wait_until(lambda: one.said().count("refused") >= 2, what="lines in the log")
    await create(servers, 10)
    wait_until(lambda: all_alike(servers), what="replicas that are alike")
