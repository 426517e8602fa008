"""An open file: one handle over the data path. Handles themselves are kept by handles.py."""

import os
from dataclasses import dataclass, field
from functools import partial

import trio

from ..data.file_data import FileData
from ..data.reader import Reader
from .kernel_pages import KernelPages
from .kernel_view import Opening

REGIONS_MAX = 4096
TRIES_MAX = 4  # of putting a region into the kernel: all of it has to be in memory


def may_write(flags: int) -> bool:
    """Say whether a handle with these flags may change the file: O_TRUNC does with O_RDONLY as well."""
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)


@dataclass(slots=True)
class FileHandle:
    """One open(2). ``errors_seen``: how many of the file's latched errors this handle has reported."""

    inode_id: int
    flags: int
    file: FileData
    reader: Reader
    errors_seen: int
    opening: Opening | None = None  # until the kernel is known to have done what it was told
    tries: dict[int, int] = field(default_factory=dict)  # to put a region of the file into the kernel
    closed: bool = False  # nobody keeps the file's slice lists true any more

    @property
    def append(self) -> bool:
        """True when every write goes to the end."""
        return bool(self.flags & os.O_APPEND)

    @property
    def writes(self) -> bool:
        """True when it may change the file."""
        return may_write(self.flags)

    def arrivals_of_pages(self, offset: int) -> list[tuple[int, trio.Event]]:
        """Return where the kernel should have more than it asked for at an offset, and what is set once it is here."""
        if self.flags & os.O_DIRECT or not self.reader.jumped:
            return []
        untried = (at for at in (offset, *self.file.take_coming()) if self._may_try(at))
        return [(at, arrival) for at in untried if (arrival := self.file.arrival(at)) is not None]

    def _may_try(self, offset: int) -> bool:
        return self.tries.get(self.file.region_at(offset), 0) < TRIES_MAX

    async def give_pages(self, pages: KernelPages, offset: int, arrival: trio.Event) -> None:
        """Put the region around an offset, which is wanted, into the kernel when it has arrived."""
        try:
            await arrival.wait()
            await pages.put_from(self.inode_id, partial(self._take_pages, offset))
        finally:
            pages.unwant(self.inode_id, self.file.region_at(offset))

    def _take_pages(self, offset: int) -> tuple[int, bytes] | None:
        """Return the region around an offset, and where it begins, if all of it is in memory."""
        if self.closed:
            return None
        region = self.file.region_at(offset)
        if len(self.tries) >= REGIONS_MAX:
            self.tries.clear()
        found = self.file.region_in_memory(offset)
        self.tries[region] = TRIES_MAX if found else self.tries.get(region, 0) + 1
        return found

    @property
    def synchronous(self) -> bool:
        """True when every write is durable before it returns (O_SYNC, O_DSYNC)."""
        return bool(self.flags & (os.O_SYNC | os.O_DSYNC))
