"""What `up` keeps in its data folder.

format          version of the folder
lock            held by the supervisor
cluster.json    the settings, kept for good; see settings.py
run/state.json  which processes run now: pid, start time and boot, so that a pid is never taken for another
run/control     socket of the supervisor
etc/ log/       what the servers are told, and what they say
mds/ mds-N/ etcd-N/ metaserver-N/ objects/   the data
"""

import fcntl
import json
import os
import random
import shutil
import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curvefs.src.client.runtime import is_running
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.machine import boot_id, sync_folder

FORMAT = 1
_FOLDERS = ("run", "etc", "log")
_OF_A_NEW_DISK = "lost+found"
_HARMLESS = {_OF_A_NEW_DISK, "lock", "format.new"}  # there, or left by a first start that was cut off
PORT_MIN, PORT_MAX = 20000, 65535
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(slots=True)
class ProcessRecord:
    """One process; ``started`` in clock ticks since boot. detail: the mountpoint of a client."""

    pid: int
    started: int
    detail: str = ""

    @property
    def running(self) -> bool:
        """True while exactly this process lives."""
        return is_running(self.pid, self.started)


@dataclass(slots=True)
class ClusterState:
    """run/state.json. processes: those that were ready; starting: those that are not yet."""

    data: Path
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    starting: dict[str, ProcessRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, data: Path) -> "ClusterState":
        """Read it; empty when nothing was ever started, or not since the machine was."""
        try:
            said = json.loads((data / "run" / "state.json").read_text())
            if said.get("boot_id", boot_id()) != boot_id():
                return cls(data)
            parts = [{name: ProcessRecord(**one) for name, one in said[part].items()} for part in _STATE_PARTS]
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            return cls(data)
        return cls(data, *parts)

    def save(self) -> None:
        """Write it, atomically. Raises OSError."""
        said = {part: {name: asdict(one) for name, one in getattr(self, part).items()} for part in _STATE_PARTS}
        write_json(self.data / "run" / "state.json", {"boot_id": boot_id()} | said)

    @property
    def any_running(self) -> bool:
        """True while any of the processes lives."""
        return any(one.running for one in [*self.processes.values(), *self.starting.values()])


_STATE_PARTS = ("processes", "starting")


def prepare(data: Path) -> None:
    """Make the data folder if it is missing, and check that this version may use it. Raises StartupError."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = data / "format"
        if not marker.exists():
            if {one.name for one in data.iterdir()} - _HARMLESS:
                raise StartupError(f"{data} is not empty and no data folder of a cluster", ExitCode.DATA_FOLDER)
            write_json(marker, FORMAT)
        if (data / "id").exists():
            raise StartupError(f"{data} is the data folder of a server, not of a cluster", ExitCode.DATA_FOLDER)
        found = marker.read_text(errors="replace").strip()
    except FileExistsError as error:
        raise StartupError(f"{data} is no folder", ExitCode.DATA_FOLDER) from error
    except OSError as error:
        raise StartupError(f"cannot use {data}: {error.strerror}", ExitCode.DATA_FOLDER) from error
    if not found.isdigit() or int(found) > FORMAT:
        raise StartupError(
            f"{data} is of version {found[:20]}; this version knows up to {FORMAT}", ExitCode.DATA_FOLDER
        )
    try:
        for folder in _FOLDERS:
            (data / folder).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartupError(f"cannot use {data / folder}: {error.strerror}", ExitCode.DATA_FOLDER) from error


def lock(data: Path) -> int:
    """Take the data folder for this process. Raises StartupError (DATA_FOLDER) when it is in use."""
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StartupError(
            f"{data} is already in use by a running cluster; curvefs-tool down {data} stops it", ExitCode.DATA_FOLDER
        ) from error
    return descriptor


def is_new(data: Path) -> bool:
    """True while there are no settings in a data folder that is prepared, and no data."""
    return {one.name for one in data.iterdir()} <= {"format", "cluster.json.new", *_HARMLESS, *_FOLDERS}


def discard(data: Path, *, folder_too: bool = False, keep: Collection[str] = ()) -> None:
    """Remove what a first start that failed has made: nothing was ever stored."""
    for one in data.iterdir():
        if one.name in keep or one.name == _OF_A_NEW_DISK:
            continue
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)
    if folder_too:
        data.rmdir()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically and durably; readable by the owner only. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    sync_folder(path.parent)


def free_ports(count: int, chooser: random.Random, taken: Collection[int] = ()) -> list[int]:
    """Return ports that nobody listens on now, none of those that the kernel gives to outgoing connections.

    taken: ports of others that may not run now.

    They are kept for good: a port of that range could be in use by any connection at the next start.
    """
    low, high = map(int, _PORT_RANGE.read_text().split())
    candidates = [port for port in range(PORT_MIN, PORT_MAX) if not low <= port <= high] or range(PORT_MIN, PORT_MAX)
    candidates = [port for port in candidates if port not in taken]
    chosen: list[int] = []
    for port in chooser.sample(candidates, min(len(candidates), 100 * count)):
        if len(chosen) == count:
            break
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        chosen.append(port)
    if len(chosen) < count:
        raise StartupError("no free ports were found", ExitCode.ADDRESS_IN_USE)
    return chosen
