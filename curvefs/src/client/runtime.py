"""Which process serves which mountpoint, written down in /run/curvefs for who unmounts. Loads nothing heavy."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

FOLDER = Path("/run/curvefs")


def start_time(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None when there is no such process.

    Together with the pid it names a process for good. A zombie counts as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """True while exactly this process lives."""
    return pid > 0 and start_time(pid) == started


def record(mountpoint: str) -> None:
    """Write down that this process serves a mountpoint."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    path = _path(mountpoint)
    beside = path.with_suffix(f".{os.getpid()}")
    said = {"mountpoint": _absolute(mountpoint), "pid": os.getpid(), "started": start_time(os.getpid())}
    beside.write_text(json.dumps(said))
    beside.rename(path)


def forget(mountpoint: str) -> None:
    """Take that back."""
    with contextlib.suppress(FileNotFoundError):
        if _read(mountpoint).get("pid") == os.getpid():
            _path(mountpoint).unlink()


def client_of(mountpoint: str) -> tuple[int, int] | None:
    """Return (pid, start time) of the process that serves a mountpoint, if it lives."""
    said = _read(mountpoint)
    if said and is_running(said["pid"], said["started"]):
        return said["pid"], said["started"]
    return None


def wait_gone(pid: int, started: int, timeout_s: float | None = None) -> bool:
    """Wait until a process has ended; False after the timeout (None: for ever). Not its parent, so it has to look."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while is_running(pid, started):
        if end is not None and time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


def _read(mountpoint: str) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(_path(mountpoint).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return loaded


def _path(mountpoint: str) -> Path:
    return FOLDER / (hashlib.sha256(_absolute(mountpoint).encode()).hexdigest()[:32] + ".json")


def _absolute(mountpoint: str) -> str:
    return os.path.abspath(mountpoint)  # noqa: PTH100  # a dead mount cannot be resolved
