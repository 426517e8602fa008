"""One member of etcd as a child of the supervisor: becomes etcd, and leaves a process behind that says when it serves.

    python -m curvefs_tool.etcd_member HOST:PORT HEALTH-URL etcd FLAGS...

etcd says nothing on standard output when it is ready, as our servers do; somebody has to ask. The process that asks is
nobody's child, so that none is left for etcd to reap, and ends when it has spoken or etcd is gone.
"""

import contextlib
import json
import os
import shutil
import sys
import time
import urllib.request

from curvefs.src.client.runtime import is_running, start_time
from curvefs.src.common.exits import ExitCode

from .children import LISTENING, READY_TIMEOUT_S

_PAUSE_S = 0.05
_ASK_DEADLINE_S = 2.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # there is no proxy to our own member


def main() -> None:
    """See the module."""
    address, health, *command = sys.argv[1:]
    if shutil.which(command[0]) is None:
        sys.stderr.write(f"curvefs-tool: there is no program {command[0]}; Debian has it in the package etcd-server\n")
        sys.exit(ExitCode.USAGE)
    me = os.getpid()
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            _say_when_ready(me, address, health)
        os._exit(0)
    os.waitpid(between, 0)
    os.execvp(command[0], command)  # noqa: S606 -- a program and its words, no shell


def _say_when_ready(member: int, address: str, health: str) -> None:
    started, end = start_time(member) or 0, time.monotonic() + READY_TIMEOUT_S
    while is_running(member, started) and time.monotonic() < end:
        if _serves(health):
            os.write(1, f"{LISTENING}{address}\n".encode())
            return
        time.sleep(_PAUSE_S)


def _serves(health: str) -> bool:
    with contextlib.suppress(OSError, ValueError), _DIRECT.open(health, timeout=_ASK_DEADLINE_S) as reply:
        return bool(json.load(reply).get("health") == "true")
    return False


if __name__ == "__main__":
    main()
