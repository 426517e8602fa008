"""Leaves nothing behind: ends the processes, mounts and files of one test cluster, whatever became of the test.

Every process of a test cluster names the cluster's folder on its command line, and the folder's name is unique: so
those are its processes, also the ones that no state file names yet. As a program it waits until its standard input
ends, which happens when the test's process is gone, however it went. (The program itself gets the folder by the
environment, so as not to have it on its own command line.)
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from curvefs.src.client import mount_table


def processes_of(root: Path) -> list[int]:
    """Return the processes that have the folder, or something in it, on their command line."""
    wanted, found = os.fsencode(root), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if any(word.find(wanted) >= 0 for word in (entry / "cmdline").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return found


def mounts_below(root: Path) -> list[str]:
    """Return what is mounted below a folder, innermost first."""
    places = [mount.place for mount in mount_table.read()]
    return sorted((place for place in places if place.startswith(f"{root}/")), reverse=True)


def clean(root: Path, patience_s: float = 10.0) -> None:
    """Kill, unmount, remove. Supervisors go first, so that they restart nothing."""
    end = time.monotonic() + patience_s
    while (left := processes_of(root)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                if b"curvefs_tool" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for place in mounts_below(root):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)
    shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    """Wait for the end of the test's process, then clean."""
    root = Path(os.environ["CURVEFS_TEST_ROOT"])
    sys.stdin.read()
    if root.exists():
        clean(root)


if __name__ == "__main__":
    main()
