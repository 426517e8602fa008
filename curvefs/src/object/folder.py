"""An object store in a plain folder: a key is a path below it.

An object appears whole or not at all: it is written in ``.incoming``, synced, and renamed to its place. What a killed
process left in ``.incoming`` is removed when a store is opened an hour later.

Unlike in S3, no object can lie below another: ``a`` and ``a/b`` exclude each other. Several processes may use one
folder, of one user: nobody else may read what permissions in the filesystem hide.
Shared between threads: only the set of folders known to be durable, under its lock.
"""

import contextlib
import errno
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..common.errors import InvalidArgument
from ..common.machine import sync_folder
from .keys import check_key
from .protocol import ObjectInfo, ObjectNotFound, ObjectStoreError, StoreFull, StoreRefused, StoreUnavailable

_INCOMING = ".incoming"
_INCOMING_AGE_S_MAX = 3600
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_FOLDERS_REMEMBERED_MAX = 10_000
# How often a put makes its folder again while deletions keep taking the empty folder away.
_PUT_ATTEMPTS = 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class FolderStore:
    """Objects as files below a folder.

    make: the folder, if it is missing; else it must be one that was made so. A disk that is not mounted, or a folder
    that this machine does not share with the others, would swallow what is stored, and have nothing to delete.
    Raises StoreUnavailable then, and when the folder vanishes later, or ``.incoming`` in it, as when the folder is a
    mountpoint whose disk goes: neither is made a second time.
    """

    def __init__(self, folder: Path, *, make: bool = True) -> None:
        self._folder = folder
        self._incoming = folder / _INCOMING
        self._names = (f"{token}.{n}" for token in [secrets.token_hex(8)] for n in itertools.count())
        self._durable: set[Path] = set()
        self._lock = threading.Lock()  # over _names and _durable
        with self._translated():
            if make:
                folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
            elif not folder.is_dir() or not any(folder.iterdir()):
                raise StoreUnavailable(f"{folder} is missing or empty: is it mounted, and shared by all machines?")
            self._incoming.mkdir(_FOLDER_MODE, exist_ok=True)
            self._sweep()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object durably."""
        path = self._path(key)
        with self._lock:
            temporary = self._incoming / next(self._names)
        with self._translated():
            try:
                _write(temporary, data)
                self._move(temporary, path)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                raise InvalidArgument(f"'{key}': no object can lie below another in a folder") from error
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()  # gone unless something failed

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        with self._translated():
            try:
                with self._path(key).open("rb", buffering=0) as file:
                    wanted = os.fstat(file.fileno()).st_size - start if size is None else size
                    return _read(file.fileno(), start, wanted)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                self._check_there()
                raise ObjectNotFound(f"{self._folder}: there is no object {key}") from error

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, and folders that became empty."""
        for path in [self._path(key) for key in keys]:
            with self._translated():
                try:
                    path.unlink()
                except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                    self._check_there()
            self._remove_empty(path.parent)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order."""
        found: list[ObjectInfo] = []
        with self._translated():
            self._check_there()
            for key, path in self._walk(self._folder, "", prefix, after):
                if len(found) >= limit:
                    break
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append(ObjectInfo(key, status.st_size, status.st_mtime_ns))
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, key: str) -> Path:
        check_key(key)
        parts = key.split("/")
        if parts[0] == _INCOMING:
            raise InvalidArgument(f"'{key}' is no object key here")
        return self._folder.joinpath(*parts)

    def _walk(self, folder: Path, at: str, prefix: str, after: str) -> Iterator[tuple[str, Path]]:
        """Yield (key, path) in key order. A folder sorts as its name and a slash: 'a-b' comes before 'a/b'."""
        try:
            with os.scandir(folder) as entries:
                names = [one.name + "/" if one.is_dir(follow_symlinks=False) else one.name for one in entries]
        except FileNotFoundError:  # became empty and was removed
            return
        for name in sorted(names):
            key = at + name
            if not name.endswith("/"):
                if key.startswith(prefix) and key > after:
                    yield key, folder / name
            elif key != f"{_INCOMING}/":
                # Everything below begins with `key`: skip it when it cannot match, or all of it was seen.
                matches = prefix.startswith(key) or key.startswith(prefix)
                if matches and (after < key or after.startswith(key)):
                    yield from self._walk(folder / name, key, prefix, after)

    def _move(self, temporary: Path, path: Path) -> None:
        """Rename into place, durably."""
        for left in reversed(range(_PUT_ATTEMPTS)):
            try:
                self._make(path.parent)
                temporary.rename(path)
                break
            except FileNotFoundError:  # a delete, of any process, took the empty folder away
                with self._lock:
                    self._durable.difference_update(path.parents)
                if not left:
                    raise
        with contextlib.suppress(FileNotFoundError):  # it was put, and deleted again by someone
            sync_folder(path.parent)

    def _make(self, folder: Path) -> None:
        """Make a folder and its parents below ours durably; remembered, so that it costs nothing later."""
        if folder == self._folder or folder in self._durable:
            return
        self._make(folder.parent)
        with contextlib.suppress(FileExistsError):  # should an object lie there, renaming below it fails
            folder.mkdir(_FOLDER_MODE)
        sync_folder(folder.parent)
        with self._lock:
            if len(self._durable) >= _FOLDERS_REMEMBERED_MAX:
                self._durable.clear()
            self._durable.add(folder)

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and its parents below ours as far as they are empty."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            with self._lock:
                self._durable.discard(folder)
            folder = folder.parent

    def _check_there(self) -> None:
        if not self._incoming.is_dir():  # a mountpoint stays when its disk goes
            raise StoreUnavailable(f"{self._folder}: the folder is gone")

    def _sweep(self) -> None:
        """Remove what puts of killed processes left; a put under way writes, so its file is young."""
        oldest = time.time() - _INCOMING_AGE_S_MAX
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the system's errors into ours: the one place."""
        try:
            yield
        except OSError as error:
            raise _store_error(error.errno)(f"{self._folder}: {error.strerror}") from error


def _store_error(number: int | None) -> type[ObjectStoreError]:
    if number in _FULL:
        return StoreFull
    return StoreRefused if number in _REFUSED else StoreUnavailable


def _write(path: Path, data: bytes | bytearray | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int, start: int, size: int) -> bytes:
    """Return up to ``size`` bytes, short only at the end of the file: Linux gives at most 2 GiB at once."""
    pieces: list[bytes] = []
    while size > 0 and (piece := os.pread(descriptor, size, start)):
        pieces.append(piece)
        start += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
