"""The state of a group in LMDB: one environment a group; the only importer of lmdb in the metaserver.

LMDB runs without sync: the log is the truth. After the process died the environment is whole, because what it wrote
is the kernel's; after the machine stopped uncleanly it may be anything, and is rebuilt from a checkpoint and the log
(rule 24). The applied index lies in the same transaction as what was applied.

Which of the two it was is told by the mark, a small file beside the environment that is synced before the environment
is first written: the kernel's boot id, and whether it was closed cleanly. It is not in the environment, because a flag
in there could reach the disk without the pages it speaks of.

A state that cannot be trusted is discarded, and the mark names no boot until it is decided what takes its place: by
restore(), or by a first write to the empty one. A process that dies before that finds it discarded again.

A sync that fails says that the kernel has given up pages: it shows them for a while, calls them clean, and may forget
them, also in this boot. Such a state is lost: it is never copied any more, and the mark says so for the next start. So
that this is noticed it is synced before it is opened, before it is copied, and when it is closed.

Another state takes the place of this one by one rename of LMDB's file: whoever dies finds the old or the new. Views of
the old one go on; LMDB closes it after the last.

Invariants:
    the mark says "in use" durably whenever the environment may be written
    the environment is not closed while another thread copies it or reads it at length

Shared between threads: `is_closing` and `_lent`, under `_returned`; `_env`, which is replaced as a whole; `is_lost`.
"""

import contextlib
import errno
import json
import os
import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import lmdb
import structlog

from ...common.errors import NoSpace, StartupError, Unavailable
from ...common.exits import ExitCode
from ...common.machine import sync_folder
from . import keys

_log = structlog.get_logger()

MARK_FORMAT = 1
_FORMAT_KEY = keys.META + b"format"
_APPLIED_KEY = keys.META + b"applied"
_CONFIGURATION_KEY = keys.META + b"configuration"
_APPLIED = struct.Struct(">QQq")
_MARK = "state.mark"
_NO_BOOT = ""  # in a mark: what is there is not to be trusted
_DATA, _LOCK = "data.mdb", "lock.mdb"  # LMDB's names of its files
# Below this much room a failed commit is taken for a full disk, whatever LMDB calls it: a short write() is EIO there.
_ROOM_BYTES = 1 << 20
# One at a time on the event loop, and those that read at length in threads.
_READERS_MAX = 126
# Copying is C code that cannot be stopped.
_CLOSE_DEADLINE_S = 60.0


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

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield everything in key order."""
        with self._txn.cursor() as cursor:
            yield from cursor

    def count(self) -> int:
        """Return how many pairs there are."""
        return int(self._txn.stat()["entries"])

    def end(self) -> None:
        """End a read transaction and let go of it.

        LMDB has a bounded number of places for readers, and one is taken for as long as anybody refers to the
        transaction itself: a variable of a task that waits, or the trace of an error.
        """
        self._txn.abort()
        self._txn = None
        self.get = self.delete = _ended


def _ended(*_: object) -> NoReturn:
    raise AssertionError("the view has ended")


class Environment:
    """A group's state on disk, in ``folder``. ``applied``: the last entry applied.

    ``is_lost``: the disk has not taken what was written; nothing may be served from it any more.
    """

    def __init__(self, folder: Path, *, map_size: int, boot_id: str) -> None:
        """Open it, or begin an empty one; one that cannot be trusted is thrown away first. Blocks.

        map_size: bytes the state may take. boot_id: the kernel's, of this boot.
        Raises StartupError: DATA_FOLDER for a newer format, DAMAGED; OSError.
        """
        self._folder = folder
        self._state = folder / "state"
        self._map_size = map_size
        self._boot_id = boot_id
        self.is_closing = False  # who reads at length gives up
        self.is_lost = False
        self._lent = 0
        self._returned = threading.Condition()
        # What is unmarked was never in use, or its files were put here by somebody.
        exists = self._state.exists() or (folder / _MARK).exists()
        self.discarded = exists and not (self._is_trustworthy() and self._is_on_disk())
        self._is_decided = not self.discarded
        self._write_mark(clean=False)
        if self.discarded:
            _remove(self._state)
        _remove(self._restoring)
        self._env = self._open()
        self._is_open = True
        self.applied = self._load()

    @contextmanager
    def read(self) -> Iterator[LmdbTransaction]:
        """A consistent view for as long as the context lasts; keep it short: it keeps old pages."""
        view = LmdbTransaction(self._env.begin())
        try:
            yield view
        finally:
            view.end()

    @contextmanager
    def read_at_length(self) -> Iterator[LmdbTransaction]:
        """A consistent view for a thread that takes its time, and gives up when is_closing says so.

        Raises Unavailable when the environment is being closed.
        """
        with self._lend(), self.read() as view:
            yield view

    @contextmanager
    def write(self) -> Iterator[LmdbTransaction]:
        """Change the state, all or nothing. Raises NoSpace; then nothing was changed."""
        self._decide()
        try:
            with self._env.begin(write=True) as txn:
                yield LmdbTransaction(txn)
        except lmdb.Error as error:
            if (full := _full(error, self._state)) is not None:
                raise full from error
            raise

    def applied_in(self, view: LmdbTransaction) -> Applied:
        """Return the last entry applied, as a view has it."""
        return _applied_in(view)

    def configuration_in(self, view: LmdbTransaction) -> bytes:
        """Return the group's configuration at the last entry applied; empty when none was applied yet."""
        return view.get(_CONFIGURATION_KEY) or b""

    def put_configuration(self, txn: LmdbTransaction, configuration: bytes) -> None:
        """Record a configuration within the transaction that applies its entry."""
        txn.put(_CONFIGURATION_KEY, configuration)

    def put_applied(self, txn: LmdbTransaction, applied: Applied) -> None:
        """Record, within the transaction that applies it, which entry was the last."""
        txn.put(_FORMAT_KEY, keys.FORMAT.to_bytes(4, "big"))
        txn.put(_APPLIED_KEY, _APPLIED.pack(applied.index, applied.term, applied.time_ns))

    def used_bytes(self) -> int:
        """Return how large the state is."""
        return int(self._env.info()["last_pgno"] + 1) * int(self._env.stat()["psize"])

    def copy(self, descriptor: int) -> None:
        """Write a consistent, compacted copy to a file; C code that leaves the interpreter free. Blocks.

        Raises OSError when it cannot be written or the state is lost, Unavailable when the environment is being closed.
        """
        with self._lend():
            self._sync()
            try:
                self._env.copyfd(descriptor, compact=True)
            except lmdb.Error as error:
                is_full = _full(error, self._state) is not None
                raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error

    def restore(self, copy: Path) -> None:
        """Replace the state by a file that copy() wrote; the file stays. Blocks; see replace()."""
        _remove(self._restoring)
        self._restoring.mkdir()
        shutil.copyfile(copy, data_file(self._restoring))
        self.replace(self._restoring)

    def replace(self, state: Path) -> None:
        """Replace the state by that of another folder in the same filesystem, which is gone then. Blocks.

        Nothing may be written meanwhile; reading goes on. A process that dies finds the old state or the new one. If
        the machine dies, neither is trusted: a checkpoint of the new one must be there before.
        Raises OSError, and then the old one stays; StartupError when the new one cannot be opened.
        """
        with contextlib.suppress(OSError):
            # It keeps the old state's bytes: freeing them, below, takes long. There are filesystems without links.
            os.link(data_file(self._state), state / "replaced.mdb")
        data_file(state).rename(data_file(self._state))
        # The new environment must not share it with the old one, which may still have views.
        (self._state / _LOCK).unlink(missing_ok=True)
        self._env = self._open()
        self.applied = self._load()
        self._decide()
        shutil.rmtree(state, ignore_errors=True)

    def close(self, *, keep: bool = True) -> None:
        """Sync and mark a clean stop. Blocks. After an OSError the state is rebuilt at the next boot, if not before.

        keep: False when it is thrown away next, so that nothing need be synced. Nothing is done when it is closed.
        """
        with self._returned:
            self.is_closing = True
            if not self._returned.wait_for(lambda: not self._lent, _CLOSE_DEADLINE_S):
                raise TimeoutError(errno.EBUSY, f"the state in {self._state} is still being read")
        if not self._is_open:
            return
        self._is_open = False
        try:
            if keep:
                self._sync()
        finally:
            self._env.close()
        if not keep:
            return
        sync_folder(self._state)
        self._write_mark(clean=self._is_decided)

    @property
    def _restoring(self) -> Path:
        return self._folder / "state.restoring"

    @contextmanager
    def _lend(self) -> Iterator[None]:
        with self._returned:
            if self.is_closing:
                raise Unavailable(f"the state in {self._state} is being closed")
            self._lent += 1
        try:
            yield
        finally:
            with self._returned:
                self._lent -= 1
                self._returned.notify_all()

    def _sync(self) -> None:
        """Make the state durable. Raises OSError; then it is lost."""
        if self.is_lost:
            # Asked again, the kernel would not tell.
            raise OSError(errno.EIO, f"the disk has not taken the state in {self._state}")
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            self.is_lost = True
            self._write_mark(clean=False)
            raise OSError(errno.EIO, f"the disk has not taken the state in {self._state}: {error}") from error

    def _is_on_disk(self) -> bool:
        """Have the disk take what a process before this one may have left to the kernel. Says whether it did."""
        try:
            descriptor = os.open(data_file(self._state), os.O_RDONLY)
        except FileNotFoundError:
            return True  # there is nothing, or not yet
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            _log.error("the disk has not taken a state", folder=str(self._state), reason=error.strerror)
            return False
        finally:
            os.close(descriptor)
        return True

    def _decide(self) -> None:
        """What is there from now on is the state."""
        if not self._is_decided:
            self._is_decided = True
            self._write_mark(clean=False)

    def _open(self) -> Any:
        self._state.mkdir(parents=True, exist_ok=True)
        try:
            return lmdb.open(
                str(self._state),
                map_size=self._map_size,
                sync=False,
                metasync=False,
                max_readers=_READERS_MAX,
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
        boot_id = self._boot_id if self._is_decided and not self.is_lost else _NO_BOOT
        text = json.dumps({"format": MARK_FORMAT, "boot_id": boot_id, "clean": clean})
        write_durably(self._folder / _MARK, text.encode("ascii"))


class StateBuilder:
    """A new state folder, filled batch by batch in key order; leave its context before it is used. Everything blocks.

    Methods raise NoSpace.
    """

    def __init__(self, folder: Path, *, map_size: int) -> None:
        """Make the folder. Raises OSError."""
        self._folder = folder
        folder.mkdir()
        try:
            # Nobody else opens it now, so there need not be a lock.
            self._env = lmdb.open(str(folder), map_size=map_size, sync=False, lock=False, readahead=False)
        except lmdb.Error as error:
            raise OSError(errno.EIO, f"{folder} cannot be opened: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._env.close()

    def add(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Add pairs whose keys are above all that came before."""
        with self._write() as txn, txn.cursor() as cursor:
            _, added = cursor.putmulti(pairs, append=True)
            assert added == len(pairs), "the keys rise"

    def format(self) -> int:
        """Return the version of what was added."""
        with self._env.begin() as txn:
            version = txn.get(_FORMAT_KEY)
        return keys.FORMAT if version is None else int.from_bytes(version, "big")

    def is_of(self, applied: Applied, configuration: bytes) -> bool:
        """Say whether that is the last entry applied in it, and its configuration; one that has none gets it."""
        with self._write() as txn:
            found = txn.get(_CONFIGURATION_KEY)
            if not found:
                txn.put(_CONFIGURATION_KEY, configuration)
            return (found or configuration) == configuration and _applied_in(txn) == applied

    def sync(self) -> None:
        """Make it durable, but for the folder's name."""
        self._env.sync(True)
        sync_folder(self._folder)

    @contextmanager
    def _write(self) -> Iterator[Any]:
        try:
            with self._env.begin(write=True) as txn:
                yield txn
        except lmdb.Error as error:
            if (full := _full(error, self._folder)) is not None:
                raise full from error
            raise


def data_file(state: Path) -> Path:
    """Return the only file of a state folder that is not in use."""
    return state / _DATA


def write_durably(path: Path, data: bytes) -> None:
    """Replace a small file, all or nothing, and make it durable. Blocks. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    sync_folder(path.parent)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _applied_in(view: Any) -> Applied:
    raw = view.get(_APPLIED_KEY)
    return Applied() if raw is None else Applied(*_APPLIED.unpack(raw))


def _full(error: lmdb.Error, folder: Path) -> NoSpace | None:
    """Return what an error of LMDB means if it means that there is no room."""
    if isinstance(error, lmdb.MapFullError):
        return NoSpace(f"the state in {folder} has reached its size limit")
    status = os.statvfs(folder)
    if (
        status.f_bavail * status.f_frsize < _ROOM_BYTES
        or isinstance(error, lmdb.DiskError)
        or os.strerror(errno.ENOSPC) in str(error)
    ):
        return NoSpace(f"no room left on the disk for {folder}")
    return None


def _newer(path: Path, version: int, known: int) -> StartupError:
    return StartupError(
        f"{path} is of version {version}; this version of curvefs-metaserver knows up to {known}",
        ExitCode.DATA_FOLDER,
    )
