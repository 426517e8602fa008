"""What `up` keeps in its data folder.

format          version of the folder
lock            held by the supervisor
cluster.json    the settings, kept for good: filesystem, object store, servers, ports
run/state.json  which processes run now: pid and start time, so that a pid is never taken for another
run/control     socket of the supervisor
etc/ log/       what the servers are told, and what they say
mds/ metaserver-N/ objects/   the data
"""

import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curvefs.src.client.runtime import is_running
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

FORMAT = 1


@dataclass(slots=True)
class Settings:
    """The settings of a cluster on one machine."""

    fs: str
    object_store: str
    metaservers: int
    ports: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class ProcessRecord:
    """One process; ``started`` in clock ticks since boot."""

    pid: int
    started: int
    detail: str = ""

    @property
    def running(self) -> bool:
        """True while exactly this process lives."""
        return is_running(self.pid, self.started)


@dataclass(slots=True)
class ClusterState:
    """run/state.json."""

    data: Path
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, data: Path) -> "ClusterState":
        """Read it; empty when nothing was ever started."""
        try:
            said = json.loads((data / "run" / "state.json").read_text())
        except (FileNotFoundError, ValueError):
            said = {}
        return cls(data, {name: ProcessRecord(**one) for name, one in said.items()})

    def save(self) -> None:
        """Write it, atomically."""
        write_json(self.data / "run" / "state.json", {name: asdict(one) for name, one in self.processes.items()})


def prepare(data: Path) -> None:
    """Make the data folder if it is missing, and check that this version may use it. Raises StartupError."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = data / "format"
        if not marker.exists():
            if any(data.iterdir()):
                raise StartupError(f"{data} is not empty and no data folder of a cluster", ExitCode.DATA_FOLDER)
            marker.write_text(f"{FORMAT}\n")
        found = marker.read_text().strip()
        for folder in ("run", "etc", "log"):
            (data / folder).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartupError(f"cannot use {data}: {error.strerror}", ExitCode.DATA_FOLDER) from error
    if not found.isdigit() or int(found) > FORMAT:
        raise StartupError(
            f"{data} is of version {found[:20]}; this version knows up to {FORMAT}", ExitCode.DATA_FOLDER
        )


def lock(data: Path) -> int:
    """Take the data folder for this process. Raises StartupError (DATA_FOLDER) when it is in use."""
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StartupError(f"{data} is already in use by a running cluster", ExitCode.DATA_FOLDER) from error
    return descriptor


def settle(data: Path, fs: str | None, object_store: str | None, metaservers: int | None) -> Settings:
    """Return the cluster's settings: those kept, which what is asked for must agree with; new ones the first time.

    Raises StartupError (DATA_FOLDER) naming the one that differs.
    """
    try:
        kept = load_settings(data)
    except FileNotFoundError:
        settings = Settings(fs or "demo", object_store or f"file://{data.resolve() / 'objects'}", metaservers or 1)
        names = ["mds", *(f"metaserver-{n}" for n in range(1, settings.metaservers + 1))]
        settings.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        write_json(data / "cluster.json", {"format": FORMAT} | asdict(settings))
        return settings
    for name, asked in (("fs", fs), ("object_store", object_store), ("metaservers", metaservers)):
        if asked is not None and asked != getattr(kept, name):
            flag = "--" + name.replace("_", "-")
            raise StartupError(
                f"{data} was made with {flag} {getattr(kept, name)}; it cannot be run with {flag} {asked}",
                ExitCode.DATA_FOLDER,
            )
    return kept


def load_settings(data: Path) -> Settings:
    """Read cluster.json. Raises FileNotFoundError, StartupError (DATA_FOLDER)."""
    text = (data / "cluster.json").read_text()
    try:
        said: dict[str, Any] = json.loads(text)
        said.pop("format")
        return Settings(**said)
    except (ValueError, KeyError, TypeError) as error:
        raise StartupError(f"{data / 'cluster.json'} is damaged", ExitCode.DATA_FOLDER) from error


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically; readable by the owner only."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
