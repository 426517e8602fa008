"""Inodes without names that are not open here any more, told to their groups until these have heard it (rule 10).

A group keeps such an inode for a session until it is released, or the session ends. So a release that fails is told
again, in the background; what waits is bounded, and beyond that left until the session ends.

Shared across awaits: the inodes that wait, changed between awaits only.
"""

from collections.abc import Awaitable, Callable

import structlog
import trio

from ...common.errors import CurveFSError
from ...common.ids import partition_of

log = structlog.get_logger()

WAITING_MAX = 65_536
RETRY_S = 5.0

Release = Callable[[int], Awaitable[None]]


class Releases:
    """See the module. ``release``: tells the group of an inode. Raises CurveFSError when it did not hear it."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._waiting: set[int] = set()
        self._some = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    async def tell(self, inode_id: int) -> None:
        """Release an inode: now, or in the background."""
        try:
            await self._release(inode_id)
        except CurveFSError as error:
            if len(self._waiting) >= WAITING_MAX:
                log.warning("a removed inode stays until the mount ends", inode=inode_id, reason=str(error))
                return
            log.info("a removed inode could not be released yet", inode=inode_id, reason=str(error))
            self._waiting.add(inode_id)
            self._some.set()

    def forget(self, inode_id: int) -> None:
        """It may be held again from now on."""
        self._waiting.discard(inode_id)

    async def run(self) -> None:
        """Tell the groups again, until cancelled."""
        while True:
            await self._some.wait()
            await trio.sleep(RETRY_S)
            await self._tell_again()
            if not self._waiting:
                self._some = trio.Event()

    async def _tell_again(self) -> None:
        """Tell all that waits; a group that does not hear one is not told the others now."""
        deaf: set[int] = set()
        for inode_id in list(self._waiting):
            if inode_id not in self._waiting or partition_of(inode_id) in deaf:
                continue
            try:
                await self._release(inode_id)
            except CurveFSError:
                deaf.add(partition_of(inode_id))
            else:
                self._waiting.discard(inode_id)
