"""The metadata of one filesystem, as one mount sees it: reads, changes of names, and here the changes of single inodes.

Every call raises FilesystemError with the server's answer, or IOFailure / SessionEnded when the outcome stayed unknown.
"""

import trio

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import IdRefused, NoSpace, QuotaExceeded
from ...common.ids import ROOT_INODE, partition_of
from .cache import MetadataCache
from .changes import Changes, Watcher
from .given_up import GivenUpIds
from .ids import IdRanges
from .names import Names
from .reads import Reads
from .releases import Releases
from .reservations import Reservations
from .router import Router
from .trash import TrashReads


class MetadataClient:
    """See the module. ``watcher`` is told of every own change to an inode."""

    def __init__(self, router: Router, cache: MetadataCache, ids: IdRanges, watcher: Watcher = lambda _: None) -> None:
        self.cache = cache
        self.ids = ids
        self.reads = Reads(router, cache)
        self._changes = Changes(router, cache, ids, watcher)
        self.names = Names(self._changes, self.reads)
        self.trash = TrashReads(router, self.reads)
        self._router = router
        self.reservations = Reservations(router.operate, self._is_limited)
        self.given_up = GivenUpIds(router.operate)
        self.releases = Releases(self._release)
        self._changes.on_limited = self.reservations.heard
        self._allocating = trio.Lock()

    async def set_attr(self, changes: pb.SetAttr) -> pb.Inode:
        """Change mode, owner, times and length."""
        operation = pb.Operation(set_attr=changes)
        try:
            return (await self._change(changes.inode_id, operation)).inode
        except (QuotaExceeded, NoSpace):
            if not await self.reservations.give_back(0.0):  # what this mount has set aside may be what is missing
                raise
        return (await self._change(changes.inode_id, operation)).inode

    async def append_slices(self, append: pb.AppendSlices) -> tuple[pb.Inode, int]:
        """Publish stored slices. Returns the inode afterwards, and where an append at the end began."""
        try:
            result = await self._change(append.inode_id, pb.Operation(append_slices=append))
        except IdRefused:
            for one in append.slices:
                self.ids.refused(common_pb2.CHUNK, one.chunk_id)
            raise
        return result.inode, result.offset

    async def _is_limited(self) -> bool:
        """Say whether the filesystem has a quota."""
        result = await self._router.read(partition_of(ROOT_INODE), pb.Read(stat_fs=pb.StatFs()))
        return result.stat_fs.HasField("limit")

    async def set_xattr(self, change: pb.SetXattr) -> None:
        """Set an extended attribute."""
        await self._change(change.inode_id, pb.Operation(set_xattr=change))

    async def remove_xattr(self, inode_id: int, name: bytes) -> None:
        """Remove an extended attribute."""
        operation = pb.Operation(remove_xattr=pb.RemoveXattr(inode_id=inode_id, name=name))
        await self._change(inode_id, operation)

    async def release(self, inode_id: int) -> None:
        """Say that this session no longer holds an unlinked inode open: now, or in the background."""
        await self.releases.tell(inode_id)

    async def _release(self, inode_id: int) -> None:
        operation = pb.Operation(release_inode=pb.ReleaseInode(inode_id=inode_id))
        await self._changes.in_lane(inode_id, operation, lambda _: None)
        self.cache.forget_attributes(inode_id)

    async def restore(self, inode_id: int, new_parent: int, new_name: bytes) -> None:
        """Give something in the trash a name."""
        try:
            await self.names.restore(inode_id, new_parent, new_name)
        except (QuotaExceeded, NoSpace):
            if not await self.reservations.give_back(0.0):
                raise
        else:
            return
        await self.names.restore(inode_id, new_parent, new_name)

    async def purge_trashed(self, inode_id: int, *, held: bool) -> None:
        """Have something in the trash go for good. held: it is open here, and readable until it is released."""
        operation = pb.Operation(purge_trashed=pb.PurgeTrashed(inode_id=inode_id, held=held))
        await self._changes.in_lane(inode_id, operation, lambda _: None)
        self.cache.forget_attributes(inode_id)

    async def take_chunk_id(self, inode_id: int) -> int:
        """Return a chunk id of the inode's partition, asking for a range when none is left."""
        partition_id = partition_of(inode_id)
        while not (chunk_id := self.ids.take(common_pb2.CHUNK, partition_id)):
            async with self._allocating:  # one request, however many uploads begin at once
                if self.ids.left(common_pb2.CHUNK, partition_id):
                    continue
                request = pb.AllocateIds(partition_id=partition_id, kind=common_pb2.CHUNK)
                operation = pb.Operation(allocate_ids=request)
                await self._router.operate(partition_id, operation, self._changes.take_ranges)
        return chunk_id

    async def _change(self, inode_id: int, operation: pb.Operation) -> pb.OperationResult:
        def effect(result: pb.OperationResult) -> None:
            if result.HasField("inode"):
                self._changes.touched(result.inode)

        return await self._changes.in_lane(inode_id, operation, effect)
