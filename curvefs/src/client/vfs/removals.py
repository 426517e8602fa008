"""Inodes that lose a name while this mount has them open, or is opening them (rule 10).

The server keeps an inode without names for a session only if the operation that took the last one said that it is open
there. Therefore:

- An open counts from before it asks for the inode: what is sent from then on says that it is open.
- An open that begins while an operation is under way waits for its end before it asks: what was sent without it may
  have removed the inode, and what is found then is what is left.
- So does a lookup that finds such an inode, so that what it tells can be opened, as a rule.
- What the server keeps is let go with its last handle, or at once when there is none any more.

Shared across awaits: the operations under way, changed between awaits only.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import ClusterError, CurveFSError, IOFailure
from ..metadata.client import MetadataClient
from .handles import OpenHandles
from .kernel_view import KernelView


class Removals:
    """See the module. ``kinds``: the open handles, of files and of directories."""

    def __init__(self, metadata: MetadataClient, view: KernelView, *kinds: OpenHandles[Any]) -> None:
        self._metadata = metadata
        self._view = view
        self._kinds = kinds
        self._under_way: dict[int, list[trio.Event]] = {}  # inode -> operations that take a name from it

    @asynccontextmanager
    async def opening(self, handles: OpenHandles[Any], inode_id: int) -> AsyncIterator[bool]:
        """Count an open that is under way; yields, once the server may be asked, whether it had to wait for that.

        A wait is as long as the operation that is waited for: at most its deadline.
        """
        handles.enter(inode_id)
        try:
            yield await self.over(inode_id)
        finally:
            if handles.leave(inode_id):
                await self.let_go(inode_id)

    async def over(self, inode_id: int) -> bool:
        """Wait for the operations that are under way; says whether there were any."""
        under_way = list(self._under_way.get(inode_id, ()))
        for over in under_way:
            await over.wait()
        return bool(under_way)

    @asynccontextmanager
    async def under_way(self, inode_id: int) -> AsyncIterator[int]:
        """Have others wait while an operation takes a name from an inode; yields it if it is open here, else 0."""
        held = inode_id if any(handles.is_open(inode_id) for handles in self._kinds) else 0
        if held:
            self._metadata.releases.forget(held)
        try:
            with self._awaited(inode_id):
                yield held
        except (IOFailure, ClusterError):  # perhaps it is done, or will be
            if held:
                await self.orphaned(held, doomed=False)
            raise

    @contextmanager
    def _awaited(self, inode_id: int) -> Iterator[None]:
        over = trio.Event()
        self._under_way.setdefault(inode_id, []).append(over)
        try:
            yield
        finally:
            self._under_way[inode_id].remove(over)
            if not self._under_way[inode_id]:
                del self._under_way[inode_id]
            over.set()

    async def named(self, parent: int, name: bytes) -> int:
        """Return the inode that an operation is about to take a name from; 0 if there is none.

        What was absent when the kernel asked, just before, nobody here has opened by this name since.
        """
        inode_id = self._metadata.cache.last_known(parent, name)
        if inode_id or self._metadata.cache.was_absent(parent, name):
            return inode_id
        try:
            return (await self._metadata.reads.lookup(parent, name)).inode_id
        except CurveFSError:
            return 0  # the operation itself will say what is wrong

    async def note(self, result: pb.OperationResult, held: int) -> None:
        """Note what lost its last name and is open here. held: what the operation said is open here."""
        if not result.HasField("replaced") or result.replaced.nlink:
            return
        inode_id, is_held, kept = result.replaced.inode_id, result.held, result.replaced.trashed_ns > 0
        if not result.replaced.change:  # it lies in another group, which knows whether that was its last name
            if inode_id != held:
                return
            try:
                inode = await self._metadata.reads.get_attr(inode_id, fresh=True)
                is_held, kept = not inode.nlink, inode.trashed_ns > 0
            except CurveFSError:
                # Letting go what has names left does nothing; not letting go keeps it for as long as this session.
                is_held = kept = True
            if not is_held:
                return
        if is_held:
            await self.orphaned(inode_id, doomed=not kept)
        else:
            self._view.forget(inode_id)

    async def orphaned(self, inode_id: int, *, doomed: bool) -> None:
        """The last name of what was open is gone, and the server keeps it. doomed: it is not in the trash."""
        for handles in self._kinds:
            if handles.is_open(inode_id):
                handles.orphaned(inode_id, doomed=doomed)
                return
        await self.let_go(inode_id)  # it was closed meanwhile

    def is_orphan(self, inode_id: int) -> bool:
        """Say whether this mount has it open since before it lost its last name."""
        return any(handles.is_orphan(inode_id) for handles in self._kinds)

    async def let_go(self, inode_id: int) -> None:
        """An orphan is open no more."""
        await self._metadata.release(inode_id)
        self._view.forget(inode_id)
