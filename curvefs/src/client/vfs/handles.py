"""Open handles, and inodes that are held open though their last name is gone (rule 10): of files and of directories.

An inode is open from when an open of it begins, until its last handle is gone and no open of it is under way.

Shared across awaits: the table of handles and the counts of users per inode; both change between awaits only.
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
        self._users: dict[int, int] = {}  # inode -> handles, and opens under way
        self._orphans: dict[int, bool] = {}  # inode -> whether its content is lost with the last handle
        self._last = 0

    def add(self, handle: H) -> int:
        """Register a handle and return its number."""
        self._last += 1
        self._handles[self._last] = handle
        self.enter(handle.inode_id)
        return self._last

    def get(self, number: int) -> H:
        """Return a handle. Raises InvalidArgument for a number that is not open."""
        try:
            return self._handles[number]
        except KeyError:
            raise InvalidArgument(f"handle {number} is not open") from None

    def remove(self, number: int) -> tuple[H, bool]:
        """Forget a handle; also says whether an orphan is open no more."""
        handle = self._handles.pop(number)
        return handle, self.leave(handle.inode_id)

    def enter(self, inode_id: int) -> None:
        """Count an inode as open."""
        self._users[inode_id] = self._users.get(inode_id, 0) + 1

    def leave(self, inode_id: int) -> bool:
        """Take one enter() back; says whether an orphan is open no more."""
        left = self._users[inode_id] - 1
        if left:
            self._users[inode_id] = left
            return False
        del self._users[inode_id]
        return self._orphans.pop(inode_id, None) is not None

    def is_open(self, inode_id: int) -> bool:
        """True when some handle of this mount has the inode open, or an open is under way."""
        return inode_id in self._users

    def has_handle(self, inode_id: int) -> bool:
        """True when some handle has it open. Takes as long as there are handles."""
        return any(handle.inode_id == inode_id for handle in self._handles.values())

    def orphaned(self, inode_id: int, *, doomed: bool) -> None:
        """The last name of an open inode is gone; the server keeps it for this session.

        doomed: it is not in the trash.
        """
        assert inode_id in self._users, "held, but not open"
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
