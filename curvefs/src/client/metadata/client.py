"""The typed metadata calls: each builds its operation, sends it, and teaches the cache the outcome.

What an operation changes is put into the cache when its result arrives, in the order in which the group applied
the operations, before any caller goes on: the mount sees its own changes at once and never out of order.

Every call raises FilesystemError with the server's answer, or IOFailure / SessionEnded when the outcome stayed
unknown. What a failed operation was about is forgotten, so that the next look asks the server.
"""

from collections.abc import Callable

import trio

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import CurveFSError, IdRefused, NotFound
from ...common.ids import partition_of
from .cache import ABSENT, MetadataCache
from .ids import IdRanges
from .router import Router

STATFS_MAX_AGE_S = 1.0

Watcher = Callable[[pb.Inode], None]


class MetadataClient:
    """The metadata of one filesystem, as one mount sees it. ``watcher`` is told of every own change to an inode."""

    def __init__(self, router: Router, cache: MetadataCache, ids: IdRanges, watcher: Watcher = lambda _: None) -> None:
        self._router = router
        self.cache = cache
        self.ids = ids
        self._watcher = watcher
        self._stat_fs: tuple[float, pb.StatFsResult] | None = None
        self._allocating = trio.Lock()

    # ---------------------------------------------------------------------------------------------- reads

    async def lookup(self, parent: int, name: bytes) -> pb.Inode:
        """Return the attributes of what a name leads to. Raises NotFound, NotADirectory."""
        now = trio.current_time()
        known = self.cache.lookup(parent, name, now)
        if known is ABSENT:
            raise NotFound
        if isinstance(known, int):
            inode = self.cache.attributes(known, now)
            if inode is not None:
                return inode
        read = pb.Read(lookup=pb.Lookup(parent=parent, name=name))
        try:
            result = await self._router.read(partition_of(parent), read)
        except NotFound:
            self.cache.forget_name(parent, name)
            raise
        now = trio.current_time()
        if not result.HasField("inode"):
            self.cache.learn_absent(parent, name, result.parent_change, now)
            raise NotFound
        self.cache.learn_name(parent, name, result.inode.inode_id, now)
        self.cache.learn_attributes(result.inode, now)
        return result.inode

    async def get_attr(self, inode_id: int, *, fresh: bool = False) -> pb.Inode:
        """Return an inode's attributes; ``fresh``: as they are now, not from the cache. Raises NotFound."""
        if not fresh:
            known = self.cache.attributes(inode_id, trio.current_time())
            if known is not None:
                return known
        read = pb.Read(get_attr=pb.GetAttr(inode_id=inode_id))
        try:
            result = await self._router.read(partition_of(inode_id), read)
        except NotFound:
            self.cache.forget_attributes(inode_id)
            raise
        self.cache.learn_attributes(result.inode, trio.current_time())
        return result.inode

    async def read_dir(
        self, inode_id: int, after_hash: int, after_name: bytes, *, limit: int, generation: int
    ) -> pb.ReadResult:
        """Return one page of a directory; its entries are taken into the cache."""
        request = pb.ReadDir(
            inode_id=inode_id, after_hash=after_hash, after_name=after_name, limit=limit, with_attributes=True
        )
        result = await self._router.read(partition_of(inode_id), pb.Read(read_dir=request))
        now = trio.current_time()
        self.cache.learn_attributes(result.inode, now)
        self.cache.learn_page(inode_id, result.entries, generation, now)
        return result

    async def get_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        """Return an inode and the slices of some of its chunks, in commit order."""
        request = pb.GetSlices(inode_id=inode_id, first_chunk=first_chunk, count=count)
        result = await self._router.read(partition_of(inode_id), pb.Read(get_slices=request))
        self.cache.learn_attributes(result.inode, trio.current_time())
        return result.inode, list(result.slices)

    async def get_xattr(self, inode_id: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises NoAttribute."""
        read = pb.Read(get_xattr=pb.GetXattr(inode_id=inode_id, name=name))
        return (await self._router.read(partition_of(inode_id), read)).value

    async def list_xattr(self, inode_id: int) -> list[bytes]:
        """Return the names of the extended attributes."""
        read = pb.Read(list_xattr=pb.ListXattr(inode_id=inode_id))
        return list((await self._router.read(partition_of(inode_id), read)).names)

    async def stat_fs(self) -> pb.StatFsResult:
        """Return the filesystem's counters, at most a second old."""
        now = trio.current_time()
        if self._stat_fs is None or now - self._stat_fs[0] > STATFS_MAX_AGE_S:
            total = pb.StatFsResult()
            for partition_id in range(self._router.partition_count):
                one = (await self._router.read(partition_id, pb.Read(stat_fs=pb.StatFs()))).stat_fs
                total.inode_count += one.inode_count
                total.used_bytes += one.used_bytes
            self._stat_fs = now, total
        return self._stat_fs[1]

    # --------------------------------------------------------------------------------------------- changes

    async def create(
        self,
        parent: int,
        name: bytes,
        mode: int,
        credential: pb.Credential,
        *,
        rdev: int = 0,
        symlink_target: bytes = b"",
        exclusive: bool = True,
    ) -> tuple[pb.Inode, bool]:
        """Create an inode of any type and its name. Returns it, and whether it was there already."""
        operation = pb.Operation(
            credential=credential,
            create=pb.Create(
                parent=parent,
                name=name,
                inode_id=self.ids.take(common_pb2.INODE, partition_of(parent)),
                mode=mode,
                rdev=rdev,
                symlink_target=symlink_target,
                exclusive=exclusive,
            ),
        )

        def effect(result: pb.OperationResult) -> None:
            now = trio.current_time()
            if result.existed:
                self.cache.learn_name(parent, name, result.inode.inode_id, now)
            else:
                self.cache.changed_directory(result.parent, now, added=(name, result.inode.inode_id))
                if result.inode.mode & 0o170000 == 0o040000:
                    self.cache.made_directory(result.inode, now)
            self.cache.learn_attributes(result.inode, now)

        try:
            result = await self._change(parent, operation, effect, (parent, name))
        except IdRefused:
            operation.create.inode_id = 0
            result = await self._change(parent, operation, effect, (parent, name))
        return result.inode, result.existed

    async def unlink(self, parent: int, name: bytes, held_inode: int) -> pb.OperationResult:
        """Remove a name that is no directory."""
        operation = pb.Operation(unlink=pb.Unlink(parent=parent, name=name, held_inode=held_inode))
        return await self._remove(parent, name, operation)

    async def rmdir(self, parent: int, name: bytes, held_inode: int) -> pb.OperationResult:
        """Remove an empty directory."""
        operation = pb.Operation(rmdir=pb.Rmdir(parent=parent, name=name, held_inode=held_inode))
        return await self._remove(parent, name, operation)

    async def link(self, inode_id: int, new_parent: int, new_name: bytes) -> pb.Inode:
        """Give an inode another name."""
        operation = pb.Operation(link=pb.Link(inode_id=inode_id, new_parent=new_parent, new_name=new_name))

        def effect(result: pb.OperationResult) -> None:
            now = trio.current_time()
            self.cache.changed_directory(result.new_parent, now, added=(new_name, inode_id))
            self._touched(result.inode, now)

        result = await self._change(inode_id, operation, effect, (new_parent, new_name))
        return result.inode

    async def rename(
        self,
        parent: int,
        name: bytes,
        new_parent: int,
        new_name: bytes,
        *,
        no_replace: bool = False,
        exchange: bool = False,
        held_inode: int = 0,
    ) -> pb.OperationResult:
        """Rename, as renameat2(2)."""
        operation = pb.Operation(
            rename=pb.Rename(
                parent=parent,
                name=name,
                new_parent=new_parent,
                new_name=new_name,
                no_replace=no_replace,
                exchange=exchange,
                held_inode=held_inode,
            )
        )

        def effect(result: pb.OperationResult) -> None:
            now = trio.current_time()
            if not result.HasField("inode"):
                return  # two names of one inode: nothing happened
            moved = result.inode.inode_id
            other = result.replaced if result.HasField("replaced") else None
            swapped = (name, other.inode_id) if exchange and other is not None else None
            if exchange:
                self.cache.changed_directory(result.parent, now, added=swapped)
            else:
                self.cache.changed_directory(result.parent, now, removed=name)
            target = result.new_parent if result.HasField("new_parent") else result.parent
            self.cache.changed_directory(target, now, added=(new_name, moved))
            self._touched(result.inode, now)
            if other is not None:
                self._orphaned_or_touched(other, now)

        return await self._change(parent, operation, effect, (parent, name), (new_parent, new_name))

    async def set_attr(self, changes: pb.SetAttr) -> pb.Inode:
        """Change mode, owner, times and length."""

        def effect(result: pb.OperationResult) -> None:
            self._touched(result.inode, trio.current_time())

        operation = pb.Operation(set_attr=changes)
        return (await self._change(changes.inode_id, operation, effect)).inode

    async def append_slices(self, append: pb.AppendSlices) -> tuple[pb.Inode, int]:
        """Publish stored slices. Returns the inode afterwards, and where an append at the end began."""

        def effect(result: pb.OperationResult) -> None:
            self._touched(result.inode, trio.current_time())

        result = await self._change(append.inode_id, pb.Operation(append_slices=append), effect)
        return result.inode, result.offset

    async def set_xattr(self, change: pb.SetXattr) -> None:
        """Set an extended attribute."""
        await self._change_attributes(change.inode_id, pb.Operation(set_xattr=change))

    async def remove_xattr(self, inode_id: int, name: bytes) -> None:
        """Remove an extended attribute."""
        operation = pb.Operation(remove_xattr=pb.RemoveXattr(inode_id=inode_id, name=name))
        await self._change_attributes(inode_id, operation)

    async def release(self, inode_id: int) -> None:
        """Say that this session no longer holds an unlinked inode open."""
        operation = pb.Operation(release_inode=pb.ReleaseInode(inode_id=inode_id))
        await self._change(inode_id, operation, None)
        self.cache.forget_attributes(inode_id)

    async def take_chunk_id(self, inode_id: int) -> int:
        """Return a chunk id of the inode's partition, asking for a range when none is left."""
        partition_id = partition_of(inode_id)
        while not (chunk_id := self.ids.take(common_pb2.CHUNK, partition_id)):
            async with self._allocating:  # one request, however many uploads begin at once
                if self.ids.left(common_pb2.CHUNK, partition_id):
                    continue
                request = pb.AllocateIds(partition_id=partition_id, kind=common_pb2.CHUNK)
                await self._router.operate(partition_id, pb.Operation(allocate_ids=request), self._take_ranges)
        return chunk_id

    # --------------------------------------------------------------------------------------------- shared

    async def _change(
        self,
        inode_id: int,
        operation: pb.Operation,
        effect: Callable[[pb.OperationResult], None] | None,
        *names: tuple[int, bytes],
    ) -> pb.OperationResult:
        """Send an operation to the partition of an inode; on failure forget the names it was about."""

        def arrived(result: pb.OperationResult) -> None:
            self._take_ranges(result)
            if effect is not None:
                effect(result)

        try:
            return await self._router.operate(partition_of(inode_id), operation, arrived)
        except BaseException as error:
            for parent, name in names:
                self.cache.forget_name(parent, name)
            if isinstance(error, CurveFSError):
                self.cache.forget_attributes(inode_id)
            raise

    async def _change_attributes(self, inode_id: int, operation: pb.Operation) -> None:
        def effect(result: pb.OperationResult) -> None:
            if result.HasField("inode"):
                self._touched(result.inode, trio.current_time())

        await self._change(inode_id, operation, effect)

    async def _remove(self, parent: int, name: bytes, operation: pb.Operation) -> pb.OperationResult:
        def effect(result: pb.OperationResult) -> None:
            now = trio.current_time()
            self.cache.changed_directory(result.parent, now, removed=name)
            if result.HasField("replaced"):
                self._orphaned_or_touched(result.replaced, now)

        return await self._change(parent, operation, effect, (parent, name))

    def _orphaned_or_touched(self, inode: pb.Inode, now: float) -> None:
        if inode.nlink:
            self._touched(inode, now)
        else:
            self.cache.forget_attributes(inode.inode_id)

    def _touched(self, inode: pb.Inode, now: float) -> None:
        self.cache.touched(inode, now)
        self._watcher(inode)

    def _take_ranges(self, result: pb.OperationResult) -> None:
        for granted in result.ranges:
            self.ids.add(granted)
