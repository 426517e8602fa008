"""``restore``: takes things out of the trash, with everything below them, to where they were.

Through the mount and as the caller, so the kernel checks who may. A directory is given back its name first; what was
removed out of it is in the trash still, and follows. What lies below it is listed before it is moved: then each of that
has a path of its own, by the hour in which it was removed and its inode number.

Root may do it for others, who own the directories on the way: so the way to a place is gone step by step from the
mountpoint, and no symbolic link is followed. In the trash nobody can put one.

Memory: the names in each directory on the way down, and a number for each thing that was restored.
"""

import contextlib
import errno
import itertools
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from curvefs.src.client.mountpoints import mount_of
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.trash_names import TRASH_NAME, XATTR_PREFIX, hour_name, suffixed

from .cluster import command

TRASH = os.fsdecode(TRASH_NAME)
_TOLD_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Found:
    """Something in the trash: its name there, the one it had, and a path that stays when its directory is restored."""

    listed: str
    name: str
    path: Path


class Restoring:
    """Restores in one mount. Counts what was done; a failure is told on a line of its own, and does not end it."""

    def __init__(self, mountpoint: Path, *, is_told: bool) -> None:
        """is_told: how far it is, on standard error."""
        self._mountpoint = mountpoint
        self._trash = mountpoint / TRASH
        self._is_told = is_told
        self._told_at = time.monotonic()
        self.restored = self.failed = self.older = 0
        self._given: set[int] = set()  # hashes of the places that things have again

    def restore(self, path: Path, to: Path | None) -> None:
        """Restore what is at a path in the trash, with everything below. to: into this directory, not where it was."""
        try:
            inside = path.relative_to(self._trash).parts
            if not inside:
                for hour in sorted(path.iterdir(), reverse=True):
                    self.restore(hour, to)
            elif len(inside) == 1:
                for one in self._newest_first(path):
                    self.restore(one, to)
            elif to is not None:
                self._tree(path, to / self._find(path).name)
            else:
                self._tree(*self._reach(inside))
        except OSError as error:
            self._fail(path, error)

    def _newest_first(self, hour: Path) -> list[Path]:
        """Return what was removed in an hour: of two that had one place, the one that was there last takes it."""
        found: list[tuple[int, Path]] = []
        for path in hour.iterdir():
            try:
                found.append((int(_known(path, b"removed")), path))
            except OSError as error:
                self._fail(path, error)
        return [path for _, path in sorted(found, reverse=True)]

    def _reach(self, inside: tuple[str, ...]) -> tuple[Path, Path]:
        """Restore the directories that something was in, if they are in the trash; return its path then, and its place.

        Raises OSError.
        """
        paths = [self._trash.joinpath(*inside[:count]) for count in range(2, len(inside) + 1)]
        steps = [(self._find(path), self._place(path)) for path in paths]
        at = paths[0]
        for (_, place), (following, _) in itertools.pairwise(steps):
            at = following.path if self._move(at, place) else at / following.listed
        return at, steps[-1][1]

    def _tree(self, top: Path, top_place: Path) -> None:
        left = [(top, top_place)]
        while left:
            path, place = left.pop()
            try:
                found = [self._find(one) for one in path.iterdir()] if _is_directory(path) else []
                moved = self._move(path, place)
            except OSError as error:
                if isinstance(error, FileExistsError) and hash(place) in self._given:
                    self.older += 1  # another one of this place was removed later, and has it again
                else:
                    self._fail(place, error)
                continue
            for one in found:
                if one.listed != one.name:
                    self.older += 1  # another one of this name was removed later
                else:
                    left.append((one.path if moved else path / one.listed, place / one.name))

    def _move(self, path: Path, place: Path) -> bool:
        """Give something its name back; False when it is a directory, and there is one of this name. Raises OSError."""
        # The kernel may know a directory below the one it was in: it has to meet it under this path before, since while
        # it renames it cannot move what it knows.
        path.lstat()
        with self._directory_of(place) as directory:
            try:
                os.rename(path, place.name, dst_dir_fd=directory)
            except OSError as error:
                if error.errno != errno.EEXIST or not _is_directory(path):
                    raise
                there = os.stat(place.name, dir_fd=directory, follow_symlinks=False)
                if not stat.S_ISDIR(there.st_mode):
                    raise
                return False
        self.restored += 1
        self._given.add(hash(place))
        if self._is_told and time.monotonic() - self._told_at > _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            sys.stderr.write(f"restored {self.restored}\n")
        return True

    @contextlib.contextmanager
    def _directory_of(self, place: Path) -> Iterator[int]:
        """Open the directory of a place in the mount. Raises OSError: EXDEV outside, ENOTDIR for a link on the way."""
        if not place.is_relative_to(self._mountpoint):
            raise OSError(errno.EXDEV, "it is not in the mount")
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        directory = os.open(self._mountpoint, flags)
        try:
            for name in place.relative_to(self._mountpoint).parts[:-1]:
                if name == os.pardir:
                    raise OSError(errno.EXDEV, "it is not in the mount")
                above, directory = directory, os.open(name, flags, dir_fd=directory)
                os.close(above)
            yield directory
        finally:
            os.close(directory)

    def _find(self, path: Path) -> _Found:
        name, removed_ns = _known(path, b"name"), int(_known(path, b"removed"))
        hour = self._trash / os.fsdecode(hour_name(removed_ns // 10**9))
        return _Found(path.name, os.fsdecode(name), hour / os.fsdecode(suffixed(name, path.lstat().st_ino)))

    def _place(self, path: Path) -> Path:
        """Return where something was. Raises OSError."""
        try:
            return self._mountpoint / os.fsdecode(_known(path, b"path").lstrip(b"/"))
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            raise OSError(errno.ENOENT, "the directory it was in is gone for good; say --to DIR") from error

    def _fail(self, place: Path, error: OSError) -> None:
        self.failed += 1
        sys.stderr.write(f"curvefs-tool: {place}: {error.strerror}\n")


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _known(path: Path, what: bytes) -> bytes:
    return os.getxattr(path, XATTR_PREFIX + what, follow_symlinks=False)


@click.command("restore")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="Into this directory of the mount, not where it was.")
@command
def restore(paths: tuple[Path, ...], to: Path | None) -> None:
    """Restore what was removed: each PATH below MOUNT/.trash, with everything below it.

    Directories it was in are restored first. What has a name again stays as it is, but for directories: those are used.
    """
    restored = failed = older = 0
    for path in paths:
        mountpoint, inside = _in_trash(path)
        one = Restoring(mountpoint, is_told=sys.stderr.isatty())
        one.restore(inside, None if to is None else to.resolve())
        restored, failed, older = restored + one.restored, failed + one.failed, older + one.older
    left = f"; {older} older of the same names stay in the trash" if older else ""
    click.echo(f"restored {restored}, failed {failed}{left}")
    if failed:
        sys.exit(ExitCode.FAILED)


def _in_trash(path: Path) -> tuple[Path, Path]:
    """Return the mountpoint, and the path without links on the way. Raises StartupError (USAGE, NOT_FOUND)."""
    absolute = path.parent.resolve() / path.name
    found = mount_of(str(absolute))
    if found is None or not absolute.is_relative_to(Path(found[0]) / TRASH):
        raise StartupError(f"{path} is not below .trash of a mount", ExitCode.USAGE)
    if not os.path.lexists(absolute):
        raise StartupError(f"{path}: {os.strerror(errno.ENOENT)}", ExitCode.NOT_FOUND)
    return Path(found[0]), absolute
