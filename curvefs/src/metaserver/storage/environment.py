"""The state of a group in LMDB: one environment a group; the only importer of lmdb in the metaserver.

LMDB runs without sync: the log is the truth. After the process died the environment is whole; after the machine
stopped uncleanly (another boot id, no clean-stop mark) it must not be used, and is rebuilt from a checkpoint and the
log (rule 24). The applied index lies in the same transaction as what was applied.
"""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from ...common.errors import NoSpace, StartupError
from ...common.exits import ExitCode
from . import keys

FORMAT = 1
_FORMAT_KEY = keys.META + b"format"
_APPLIED_KEY = keys.META + b"applied"
_APPLIED = struct.Struct(">QQq")
_MARK = "mark.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
    """A group's state on disk. applied_index, applied_term and last_time_ns are of the last entry applied."""

    def __init__(self, folder: Path, *, map_size: int) -> None:
        self.folder = folder
        self._state = folder / "state"
        self._state.mkdir(parents=True, exist_ok=True)
        self._map_size = map_size
        self._env = self._open()
        self.applied_index = self.applied_term = self.last_time_ns = 0
        self._load()

    def _open(self) -> Any:
        try:
            return lmdb.open(
                str(self._state),
                map_size=self._map_size,
                sync=False,
                metasync=False,
                max_readers=256,
                max_dbs=4,
                readahead=False,
            )
        except lmdb.Error as error:
            raise StartupError(f"{self._state} cannot be opened: {error}", ExitCode.DAMAGED) from error

    def _load(self) -> None:
        with self._env.begin() as txn:
            version = txn.get(_FORMAT_KEY)
            applied = txn.get(_APPLIED_KEY)
        if version is not None and int.from_bytes(version, "big") != FORMAT:
            raise StartupError(
                f"{self._state} has format {int.from_bytes(version, 'big')}; this version reads {FORMAT}",
                ExitCode.DATA_FOLDER,
            )
        if applied is not None:
            self.applied_index, self.applied_term, self.last_time_ns = _APPLIED.unpack(applied)

    @contextmanager
    def read(self) -> Iterator[LmdbTransaction]:
        """A consistent view for as long as the context lasts; keep it short."""
        with self._env.begin() as txn:
            yield LmdbTransaction(txn)

    @contextmanager
    def write(self) -> Iterator[LmdbTransaction]:
        """Change the state, all or nothing. Raises NoSpace; then nothing was changed."""
        try:
            with self._env.begin(write=True) as txn:
                yield LmdbTransaction(txn)
        except (lmdb.MapFullError, lmdb.DiskError) as error:
            raise NoSpace(f"no room left in {self._state}: {error}") from error
        except lmdb.Error as error:
            if "No space left" in str(error):
                raise NoSpace(f"no room left in {self._state}") from error
            raise

    def put_applied(self, txn: LmdbTransaction, index: int, term: int, time_ns: int) -> None:
        """Record, within the transaction that applies it, which entry was the last."""
        txn.put(_FORMAT_KEY, FORMAT.to_bytes(4, "big"))
        txn.put(_APPLIED_KEY, _APPLIED.pack(index, term, time_ns))

    def now_applied(self, index: int, term: int, time_ns: int) -> None:
        """Note it in memory, once that transaction is committed."""
        self.applied_index, self.applied_term, self.last_time_ns = index, term, time_ns

    def used_bytes(self) -> int:
        """Return how large the state is."""
        info, status = self._env.info(), self._env.stat()
        return int(info["last_pgno"]) * int(status["psize"])

    def copy(self, descriptor: int) -> None:
        """Write a consistent, compacted copy to a file; C code that leaves the interpreter free. Blocks."""
        self._env.copyfd(descriptor, compact=True)

    def replace(self, copy: Path | None) -> None:
        """Throw the state away; begin with a copy, or with nothing."""
        self._env.close()
        shutil.rmtree(self._state)
        self._state.mkdir()
        if copy is not None:
            shutil.copyfile(copy, self._state / "data.mdb")
        self._env = self._open()
        self.applied_index = self.applied_term = self.last_time_ns = 0
        self._load()

    # ---------------------------------------------------------------------------- clean and unclean stops

    def is_trustworthy(self) -> bool:
        """False after the machine stopped without a clean stop of this process."""
        mark = self._mark()
        return not mark or bool(mark["clean"]) or mark["boot_id"] == _boot_id()

    def mark_used(self) -> None:
        """Record, durably, that the state is in use during this boot."""
        self._write_mark(clean=False)

    def close(self) -> None:
        """Sync and mark a clean stop."""
        self._env.sync(True)
        self._env.close()
        self._write_mark(clean=True)

    def _mark(self) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = json.loads((self.folder / _MARK).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StartupError(f"{self.folder / _MARK} is damaged", ExitCode.DAMAGED) from error
        return loaded

    def _write_mark(self, *, clean: bool) -> None:
        beside = self.folder / (_MARK + ".new")
        with beside.open("w") as file:
            json.dump({"boot_id": _boot_id(), "clean": clean}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self.folder / _MARK)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()
