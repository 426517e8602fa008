"""Quotas under a random load from two mounts, while limits change and leaders are killed: nothing drifts.

Four processes create, write, cut, link, rename (over files, and between quotas) and remove, and take every answer that
a full quota may give. Meanwhile an operator sets, changes and removes quotas, and leaders die by kill -9. At the end
the counters equal a full count of the state, and the filesystem's what a fresh mount finds by looking at everything.

As a program: ``python -m curvefs.test.chaos.quotas ROOT COUNT SEED`` does so many operations and says how they ended.
"""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from curvefs.src.client import mountpoints, runtime
from curvefs.test.chaos.fleet import Fleet
from curvefs.test.support.cluster import wait_until

ON_EACH = 2
TOPS = ["q0", "q1", "q1/inner", "q2", "free"]
LIMITED = ["", *TOPS[:4]]
SIZES = [0, 1, 1000, 5000, 70_000, 300_000]
NAMES = 40
TRIES = 8
MOUNT_KILLED_EVERY = 2  # leaders
PATIENCE_S = 300.0
REMOUNTED_S = 60.0
AWAY_S = 0.1
SECOND = "second"  # the mount that is killed, too
SETTLED_S = 150.0  # a killed mount's session lasts a minute
# What operations on names that others change, under quotas, may say.
ANSWERS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EDQUOT,
    errno.ENOSPC,
    errno.EXDEV,
    errno.EINVAL,
    errno.ESTALE,
}
# What it says when its mount was killed in the middle.
ENDED = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EBADF}


@dataclass
class Report:
    """What came out. faults: everything that must not be."""

    operations: int = 0
    answers: Counter = field(default_factory=Counter)
    changes: int = 0
    kills: int = 0
    mount_kills: int = 0
    counters: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def __str__(self):
        said = ", ".join(f"{count} {name}" for name, count in sorted(self.answers.items()))
        killed = f"{self.kills} leaders and {self.mount_kills} mounts killed"
        lines = [
            f"{self.operations} operations ({said}), {self.changes} quota changes, {killed}",
            *self.counters,
            f"faults: {len(self.faults)}",
        ]
        return "\n".join([*lines, *self.faults])


# -------------------------------------------------------------------------------------------------- a worker


def work(root, count, seed):
    """Do so many operations; returns how they ended."""
    rng = random.Random(seed)
    answers = Counter()
    while answers.total() < count:
        wait_until(lambda: _is_mounted(root), REMOUNTED_S, "the mount")
        [kind] = rng.choices(list(KINDS), list(KINDS.values()))
        try:
            kind(root, rng)
        except OSError as error:
            if root.name == SECOND and error.errno in ENDED:
                time.sleep(AWAY_S)  # the kernel may still answer for what is no more
                continue
            answers[errno.errorcode.get(error.errno, str(error.errno))] += 1
            if error.errno not in ANSWERS:
                answers[f"wrong: {kind.__name__}: {error}"] += 1
        else:
            answers["done"] += 1
    return answers


def _is_mounted(root):
    with suppress(OSError):
        return (root / TOPS[0]).is_dir()
    return False


def _place(root, rng):
    """Return a path that may have a file."""
    directory = root / rng.choice(TOPS)
    if rng.random() < 0.3:
        directory /= f"d{rng.randrange(3)}"
    return directory / f"f{rng.randrange(NAMES)}"


def _file(root, rng):
    """Return a path that had a file a moment ago, if one is found soon."""
    for _ in range(TRIES):
        path = _place(root, rng)
        if path.is_file():
            break
    return path


def _write(root, rng):
    flags = os.O_WRONLY | os.O_CREAT | rng.choice([0, os.O_TRUNC, os.O_APPEND])
    path = _place(root, rng)
    if path.parent.name not in TOPS and rng.random() < 0.8:
        with suppress(FileExistsError):
            path.parent.mkdir()
    descriptor = os.open(path, flags, 0o644)
    try:
        os.write(descriptor, bytes(rng.choice(SIZES)))
        if rng.random() < 0.3:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _truncate(root, rng):
    os.truncate(_file(root, rng), rng.choice(SIZES))


def _unlink(root, rng):
    _file(root, rng).unlink()


def _unlink_open(root, rng):
    path = _file(root, rng)
    with path.open("r+b") as file:
        path.unlink()
        file.write(bytes(rng.choice(SIZES)))


def _link(root, rng):
    os.link(_file(root, rng), _place(root, rng))


def _rename(root, rng):
    _file(root, rng).rename(_place(root, rng))


def _mkdir(root, rng):
    (root / rng.choice(TOPS) / f"d{rng.randrange(3)}").mkdir()


def _rmdir(root, rng):
    (root / rng.choice(TOPS) / f"d{rng.randrange(3)}").rmdir()


def _move(root, rng):
    one, other = (root / rng.choice(TOPS) / f"d{rng.randrange(3)}" for _ in range(2))
    one.rename(other)


def _rename_over(root, rng):
    _file(root, rng).rename(_file(root, rng))


KINDS = {
    _write: 6,
    _truncate: 2,
    _unlink: 2,
    _unlink_open: 1,
    _link: 2,
    _rename: 2,
    _rename_over: 1,
    _mkdir: 1,
    _rmdir: 1,
    _move: 1,
}


# -------------------------------------------------------------------------------------------- the whole of it


class Workers:
    """The processes of the load."""

    def __init__(self, cluster, mounts, count, seed):
        self._said = cluster.root / "load.err"
        self._processes = []
        with self._said.open("ab") as said:
            for number, mount in enumerate(mounts):
                words = [mount, count // len(mounts), seed * 100 + number]
                command = [sys.executable, "-m", "curvefs.test.chaos.quotas", *map(str, words)]
                self._processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._processes:
            one.kill()
            one.wait(10)
            one.stdout.close()

    @property
    def working(self):
        """Say whether anybody still works."""
        return any(one.poll() is None for one in self._processes)

    def ended(self):
        """Return how all operations ended."""
        answers = Counter()
        for one in self._processes:
            said, _ = one.communicate(timeout=PATIENCE_S)
            assert not one.returncode, self._said.read_text()
            answers.update(json.loads(said))
        return answers


def run(cluster, operations, kills, seed, tell=lambda _: None):
    """Do it on a fresh cluster: about so many kills, spread over the operations."""
    cluster.up("--metaservers", "3")
    second = cluster.mount(SECOND)
    for top in TOPS:
        (cluster.mnt / top).mkdir()
    rng, report = random.Random(seed), Report(operations=operations)
    for path in LIMITED:
        _set(cluster, rng, path)
    with Fleet(cluster) as fleet:
        with Workers(cluster, [cluster.mnt, second] * ON_EACH, operations, seed) as workers:
            while workers.working:
                report.changes += _change(cluster, rng)
                if report.kills < kills:
                    _kill_leader(cluster, fleet, rng)
                    report.kills += 1
                    tell(f"{report.kills} leaders killed")
                    if not report.kills % MOUNT_KILLED_EVERY:
                        _kill_mount(cluster, second)
                        report.mount_kills += 1
            report.answers = workers.ended()
        fleet.wait_healthy()
        report.faults += [f"{count} x {said}" for said, count in report.answers.items() if said.startswith("wrong")]
        cluster.umount(second)
        wait_until(lambda: _settled(cluster), SETTLED_S, "the quotas' work")
        _check(cluster, report)
        report.faults += [f"group {group}: {what}" for group, what in fleet.differences().items()]
        report.faults += [f"{count} x logged: {error}" for error, count in fleet.logged_errors().items()]
    return report


def _quota(cluster, *words, check=True):
    return cluster.tool("quota", *words, "--data", cluster.data, check=check)


def _set(cluster, rng, path):
    limits = ["--capacity", str(rng.choice([100_000, 1_000_000, 4_000_000]) * (10 if not path else 1))]
    if rng.random() < 0.6:
        limits += ["--inodes", str(rng.choice([20, 60, 200]) * (10 if not path else 1))]
    _quota(cluster, "set", cluster.mnt / path, *limits, "--no-wait", check=False)


def _change(cluster, rng):
    """Set, change or remove a quota; a group may have no leader just now."""
    path = rng.choice(LIMITED)
    if rng.random() < 0.3:
        _quota(cluster, "delete", cluster.mnt / path, "--no-wait", check=False)
    else:
        _set(cluster, rng, path)
    return 1


def _kill_leader(cluster, fleet, rng):
    leader = fleet.leader(rng.choice(fleet.groups()))
    pid = fleet.kill(leader)
    cluster.wait_restarted(f"metaserver-{leader}", pid)
    fleet.wait_healthy()


def _kill_mount(cluster, mount):
    """kill -9 of a client, with what it has written and reserved; its session ends with its lease."""
    pid = cluster.client_pid(mount)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: runtime.client_of(str(mount)) is None, REMOUNTED_S, "the client's end")
    mountpoints.lazy_unmount(str(mount))
    cluster.mount(mount.name)


def _settled(cluster):
    said = _quota(cluster, "list", cluster.fs, "--json", check=False)
    return not said.returncode and all(one["state"] == "active" for one in json.loads(said.stdout))


def _check(cluster, report):
    """Compare the counters with a full count, and the filesystem's with what is seen."""
    fresh = cluster.mount("fresh")
    wait_until(lambda: not _reserved(cluster), SETTLED_S, "what sessions reserved comes back")
    with suppress(AssertionError):  # what a killed mount held open goes when its session ends
        wait_until(lambda: _stored(cluster) == _seen(fresh), SETTLED_S, "that nothing is held")
    said = _quota(cluster, "check", cluster.fs, "--json", check=False)
    if said.returncode not in (0, 1):
        report.faults.append(f"the check itself failed: {said.stderr}")
        return
    found = json.loads(said.stdout)
    report.counters = [f"{one['path'] or one['quota_id']}: {one['stored']}" for one in found["quotas"]]
    report.faults += [f"a counter drifted: {one}" for one in found["quotas"] if one["counted"] != one["stored"]]
    if found["wrong_charges"]:
        report.faults.append(f"{found['wrong_charges']} inodes are charged to other quotas than their directory's")
    stored = _stored(cluster)
    seen = _seen(fresh)
    if stored != seen:
        report.faults.append(f"the filesystem counts {stored}, a mount sees {seen}")


def _reserved(cluster):
    return sum(one["reserved_bytes"] for one in json.loads(_quota(cluster, "list", cluster.fs, "--json").stdout))


def _stored(cluster):
    """Return what the filesystem counts."""
    found = json.loads(_quota(cluster, "check", cluster.fs, "--json", check=False).stdout)
    return next(one["stored"] for one in found["quotas"] if one["path"] == "/")


def _seen(root):
    """Count inodes and bytes by looking."""
    inodes = {}
    for folder, directories, files in os.walk(root):
        for name in [".", *directories, *files]:
            with suppress(FileNotFoundError):
                one = os.lstat(Path(folder) / name)
                inodes[one.st_ino] = one.st_size if stat.S_ISREG(one.st_mode) else 0
    return {"bytes": sum(inodes.values()), "inodes": len(inodes)}


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
