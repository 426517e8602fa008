"""Open files: handles over the data path, and inodes that are held open though their last name is gone.

Shared across awaits: the handle table and the counts of opens per inode; both change between awaits only.
"""

import os
from dataclasses import dataclass

from ...common.errors import InvalidArgument
from ..data.file_data import FileData, Reader


@dataclass(slots=True)
class FileHandle:
    """One open(2). ``errors_seen``: how many of the file's latched errors this handle has reported."""

    inode_id: int
    flags: int
    file: FileData
    reader: Reader
    errors_seen: int

    @property
    def append(self) -> bool:
        """True when every write goes to the end."""
        return bool(self.flags & os.O_APPEND)

    @property
    def synchronous(self) -> bool:
        """True when every write is durable before it returns (O_SYNC, O_DSYNC)."""
        return bool(self.flags & (os.O_SYNC | os.O_DSYNC))


class OpenFiles:
    """Handles of regular files."""

    def __init__(self) -> None:
        self._handles: dict[int, FileHandle] = {}
        self._opens: dict[int, int] = {}  # inode -> handles
        self._orphans: set[int] = set()
        self._last = 0

    def add(self, handle: FileHandle) -> int:
        """Register a handle and return its number."""
        self._last += 1
        self._handles[self._last] = handle
        self._opens[handle.inode_id] = self._opens.get(handle.inode_id, 0) + 1
        return self._last

    def get(self, number: int) -> FileHandle:
        """Return a handle. Raises InvalidArgument for a number that is not open."""
        try:
            return self._handles[number]
        except KeyError:
            raise InvalidArgument(f"handle {number} is not open") from None

    def remove(self, number: int) -> tuple[FileHandle, bool]:
        """Forget a handle; also says whether it was the last one of an orphan."""
        handle = self._handles.pop(number)
        left = self._opens[handle.inode_id] - 1
        if left:
            self._opens[handle.inode_id] = left
            return handle, False
        del self._opens[handle.inode_id]
        if handle.inode_id in self._orphans:
            self._orphans.discard(handle.inode_id)
            return handle, True
        return handle, False

    def is_open(self, inode_id: int) -> bool:
        """True when some handle of this mount has the inode open."""
        return inode_id in self._opens

    def orphaned(self, inode_id: int) -> None:
        """The last name of an open inode is gone; the server keeps it for this session."""
        assert inode_id in self._opens, "held, but not open"
        self._orphans.add(inode_id)

    def is_orphan(self, inode_id: int) -> bool:
        """True for an open inode without a name."""
        return inode_id in self._orphans

    def numbers(self) -> list[int]:
        """Return the numbers of all open handles."""
        return list(self._handles)
