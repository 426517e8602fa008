"""The blocks of one filesystem in one folder. Whatever its disk does, no caller gets an error: it is a miss then.

    <folder>/<filesystem uuid>/lock       held by the mount that uses it
                              /blocks/    <partition>/<n // 1000>/<chunk id>_<compaction>_<index>
                              /incoming/  what is being written; it comes into blocks/ by a rename, never synced

A thread of its own writes what is to be kept, evicts, and at the beginning looks what is there; until it has seen that,
reads look at the disk. When the disk fails a few times in a row, or is slow, or the folder is gone, the folder is set
aside: it is asked for nothing, and tried again later, in growing pauses.

Shared between threads: the index, what is queued, and the state, under the lock; files are written, read and removed
outside it. That is safe because a name never has two contents: a file that goes or comes back is at worst a miss. Only
bytes that came damaged are another content: what is dropped while it waits or is being written gets into no index.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from ...common.errors import StartupError
from ...common.exits import ExitCode
from ...slices.names import block_name
from . import block_files
from .block_files import DamagedFile
from .eviction import Eviction
from .limits import Limits

log = structlog.get_logger()

TICK_S = 1.0
QUEUE_BYTES_MAX = 16 << 20
FAILURES_MAX = 3  # in a row
SLOW_S = 5.0  # one call
ASIDE_S_FIRST, ASIDE_S_MAX = 15.0, 600.0
READERS_MAX = 8
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class FolderCounts:
    """Since the mount began."""

    hits: int = 0
    hit_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    evicted: int = 0
    evicted_bytes: int = 0
    skipped: int = 0  # not kept: the disk is full or does not keep up
    damaged: int = 0
    failures: int = 0


def key_of(name: str) -> int:
    """Return the key of a block within its filesystem."""
    chunk_id, compaction, index = name.rpartition("/")[2].split("_")
    return int(chunk_id) << 48 | int(compaction) << 16 | int(index)


def lock(path: Path, cache_dir: Path) -> int:
    """Take the folder of a filesystem for this mount alone; returns the descriptor. Raises StartupError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"cannot use cache_dir {cache_dir}: {error.strerror}", ExitCode.DATA_FOLDER) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        told = f"cache_dir {cache_dir} is in use by another mount of this filesystem; give each its own"
        raise StartupError(told, ExitCode.DATA_FOLDER) from error
    return descriptor


class CacheFolder:
    """See the module. Raises StartupError when the folder cannot be used, or another mount uses it."""

    def __init__(
        self, cache_dir: Path, uuid: UUID, limits: Limits, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.cache_dir = cache_dir
        self.path = cache_dir / str(uuid)
        self.counts = FolderCounts()
        self._uuid = uuid
        self._limits = limits
        self._now_s = now_s
        self._lock_file = lock(self.path, cache_dir)
        self._lock = threading.Lock()
        self._kept: Eviction[int] = Eviction()
        self._seen = False  # what is there
        self._failures = 0
        self._aside_until: float | None = None
        self._aside_s = ASIDE_S_FIRST
        self._readers = threading.Semaphore(READERS_MAX)
        self._numbers = itertools.count()
        self._queue: queue.SimpleQueue[tuple[str, bytes, int] | threading.Event | None] = queue.SimpleQueue()
        self._queued: dict[int, int] = {}  # key to ticket; what has another ticket was dropped
        self._tickets = itertools.count()
        self._queued_bytes = 0
        self.queue_bytes_max = QUEUE_BYTES_MAX
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"cache {cache_dir}", daemon=True)

    def start(self) -> None:
        """Begin to look what is there, and to keep."""
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """End the thread, and let another mount use the folder."""
        if self._thread.is_alive():
            self._ended.set()
            self._queue.put(None)
            self._thread.join(timeout_s)
        os.close(self._lock_file)

    # ------------------------------------------------------------------------------------------- figures

    @property
    def size(self) -> int:
        """Return the bytes kept."""
        return self._kept.bytes

    @property
    def blocks(self) -> int:
        """Return the number of blocks kept."""
        return len(self._kept)

    @property
    def in_use(self) -> bool:
        """False while it is set aside."""
        return self._aside_until is None

    def has(self, name: str) -> bool:
        """Say whether a block is kept."""
        with self._lock:
            return key_of(name) in self._kept

    # -------------------------------------------------------------------------------------------- blocks

    def get(self, name: str, start: int, size: int | None) -> bytes | None:
        """Return a range of a block if it is here; else None."""
        key = key_of(name)
        with self._lock:
            if not self.in_use or (not self._kept.asked(key) and self._seen):
                return None
        if not self._readers.acquire(blocking=False):
            return None  # the disk is slower than the store, or hangs
        try:
            began_s = self._now_s()
            found = block_files.read(self._path(name), name, start, size)
        except FileNotFoundError:
            self._forget(key)
            if not self._is_there():
                self._failed(f"{self.path} is gone", vanished=True)
            return None
        except DamagedFile as error:
            self.drop_damaged(name, str(error))
            return None
        except OSError as error:
            self._failed(f"reading {name}: {error.strerror}")
            return None
        finally:
            self._readers.release()
        self._took(self._now_s() - began_s)
        self.counts.hits += 1
        self.counts.hit_bytes += len(found)
        return found

    def keep(self, name: str, data: bytes) -> None:
        """Have a block kept, soon, if there is room for it."""
        with self._lock:
            key = key_of(name)
            if not self.in_use or key in self._kept or key in self._queued:
                return
            if self._queued_bytes + len(data) > self.queue_bytes_max:
                self.counts.skipped += 1
                return
            self._queued_bytes += len(data)
            ticket = self._queued[key] = next(self._tickets)
        self._queue.put((name, data, ticket))

    def keep_now(self, name: str, data: bytes) -> bool:
        """Keep a block before anything else goes on; says whether it is kept."""
        if self.in_use and not self.has(name):
            self._store(name, data)
        return self.has(name)

    def adopt(self, name: str, file: Path, size: int) -> bool:
        """Take a file that holds a block, on the same disk; False if that is not possible."""
        if not self.in_use:
            return False
        try:
            self._move(file, self._path(name))
        except OSError:
            return False
        self._add(name, size)
        return True

    def drop(self, name: str) -> bool:
        """Remove a block, also one that waits to be kept; says whether it was here."""
        key = key_of(name)
        with self._lock:
            was_queued = self._queued.pop(key, None) is not None
            was_here = self._kept.remove(key) or was_queued
        try:
            self._path(name).unlink()
        except OSError:
            return was_here
        return True

    def drop_damaged(self, name: str, reason: str) -> None:
        """Remove a block that is not what it should be."""
        self.counts.damaged += 1
        log.warning("a block in the disk cache is damaged; it is dropped", folder=str(self.path), reason=reason)
        self.drop(name)

    def settle(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything that was to be kept is; for tests and tools."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout_s)

    # -------------------------------------------------------------------------------------------- thread

    def _run(self) -> None:
        checked_s = float("-inf")
        while not self._ended.is_set():
            now_s = self._now_s()
            if self._aside_until is not None and now_s >= self._aside_until:
                self._try_again()
            if self.in_use and not self._seen:
                self._look()
            if now_s - checked_s >= TICK_S:
                checked_s = now_s
                self._make_room()
            try:
                item = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if isinstance(item, threading.Event):
                self._make_room()
                item.set()
            elif item is not None:
                self._write(*item)

    def _look(self) -> None:
        """Learn what is here, the newest last; what was being written when a mount died is removed."""
        found: list[tuple[float, str, int]] = []
        try:
            for stale in [*self._incoming.glob("*")]:
                stale.unlink()
            self._incoming.mkdir(exist_ok=True)
            for folder, _, files in os.walk(self.path / "blocks"):
                if self._ended.is_set():
                    return
                for file in files:
                    with contextlib.suppress(FileNotFoundError):
                        said = os.stat(os.path.join(folder, file))  # noqa: PTH116, PTH118  # many of them
                        found.append((said.st_mtime, file, said.st_size))
        except OSError as error:
            self._failed(f"looking what is there: {error.strerror}", vanished=True)
            return
        with self._lock:
            for _, file, size in sorted(found):
                with contextlib.suppress(ValueError):
                    key = key_of(file)
                    if key not in self._kept:
                        self._kept.add(key, size, known=True)
            self._seen = True
        log.info("the disk cache is known", folder=str(self.path), blocks=len(self._kept), bytes=self._kept.bytes)

    def _write(self, name: str, data: bytes, ticket: int) -> None:
        try:
            with self._lock:
                # A warm-up keeps what it fetched at once.
                wanted = self._queued.get(key_of(name)) == ticket and key_of(name) not in self._kept
            if wanted:
                self._store(name, data, ticket)
        finally:
            with self._lock:
                self._queued_bytes -= len(data)
                if self._queued.get(key_of(name)) == ticket:
                    del self._queued[key_of(name)]

    def _store(self, name: str, data: bytes, ticket: int | None = None) -> None:
        """Write a block. ticket: it is gone again if it has been dropped since."""
        try:
            if not self.in_use or not self._has_room():
                self.counts.skipped += 1
                return
            began_s = self._now_s()
            beside = self._incoming / str(next(self._numbers))
            try:
                size = block_files.write(beside, name, data)
                self._move(beside, self._path(name))
            except OSError:
                with contextlib.suppress(OSError):
                    beside.unlink()
                raise
            if not self._add(name, size, ticket):
                self._path(name).unlink(missing_ok=True)
            self._make_room()
            self._took(self._now_s() - began_s)
        except OSError as error:
            if error.errno in _FULL:
                self.counts.skipped += 1
                self._evict(self.size // 20, 0)
            else:
                self._failed(f"writing: {error.strerror}", vanished=not self._is_there())

    def _has_room(self) -> bool:
        said = os.statvfs(self.path)
        return self._limits.has_room(said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize)

    def _make_room(self) -> None:
        if not self.in_use or not self._seen:
            return
        try:
            said = os.statvfs(self.path)
        except OSError as error:
            self._failed(f"{self.path}: {error.strerror}", vanished=True)
            return
        surplus = self._limits.surplus(self.size, said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize)
        self._evict(surplus, self._limits.too_many(self.blocks))

    def _evict(self, surplus: int, blocks: int) -> None:
        freed = gone = 0
        while freed < surplus or gone < blocks:
            with self._lock:
                before = self._kept.bytes
                key = self._kept.evict()
                if key is None:
                    break
                freed += before - self._kept.bytes
            gone += 1
            path = self._path(block_name(self._uuid, key >> 48, key >> 16 & 0xFFFFFFFF, key & 0xFFFF))
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # when it was the last one
        self.counts.evicted += gone
        self.counts.evicted_bytes += freed

    # ------------------------------------------------------------------------------------------ failures

    def _took(self, seconds: float) -> None:
        if seconds > SLOW_S:
            self._failed(f"a call took {seconds:.1f} s")
        else:
            self._failures, self._aside_s = 0, ASIDE_S_FIRST

    def _failed(self, reason: str, *, vanished: bool = False) -> None:
        with self._lock:
            self.counts.failures += 1
            self._failures += 1
            if not self.in_use or (self._failures < FAILURES_MAX and not vanished):
                return
            self._aside_until = self._now_s() + self._aside_s
            self._kept = Eviction()
            self._seen = False
        log.warning(
            "a cache folder is set aside; reads go to the object store",
            folder=str(self.path),
            reason=reason,
            again_in_s=round(self._aside_s),
        )

    def _try_again(self) -> None:
        if not self._is_there():
            self._aside_until = self._now_s() + self._aside_s
            return
        self._failures = FAILURES_MAX - 1  # one more failure, and it is set aside again, for longer
        self._aside_s = min(2 * self._aside_s, ASIDE_S_MAX)
        with self._lock:
            self._aside_until = None
        log.info("a cache folder is used again", folder=str(self.path))

    def _is_there(self) -> bool:
        """Say whether the folder is the one that was locked: not an empty one where a disk was mounted."""
        try:
            return os.path.samestat((self.path / "lock").stat(), os.fstat(self._lock_file))
        except OSError:
            return False

    # --------------------------------------------------------------------------------------------- files

    @property
    def _incoming(self) -> Path:
        return self.path / "incoming"

    def _path(self, name: str) -> Path:
        return self.path / "blocks" / name.partition("/")[2]

    def _move(self, file: Path, path: Path) -> None:
        while True:
            try:
                file.rename(path)
            except FileNotFoundError:
                if not file.exists() or not self._is_there():
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
            else:
                return

    def _add(self, name: str, size: int, ticket: int | None = None) -> bool:
        """Count a block whose file is there; False: it was queued with this ticket, and has been dropped."""
        key = key_of(name)
        with self._lock:
            if ticket is not None and self._queued.get(key) != ticket:
                return False
            if key not in self._kept:
                self._kept.add(key, size)
                self.counts.kept += 1
                self.counts.kept_bytes += size
        return True

    def _forget(self, key: int) -> bool:
        with self._lock:
            return self._kept.remove(key)
