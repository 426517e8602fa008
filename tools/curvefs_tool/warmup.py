"""``warmup``: has the disk cache of a mount hold files, says which share it holds, or drops them.

The tool walks the tree, on the mount; the client of the mount does what is asked for each file (control.py).
"""

import json as json_module
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import click

from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.errors import IOFailure, StartupError
from curvefs.src.common.exits import ExitCode

from .cluster import command, print_json

FILES_AT_ONCE = 8
ANSWER_S = 3600.0  # a file may be large, and the store slow
_UNIT = 1 << 20
_LIST = click.File(encoding="utf-8", errors="surrogateescape")  # names of files are bytes


@click.command("warmup")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("-f", "list_", type=_LIST, help="Read paths from a file, one per line; '-': standard input.")
@click.option("--check", is_flag=True, help="Only say which share is cached.")
@click.option("--evict", is_flag=True, help="Drop the files from the cache.")
@click.option("--json", is_flag=True, help="Print JSON.")
@command
def warmup(paths: tuple[Path, ...], list_: Iterable[str] | None, *, check: bool, evict: bool, json: bool) -> None:
    """Have files, and all files below folders, in the disk cache of their mount."""
    wanted = [*paths, *(Path(line.rstrip("\n")) for line in list_ or () if line.strip())]
    if not wanted or (check and evict):
        raise StartupError("give paths or -f LIST, and at most one of --check and --evict", ExitCode.USAGE)
    what = "check" if check else "evict" if evict else "warm"
    total = {"files": 0, "failed": 0, "blocks": 0, "cached": 0, "bytes": 0, "cached_bytes": 0}
    asker = _Asker()
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for path, said in _bounded(pool, asker, what, _files(wanted)):
            total["files"] += 1
            if "error" in said:
                total["failed"] += 1
                sys.stderr.write(f"curvefs-tool: {path}: {said['error']}\n")
            else:
                for key, value in said.items():
                    total[key] += value
            if not json and sys.stderr.isatty():
                sys.stderr.write(f"\r{_line(total)}")
    if json:
        print_json(total)
    else:
        click.echo(("\r" if sys.stderr.isatty() else "") + _line(total))
    if total["failed"]:
        raise IOFailure(f"{total['failed']} of {total['files']} files and folders could not be looked at")


def _line(total: dict[str, int]) -> str:
    share = 100.0 * total["cached_bytes"] / total["bytes"] if total["bytes"] else 100.0
    return (
        f"{total['files']} files, {total['blocks']} blocks, {total['bytes'] / _UNIT:.1f} MiB: "
        f"{total['cached']} blocks, {total['cached_bytes'] / _UNIT:.1f} MiB are cached ({share:.1f} %)"
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A regular file; error: why it, or the folder that this is, could not be looked at."""

    path: Path
    mountpoint: str
    inode: int = 0
    error: str = ""


def _files(paths: Iterable[Path]) -> Iterator[_File]:
    """Yield regular files, and what cannot be looked at, as files vanish.

    Symbolic links are not followed, and what is mounted below belongs to another filesystem.
    """
    for path in paths:
        mountpoint = _mountpoint_of(path)
        is_folder = os.path.isdir(path)  # noqa: PTH112  # also for what Path.is_dir() cannot look at
        yield from _below(path, mountpoint) if is_folder else _regular(path, mountpoint)


def _below(top: Path, mountpoint: str) -> Iterator[_File]:
    """Yield all files below a folder; os.walk() cannot go deeper than calls can be nested."""
    left = [top]
    device: int | None = None  # of the mount
    while left:
        folder = left.pop()
        try:
            here = folder.stat().st_dev
            device = here if device is None else device
            if here != device:
                continue
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda one: one.name)
        except OSError as error:
            yield _File(folder, mountpoint, error=error.strerror or str(error))
            continue
        left += [Path(one) for one in reversed(found) if one.is_dir(follow_symlinks=False)]
        for one in found:
            if not one.is_dir(follow_symlinks=False):
                yield from _regular(Path(one), mountpoint, device)


def _regular(path: Path, mountpoint: str, device: int | None = None) -> Iterator[_File]:
    try:
        said = path.lstat()
    except OSError as error:
        yield _File(path, mountpoint, error=error.strerror or str(error))
        return
    if stat.S_ISREG(said.st_mode) and device in (None, said.st_dev):
        yield _File(path, mountpoint, said.st_ino)


def _mountpoint_of(path: Path) -> str:
    if "\0" in str(path):
        raise StartupError(f"{str(path)!r} is no path", ExitCode.USAGE)
    real = Path(os.path.realpath(path))
    for place in (real, *real.parents):
        kind = mountpoints.mounted_type(str(place))
        if kind == mountpoints.FSTYPE:
            return str(place)
        if kind is not None:
            break
    raise StartupError(f"{path} does not lie on a mount of curvefs", ExitCode.USAGE)


def _bounded(
    pool: ThreadPoolExecutor, asker: "_Asker", what: str, files: Iterator[_File]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Ask for some files at a time, and yield answers in their order."""
    under_way: list[tuple[Path, Any]] = []
    for file in files:
        if file.error:
            yield file.path, {"error": file.error}
            continue
        under_way.append((file.path, pool.submit(asker.ask, file.mountpoint, what, file.inode)))
        if len(under_way) > 2 * FILES_AT_ONCE:
            first, future = under_way.pop(0)
            yield first, future.result()
    for path, future in under_way:
        yield path, future.result()


class _Asker:
    """Connections to clients, one per thread and mount."""

    def __init__(self) -> None:
        self._mine = local()

    def ask(self, mountpoint: str, what: str, inode: int) -> dict[str, Any]:
        """Have something done for a file. Raises StartupError when the client cannot be asked, IOFailure."""
        streams = self._mine.__dict__.setdefault("streams", {})
        if mountpoint not in streams:
            streams[mountpoint] = _connect(mountpoint)
        stream = streams[mountpoint]
        try:
            stream.write(json_module.dumps({"what": what, "inode": inode}).encode() + b"\n")
            stream.flush()
            answer = stream.readline()
        except OSError as error:
            raise IOFailure(f"the client of {mountpoint} does not answer: {error}") from error
        if not answer:
            raise IOFailure(f"the client of {mountpoint} is gone")
        said: dict[str, Any] = json_module.loads(answer)
        return said


def _connect(mountpoint: str) -> Any:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(ANSWER_S)
    try:
        made.connect(str(runtime.control_path(mountpoint)))
    except OSError as error:
        made.close()
        told = f"cannot ask the client of {mountpoint}: {error.strerror}; is it mounted with cache_dir, by you?"
        raise StartupError(told, ExitCode.FAILED) from error
    stream = made.makefile("rwb")
    made.close()
    return stream
