"""Mountpoints: what is mounted where, and whether a folder can be mounted on. Loads nothing heavy."""

import errno
import os
import re
import subprocess
from pathlib import Path

from ..common.errors import StartupError
from ..common.exits import ExitCode

FSTYPE = "fuse.curvefs"
_OCTAL = re.compile(r"\\([0-7]{3})")


def mounted_type(mountpoint: str) -> str | None:
    """Return the filesystem type mounted on exactly this folder, or None."""
    wanted = os.path.realpath(mountpoint) if not _is_dead(mountpoint) else os.path.abspath(mountpoint)  # noqa: PTH100
    found = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split()[4])
        if place == wanted:
            found = after.split()[0]
    return found


def check_mountpoint(mountpoint: str) -> None:
    """Raise StartupError (MOUNTPOINT) unless the folder can be mounted on.

    A mount of ours whose client died is taken away first: nobody can use it any more.
    """
    if _is_dead(mountpoint):
        if mounted_type(mountpoint) != FSTYPE:
            raise StartupError(f"{mountpoint} is a mount that does not answer", ExitCode.MOUNTPOINT)
        lazy_unmount(mountpoint)
    path = Path(mountpoint)
    try:
        path.stat()
    except FileNotFoundError:
        raise StartupError(f"mountpoint {mountpoint} does not exist", ExitCode.MOUNTPOINT) from None
    except OSError as error:
        raise StartupError(f"mountpoint {mountpoint}: {error.strerror}", ExitCode.MOUNTPOINT) from error
    if not path.is_dir():
        raise StartupError(f"mountpoint {mountpoint} is not a directory", ExitCode.MOUNTPOINT)
    there = mounted_type(mountpoint)
    if there is not None:
        raise StartupError(f"mountpoint {mountpoint} is busy: {there} is mounted on it", ExitCode.MOUNTPOINT)


def unmount(mountpoint: str) -> None:
    """Unmount. Raises StartupError: BUSY when something uses it, FAILED otherwise."""
    done = subprocess.run(["umount", "-i", mountpoint], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode == 0 or mounted_type(mountpoint) is None:
        return
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "umount failed"
    if "busy" in reason:
        raise StartupError(f"{mountpoint} is busy: a process has files or its working directory there", ExitCode.BUSY)
    raise StartupError(reason, ExitCode.FAILED)


def lazy_unmount(mountpoint: str) -> None:
    """Take a mount out of the tree at once; what is open on it stays usable for who has it."""
    subprocess.run(["umount", "-i", "-l", mountpoint], capture_output=True, check=False)  # noqa: S603, S607


def _is_dead(mountpoint: str) -> bool:
    try:
        os.stat(mountpoint)  # noqa: PTH116
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False
