"""The state of a group in LMDB: one environment a group; the only importer of lmdb in the metaserver.

LMDB runs without sync: the log is the truth. After the process died the environment is whole, because what it wrote
is the kernel's; after the machine stopped uncleanly it may be anything, and is rebuilt from a checkpoint and the log
(rule 24). The applied index lies in the same transaction as what was applied.

Which of the two it was is told by the mark, a small file beside the environment that is synced before the environment
is first written: the kernel's boot id, and whether it was closed cleanly. It is not in the environment, because a flag
in there could reach the disk without the pages it speaks of.

Invariant: the mark says "in use" durably whenever the environment may be written.
"""

import errno
import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from ...common.errors import NoSpace, StartupError
from ...common.exits import ExitCode
from . import keys

MARK_FORMAT = 1
_FORMAT_KEY = keys.META + b"format"
_APPLIED_KEY = keys.META + b"applied"
_APPLIED = struct.Struct(">QQq")
_MARK = "state.mark"
# Below this much room a failed commit is taken for a full disk, whatever LMDB calls it: a short write() is EIO there.
_ROOM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Applied:
    """The last entry applied: index, term, time."""

    index: int = 0
    term: int = 0
    time_ns: int = 0


class LmdbTransaction:
    """A StateTransaction (or, of a read transaction, a StateReader) over LMDB."""

    __slots__ = ("_txn", "delete", "get")

    def __init__(self, txn: Any) -> None:
        self._txn = txn
        self.get = txn.get
        self.delete = txn.delete

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._txn.put(key, value)

    def scan(self, start: bytes, end: bytes, limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < end in key order."""
        if limit == 0:
            return
        with self._txn.cursor() as cursor:
            if not cursor.set_range(start):
                return
            for count, (key, value) in enumerate(cursor, 1):
                if key >= end:
                    return
                yield key, value
                if count == limit:
                    return


class Environment:
    """A group's state on disk, in ``folder``. ``applied``: the last entry applied."""

    def __init__(self, folder: Path, *, map_size: int, boot_id: str) -> None:
        """Open it, or begin an empty one; one that cannot be trusted is thrown away first. Blocks.

        map_size: bytes the state may take. boot_id: the kernel's, of this boot.
        Raises StartupError: DATA_FOLDER for a newer format, DAMAGED; OSError.
        """
        self._folder = folder
        self._state = folder / "state"
        self._map_size = map_size
        self._boot_id = boot_id
        # What is unmarked was never in use, or its files were put here by somebody.
        self.discarded = self._state.exists() and not self._is_trustworthy()
        if self.discarded:
            shutil.rmtree(self._state)
        self._write_mark(clean=False)
        self._env = self._open()
        self.applied = self._load()

    @contextmanager
    def read(self) -> Iterator[LmdbTransaction]:
        """A consistent view for as long as the context lasts; keep it short: it keeps old pages."""
        with self._env.begin() as txn:
            yield LmdbTransaction(txn)

    @contextmanager
    def write(self) -> Iterator[LmdbTransaction]:
        """Change the state, all or nothing. Raises NoSpace; then nothing was changed."""
        try:
            with self._env.begin(write=True) as txn:
                yield LmdbTransaction(txn)
        except lmdb.MapFullError as error:
            raise NoSpace(f"the state in {self._state} has reached its size limit") from error
        except lmdb.Error as error:
            if self._is_full(error):
                raise NoSpace(f"no room left on the disk for {self._state}") from error
            raise

    def applied_in(self, view: LmdbTransaction) -> Applied:
        """Return the last entry applied, as a view has it."""
        raw = view.get(_APPLIED_KEY)
        return Applied() if raw is None else Applied(*_APPLIED.unpack(raw))

    def put_applied(self, txn: LmdbTransaction, applied: Applied) -> None:
        """Record, within the transaction that applies it, which entry was the last."""
        txn.put(_FORMAT_KEY, keys.FORMAT.to_bytes(4, "big"))
        txn.put(_APPLIED_KEY, _APPLIED.pack(applied.index, applied.term, applied.time_ns))

    def used_bytes(self) -> int:
        """Return how large the state is."""
        return int(self._env.info()["last_pgno"] + 1) * int(self._env.stat()["psize"])

    def copy(self, descriptor: int) -> None:
        """Write a consistent, compacted copy to a file; C code that leaves the interpreter free. Blocks.

        Raises OSError when it cannot be written.
        """
        try:
            self._env.copyfd(descriptor, compact=True)
        except lmdb.Error as error:
            raise OSError(errno.ENOSPC if self._is_full(error) else errno.EIO, str(error)) from error

    def restore(self, copy: Path) -> None:
        """Replace the state by a copy. Blocks. Raises StartupError, OSError."""
        self._env.close()
        shutil.rmtree(self._state)
        self._state.mkdir()
        shutil.copyfile(copy, self._state / "data.mdb")
        self._env = self._open()
        self.applied = self._load()

    def close(self) -> None:
        """Sync and mark a clean stop. Blocks. After an OSError the state is rebuilt at the next boot."""
        self._env.sync(True)
        self._env.close()
        self._write_mark(clean=True)

    def _open(self) -> Any:
        self._state.mkdir(parents=True, exist_ok=True)
        try:
            return lmdb.open(
                str(self._state),
                map_size=self._map_size,
                sync=False,
                metasync=False,
                max_readers=64,
                # Keys are spread by hashes: what the kernel would read ahead is not what comes next.
                readahead=False,
            )
        except lmdb.Error as error:
            raise StartupError(f"the state in {self._state} cannot be opened: {error}", ExitCode.DAMAGED) from error

    def _load(self) -> Applied:
        with self.read() as view:
            version = view.get(_FORMAT_KEY)
            applied = self.applied_in(view)
        if version is not None and int.from_bytes(version, "big") > keys.FORMAT:
            raise _newer(self._state, int.from_bytes(version, "big"), keys.FORMAT)
        return applied

    def _is_full(self, error: lmdb.Error) -> bool:
        status = os.statvfs(self._folder)
        free_bytes = status.f_bavail * status.f_frsize
        return free_bytes < _ROOM_BYTES or isinstance(error, lmdb.DiskError) or os.strerror(errno.ENOSPC) in str(error)

    def _is_trustworthy(self) -> bool:
        """Say whether the machine has not stopped since the environment was last written, or it was closed cleanly."""
        try:
            mark = json.loads((self._folder / _MARK).read_text(encoding="ascii"))
            version, boot_id, clean = int(mark["format"]), str(mark["boot_id"]), bool(mark["clean"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        if version > MARK_FORMAT:
            raise _newer(self._folder / _MARK, version, MARK_FORMAT)
        return clean or boot_id == self._boot_id

    def _write_mark(self, *, clean: bool) -> None:
        text = json.dumps({"format": MARK_FORMAT, "boot_id": self._boot_id, "clean": clean})
        write_durably(self._folder / _MARK, text.encode("ascii"))


def write_durably(path: Path, data: bytes) -> None:
    """Replace a small file, all or nothing, and make it durable. Blocks. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _newer(path: Path, version: int, known: int) -> StartupError:
    return StartupError(
        f"{path} is of version {version}; this version of curvefs-metaserver knows up to {known}",
        ExitCode.DATA_FOLDER,
    )
