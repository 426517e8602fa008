"""Cache folders without a thread of their own: what is to be kept is written at once, so a script goes the same way.

Disk.mode says how the disk behaves: "well", "full" (writes fail), "failing" (all fails). Damage is done to files.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from curvefs.src.client.cache import block_files
from curvefs.src.client.cache.disk_cache import CacheConfig, DiskCache
from curvefs.src.client.cache.staging import Staging

from .faults import Faults, damaged
from .server import GEOMETRY

SIZE = 64 << 10


class Disk:
    """One folder's."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.path = path
        self.mode = "well"
        self._faults = faults
        path.mkdir()

    def check(self, *, writing: bool) -> None:
        """Raise what the disk does to a call."""
        if self._faults.quiet or self.mode == "well" or (self.mode == "full" and not writing):
            return
        self._faults.hit()
        number = errno.ENOSPC if self.mode == "full" else errno.EIO
        raise OSError(number, "injected")

    def damage(self, nth: int) -> None:
        """Change a byte of a block that is kept."""
        found = sorted(self.path.glob("*/blocks/*/*/*"))
        if found:
            path = found[nth % len(found)]
            path.write_bytes(damaged(path.read_bytes()))
            self._faults.hit()


class _AtOnce:
    """In the place of a folder's queue."""

    def __init__(self, folder) -> None:
        self._folder = folder

    def put(self, item) -> None:
        if isinstance(item, tuple):
            self._folder._write(*item)

    def empty(self) -> bool:
        return True


def open_cache(disk: Disk, now_s) -> DiskCache:
    """Open the cache of a folder, as a mount does that begins."""
    cache = DiskCache(CacheConfig((disk.path,), size=SIZE, free_space=0.0), GEOMETRY.uuid)
    for folder in cache.folders:
        folder._now_s = now_s
        folder._queue = _AtOnce(folder)
        folder._look()
    return cache


def tick(cache: DiskCache, now_s) -> None:
    """Do what the thread of a folder does now and then."""
    for folder in cache.folders:
        if folder._aside_until is not None and now_s() >= folder._aside_until:
            folder._try_again()
        if folder.in_use and not folder._seen:
            folder._look()
        folder._make_room()


def open_staging(cache: DiskCache, size_max: int, numbers: Iterator[int]) -> Staging:
    """Open the staging of the first folder. numbers: for identities, none twice."""

    def random_bytes(size: int) -> bytes:
        return b"I" + next(numbers).to_bytes(size - 1, "big")

    return Staging(cache.folders[0].path / "staging", size_max=size_max, free_space=0.0, random_bytes=random_bytes)


@contextmanager
def misbehaving(disks: list[Disk]):
    """Let calls of these disks fail as their modes say, and let nothing be synced: no power fails here."""

    def of(path: Path) -> Disk | None:
        return next((one for one in disks if one.path in path.parents), None)

    def wrapped(call, *, writing: bool, path_of=lambda *arguments: arguments[0]):
        def checked(*arguments, **named):
            disk = of(path_of(*arguments))
            if disk is not None:
                disk.check(writing=writing)
            return call(*arguments, **named)

        return checked

    def staged(this, *_):
        return this.path

    with (
        patch.object(block_files, "write", wrapped(block_files.write, writing=True)),
        patch.object(block_files, "read", wrapped(block_files.read, writing=False)),
        patch.object(Staging, "_write", wrapped(Staging._write, writing=True, path_of=staged)),
        patch("curvefs.src.client.cache.staging.os.fsync", lambda _: None),
        patch("curvefs.src.client.cache.staging.os.fdatasync", lambda _: None),
    ):
        yield
