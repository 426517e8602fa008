"""Mountpoints: what is mounted where, whether a folder can be mounted on, and how to unmount. Loads nothing heavy.

/proc is asked first and the mount itself last: a mount whose client is stuck must not stop who only wants to know
about it. Paths from outside go through resolve() once; the other functions take what it returns.
"""

import contextlib
import errno
import os
import subprocess
from pathlib import Path

from ..common.errors import StartupError
from ..common.exits import ExitCode
from . import mount_table, runtime

FSTYPE = "fuse.curvefs"
UNMOUNT_TIMEOUT_S = 120.0
USERS_SHOWN = 3
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def resolve(mountpoint: str) -> str:
    """Return the absolute path without symbolic links, as the kernel shows it; a mounted one is not looked into."""
    path = os.path.abspath(mountpoint)  # noqa: PTH100
    if mounted_type(path) is not None:
        return path
    return os.path.realpath(path)


def mounted_type(mountpoint: str) -> str | None:
    """Return the filesystem type mounted on exactly this folder, or None."""
    found = None
    for mount in mount_table.read():
        if mount.place == mountpoint:
            found = mount.type
    return found


def mount_of(path: str) -> tuple[str, str] | None:
    """Return (mountpoint, filesystem's name) of the mount of ours that a path lies in, or None."""
    found: tuple[str, str] | None = None
    for mount in mount_table.read():
        if _is_below(path, mount.place) and (found is None or len(mount.place) >= len(found[0])):
            found = mount.place, mount.source if mount.type == FSTYPE else ""
    return found if found is not None and found[1] else None


def is_dead(mountpoint: str) -> bool:
    """True for a mount of ours that nobody serves any more."""
    if mounted_type(mountpoint) != FSTYPE or runtime.client_of(mountpoint) is not None:
        return False
    try:
        os.statvfs(mountpoint)  # never answered from the kernel's caches, as stat is
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def check_mountpoint(mountpoint: str) -> None:
    """Raise StartupError (MOUNTPOINT) unless the folder can be mounted on.

    A mount of ours whose client died is taken away first: nobody can use it any more.
    """
    if is_dead(mountpoint):
        lazy_unmount(mountpoint)
    there = mounted_type(mountpoint)
    if there is not None:
        raise StartupError(f"mountpoint {mountpoint} is busy: {there} is mounted on it", ExitCode.MOUNTPOINT)
    path = Path(mountpoint)
    try:
        path.stat()
    except FileNotFoundError:
        raise StartupError(f"mountpoint {mountpoint} does not exist", ExitCode.MOUNTPOINT) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartupError(f"mountpoint {mountpoint}: {reason}", ExitCode.MOUNTPOINT) from error
    if not path.is_dir():
        raise StartupError(f"mountpoint {mountpoint} is not a directory", ExitCode.MOUNTPOINT)


def check_apart(mountpoint: str, what: str, path: str | Path) -> None:
    """Raise StartupError (USAGE) if the mount would cover something that it needs. what: in words."""
    real = os.path.realpath(path)
    if _is_below(real, mountpoint):
        raise StartupError(f"{what} {real} lies in the mountpoint {mountpoint}, which would hide it", ExitCode.USAGE)


def users_of(mountpoint: str) -> list[str]:
    """Return who has files, memory maps or the working directory below a mountpoint, as ``name (pid N)``.

    Also what would keep its client alive after an unmount. As far as this user may see, and without asking the mount.
    """
    found = _keepers_of(mountpoint)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and _uses(process, mountpoint):
            with contextlib.suppress(OSError):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return found


def unmount(mountpoint: str, *, force: bool = False) -> None:
    """Unmount, or do nothing if nothing is mounted there.

    force: fail what is under way instead of waiting for it. Raises StartupError: BUSY when something uses the mount,
    FAILED otherwise.
    """
    if keepers := _keepers_of(mountpoint):  # the kernel does not mind: the client would go on for them, unseen
        raise busy(mountpoint, keepers)
    words = _unmount_command("-f") if force else _unmount_command()
    try:
        done = subprocess.run(  # noqa: S603
            [*words, mountpoint],
            capture_output=True,
            text=True,
            check=False,
            timeout=UNMOUNT_TIMEOUT_S,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise StartupError(f"{mountpoint} could not be unmounted in time", ExitCode.TIMEOUT) from error
    if done.returncode == 0 or mounted_type(mountpoint) is None:
        return
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "umount failed"
    if "busy" in reason.replace(mountpoint, "").lower():
        raise busy(mountpoint, users_of(mountpoint))
    raise StartupError(reason, ExitCode.FAILED)


def _keepers_of(mountpoint: str) -> list[str]:
    """Return what would keep the client of a mountpoint alive after an unmount there."""
    if runtime.client_of(mountpoint) is None:
        return []
    return mount_table.kept_by(mountpoint, mount_table.read(), mount_table.other_namespaces())


def busy(mountpoint: str, users: list[str]) -> StartupError:
    """Return the error for a mount that cannot be unmounted because of these users."""
    more = f" and {len(users) - USERS_SHOWN} more" if len(users) > USERS_SHOWN else ""
    by = ", ".join(users[:USERS_SHOWN]) + more if users else "a process with files or its working directory there"
    return StartupError(f"{mountpoint} is busy: used by {by}", ExitCode.BUSY)


def lazy_unmount(mountpoint: str) -> None:
    """Take a mount out of the tree at once; what is open on it stays usable for who has it."""
    words = _unmount_command("-l" if os.geteuid() == 0 else "-z")
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603
            [*words, mountpoint], capture_output=True, check=False, timeout=UNMOUNT_TIMEOUT_S, env=_environment()
        )


def _unmount_command(*flags: str) -> list[str]:
    # -i: not by way of umount.fuse.curvefs, which calls this. Others than root go by fusermount3's set-uid bit.
    return ["umount", "-i", *flags] if os.geteuid() == 0 else ["fusermount3", "-u", *(f for f in flags if f == "-z")]


def _environment() -> dict[str, str]:
    return {"PATH": _SYSTEM_PATH, "LC_ALL": "C"}  # its messages are read


def _uses(process: Path, mountpoint: str) -> bool:
    with contextlib.suppress(OSError):
        links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
        if any(_is_below(_link(link), mountpoint) for link in links):
            return True
        maps = (process / "maps").read_text(errors="replace")
        return any(_is_below(line.split(maxsplit=5)[-1], mountpoint) for line in maps.splitlines())
    return False


def _link(link: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(link)  # noqa: PTH115  # a name, which need not exist
    return ""


def _is_below(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")
