"""Open handles, and inodes that are held open though their last name is gone (rule 10): of files and of directories.

Shared across awaits: the table of handles and the counts of opens per inode; both change between awaits only.
"""

from typing import Generic, Protocol, TypeVar

from ...common.errors import InvalidArgument


class Handle(Protocol):
    """One open(2) or opendir(3)."""

    @property
    def inode_id(self) -> int:
        """What is open."""
        ...


H = TypeVar("H", bound=Handle)


class OpenHandles(Generic[H]):
    """Handles of one kind, by number."""

    def __init__(self) -> None:
        self._handles: dict[int, H] = {}
        self._opens: dict[int, int] = {}  # inode -> handles
        self._orphans: dict[int, bool] = {}  # inode -> whether its content is lost with the last handle
        self._last = 0

    def add(self, handle: H) -> int:
        """Register a handle and return its number."""
        self._last += 1
        self._handles[self._last] = handle
        self._opens[handle.inode_id] = self._opens.get(handle.inode_id, 0) + 1
        return self._last

    def get(self, number: int) -> H:
        """Return a handle. Raises InvalidArgument for a number that is not open."""
        try:
            return self._handles[number]
        except KeyError:
            raise InvalidArgument(f"handle {number} is not open") from None

    def remove(self, number: int) -> tuple[H, bool]:
        """Forget a handle; also says whether it was the last one of an orphan."""
        handle = self._handles.pop(number)
        left = self._opens[handle.inode_id] - 1
        if left:
            self._opens[handle.inode_id] = left
            return handle, False
        del self._opens[handle.inode_id]
        if handle.inode_id in self._orphans:
            del self._orphans[handle.inode_id]
            return handle, True
        return handle, False

    def is_open(self, inode_id: int) -> bool:
        """True when some handle of this mount has the inode open."""
        return inode_id in self._opens

    def orphaned(self, inode_id: int, *, doomed: bool) -> None:
        """The last name of an open inode is gone; the server keeps it for this session.

        doomed: it is not in the trash.
        """
        assert inode_id in self._opens, "held, but not open"
        self._orphans[inode_id] = doomed

    def is_orphan(self, inode_id: int) -> bool:
        """True for an open inode without a name."""
        return inode_id in self._orphans

    def is_doomed(self, inode_id: int) -> bool:
        """True for one whose content nobody will ask for after the last close."""
        return self._orphans.get(inode_id, False)

    def numbers(self) -> list[int]:
        """Return the numbers of all open handles."""
        return list(self._handles)
