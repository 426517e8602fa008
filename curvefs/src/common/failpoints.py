"""Named points at which a test can kill, stop or pause a process. They do nothing unless the environment says so.

    CURVEFS_FAILPOINTS="coordinator.decided=kill, participant.prepared=kill:3, coordinator.planned=pause:500"
    CURVEFS_FAILPOINTS="wal.written=stop:/tmp/power_off"

kill:n kills the process (SIGKILL) at the n-th hit, kill at the first; pause:ms blocks it at each hit; stop:path stops
it (SIGSTOP) at a hit while the file exists. Each point is registered by the module that has it, so that a test can list
them all.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from .exits import ExitCode

VARIABLE = "CURVEFS_FAILPOINTS"

_points: set[str] = set()
_hits: dict[str, int] = {}


def _parse(text: str) -> dict[str, tuple[str, str]]:
    """Return (action, what is said of it) by point. Raises ValueError."""
    actions = {}
    for word in filter(None, (one.strip() for one in text.split(","))):
        name, _, action = word.partition("=")
        kind, _, more = action.partition(":")
        fits = {"kill": not more or more.isdecimal(), "pause": more.isdecimal(), "stop": bool(more)}
        if not fits.get(kind):
            raise ValueError(f"no failpoint action: {word}")
        actions[name] = (kind, more)
    return actions


def _from_environment() -> dict[str, tuple[str, str]]:
    """Return what the environment says; end the program if it makes no sense. Modules load this before main()."""
    try:
        return _parse(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        sys.stderr.write(f"{VARIABLE}: {error}\n")
        sys.exit(ExitCode.USAGE)


_actions = _from_environment()


def point(name: str) -> str:
    """Register a point."""
    assert name not in _points, "names are unique"
    _points.add(name)
    return name


def points() -> list[str]:
    """Return all points of the modules that are loaded."""
    return sorted(_points)


def hit(name: str) -> None:
    """Be at a point."""
    action = _actions.get(name)
    if action is None:
        return
    match action:
        case "pause", milliseconds:
            time.sleep(int(milliseconds) / 1000)
        case "stop", path:
            if Path(path).exists():
                # Told to this thread, so that it goes no further.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "kill", number:
            _hits[name] = _hits.get(name, 0) + 1
            if _hits[name] == int(number or 1):
                os.kill(os.getpid(), signal.SIGKILL)
