"""kill -9 of each process in the middle of a workload: what was acknowledged is there, and nothing is half there."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from ..support.cluster import wait_until
from ..support.workload import check, read_story

WORKERS = 4


class Workers:
    """Several workers, each in its own directory of the mount, with their logs outside of it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.logs = [cluster.root / f"worker{number}.log" for number in range(WORKERS)]
        self.said = cluster.root / "workers.err"
        self.processes = []

    def start(self):
        with self.said.open("ab") as said:
            for number, log in enumerate(self.logs):
                words = [self.cluster.mnt / f"w{number}", log, str(number)]
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "curvefs.test.support.workload", *words],
                        stdin=subprocess.PIPE,
                        stderr=said,
                    )
                )

    def operations(self):
        return [log.read_text().count("done") if log.exists() else 0 for log in self.logs]

    def wait_for_progress(self, count):
        """Wait until every worker has done so many operations more."""
        goal = [done + count for done in self.operations()]

        def reached():
            assert all(one.poll() is None for one in self.processes), self.said.read_text()
            return all(done >= wanted for done, wanted in zip(self.operations(), goal, strict=True))

        wait_until(reached, 120, f"{count} operations more by each worker")

    def stop(self):
        """Let each finish what it does; returns their exit codes."""
        for one in self.processes:
            one.stdin.close()
        codes = [one.wait(120) for one in self.processes]
        self.processes = []
        return codes

    def check(self, mountpoint):
        for number, log in enumerate(self.logs):
            check(mountpoint / f"w{number}", read_story(log))


@pytest.fixture
def workers(either_cluster):
    either_cluster.up()
    made = Workers(either_cluster)
    made.start()
    yield made
    for one in made.processes:
        one.kill()
        one.wait(10)


def check_everywhere(workers):
    """On the mount that went through it, and on a fresh one that knows nothing."""
    workers.check(workers.cluster.mnt)
    workers.check(workers.cluster.mount("fresh"))


@pytest.mark.parametrize("victim", ["metaserver-1", "mds"])
def test_a_killed_server_loses_nothing_and_the_mount_works_on(workers, victim):
    for _ in range(3):
        workers.wait_for_progress(15)
        workers.cluster.wait_restarted(victim, workers.cluster.kill9(victim))
    workers.wait_for_progress(15)
    assert workers.stop() == [0] * WORKERS, workers.said.read_text()
    check_everywhere(workers)


def test_a_killed_client_loses_nothing_that_returned(workers):
    workers.wait_for_progress(40)
    workers.cluster.wait_restarted("client", workers.cluster.kill9("client"))
    workers.stop()  # they ended with an error when their mount died
    check_everywhere(workers)


COMMITS = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("create table if not exists t (n integer primary key, text)")
for number in range(1_000_000):
    base.execute("insert into t values (?, ?)", (number, "x" * (number % 3000)))
    print(number, flush=True)
"""


def test_a_database_keeps_every_commit_that_returned_when_the_client_is_killed(either_cluster):
    cluster = either_cluster
    cluster.up()
    written = cluster.root / "committed"
    with written.open("wb") as file:
        writer = subprocess.Popen(
            [sys.executable, "-c", COMMITS, cluster.mnt / "base"], stdout=file, stderr=subprocess.DEVNULL
        )
    wait_until(lambda: written.read_text().count("\n") > 60, 60, "60 commits")
    cluster.wait_restarted("client", cluster.kill9("client"))
    assert writer.wait(60) != 0
    last = int(written.read_text().rsplit("\n", 2)[-2])
    base = sqlite3.connect(cluster.mnt / "base")
    assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
    found = [number for (number,) in base.execute("select n from t order by n")]
    assert found[: last + 1] == list(range(last + 1))
    assert len(found) <= last + 2  # one commit may have happened without having returned
    base.close()


SYNCHRONOUS = """
import os, signal, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | getattr(os, sys.argv[2]), 0o644)
for number in range(40):
    os.pwrite(file, b"%04d" % number * 1000, 3_000 * number)
    print(number, flush=True)
signal.pause()
"""


def test_what_was_written_synchronously_survives_the_client_though_nobody_closed_it(cluster):
    cluster.up()
    for flag in ("O_SYNC", "O_DSYNC"):
        command = [sys.executable, "-c", SYNCHRONOUS, cluster.mnt / flag, flag]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert [int(writer.stdout.readline()) for _ in range(40)] == list(range(40))
            cluster.wait_restarted("client", cluster.kill9("client"))
            writer.kill()
        wanted = b"".join(b"%04d" % number * 750 for number in range(39)) + b"0039" * 1000
        assert (cluster.mnt / flag).read_bytes() == wanted


def test_the_death_of_everything_at_once_loses_nothing_that_returned(workers):
    workers.wait_for_progress(40)
    workers.cluster.kill_everything()
    workers.stop()
    workers.cluster.up()
    check_everywhere(workers)


def test_a_process_that_dies_again_and_again_is_started_again(cluster):
    cluster.up()
    for _ in range(2):
        cluster.wait_restarted("metaserver-1", cluster.kill9("metaserver-1"))
    wait_until(lambda: cluster.status()["healthy"], 60, "the cluster is healthy again")
    (cluster.mnt / "a").write_text("x")


def test_without_restart_a_dead_server_stays_dead_and_status_says_so(cluster):
    cluster.up("--no-restart")
    cluster.kill9("metaserver-1")
    wait_until(lambda: not cluster.status()["healthy"], 90, "status tells of the dead metaserver")
    cluster.kill_everything()


def test_a_stopped_server_delays_operations_and_loses_none(cluster):
    """A process that stands still and goes on: its lease has passed, its clients have waited."""
    cluster.up()
    (cluster.mnt / "before").write_text("x")
    pid = cluster.processes()["metaserver-1"].pid
    os.kill(pid, signal.SIGSTOP)
    writer = subprocess.Popen(["sh", "-c", f"mkdir {cluster.mnt}/d && echo y > {cluster.mnt}/d/f"])
    with pytest.raises(subprocess.TimeoutExpired):
        writer.wait(2)
    os.kill(pid, signal.SIGCONT)
    assert writer.wait(60) == 0
    assert (cluster.mnt / "d" / "f").read_text() == "y\n"
