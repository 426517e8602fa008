"""Leaders killed under a metadata load: nothing acknowledged is lost, nothing happens twice, and how long it pauses.

Four processes work on one mount, two on another of the same filesystem, while the leader of the busiest group is killed
with kill -9 again and again and started by the supervisor. Afterwards a fresh mount is compared with the journals, the
replicas of each group with one another, and at last everything is removed: a directory that counted a name twice would
not go, and the filesystem's count of inodes has to come back to what it was.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from curvefs.test.chaos import load
from curvefs.test.chaos.fleet import Fleet
from curvefs.test.support.cluster import wait_until

ON_FIRST, ON_SECOND = 4, 2
BETWEEN = 25  # operations of each process between two kills
PROGRESS_S = 120.0
COUNTED_S = 15.0
AFTER_KILL_S = 10.0  # a pause that begins so much later has another reason


@dataclass
class Report:
    """What came out. faults: everything that must not be."""

    operations: int = 0
    pauses: list = field(default_factory=list)  # the longest after each kill
    longest: float = 0.0  # of all, whenever
    typical: float = 0.0  # the median of all operations
    faults: list = field(default_factory=list)

    def __str__(self):
        lines = [
            f"{self.operations} operations acknowledged, {len(self.pauses)} leaders killed",
            "longest pause after each kill (s): " + " ".join(f"{pause:.2f}" for pause in self.pauses),
            f"longest pause of all {self.longest:.2f} s, median after a kill {statistics.median(self.pauses):.2f} s",
            f"median of all operations {1000 * self.typical:.1f} ms",
            f"faults: {len(self.faults)}",
        ]
        return "\n".join([*lines, *self.faults])


class Load:
    """The processes of the load."""

    def __init__(self, cluster, mounts):
        self._said = cluster.root / "load.err"
        self.journals = []
        self._processes = []
        with self._said.open("ab") as said:
            for number, mount in enumerate(mounts):
                journal = cluster.root / f"load-{number}.journal"
                words = [sys.executable, "-m", "curvefs.test.chaos.load", mount, journal, str(number)]
                self._processes.append(subprocess.Popen(words, stdin=subprocess.PIPE, stderr=said))
                self.journals.append(journal)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._processes:
            one.kill()
            one.wait(10)
            one.stdin.close()

    def wait_for_progress(self, count):
        """Wait until every process has done so many operations more."""
        goal = [done + count for done in self._done()]

        def reached():
            assert all(one.poll() is None for one in self._processes), self._said.read_text()
            return all(done >= wanted for done, wanted in zip(self._done(), goal, strict=True))

        wait_until(reached, PROGRESS_S, f"{count} operations more of each process")

    def stop(self):
        """Let each finish what it does; returns their journals as read."""
        for one in self._processes:
            one.stdin.close()
        codes = [one.wait(PROGRESS_S) for one in self._processes]
        assert not any(codes), self._said.read_text()
        return [load.read_journal(path, number) for number, path in enumerate(self.journals)]

    def _done(self):
        return [path.read_text().count('"took"') if path.exists() else 0 for path in self.journals]


def run(cluster, kills, tell=lambda _: None):
    """Do it on a fresh cluster."""
    cluster.up("--metaservers", "3")
    second = cluster.mount("second")
    inodes = _inodes(cluster.mnt)
    mounts = [cluster.mnt] * ON_FIRST + [second] * ON_SECOND
    report, killed = Report(), []
    with Fleet(cluster) as fleet:
        with Load(cluster, mounts) as processes:
            processes.wait_for_progress(BETWEEN)
            for number in range(kills):
                killed.append(_kill_leader(cluster, fleet, processes))
                tell(f"{number + 1} leaders killed")
            journals = processes.stop()
        fleet.wait_healthy()
        _measure(report, journals, killed)
        report.faults += [f"error: {error}" for journal in journals for error in journal.errors]
        fresh = cluster.mount("fresh")
        report.faults += load.differences(load.look(fresh), journals)
        report.faults += [f"group {group}: {what}" for group, what in fleet.differences().items()]
        report.faults += _remove_all(fresh, inodes)
        report.faults += [f"group {group}: {what}" for group, what in fleet.differences().items()]
        report.faults += [f"{count} x logged: {error}" for error, count in fleet.logged_errors().items()]
    return report


def _kill_leader(cluster, fleet, processes):
    """kill -9 of who leads the group in which most happens; returns when, once all is well again."""
    before = fleet.committed()
    processes.wait_for_progress(BETWEEN)
    grown = {group: index - before[group] for group, index in fleet.committed().items()}
    leader = fleet.leader(max(grown, key=grown.get))
    at = time.monotonic()
    pid = fleet.kill(leader)
    processes.wait_for_progress(1)
    cluster.wait_restarted(f"metaserver-{leader}", pid)
    fleet.wait_healthy()
    return at


def _measure(report, journals, killed):
    pauses = [pause for journal in journals for pause in journal.pauses]
    report.operations = sum(journal.done for journal in journals)
    report.longest = max(took for _, took in pauses)
    report.typical = statistics.median(took for _, took in pauses)
    report.pauses = [
        max(took for began, took in pauses if began + took >= at and began <= at + AFTER_KILL_S) for at in killed
    ]


def _remove_all(mount, inodes):
    """Remove everything; return what is wrong with that."""
    for name in os.listdir(mount):
        try:
            shutil.rmtree(mount / name)
        except OSError as error:
            return [f"it cannot be removed: {error}"]
    try:
        wait_until(lambda: _inodes(mount) == inodes, COUNTED_S, "the count of inodes")
    except AssertionError:
        return [f"{_inodes(mount)} inodes counted of an empty filesystem, {inodes} before"]
    return []


def _inodes(mount):
    """Return how many inodes the filesystem counts."""
    counted = os.statvfs(mount)
    return counted.f_files - counted.f_ffree
