"""An object store in a plain folder: a key is a path below it.

An object appears whole or not at all: it is written beside its place, synced, and renamed. Names that begin with a
dot and a hash are temporary files of puts that did not finish; listings leave them out.
"""

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..common.errors import InvalidArgument
from .protocol import ObjectInfo, ObjectNotFound, ObjectStoreError, StoreFull, StoreRefused, StoreUnavailable

_TEMPORARY = ".#"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class FolderStore:
    """Objects as files below a folder, which is made if missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._made: set[Path] = set()
        self._lock = threading.Lock()
        with self._translated(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object durably."""
        path = self._path(key)
        temporary = path.parent / f"{_TEMPORARY}{os.getpid()}.{next(self._numbers)}"
        with self._translated(key):
            self._make(path.parent)
            try:
                try:
                    self._write(temporary, data)
                except FileNotFoundError:  # a delete took the empty folder away
                    self._forget_made(path.parent)
                    self._make(path.parent)
                    self._write(temporary, data)
                temporary.rename(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            _sync_folder(path.parent)

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        with self._translated(key), self._path(key).open("rb", buffering=0) as file:
            wanted = os.fstat(file.fileno()).st_size - start if size is None else size
            return os.pread(file.fileno(), max(0, wanted), start)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, and folders that became empty."""
        for key in keys:
            path = self._path(key)
            with self._translated(key):
                path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self._folder:
                    break
                try:
                    parent.rmdir()
                except OSError:
                    break
                self._forget_made(parent)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order."""
        found: list[ObjectInfo] = []
        with self._translated(prefix):
            for key, path in self._walk(self._folder, "", prefix, after):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append(ObjectInfo(key, status.st_size, status.st_mtime_ns))
                if len(found) == limit:
                    break
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _walk(self, folder: Path, at: str, prefix: str, after: str) -> Iterator[tuple[str, Path]]:
        """Yield (key, path) in key order. A folder sorts as its name and a slash: 'a-b' comes before 'a/b'."""
        try:
            entries = [(e.name + "/" if e.is_dir(follow_symlinks=False) else e.name) for e in os.scandir(folder)]
        except FileNotFoundError:
            return
        for entry in sorted(entries):
            key = at + entry
            if entry.endswith("/"):
                # Everything below begins with `key`: skip it when it cannot match, or all of it was seen.
                if (prefix.startswith(key) or key.startswith(prefix)) and not (
                    after > key and not after.startswith(key)
                ):
                    yield from self._walk(folder / entry[:-1], key, prefix, after)
            elif key.startswith(prefix) and key > after and not entry.startswith(_TEMPORARY):
                yield key, folder / entry

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") or part.startswith(_TEMPORARY) for part in parts):
            raise InvalidArgument(f"'{key}' is no object key")
        return self._folder.joinpath(*parts)

    def _write(self, path: Path, data: bytes | bytearray | memoryview) -> None:
        with path.open("xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fdatasync(file.fileno())

    def _make(self, folder: Path) -> None:
        """Make a folder and its parents durably; remembered, so that it costs nothing later."""
        if folder in self._made or folder == self._folder:
            return
        self._make(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)
        with self._lock:
            if len(self._made) > 10_000:
                self._made.clear()
            self._made.add(folder)

    def _forget_made(self, folder: Path) -> None:
        with self._lock:
            self._made = {one for one in self._made if one != folder and folder not in one.parents}

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ObjectNotFound(f"there is no object {key}") from error
        except OSError as error:
            raise _store_error(error.errno)(f"{self._folder}: {error.strerror}") from error


def _store_error(number: int | None) -> type[ObjectStoreError]:
    if number in _FULL:
        return StoreFull
    return StoreRefused if number in _REFUSED else StoreUnavailable


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
