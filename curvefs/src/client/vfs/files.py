"""An open file: one handle over the data path. Handles themselves are kept by handles.py."""

import os
from dataclasses import dataclass

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
