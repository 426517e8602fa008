"""A fleet loses metaservers for good while somebody works on it, and nobody touches it: what it does, and when.

Five metaservers in three zones, copysets of three replicas, a mount with a workload that checks all it reads. One
metaserver is killed and stays away; a new one joins; then all of a zone stand still and go on. Afterwards every
replica is compared with the others.
"""

import contextlib
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas
from curvefs_tool.topology.zones import file_of, server_name

from curvefs.src.common.errors import CurveFSError
from curvefs.test.support.cluster import wait_until
from curvefs.test.support.mount_load import Workload
from curvefs.test.support.real_mount import RealMount
from curvefs.test.support.real_servers import FS, RealServers

PATIENCE_S = 600.0
METASERVERS, ZONES, REPLICAS = 5, 3, 3
OFFLINE_S = 5.0
MDS = {
    "replica_count": REPLICAS,
    "copysets_per_metaserver": 2,
    "unstable_after_s": 2.5,
    "offline_after_s": OFFLINE_S,
    "orders_after_s": 3.0,
    "heartbeat_interval_ms": 500,
    "schedule_interval_s": 1.0,
    "leader_cooling_s": 2.0,
}


@dataclass
class Report:
    """What came out. lines: what happened, with times; faults: everything that must not be."""

    lines: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def __str__(self):
        return "\n".join([*self.lines, f"faults: {len(self.faults)}", *self.faults])


class Drill:
    """See the module."""

    def __init__(self, servers, report, tell):
        self._servers = servers
        self._report = report
        self._tell = tell

    def run(self):
        """Do everything, in order."""
        self._start()
        with RealMount(self._servers, FS) as mount:
            self._work_on(mount)
            mount.unmount()

    def _work_on(self, mount):
        load = Workload(mount.folder / "load")
        load.start()
        try:
            self._lose_one(load)
            self._gain_one(load)
            self._lose_a_zone(load)
        finally:
            try:
                load.end()
            except AssertionError as error:
                self._report.faults.append(f"the workload found: {error}")
            self._say(f"the workload did {load.rounds} rounds; the longest took {load.longest_s:.2f} s")
        wait_until(self._alike, PATIENCE_S, "replicas that are alike")
        self._say("all replicas of every copyset are alike")

    def _start(self):
        self._servers.mds.start()
        path = self._servers.root / "topology.json"
        path.write_text(file_of(METASERVERS + 1, ZONES, REPLICAS))
        self._servers.tool("create-topology", path)
        for server in self._servers.metaservers.values():
            self._join(server)
        self._servers.create_fs()
        self._say(f"{METASERVERS} metaservers in {ZONES} zones: {self._spread()}")

    def _join(self, server):
        self._servers.start_metaserver(server, "--server", server_name(server.number))

    # ------------------------------------------------------------------------------------------- what happens

    def _lose_one(self, load):
        gone = Counter(one for peers in self._members().values() for one in peers).most_common(1)[0][0]
        self._servers.metaservers[gone].kill()
        took = self._until(load, lambda: self._is_whole(without=gone), "three replicas of every copyset")
        self._say(
            f"metaserver {gone} is killed for good: three replicas of all again after {took:.1f} s, "
            f"{OFFLINE_S:.0f} s of them until it counts as gone: {self._spread()}"
        )

    def _gain_one(self, load):
        new = self._servers.add(METASERVERS + 1)
        self._join(new)
        took = self._until(load, lambda: self._is_level(new.number), "a share of the new metaserver")
        self._say(f"metaserver {new.number} joins: it has its share after {took:.1f} s: {self._spread()}")

    def _lose_a_zone(self, load):
        alive = [server for server in self._servers.metaservers.values() if server.process is not None]
        zone = Counter(server.number % ZONES for server in alive).most_common(1)[0][0]
        stopped = [server for server in alive if server.number % ZONES == zone]
        for server in stopped:
            server.signal(signal.SIGSTOP)
        before = load.rounds
        took = self._until(load, lambda: load.rounds > before + 50, "work without a zone")
        self._say(f"{len(stopped)} metaservers of a zone stand still: 50 rounds of work are done after {took:.1f} s")
        for server in stopped:
            server.signal(signal.SIGCONT)
        took = self._until(load, self._is_whole, "everything whole again")
        self._say(f"they go on: everything is whole after {took:.1f} s: {self._spread()}")

    def _until(self, load, condition, what):
        began, before = time.monotonic(), load.rounds
        wait_until(condition, PATIENCE_S, what)
        if load.rounds == before:
            self._report.faults.append(f"the workload stood still until {what}")
        return time.monotonic() - began

    # ------------------------------------------------------------------------------------------- what is there

    def _members(self):
        with Copysets([self._servers.mds.address]) as copysets:
            return {one.group_id: sorted(peer.metaserver_id for peer in one.peers) for one in copysets.all()}

    def _leaders(self):
        with Copysets([self._servers.mds.address]) as copysets:
            return Counter(copysets.leader(one.group_id).metaserver_id for one in copysets.all())

    def _spread(self):
        """Return replicas and leaders by metaserver, as text."""
        counts = Counter(one for peers in self._members().values() for one in peers)
        led = self._leaders()
        return ", ".join(f"{one}: {counts[one]} replicas, {led[one]} led" for one in sorted(counts))

    def _is_whole(self, without=0):
        """Say whether all copysets have replicas enough; perhaps in zones too few, when a zone has nobody left."""
        members = self._members().values()
        return all(without not in peers and len(peers) == REPLICAS for peers in members) and self._alike()

    def _is_spread(self):
        """Say whether no copyset has two replicas in one zone."""
        return all(len({one % ZONES for one in peers}) == len(peers) for peers in self._members().values())

    def _is_level(self, new):
        counts = Counter(one for peers in self._members().values() for one in peers)
        try:
            led = self._leaders()
        except CurveFSError:
            return False
        level = counts[new] > 0 and led[new] > 0 and max(led.values()) - min(led.values()) <= 1
        return level and self._is_spread() and self._is_whole()

    def _alike(self):
        try:
            with Copysets([self._servers.mds.address]) as copysets:
                compared = [compare_replicas(copysets, one.group_id) for one in copysets.all()]
        except CurveFSError:
            return False
        for one in compared:
            if one.differing:
                self._report.faults.append(f"replicas differ: {one}")
        return all(not one.errors and len(one.digests) == REPLICAS for one in compared)

    def _say(self, line):
        self._report.lines.append(line)
        self._tell(line)


def run_drill(tell):
    """Run the drill on a fleet of its own; returns the report."""
    report = Report()
    with RealServers(count=METASERVERS, mds=MDS) as servers:
        try:
            Drill(servers, report, tell).run()
        except BaseException:
            tell(servers.logs())
            raise
        finally:
            for server in servers.metaservers.values():
                if server.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        server.signal(signal.SIGCONT)
    return report
