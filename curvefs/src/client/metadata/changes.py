"""How a change is sent and what the cache learns of it, for all kinds of changes.

What an operation of the lane changes is put into the cache when its result arrives, in the order in which the group
applied the operations, before any caller goes on: the mount sees its own changes at once and never out of order. What a
transaction changes is put there as far as it is certain: the part in the coordinator's own partition, when nothing
newer is known of it. The rest (counters and times of what lies elsewhere are set at the commit, after the answer) is
forgotten, so that the next look asks the server. So is all that a failed change was about.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import CrossPartition, CurveFSError
from ...common.ids import partition_of
from .cache import MetadataCache
from .ids import IdRanges
from .router import Effect, Router

# An answer that took longer than this (the group changed its leader meanwhile) says what was, not what is.
OUTSIDE_LANE_MAX_AGE_S = 1.0

Name = tuple[int, bytes]  # parent, name
Watcher = Callable[[pb.Inode], None]


class Limited(Protocol):
    """Told whether a partition is under a quota of the filesystem."""

    def __call__(self, partition_id: int, *, limited: bool) -> None:
        """Take it."""
        ...


class Changes:
    """See the module. ``watcher`` is told of every own change to an inode whose outcome is exactly known.

    ``on_limited``: told of partitions whose growth is to be reserved.
    """

    def __init__(self, router: Router, cache: MetadataCache, ids: IdRanges, watcher: Watcher) -> None:
        self.router = router
        self.cache = cache
        self.ids = ids
        self._watcher = watcher
        self.on_limited: Limited | None = None

    async def in_lane(
        self, inode_id: int, operation: pb.Operation, effect: Effect, *names: Name, deadline: float | None = None
    ) -> pb.OperationResult:
        """Send an operation to the partition of an inode; when it fails, forget the names it was about."""

        def arrived(result: pb.OperationResult) -> None:
            self.take_ranges(result)
            if self.on_limited is not None and (operation.HasField("create") or operation.HasField("append_slices")):
                self.on_limited(partition_of(inode_id), limited=result.limited)
            effect(result)

        try:
            return await self.router.operate(partition_of(inode_id), operation, arrived, deadline=deadline)
        except CrossPartition:
            raise  # nothing was done, and nothing learned of the names
        except BaseException as error:
            self._failed(error, inode_id, names)
            raise

    async def outside_lane(
        self, inode_id: int, operation: pb.Operation, effect: Effect, *names: Name, deadline: float | None = None
    ) -> pb.OperationResult:
        """Send a transaction to the partition of an inode; as in_lane(). An answer that comes late has no effect."""
        began = trio.current_time()

        def arrived(result: pb.OperationResult) -> None:
            self.take_ranges(result)
            if trio.current_time() - began <= OUTSIDE_LANE_MAX_AGE_S:
                effect(result)
            else:
                self.forget(result, names)

        try:
            return await self.router.transact(partition_of(inode_id), operation, arrived, deadline=deadline)
        except BaseException as error:
            self._failed(error, inode_id, names)
            raise

    # ------------------------------------------------------------------------------- what the cache learns

    def touched(self, inode: pb.Inode) -> None:
        """An operation of the lane changed an inode."""
        self.cache.touched(inode, trio.current_time())
        self._watcher(inode)

    def touched_or_gone(self, inode: pb.Inode) -> None:
        """An operation of the lane took a link from an inode."""
        if inode.nlink:
            self.touched(inode)
        else:
            self.cache.forget_attributes(inode.inode_id)

    def settled(self, inode: pb.Inode, coordinator: int) -> None:
        """A transaction changed an inode, ``coordinator`` is the partition that decided it."""
        newest = self.cache.newest_change(inode.inode_id)
        if inode.nlink and partition_of(inode.inode_id) == coordinator and 0 < newest < inode.change:
            self.touched(inode)
        elif newest <= inode.change or partition_of(inode.inode_id) != coordinator:
            self.cache.forget_attributes(inode.inode_id)

    def settled_names(self, directory: pb.Inode, names: Mapping[bytes, int], coordinator: int) -> None:
        """A transaction changed names of a directory, to these inodes (0: removed)."""
        if partition_of(directory.inode_id) == coordinator:
            self.cache.changed_outside_lane(directory, names, trio.current_time())
            return
        for name in names:
            self.cache.forget_name(directory.inode_id, name)
        self.cache.forget_attributes(directory.inode_id)

    def forget(self, result: pb.OperationResult, names: tuple[Name, ...]) -> None:
        """Forget all that a change was about."""
        for parent, name in names:
            self.cache.forget_name(parent, name)
        for inode in (result.inode, result.parent, result.new_parent, result.replaced):
            self.cache.forget_attributes(inode.inode_id)

    def take_ranges(self, result: pb.OperationResult) -> None:
        """Take ids that came with a result."""
        for granted in result.ranges:
            self.ids.add(granted)

    def _failed(self, error: BaseException, inode_id: int, names: tuple[Name, ...]) -> None:
        for parent, name in names:
            self.cache.forget_name(parent, name)
        if isinstance(error, CurveFSError):
            self.cache.forget_attributes(inode_id)
