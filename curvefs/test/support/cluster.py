"""A real cluster for tests: what `curvefs-tool up` starts, with helpers to hurt it. Cleans up whatever happens."""

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
    """One data folder and its mounts, in a short temporary folder of its own."""

    def __init__(self, object_store=None, env=None, fs="demo"):
        self.root = Path(tempfile.mkdtemp(prefix="cfs-"))
        self.data = self.root / "data"
        self.mnt = self.root / "mnt"
        self.mnt.mkdir()
        self.fs = fs
        self.object_store = object_store
        self.env = dict(os.environ) | (env or {})
        self.more_mounts = []

    def up(self, *flags, mount=True):
        words = [*TOOL, "up", self.data, *([self.mnt] if mount else []), "--fs", self.fs, "--detach", *flags]
        if self.object_store:
            words += ["--object-store", self.object_store]
        return run(*words, env=self.env)

    def down(self, *flags, check=True):
        return run(*TOOL, "down", self.data, *flags, check=check, env=self.env, timeout=300)

    @property
    def mds(self):
        ports = json.loads((self.data / "cluster.json").read_text())["ports"]
        return f"127.0.0.1:{ports['mds']}"

    def mount(self, name="mnt2", options="", check=True):
        place = self.root / name
        place.mkdir(exist_ok=True)
        more = f",{options}" if options else ""
        log = self.data / "log" / f"{name}.log"
        done = run(*CLIENT, self.fs, place, "-o", f"mds={self.mds},log={log}{more}", env=self.env, check=check)
        if done.returncode == 0:
            self.more_mounts.append(place)
        return place if check else done

    def umount(self, place):
        who = runtime.client_of(str(place))
        mountpoints.unmount(str(place))
        if who:
            assert runtime.wait_gone(*who, timeout_s=120)

    def processes(self):
        return ClusterState.load(self.data).processes

    def kill9(self, name):
        record = self.processes()[name]
        assert record.running
        os.kill(record.pid, signal.SIGKILL)
        assert runtime.wait_gone(record.pid, record.started, 10)
        return record.pid

    def wait_restarted(self, name, old_pid, timeout=60):
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

    def status(self):
        done = run(*TOOL, "status", "--data", self.data, "--json", check=False, env=self.env)
        return json.loads(done.stdout)

    def log(self, name):
        path = self.data / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        """Leave no process, no mount, no file."""
        for place in self.more_mounts:
            who = runtime.client_of(str(place))
            mountpoints.lazy_unmount(str(place))
            if who:
                os.kill(who[0], signal.SIGTERM)
                if not runtime.wait_gone(*who, timeout_s=10):
                    os.kill(who[0], signal.SIGKILL)
        try:
            self.down("--force", check=False)
        except subprocess.TimeoutExpired:
            pass
        self.kill_everything()
        run("rm", "-rf", self.root, check=False)
