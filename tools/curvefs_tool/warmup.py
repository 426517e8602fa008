"""``warmup``: has the disk cache of a mount hold files, says which share it holds, or drops them.

The tool walks the tree, on the mount; the client of the mount does what is asked for each file (control.py).
"""

import contextlib
import json as json_module
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


@click.command("warmup")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("-f", "list_", type=click.File(), help="Read paths from a file, one per line; '-': standard input.")
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
        raise IOFailure(f"{total['failed']} files could not be looked at")


def _line(total: dict[str, int]) -> str:
    share = 100.0 * total["cached_bytes"] / total["bytes"] if total["bytes"] else 100.0
    return (
        f"{total['files']} files, {total['blocks']} blocks, {total['bytes'] / _UNIT:.1f} MiB: "
        f"{total['cached']} blocks, {total['cached_bytes'] / _UNIT:.1f} MiB are cached ({share:.1f} %)"
    )


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, int, str]]:
    """Yield (path, inode, mountpoint) of regular files; symbolic links are not followed."""
    for path in paths:
        mountpoint = _mountpoint_of(path)
        if not path.is_dir():
            yield from _regular(path, mountpoint)
            continue
        for one in _below(path):
            yield from _regular(one, mountpoint)


def _below(top: Path) -> Iterator[Path]:
    """Yield all below a folder but folders; os.walk() cannot go deeper than calls can be nested."""
    left = [top]
    while left:
        found: list[os.DirEntry[str]] = []
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            found = sorted(entries, key=lambda one: one.name)
        left += [Path(one) for one in reversed(found) if one.is_dir(follow_symlinks=False)]
        yield from (Path(one) for one in found if not one.is_dir(follow_symlinks=False))


def _regular(path: Path, mountpoint: str) -> Iterator[tuple[Path, int, str]]:
    try:
        said = path.lstat()
    except OSError as error:
        raise IOFailure(f"{path}: {error.strerror}") from error
    if stat.S_ISREG(said.st_mode):
        yield path, said.st_ino, mountpoint


def _mountpoint_of(path: Path) -> str:
    real = Path(os.path.realpath(path))
    for place in (real, *real.parents):
        kind = mountpoints.mounted_type(str(place))
        if kind == mountpoints.FSTYPE:
            return str(place)
        if kind is not None:
            break
    raise StartupError(f"{path} does not lie on a mount of curvefs", ExitCode.USAGE)


def _bounded(
    pool: ThreadPoolExecutor, asker: "_Asker", what: str, files: Iterator[tuple[Path, int, str]]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Ask for some files at a time, and yield answers in their order."""
    under_way: list[tuple[Path, Any]] = []
    for path, inode, mountpoint in files:
        under_way.append((path, pool.submit(asker.ask, mountpoint, what, inode)))
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
