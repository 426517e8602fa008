"""A group of a million inodes on three metaservers: restart, rebuild, and a fourth metaserver in a dead one's place.

Prints seconds, memory of the processes, the longest pause of a client, and how late event loops were.

    python tools/bench/large_group.py [--count 1000000]
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
import asyncio
import os

from curvefs.test.support.large_group import LargeGroup, Watched
from curvefs.test.support.real_servers import RealServers

_WINDOW_S = 11.0  # longer than the metric of event loops looks back


def show(what: str, seen: Watched) -> None:
    """Print what was seen while something went on."""
    print(
        f"{what}: {seen.seconds:.2f} s; {seen.creations} creations meanwhile, longest {seen.longest_pause:.3f} s; "
        f"an idle event loop was late by {seen.idle_lag * 1000:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    for number, peaks in sorted(seen.peaks.items()):
        print(
            f"    metaserver {number}: {peaks.memory:.0f} MiB resident at most, {peaks.own:.0f} MiB of its own, "
            f"event loop late by {peaks.lag * 1000:.0f} ms at most",
            flush=True,
        )


async def measure(servers: RealServers, count: int) -> None:
    """Do everything once."""
    group = LargeGroup(servers)
    async with group.watched(load=False) as seen:
        await group.fill(count)
    show(f"filled with {group.count} inodes ({group.count / seen.seconds:.0f}/s)", seen)
    await asyncio.sleep(_WINDOW_S)
    async with group.watched(load=False) as seen:
        await group.alike()
    show("compared", seen)
    leader = await group.leader()
    follower, dead = (one for one in servers.metaservers if one != leader)
    for what, how in (
        ("killed", {}),
        ("stopped", {"clean": True}),
        ("on a machine that stopped uncleanly", {"machine_stopped": True}),
    ):
        seconds, cpu, memory = await group.restart(follower, **how)
        print(
            f"restarted, {what}: serves after {seconds:.2f} s ({cpu:.2f} s of processor time), "
            f"{memory:.0f} MiB resident at most",
            flush=True,
        )
        await group.alike()
    servers.metaservers[dead].kill()
    new = servers.add(len(servers.metaservers) + 1)
    servers.start_metaserver(new)
    await asyncio.sleep(_WINDOW_S)
    async with group.watched() as seen:
        await asyncio.sleep(_WINDOW_S)
    show("nothing but a client that creates", seen)
    async with group.watched() as seen:
        words = ["copyset", "replace-peer", group.group_id, dead, new.number, "--timeout", 1800]
        said = await group.tool(*words)
    show(f"replaced {dead} by {new.number}, led by {await group.leader()}: {said}", seen)
    await group.alike()
    for number, server in servers.metaservers.items():
        for line in server.said().splitlines():
            if "snapshot" in line or "checkpoint" in line:
                print(f"    {number}: {line}")


def main() -> None:
    """Read the command line."""
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=1_000_000)
    given = options.parse_args()
    print(f"load before: {os.getloadavg()}")
    with RealServers() as servers:
        servers.start()
        servers.create_fs()
        asyncio.run(measure(servers, given.count))
    print(f"load after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
