"""A real cluster for tests: what `curvefs-tool up` starts, with helpers to hurt it. Cleans up whatever happens.

Everything lies in one temporary folder of its own: the data folder `data`, the mountpoint `mnt` and more mountpoints.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from curvefs_tool.state import ClusterState

from curvefs.src.client import mountpoints, runtime

from . import guard

TOOL = [sys.executable, "-m", "curvefs_tool.main"]
CLIENT = [sys.executable, "-m", "curvefs.src.client.main"]


def run(*words, check=True, timeout=120, env=None, cwd=None):
    """Run a program; its output is in the error when it fails."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=timeout, check=False, env=env, cwd=cwd
    )
    if check and done.returncode:
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def wait_until(condition, timeout=30.0, what="the condition"):
    """Wait for something that another process does; polls, because there is no event to wait for."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {timeout:.0f} s")


class Cluster:
    """One data folder and its mounts. Use as a context manager; close() may be called at any time."""

    def __init__(self, object_store=None, env=None, fs="demo", trash_retention="0"):
        """trash_retention: what is removed is gone at once, unless a test is about the trash."""
        self.root = Path(tempfile.mkdtemp(prefix="curvefs-test-"))
        self.data, self.mnt = self.root / "data", self.root / "mnt"
        self.mnt.mkdir()
        self.fs = fs
        self.object_store = object_store
        self.trash_retention = trash_retention
        self.env = dict(os.environ) | dict(env or {})
        self.more_mounts = []
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "curvefs.test.support.guard"],
            stdin=subprocess.PIPE,
            env=os.environ | {"CURVEFS_TEST_ROOT": str(self.root)},
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------------------------------------ commands

    def tool(self, *words, check=True, timeout=120):
        """Run curvefs-tool; {data} and {mnt} are spelled out by the caller."""
        return run(*TOOL, *words, check=check, env=self.env, timeout=timeout)

    def up(self, *flags, mount=True, check=True):
        words = ["up", self.data, *([self.mnt] if mount else []), "--fs", self.fs, "--detach", *flags]
        words += ["--trash-retention", self.trash_retention]
        if self.object_store:
            words += ["--object-store", self.object_store]
        return self.tool(*words, check=check)

    def down(self, *flags, check=True):
        return self.tool("down", self.data, *flags, check=check, timeout=300)

    @property
    def mds(self):
        ports = json.loads((self.data / "cluster.json").read_text())["ports"]
        return f"127.0.0.1:{ports['mds']}"

    def status(self):
        return json.loads(self.tool("status", "--data", self.data, "--json", check=False).stdout)

    # -------------------------------------------------------------------------------------------- mounts

    def try_mount(self, place, options="", fs=None):
        """Run `curvefs`; returns what it said and its exit code."""
        more = f",{options}" if options else ""
        log = self.data / "log" / f"{place.name}.log"
        words = [*CLIENT, fs or self.fs, place, "-o", f"mds={self.mds},log={log}{more}"]
        done = run(*words, env=self.env, check=False)
        if done.returncode == 0:
            self.more_mounts.append(place)
        return done

    def mount(self, name="mnt2", options=""):
        """Mount once more; returns the folder."""
        place = self.root / name
        place.mkdir(exist_ok=True)
        done = self.try_mount(place, options)
        assert done.returncode == 0, done.stderr
        return place

    def umount(self, place):
        """Unmount; returns when the client has stored everything and ended."""
        who = runtime.client_of(str(place))
        mountpoints.unmount(str(place))
        if who:
            assert runtime.wait_gone(*who, timeout_s=120)
        if place in self.more_mounts:
            self.more_mounts.remove(place)

    def client_pid(self, place=None):
        """The process that serves a mountpoint."""
        found = runtime.client_of(str(place or self.mnt))
        assert found is not None
        return found[0]

    # ----------------------------------------------------------------------------------------- processes

    def processes(self):
        return ClusterState.load(self.data).processes

    def kill9(self, name):
        """kill -9 of one process by its name in the state file: mds, metaserver-1, client, supervisor."""
        record = self.processes()[name]
        assert record.running
        os.kill(record.pid, signal.SIGKILL)
        assert runtime.wait_gone(record.pid, record.started, 10)
        return record.pid

    def wait_restarted(self, name, old_pid, timeout=60):
        """Wait until the supervisor has started a process again, and it is ready."""

        def again():
            record = self.processes().get(name)
            return record is not None and record.pid != old_pid and record.running

        wait_until(again, timeout, f"{name} was restarted")

    def kill_everything(self):
        """kill -9 of every process, supervisor first so that it does not restart the others."""
        records = self.processes()
        for name in sorted(records, key=lambda name: name != "supervisor"):
            if records[name].running:
                os.kill(records[name].pid, signal.SIGKILL)
                runtime.wait_gone(records[name].pid, records[name].started, 10)
        for place in [self.mnt, *self.more_mounts]:
            mountpoints.lazy_unmount(str(place))

    # ---------------------------------------------------------------------------------------------- logs

    def log(self, name):
        """The log of a process so far: mds, metaserver-1, client, or the name of another mountpoint."""
        path = self.data / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self, lines=40):
        """The ends of all logs, for a failed test's report."""
        found = sorted((self.data / "log").glob("*.log"))
        return "\n".join(f"--- {one.stem}\n" + "\n".join(self.log(one.stem).splitlines()[-lines:]) for one in found)

    # --------------------------------------------------------------------------------------------- close

    def close(self):
        """Leave no process, no mount, no file; politely first."""
        if self.data.exists():
            for place in [*self.more_mounts]:
                with contextlib.suppress(Exception):
                    self.umount(place)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.tool("down", self.data, check=False, timeout=30)
        guard.clean(self.root)
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait(30)
        assert not self.root.exists()
        assert not guard.processes_of(self.root)
