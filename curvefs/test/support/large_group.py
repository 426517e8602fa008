"""A large group on real metaservers: filled, restarted, rebuilt, moved by snapshot, and measured meanwhile.

Used by the test and by tools/bench/large_group.py, which differ in size.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field
from pathlib import Path

from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from .group_client import BROKEN, GroupClient
from .real_servers import metrics, metrics_pages, open_session

_SESSIONS = 4
_AT_A_TIME = 2048
_LOOK_S = 0.3


@dataclass
class Peaks:
    """The most that was seen of one process. memory: MiB resident; own: of it not LMDB's pages. lag: seconds."""

    memory: float = 0.0
    own: float = 0.0
    lag: float = 0.0


@dataclass
class Watched:
    """What was seen while something went on. Times in seconds."""

    seconds: float = 0.0
    peaks: dict[int, Peaks] = field(default_factory=dict)
    creations: int = 0
    longest_pause: float = 0.0
    idle_lag: float = 0.0  # of an event loop that has nothing to do


class LargeGroup:
    """The root's group of a cluster (RealServers), which has its filesystem already."""

    def __init__(self, servers):
        self.servers = servers
        self.mds = servers.mds.address
        self.group_id = open_session(self.mds).group_id
        self.count = 0

    # ------------------------------------------------------------------------------------------------ load

    async def fill(self, count, random_bytes=0):
        """Create so many inodes, 128 a batch, several batches in flight; returns the seconds it took.

        random_bytes: in each name; the log cannot compress them.
        """
        began = time.monotonic()

        def name(number, n):
            return f"{number}-{self.count}-{n}-{os.urandom(random_bytes).hex()}"

        async def part(number):
            async with GroupClient(self.mds) as client:
                for first in range(0, count // _SESSIONS, _AT_A_TIME):
                    last = min(first + _AT_A_TIME, count // _SESSIONS)
                    await client.create(*(name(number, n) for n in range(first, last)), patience=300)
                    client.acknowledged.clear()

        async with asyncio.TaskGroup() as tasks:
            for number in range(_SESSIONS):
                tasks.create_task(part(number))
        self.count += count // _SESSIONS * _SESSIONS
        return time.monotonic() - began

    # ------------------------------------------------------------------------------------------ one server

    async def restart(self, number, *, clean=False, machine_stopped=False):
        """Stop a metaserver and start it; returns (seconds until it serves, of them at work, MiB)."""
        server = self.servers.metaservers[number]
        if clean:
            await asyncio.to_thread(server.stop)
        else:
            server.kill()
        if machine_stopped:
            forget_boot(server.data)
        seconds = await asyncio.to_thread(self.servers.start_metaserver, server)
        return seconds, server.cpu(), server.memory()

    async def leader(self):
        """Return the id of the leader."""

        def ask():
            with Copysets([self.mds]) as copysets:
                return copysets.leader(self.group_id).metaserver_id

        return await asyncio.to_thread(ask)

    async def tool(self, *words, timeout=1800):
        """Run curvefs-tool while everything else goes on; returns what it said."""
        return (await asyncio.to_thread(self.servers.tool, *words, timeout=timeout)).stdout.strip()

    async def alike(self, count=3, patience=120.0):
        """Wait until so many replicas hold the same; returns the seconds of the comparison itself."""

        def ask():
            with Copysets([self.mds]) as copysets:
                return compare_replicas(copysets, self.group_id)

        end = time.monotonic() + patience
        while True:
            began = time.monotonic()
            found = None
            with contextlib.suppress(*BROKEN):
                found = await asyncio.to_thread(ask)
            if found is not None and not found.errors:
                assert not found.differing, found
                if len(found.digests) == count:
                    return time.monotonic() - began
            assert time.monotonic() < end, found
            await asyncio.sleep(0.5)

    # ------------------------------------------------------------------------------------------- measuring

    @contextlib.asynccontextmanager
    async def watched(self, *, load=True):
        """Watch memory and event loops, with a client that creates one file after the other."""
        seen = Watched()
        done = asyncio.Event()
        for server in self.servers.metaservers.values():
            if server.process is not None:
                Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak counts from now
        idle = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "curvefs.test.support.idle_loop", stdin=PIPE, stdout=PIPE
        )
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(seen, done))
            if load:
                tasks.create_task(self._work(seen, done))
                async with asyncio.timeout(30):
                    while not seen.creations:
                        await asyncio.sleep(0.05)
            began = time.monotonic()
            seen.longest_pause = 0.0
            try:
                yield seen
            finally:
                seen.seconds = time.monotonic() - began
                await asyncio.sleep(2 * _LOOK_S)
                done.set()
                seen.idle_lag = float((await idle.communicate(b""))[0])

    async def _work(self, seen, done):
        async with GroupClient(self.mds) as client:
            while not done.is_set():
                began = time.monotonic()
                await client.create(f"meanwhile-{began}")
                seen.creations += 1
                seen.longest_pause = max(seen.longest_pause, time.monotonic() - began)

    async def _look(self, seen, done):
        pages = {}
        while not done.is_set():
            for number, server in self.servers.metaservers.items():
                if server.process is None or not server.address:
                    continue
                with contextlib.suppress(OSError):
                    if number not in pages:
                        pages = await asyncio.to_thread(metrics_pages, self.mds)
                    lag = (await asyncio.to_thread(metrics, pages[number]))["metaserver_event_loop_lag_seconds"]
                    memory, own = memory_of(server.process.pid)
                    peaks = seen.peaks.setdefault(number, Peaks())
                    peaks.memory, peaks.own = max(peaks.memory, memory), max(peaks.own, own)
                    peaks.lag = max(peaks.lag, lag)
            await asyncio.sleep(_LOOK_S)


def memory_of(pid):
    """Return (most memory resident, of it now not a file's) of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    peak, own = (int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) for name in ("VmHWM", "RssAnon"))
    return peak / 1024, own / 1024


def forget_boot(data):
    """Make the state of a stopped metaserver that of a machine which stopped uncleanly."""
    marks = list(Path(data).glob("groups/*/state.mark"))
    assert marks
    for mark in marks:
        said = json.loads(mark.read_text())
        mark.write_text(json.dumps(said | {"boot_id": "another", "clean": False}))
        # What had not reached the disk by itself is gone.
        file = mark.with_name("state") / "data.mdb"
        with file.open("r+b") as state:
            state.write(os.urandom(4096))
