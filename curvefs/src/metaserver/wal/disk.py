"""What the log needs of a disk: one folder of files that are only appended to. A simulated disk does the same.

A name is durable after sync_folder(), a file's bytes and size after sync(); before that a crash may keep any part of
what was done. After a sync that failed only rewrite() makes durable what was written: the kernel shows it, but will not
write it again. Every method blocks and raises OSError. An open file is an int, as a file descriptor is.
"""

import os
from pathlib import Path
from typing import Protocol

from ...common import failpoints
from ...common.machine import sync_folder

WRITTEN = failpoints.point("wal.written")


class Disk(Protocol):
    """One folder."""

    def path(self, name: str) -> str:
        """Return what messages call a file."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files, in no order."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return a range; less at the end of the file."""
        ...

    def open(self, name: str) -> int:
        """Open a file for appending."""
        ...

    def create(self, name: str) -> int:
        """Make an empty file and open it for appending. Raises FileExistsError."""
        ...

    def write(self, file: int, data: memoryview) -> int:
        """Append; return how many bytes of it were taken, at least 1."""
        ...

    def rewrite(self, name: str, offset: int, data: bytes) -> None:
        """Write the bytes that are there from ``offset`` on once more, in place; make them and the size durable."""
        ...

    def truncate(self, file: int, size: int) -> None:
        """Cut an open file."""
        ...

    def sync(self, file: int) -> None:
        """Make an open file's bytes and size durable."""
        ...

    def close(self, file: int) -> None:
        """Close a file."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a file."""
        ...

    def sync_folder(self) -> None:
        """Make the names durable."""
        ...

    def free_bytes(self) -> int:
        """Return how much room there is."""
        ...


class OsDisk:
    """A folder of the operating system, which exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> str:
        """See Disk."""
        return str(self._folder / name)

    def names(self) -> list[str]:
        """See Disk."""
        return [path.name for path in self._folder.iterdir()]

    def size(self, name: str) -> int:
        """See Disk."""
        return (self._folder / name).stat().st_size

    def read(self, name: str, offset: int, size: int) -> bytes:
        """See Disk."""
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def open(self, name: str) -> int:
        """See Disk."""
        return os.open(self._folder / name, os.O_WRONLY | os.O_APPEND)

    def create(self, name: str) -> int:
        """See Disk."""
        return os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, file: int, data: memoryview) -> int:
        """See Disk."""
        return os.write(file, data)

    def rewrite(self, name: str, offset: int, data: bytes) -> None:
        """See Disk."""
        file = os.open(self._folder / name, os.O_WRONLY)  # not for appending: Linux would append, wherever it is told
        try:
            rest = memoryview(data)
            while rest:
                taken = os.pwrite(file, rest, offset)
                rest, offset = rest[taken:], offset + taken
            os.fdatasync(file)
        finally:
            os.close(file)

    def truncate(self, file: int, size: int) -> None:
        """See Disk."""
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """See Disk. fdatasync(2) flushes the size too, and spares only the times."""
        failpoints.hit(WRITTEN)
        os.fdatasync(file)

    def close(self, file: int) -> None:
        """See Disk."""
        os.close(file)

    def unlink(self, name: str) -> None:
        """See Disk."""
        (self._folder / name).unlink()

    def sync_folder(self) -> None:
        """See Disk."""
        sync_folder(self._folder)

    def free_bytes(self) -> int:
        """See Disk."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize


def disk_of(folder: Path | Disk) -> Disk:
    """Return the disk itself, or the folder as one."""
    return OsDisk(folder) if isinstance(folder, Path) else folder
