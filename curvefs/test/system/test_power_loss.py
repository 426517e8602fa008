"""The power of all machines fails under load: what was acknowledged is in the part of the logs that was surely synced.

Each metaserver is stopped (SIGSTOP) at a failpoint: where it has written to its log and not synced that yet. Of what
its folder holds then goes what a power cut may take: the state (LMDB runs without sync), and the last write of the log,
torn at any byte. One that had nothing to write when the others stood still loses its state only: whether its last write
was synced cannot be seen, and to cut one that was would be to take back what it promised.
"""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from curvefs.src.common import failpoints
from curvefs.src.metaserver.wal import format as fmt
from curvefs.src.metaserver.wal.disk import WRITTEN

from ..support.group_client import GroupClient
from ..support.large_group import forget_boot
from ..support.real_servers import RealServers

pytestmark = pytest.mark.asyncio

SETTINGS = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
CLIENTS = 3
ROUNDS = 3
POWER_FAILS = "power_fails"
PATIENCE_S = 60


def newest_segment(data):
    return max(data.glob("wal/*.wal"))


def last_write(segment):
    """Return where the last write of a log began: a write begins only when the one before it is synced."""
    data = segment.read_bytes()
    header = fmt.decode_header(data[: fmt.HEADER_SIZE])
    start, offset = fmt.HEADER_SIZE, fmt.HEADER_SIZE
    while (found := fmt._record_at(data, offset, header.seed)) is not None:
        offset, start, _ = found
    return start


def tear(data, chance):
    """Cut the last write of a log somewhere; returns the bytes cut."""
    segment = newest_segment(data)
    size, start = segment.stat().st_size, last_write(segment)
    end = chance.choice((start, chance.randint(start, size)))
    with segment.open("r+b") as file:
        file.truncate(end)
    return size - end


async def load(mds, number, acknowledged, stop):
    async with GroupClient(mds) as client:
        count = 0
        await client.create(f"{number}-first")  # there may be no leader yet
        with contextlib.suppress(TimeoutError):
            while not stop.is_set():
                await client.create(*(f"{number}-{count + n}" for n in range(5)), patience=3.0)
                count += 5
                acknowledged |= client.acknowledged
        acknowledged |= client.acknowledged


def stands_still(server):
    """Say whether a process is stopped, by the letter of its state (proc_pid_stat(5))."""
    stat = Path(f"/proc/{server.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


async def fail_power(servers, chance):
    """Stop everything where it has written and not synced, and tear what it wrote; returns the bytes cut."""
    running = servers.metaservers.values()
    (servers.root / POWER_FAILS).touch()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while not all(map(stands_still, running)):
                await asyncio.sleep(0.002)
    torn = [one for one in running if stands_still(one)]
    for one in running:
        one.kill()
    (servers.root / POWER_FAILS).unlink()
    for one in running:
        forget_boot(one.data)
    return [tear(one.data, chance) for one in torn]


async def all_alike(servers):
    def ask():
        with Copysets([servers.mds.address]) as copysets:
            return [compare_replicas(copysets, one.group_id) for one in copysets.all()]

    async with asyncio.timeout(60):
        while True:
            found = await asyncio.to_thread(ask)
            assert not any(one.differing or one.damaged for one in found), found
            if not any(one.errors or len(one.digests) != len(servers.metaservers) for one in found):
                return
            await asyncio.sleep(0.2)


async def test_nothing_acknowledged_is_lost_when_the_power_of_all_fails():
    seed = time.time_ns()
    chance, everything, cut = random.Random(seed), set(), []
    with RealServers(metaserver=SETTINGS) as servers:
        for one in servers.metaservers.values():
            one.environment = {failpoints.VARIABLE: f"{WRITTEN}=stop:{servers.root / POWER_FAILS}"}
        servers.start()
        servers.create_fs()
        for round_ in range(ROUNDS):
            acknowledged, stop = set(), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CLIENTS):
                    tasks.create_task(load(servers.mds.address, f"{round_}-{number}", acknowledged, stop))
                async with asyncio.timeout(PATIENCE_S):
                    while not acknowledged:
                        await asyncio.sleep(0.05)
                await asyncio.sleep(1.0)
                cut += await fail_power(servers, chance)
                stop.set()
            everything |= acknowledged
            servers.start_again()
            async with GroupClient(servers.mds.address) as looker:
                there = await looker.names()
            assert everything <= there, (seed, sorted(everything - there)[:10])
            await all_alike(servers)
            assert all("the state is rebuilt" in one.said() for one in servers.metaservers.values())
        assert any(cut), "something was cut"
