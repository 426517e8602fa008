"""Changes of names: create, unlink, rmdir, link, rename. In the lane where one partition has all, else by transactions.

What lies where is mostly known beforehand: numbers tell partitions, and the kernel looks names up before it changes
them. What is known to span partitions becomes a transaction at once. Otherwise the lane is tried, and an answer
CROSS_PARTITION (nothing was done) leads to the transaction. A directory that gets another parent always takes one, for
the sake of the filesystem's move lock (rule 18).

Every call raises FilesystemError with the server's answer, or IOFailure / SessionEnded when the outcome stayed unknown.
"""

import stat

import trio

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import AlreadyExists, CrossPartition, IdRefused, IOFailure, NotFound
from ...common.ids import partition_of
from .changes import Changes, Name
from .placement import partition_for_directory
from .reads import Reads
from .router import Effect

CREATE_TRIES = 5


class Names:
    """See the module."""

    def __init__(self, changes: Changes, reads: Reads) -> None:
        self._changes = changes
        self._reads = reads
        self._cache = changes.cache
        self._router = changes.router

    # ------------------------------------------------------------------------------------------ creating

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
        request = pb.Create(
            parent=parent, name=name, mode=mode, rdev=rdev, symlink_target=symlink_target, exclusive=exclusive
        )
        for _ in range(CREATE_TRIES):
            try:
                result = await self._create_here(pb.Operation(credential=credential, create=request))
            except CrossPartition:
                # The name is taken, by something whose type only its own partition knows.
                try:
                    there = await self._reads.lookup(parent, name, fresh=True)
                except NotFound:
                    continue
                if exclusive or not (stat.S_ISREG(there.mode) and stat.S_ISREG(mode)):
                    raise AlreadyExists from None
                return there, True
            return result.inode, result.existed
        raise IOFailure("the name came and went")

    async def make_directory(self, parent: int, name: bytes, mode: int, credential: pb.Credential) -> pb.Inode:
        """Create a directory, in the partition that is best for it (rule 29)."""
        home = partition_of(parent)
        target = partition_for_directory(parent, self._router.inode_counts(), self._router.random)
        if target == home:
            inode = (await self.create(parent, name, mode, credential))[0]
            self._router.count_inode(home)
            return inode
        request = pb.Create(parent=parent, name=name, mode=mode, exclusive=True, partition_id=target)

        def effect(result: pb.OperationResult) -> None:
            self._changes.settled_names(result.parent, {name: result.inode.inode_id}, home)
            self._learn_new(result.inode)

        operation = pb.Operation(credential=credential, create=request)
        result = await self._changes.outside_lane(parent, operation, effect, (parent, name))
        self._router.count_inode(target)
        return result.inode

    async def _create_here(self, operation: pb.Operation) -> pb.OperationResult:
        request = operation.create
        request.inode_id = self._changes.ids.take(common_pb2.INODE, partition_of(request.parent))

        def effect(result: pb.OperationResult) -> None:
            now = trio.current_time()
            if result.existed:
                self._cache.learn_name(request.parent, request.name, result.inode.inode_id, now)
                if partition_of(result.inode.inode_id) == partition_of(request.parent):
                    self._cache.learn_attributes(result.inode, now)
            else:
                self._cache.changed_directory(result.parent, now, added=(request.name, result.inode.inode_id))
                self._learn_new(result.inode)

        what = (request.parent, operation, effect, (request.parent, request.name))
        try:
            return await self._changes.in_lane(*what)
        except IdRefused:
            request.inode_id = 0
            return await self._changes.in_lane(*what)

    def _learn_new(self, inode: pb.Inode) -> None:
        now = trio.current_time()
        if stat.S_ISDIR(inode.mode):
            self._cache.made_directory(inode, now)
        self._cache.learn_attributes(inode, now)

    # ------------------------------------------------------------------------------------------ removing

    async def unlink(self, parent: int, name: bytes, held_inode: int) -> pb.OperationResult:
        """Remove a name that is no directory."""
        operation = pb.Operation(unlink=pb.Unlink(parent=parent, name=name, held_inode=held_inode))
        return await self._remove(parent, name, operation)

    async def rmdir(self, parent: int, name: bytes, held_inode: int) -> pb.OperationResult:
        """Remove an empty directory."""
        operation = pb.Operation(rmdir=pb.Rmdir(parent=parent, name=name, held_inode=held_inode))
        return await self._remove(parent, name, operation)

    async def _remove(self, parent: int, name: bytes, operation: pb.Operation) -> pb.OperationResult:
        def effect(result: pb.OperationResult) -> None:
            self._cache.changed_directory(result.parent, trio.current_time(), removed=name)
            if result.HasField("replaced"):
                self._changes.touched_or_gone(result.replaced)

        known = self._cache.last_known(parent, name)

        def outside(result: pb.OperationResult) -> None:
            home = partition_of(parent)
            self._changes.settled_names(result.parent, {name: 0}, home)
            if result.HasField("replaced"):
                self._changes.settled(result.replaced, home)
            elif known:  # it lies elsewhere, and loses its link a moment later
                self._cache.forget_attributes(known)

        spans = self._spans(parent, known)
        return await self._change(parent, operation, effect, outside, (parent, name), spans=spans)

    # -------------------------------------------------------------------------------------------- moving

    async def link(self, inode_id: int, new_parent: int, new_name: bytes) -> pb.Inode:
        """Give an inode another name."""
        operation = pb.Operation(link=pb.Link(inode_id=inode_id, new_parent=new_parent, new_name=new_name))

        def effect(result: pb.OperationResult) -> None:
            self._cache.changed_directory(result.new_parent, trio.current_time(), added=(new_name, inode_id))
            self._changes.touched(result.inode)

        def outside(result: pb.OperationResult) -> None:
            home = partition_of(new_parent)
            self._changes.settled_names(result.new_parent, {new_name: inode_id}, home)
            self._changes.settled(result.inode, home)

        spans = self._spans(new_parent, inode_id)
        result = await self._change(new_parent, operation, effect, outside, (new_parent, new_name), spans=spans)
        if not spans:
            return result.inode
        try:
            # Its length and times may have changed between the answer's making and the commit.
            return await self._reads.get_attr(inode_id, fresh=True)
        except NotFound:
            return result.inode

    async def restore(self, inode_id: int, new_parent: int, new_name: bytes) -> None:
        """Give an inode in the trash a name."""
        operation = pb.Operation(restore=pb.Restore(inode_id=inode_id, new_parent=new_parent, new_name=new_name))

        def effect(result: pb.OperationResult) -> None:
            self._cache.changed_directory(result.new_parent, trio.current_time(), added=(new_name, inode_id))
            self._changes.touched(result.inode)

        def outside(result: pb.OperationResult) -> None:
            self._changes.settled_names(result.new_parent, {new_name: inode_id}, partition_of(new_parent))
            self._cache.forget_attributes(inode_id)

        spans = self._spans(new_parent, inode_id)
        await self._change(new_parent, operation, effect, outside, (new_parent, new_name), spans=spans)

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
            if result.HasField("inode"):  # else they were two names of one inode: nothing happened
                self._renamed(operation.rename, result)

        known = self._cache.last_known(parent, name), self._cache.last_known(new_parent, new_name)

        def outside(result: pb.OperationResult) -> None:
            is_whole = result.HasField("inode") and (parent == new_parent or result.HasField("new_parent"))
            if is_whole and (result.HasField("replaced") or not known[1]):
                self._renamed_outside_lane(operation.rename, result)
                return
            # The answer does not tell of what lies in other groups; nor that they were two names of one inode.
            self._changes.forget(result, ((parent, name), (new_parent, new_name)))
            for inode_id in (parent, new_parent, *known):
                self._cache.forget_attributes(inode_id)

        return await self._change(
            parent,
            operation,
            effect,
            outside,
            (parent, name),
            (new_parent, new_name),
            spans=self._rename_spans(operation.rename),
        )

    def _rename_spans(self, request: pb.Rename) -> bool:
        moved = self._cache.last_known(request.parent, request.name)
        target = self._cache.last_known(request.new_parent, request.new_name)
        if self._spans(request.parent, request.new_parent, moved, target):
            return True
        if request.parent == request.new_parent:
            return False
        return bool(self._cache.is_directory(moved) or (request.exchange and self._cache.is_directory(target)))

    def _renamed(self, request: pb.Rename, result: pb.OperationResult) -> None:
        now = trio.current_time()
        other = result.replaced if result.HasField("replaced") else None
        if request.exchange:
            swapped = (request.name, other.inode_id) if other is not None else None
            self._cache.changed_directory(result.parent, now, added=swapped)
        else:
            self._cache.changed_directory(result.parent, now, removed=request.name)
        target = result.new_parent if result.HasField("new_parent") else result.parent
        self._cache.changed_directory(target, now, added=(request.new_name, result.inode.inode_id))
        self._changes.touched(result.inode)
        if other is not None:
            self._changes.touched_or_gone(other)

    def _renamed_outside_lane(self, request: pb.Rename, result: pb.OperationResult) -> None:
        home = partition_of(request.parent)
        old = {request.name: result.replaced.inode_id if request.exchange else 0}
        new = {request.new_name: result.inode.inode_id}
        if result.HasField("new_parent"):
            self._changes.settled_names(result.parent, old, home)
            self._changes.settled_names(result.new_parent, new, home)
        else:
            self._changes.settled_names(result.parent, old | new, home)
        self._changes.settled(result.inode, home)
        if result.HasField("replaced"):
            self._changes.settled(result.replaced, home)

    # -------------------------------------------------------------------------------------------- shared

    @staticmethod
    def _spans(*inodes: int) -> bool:
        """True when these inodes (0: not known) lie in more than one partition."""
        return len({partition_of(inode) for inode in inodes if inode}) > 1

    async def _change(
        self, parent: int, operation: pb.Operation, effect: Effect, outside: Effect, *names: Name, spans: bool
    ) -> pb.OperationResult:
        deadline = self._router.deadline()
        if not spans:
            try:
                return await self._changes.in_lane(parent, operation, effect, *names, deadline=deadline)
            except CrossPartition:
                pass
        return await self._changes.outside_lane(parent, operation, outside, *names, deadline=deadline)
