"""The metaservers of a test cluster under their numbers: who leads what, and how to hurt them.

The functions block; the asynchronous side calls them in threads. Only one thread at a time may use a Fleet.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress

from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas
from curvefs_tool.copyset.membership import transfer

from curvefs.src.client import runtime
from curvefs.src.common.errors import CurveFSError
from curvefs.test.support.cluster import wait_until

HEALTHY_S = 60.0
_ERROR = re.compile(r"\[(?:error|critical) *\] (.*?)(?= +\w+=|$)", re.MULTILINE)


class Fleet:
    """Use as a context manager. own_restarts: the cluster was brought up with --no-restart, and restart() is here."""

    def __init__(self, cluster, *, own_restarts=False):
        self._cluster = cluster
        self._own_restarts = own_restarts
        self._copysets = Copysets([cluster.mds])
        self._children = {}  # number -> Popen, of those that were started here
        self._stopped = set()
        self.commands = {number: self._command(number) for number in self.numbers}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in [*self._stopped]:
            with suppress(ProcessLookupError):
                self.go_on(number)
        self._copysets.__exit__()
        for child in self._children.values():
            child.kill()
            child.wait(10)

    # -------------------------------------------------------------------------------------------- looking

    @property
    def numbers(self):
        """Return the metaservers' numbers: that in the name of their folder is also their id, in the order of start."""
        names = self._cluster.processes()
        return sorted(int(name.rpartition("-")[2]) for name in names if name.startswith("metaserver-"))

    def groups(self):
        """Return the ids of all groups."""
        return sorted(copyset.group_id for copyset in self._copysets.all())

    def addresses(self):
        """Return number -> address."""
        return dict(self._copysets.addresses())

    def leaders(self):
        """Return group -> number of its leader, by what the leaders themselves say. Waits for elections."""
        return {group: self._copysets.leader(group, deadline_s=HEALTHY_S).metaserver_id for group in self.groups()}

    def leader(self, group_id):
        """Return the number of a group's leader."""
        return self._copysets.leader(group_id, deadline_s=HEALTHY_S).metaserver_id

    def committed(self):
        """Return group -> committed index at its leader."""
        return {
            group: self._copysets.leader(group, deadline_s=HEALTHY_S).status.committed_index for group in self.groups()
        }

    def differences(self):
        """Return group -> what is wrong with its replicas, after waiting until all of them answer."""
        found = {}
        for group in self.groups():
            end = time.monotonic() + HEALTHY_S
            while True:
                with suppress(CurveFSError):
                    comparison = compare_replicas(self._copysets, group)
                    if not comparison.errors or time.monotonic() > end:
                        break
                assert time.monotonic() < end, f"the replicas of group {group} cannot be compared"
                time.sleep(0.2)
            if comparison.differing or comparison.errors or len(comparison.digests) != len(self.numbers):
                found[group] = str(comparison)
        return found

    def logged_errors(self):
        """Return what the metaservers logged as errors, with how often."""
        logs = (self._cluster.log(f"metaserver-{number}") for number in self.numbers)
        return Counter(found[1] for log in logs for found in _ERROR.finditer(log))

    def keep_logs(self, folder):
        """Copy what the metaservers logged, for who looks at errors."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in self.numbers:
            (folder / f"metaserver-{number}.log").write_text(self._cluster.log(f"metaserver-{number}"))

    # -------------------------------------------------------------------------------------------- hurting

    def pid(self, number):
        """Return a metaserver's process."""
        child = self._children.get(number)
        return child.pid if child else self._cluster.processes()[f"metaserver-{number}"].pid

    def is_alive(self, number):
        """Say whether its process runs."""
        child = self._children.get(number)
        return child.poll() is None if child else self._cluster.processes()[f"metaserver-{number}"].running

    def exit_code(self, number):
        """Return with what a process that was started here has ended; None if it was started elsewhere, or runs."""
        child = self._children.get(number)
        return child.poll() if child else None

    def kill(self, number):
        """kill -9; returns the process's id."""
        child = self._children.pop(number, None)
        if child is None:
            return self._cluster.kill9(f"metaserver-{number}")
        child.kill()
        child.wait(10)
        return child.pid

    def stop(self, number):
        """SIGSTOP: it stands still, with its connections open."""
        self._stopped.add(number)
        os.kill(self.pid(number), signal.SIGSTOP)

    def go_on(self, number):
        """SIGCONT."""
        self._stopped.discard(number)
        os.kill(self.pid(number), signal.SIGCONT)

    def restart(self, number):
        """Start a killed metaserver again, as the supervisor had started it."""
        assert self._own_restarts
        assert number not in self._children
        with (self._cluster.data / "log" / f"metaserver-{number}.log").open("ab") as log:
            self._children[number] = subprocess.Popen(
                self.commands[number], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._cluster.env, cwd="/"
            )

    def transfer(self, group_id, number):
        """Have a group led by another one, as an operator does."""
        with suppress(CurveFSError):
            transfer(self._copysets, group_id, number)

    def wait_healthy(self):
        """Wait until every process runs and every group has a leader that reaches all its replicas."""

        def healthy():
            with suppress(CurveFSError):
                return not any(
                    isinstance(answer, CurveFSError) or answer.damaged
                    for group in self.groups()
                    for answer in self._copysets.statuses(group).values()
                ) and bool(self.leaders())
            return False

        wait_until(healthy, HEALTHY_S, "all replicas answer")

    def _command(self, number):
        pid = self._cluster.processes()[f"metaserver-{number}"].pid
        assert runtime.start_time(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            return [os.fsdecode(word) for word in words.read().split(b"\0")[:-1]]
