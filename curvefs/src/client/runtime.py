"""Which process serves which mountpoint, written down for who unmounts: /run/curvefs, for users their own run folder.

A pid alone does not name a process, since it is used again; together with its start time it does. Loads nothing heavy.
Mountpoints are given as mountpoints.resolve() returns them.
"""

import contextlib
import hashlib
import json
import os
import select
import signal
import stat
import time
from pathlib import Path
from typing import Any

from ..common.errors import StartupError
from ..common.exits import ExitCode

TEMPORARY = Path("/tmp")  # noqa: S108 -- what is ours there is checked


def folder() -> Path:
    """Return the folder of the records: a system's for root, else the user's. Raises StartupError for another's."""
    if os.geteuid() == 0:
        return Path("/run/curvefs")
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "curvefs"
    _check_own(_own_temporary())
    return _own_temporary() / "curvefs"


def make_folder() -> None:
    """Make it. Raises StartupError for one that is another's, OSError."""
    place = folder()
    if place.parent == _own_temporary():
        place.parent.mkdir(mode=0o700, exist_ok=True)
        _check_own(place.parent)  # who was first?
        place.parent.chmod(0o700)
    place.mkdir(mode=0o755, parents=True, exist_ok=True)


def _own_temporary() -> Path:
    return TEMPORARY / f"curvefs-{os.geteuid()}"


def _check_own(path: Path) -> None:
    """Raise StartupError for a folder that another user has made, or may change: anybody can in /tmp."""
    try:
        said = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(said.st_mode) or said.st_uid != os.geteuid() or said.st_mode & 0o022:
        raise StartupError(f"{path} is not this user's alone; set XDG_RUNTIME_DIR", ExitCode.FAILED)


def start_time(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None when there is no such process.

    Together with the pid it names a process for good. A zombie counts as gone, but not while it has threads that
    are still ending: those hold its files open, a mount's among them.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads, started = words[0], int(words[17]), int(words[19])
    return None if state in "ZX" and threads <= 1 else started


def is_running(pid: int, started: int) -> bool:
    """True while exactly this process lives."""
    return pid > 0 and start_time(pid) == started


def record(mountpoint: str) -> None:
    """Write down that this process serves a mountpoint. Raises OSError, StartupError as folder()."""
    make_folder()
    path = _path(mountpoint)
    beside = path.with_suffix(f".{os.getpid()}")
    said = {"mountpoint": mountpoint, "pid": os.getpid(), "started": start_time(os.getpid())}
    beside.write_text(json.dumps(said))
    beside.rename(path)


def forget(mountpoint: str) -> None:
    """Take that back, unless another process has written since."""
    with contextlib.suppress(OSError):
        if _read(mountpoint).get("pid") == os.getpid():
            _path(mountpoint).unlink()


def client_of(mountpoint: str) -> tuple[int, int] | None:
    """Return (pid, start time) of the process that serves a mountpoint, if it lives."""
    said = _read(mountpoint)
    if said and is_running(said["pid"], said["started"]):
        return said["pid"], said["started"]
    return None


def wait_gone(pid: int, started: int, timeout_s: float | None = None) -> bool:
    """Wait until a process has ended; False after the timeout.

    Without a timeout the wait ends when the process does: for a client that stores what was written, which has
    deadlines of its own.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        while is_running(pid, started):  # asked after the descriptor was opened: it is of this process or of none
            left_ms = None if end is None else max(0.0, end - time.monotonic()) * 1000
            if not waiter.poll(left_ms) and left_ms is not None:
                return not is_running(pid, started)
        return True
    finally:
        os.close(descriptor)


def send_signal(pid: int, started: int, number: signal.Signals) -> None:
    """Signal exactly this process, if it lives."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if is_running(pid, started):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _read(mountpoint: str) -> dict[str, Any]:
    try:
        said: Any = json.loads(_path(mountpoint).read_text())
    except (OSError, ValueError, StartupError):
        return {}
    return said if isinstance(said, dict) and {"pid", "started"} <= said.keys() else {}


def control_path(mountpoint: str) -> Path:
    """Return where the client of a mountpoint listens to its owner."""
    return _path(mountpoint).with_suffix(".socket")


def _path(mountpoint: str) -> Path:
    return folder() / (hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:32] + ".json")
