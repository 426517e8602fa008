"""Puts what random readers will want next into the kernel's page cache (FUSE_NOTIFY_STORE), a region at a time.

A random reader asks for single pages, and each costs a request. Once a whole block is in memory, the kernel may as well
have all of it; what it has, it asks for no more. Pages put like this must be as true as pages that were read:

- They are put only while nobody on this mount has the inode open for writing, for the kernel changes its own pages
  before it says so, and must not have them overwritten. Who opens it for writing, cuts it, or has its pages dropped
  first keeps others from putting (bar), and waits for those who are at it (quiet).
- The bytes are taken in the same step in which putting begins: none are put that were taken before quiet() returned.

Putting runs in a thread, because it waits for pages that the kernel holds for a request of ours. An open or a truncate
that waits for it holds no pages, nor a task that the request could lack (there are enough), so there is no circle.

Shared across awaits: the counts and the puts under way; both change between awaits only.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

log = structlog.get_logger()

PUTS_MAX = 2  # at once, over all inodes
WANTED_MAX = 256  # regions that arrive or wait for their turn

Put = Callable[[int, int, bytes], Awaitable[None]]
Taken = tuple[int, bytes]  # where in the file, and what


class KernelPages:
    """See the module. ``put`` and ``drop`` (set by the owner): the kernel's pages of an inode."""

    def __init__(self) -> None:
        self.put: Put | None = None
        self.drop: Callable[[int], Awaitable[None]] | None = None
        self._barred: dict[int, int] = {}  # inode -> how many keep others from putting
        self._putting: dict[int, trio.Event] = {}
        self._wanted: set[tuple[int, int]] = set()

    def may_put(self, inode_id: int) -> bool:
        """Say whether pages may be put now, or soon."""
        return self.put is not None and inode_id not in self._barred

    def want(self, inode_id: int, region: int) -> bool:
        """Note that a region is to be put, unless it is already or there are too many; unwant() must follow."""
        if (inode_id, region) in self._wanted or len(self._wanted) >= WANTED_MAX or not self.may_put(inode_id):
            return False
        self._wanted.add((inode_id, region))
        return True

    def unwant(self, inode_id: int, region: int) -> None:
        """Take want() back."""
        self._wanted.discard((inode_id, region))

    async def put_from(self, inode_id: int, take: Callable[[], Taken | None]) -> None:
        """Take bytes and put them, when others are done, if that may be then and there are any."""
        while inode_id in self._putting or len(self._putting) == PUTS_MAX:
            await self._putting.get(inode_id, next(iter(self._putting.values()))).wait()
        if self.put is None or not self.may_put(inode_id):
            return
        taken = take()
        if taken is None:
            return
        done = self._putting[inode_id] = trio.Event()
        try:
            await self.put(inode_id, *taken)
        except OSError as error:  # the kernel asks, then
            log.debug("the kernel did not take pages", inode=inode_id, reason=str(error))
        finally:
            del self._putting[inode_id]
            done.set()

    def bar(self, inode_id: int) -> None:
        """Let nobody begin to put pages of an inode."""
        self._barred[inode_id] = self._barred.get(inode_id, 0) + 1

    def unbar(self, inode_id: int) -> None:
        """Take one bar() back."""
        left = self._barred[inode_id] - 1
        if left:
            self._barred[inode_id] = left
        else:
            del self._barred[inode_id]

    @contextmanager
    def barred(self, inode_id: int) -> Iterator[None]:
        """Let nobody begin to, for a while."""
        self.bar(inode_id)
        try:
            yield
        finally:
            self.unbar(inode_id)

    async def quiet(self, inode_id: int) -> None:
        """Wait until nobody is putting pages that were taken before."""
        under_way = self._putting.get(inode_id)
        if under_way is not None:
            await under_way.wait()

    async def drop_inode(self, inode_id: int) -> None:
        """Make the kernel forget an inode's pages and attributes."""
        if self.drop is not None:
            await self.quiet(inode_id)
            await self.drop(inode_id)
