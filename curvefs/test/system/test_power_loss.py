"""The power of all machines fails under load: what was acknowledged is in the part of the logs that was surely synced.

The metaservers are stopped where they stand (SIGSTOP) and what their folders hold is copied. Of the copies goes what a
power cut may take: the states (LMDB runs without sync), and the last write of each log, torn at any byte. A write
begins only when the one before it is synced; so when a log has begun another write since an acknowledgement, cutting
that one cuts nothing that the acknowledgement relied upon.
"""

import asyncio
import contextlib
import random
import shutil
import signal
import time

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from curvefs.src.metaserver.wal import format as fmt

from ..support.group_client import GroupClient
from ..support.large_group import forget_boot
from ..support.real_servers import RealServers

pytestmark = pytest.mark.asyncio

SETTINGS = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
CLIENTS = 3
ROUNDS = 3


def newest_segment(data):
    return max(data.glob("wal/*.wal"))


def last_write(segment):
    """Return where the last write of a log began: everything before was synced."""
    data = segment.read_bytes()
    header = fmt.decode_header(data[: fmt.HEADER_SIZE])
    start, offset = fmt.HEADER_SIZE, fmt.HEADER_SIZE
    while (found := fmt._record_at(data, offset, header.seed)) is not None:
        offset, start, _ = found
    return start


def tear(data, chance):
    """Take from a stopped metaserver's folder what a power cut may take; returns the bytes cut."""
    forget_boot(data)
    segment = newest_segment(data)
    size, start = segment.stat().st_size, last_write(segment)
    end = chance.randint(start, size)
    with segment.open("r+b") as file:
        file.truncate(end)
    return size - end


async def load(mds, number, acknowledged, stop):
    async with GroupClient(mds) as client:
        count = 0
        with contextlib.suppress(TimeoutError):
            while not stop.is_set():
                await client.create(*(f"{number}-{count + n}" for n in range(5)), patience=3.0)
                count += 5
                acknowledged |= client.acknowledged
        acknowledged |= client.acknowledged


async def until_written_again(servers):
    """Wait until each log has begun a write after now."""
    sizes = [(one.data, newest_segment(one.data).stat().st_size) for one in servers.metaservers.values()]
    async with asyncio.timeout(30):
        while any(newest_segment(data).stat().st_size <= size for data, size in sizes):
            await asyncio.sleep(0.002)


def fail_power(servers, where, chance):
    """Stop everything at once, and leave each metaserver what its disk would have; returns the bytes cut."""
    for one in servers.metaservers.values():
        one.signal(signal.SIGSTOP)
    for one in servers.metaservers.values():
        shutil.copytree(one.data, where / one.data.name)
    cut = []
    for one in servers.metaservers.values():
        one.kill()
        shutil.rmtree(one.data)
        (where / one.data.name).rename(one.data)
        cut.append(tear(one.data, chance))
    return cut


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
        servers.start()
        servers.create_fs()
        for round_ in range(ROUNDS):
            acknowledged, stop = set(), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CLIENTS):
                    tasks.create_task(load(servers.mds.address, f"{round_}-{number}", acknowledged, stop))
                await asyncio.sleep(1.0)
                before = set(acknowledged)
                await until_written_again(servers)
                (servers.root / f"round{round_}").mkdir()
                cut += fail_power(servers, servers.root / f"round{round_}", chance)
                stop.set()
            assert before, "the load was acknowledged"
            everything |= before
            servers.start_again()
            async with GroupClient(servers.mds.address) as looker:
                there = await looker.names()
            assert everything <= there, (seed, sorted(everything - there)[:10])
            await all_alike(servers)
            assert all("the state is rebuilt" in one.said() for one in servers.metaservers.values())
        assert any(cut), "something was cut"
