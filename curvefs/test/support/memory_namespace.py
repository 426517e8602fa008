"""What groups hold, as a client sees it: inodes and names of a filesystem's partitions, in memory. Synchronous.

A change is applied at once and as a whole. In the lane it must lie within one partition, else it answers
CROSS_PARTITION; outside the lane it may span them. Counters move as the metaserver moves them: by one a change.
"""

import stat

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.ids import ROOT_INODE, make_id, partition_of

DIRECTORY = stat.S_IFDIR | 0o755


class Refused(Exception):
    """The change or read fails with this status."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class MemoryNamespace:
    """All partitions of one filesystem."""

    def __init__(self):
        self.inodes = {ROOT_INODE: pb.Inode(inode_id=ROOT_INODE, mode=DIRECTORY, nlink=2, change=1, parent=ROOT_INODE)}
        self.names = {}  # (parent, name) -> inode number
        self.last = {}  # partition -> n

    # ------------------------------------------------------------------------------------------- changes

    def apply(self, operation, *, spanning):
        """Apply a change and return its result, without a number."""
        kind = operation.WhichOneof("operation")
        result = pb.OperationResult()
        try:
            getattr(self, f"_{kind}")(getattr(operation, kind), result, spanning)
        except Refused as refused:
            return pb.OperationResult(status=refused.code)
        return result

    def make(self, parent, name, mode=stat.S_IFREG | 0o644, partition_id=None):
        """Create something by hand; returns its number."""
        request = pb.Create(parent=parent, name=name, mode=mode, exclusive=True)
        if partition_id is not None:
            request.partition_id = partition_id
        result = self.apply(pb.Operation(create=request), spanning=True)
        assert not result.status, result
        return result.inode.inode_id

    def remove(self, parent, name):
        """Remove a file's name by hand."""
        result = self.apply(pb.Operation(unlink=pb.Unlink(parent=parent, name=name)), spanning=True)
        assert not result.status, result

    def _create(self, request, result, spanning):
        parent = self._directory(request.parent)
        there = self.names.get((request.parent, request.name))
        if there is not None:
            self._within([request.parent, there], spanning)
            result.inode.CopyFrom(self.inodes[there])
            if request.exclusive or not stat.S_ISREG(result.inode.mode):
                raise Refused(common_pb2.ALREADY_EXISTS)
            result.existed = True
            return
        partition = request.partition_id if request.HasField("partition_id") else partition_of(request.parent)
        inode_id = request.inode_id
        if not inode_id:
            self.last[partition] = self.last.get(partition, 1) + 1
            inode_id = make_id(partition, self.last[partition])
        is_directory = stat.S_ISDIR(request.mode)
        self.inodes[inode_id] = pb.Inode(
            inode_id=inode_id, mode=request.mode, nlink=1 + is_directory, change=1, parent=request.parent
        )
        self.names[request.parent, request.name] = inode_id
        parent.nlink += is_directory
        parent.entry_count += 1
        self._touch(parent)
        result.inode.CopyFrom(self.inodes[inode_id])
        result.parent.CopyFrom(parent)

    def _unlink(self, request, result, spanning):
        target = self._named(request.parent, request.name)
        self._within([request.parent, target.inode_id], spanning)
        if stat.S_ISDIR(target.mode):
            raise Refused(common_pb2.IS_A_DIRECTORY)
        self._remove(request, target, result)

    def _rmdir(self, request, result, spanning):
        target = self._named(request.parent, request.name)
        self._within([request.parent, target.inode_id], spanning)
        if target.entry_count:
            raise Refused(common_pb2.NOT_EMPTY)
        self._remove(request, target, result)

    def _remove(self, request, target, result):
        parent = self.inodes[request.parent]
        del self.names[request.parent, request.name]
        parent.entry_count -= 1
        self._touch(parent)
        self._lose_link(target, result)
        result.parent.CopyFrom(parent)

    def _link(self, request, result, spanning):
        self._within([request.inode_id, request.new_parent], spanning)
        inode, parent = self._inode(request.inode_id), self._directory(request.new_parent)
        if (request.new_parent, request.new_name) in self.names:
            raise Refused(common_pb2.ALREADY_EXISTS)
        self.names[request.new_parent, request.new_name] = inode.inode_id
        inode.nlink += 1
        parent.entry_count += 1
        self._touch(inode)
        self._touch(parent)
        result.inode.CopyFrom(inode)
        result.new_parent.CopyFrom(parent)

    def _rename(self, request, result, spanning):
        moved = self._named(request.parent, request.name)
        target = self.inodes.get(self.names.get((request.new_parent, request.new_name)))
        involved = [request.parent, request.new_parent, moved.inode_id, *([target.inode_id] if target else [])]
        self._within(involved, spanning)
        if request.parent != request.new_parent and stat.S_ISDIR(moved.mode) and not spanning:
            raise Refused(common_pb2.CROSS_PARTITION)
        parent, new_parent = self.inodes[request.parent], self._directory(request.new_parent)
        if target is moved:
            return
        self.names[request.new_parent, request.new_name] = moved.inode_id
        if request.exchange:
            self.names[request.parent, request.name] = target.inode_id
            self._touch(target)
            result.replaced.CopyFrom(target)
        else:
            del self.names[request.parent, request.name]
            parent.entry_count -= 1
            new_parent.entry_count += target is None
            if target is not None:
                self._lose_link(target, result)
        moved.parent = request.new_parent
        self._touch(moved)
        self._touch(parent)
        result.parent.CopyFrom(parent)
        if parent is not new_parent:
            self._touch(new_parent)
            result.new_parent.CopyFrom(new_parent)
        result.inode.CopyFrom(moved)

    def _set_attr(self, request, result, _):
        inode = self._inode(request.inode_id)
        inode.mode = stat.S_IFMT(inode.mode) | request.mode
        self._touch(inode)
        result.inode.CopyFrom(inode)

    def _give_up_ids(self, *_):
        pass

    def _release_inode(self, *_):
        pass

    def _noop(self, *_):
        pass

    def _lose_link(self, target, result):
        target.nlink -= 2 if stat.S_ISDIR(target.mode) else 1
        self._touch(target)
        result.replaced.CopyFrom(target)
        if not target.nlink:
            del self.inodes[target.inode_id]

    # --------------------------------------------------------------------------------------------- reads

    def read(self, read):
        """Answer a read."""
        result = pb.ReadResult(read_id=read.read_id)
        kind = read.WhichOneof("read")
        try:
            getattr(self, f"_{kind}")(getattr(read, kind), result)
        except Refused as refused:
            result.failure.code = refused.code
        return result

    def _lookup(self, request, result):
        parent = self._directory(request.parent)
        result.parent_change = parent.change
        inode_id = self.names.get((request.parent, request.name))
        if inode_id is None:
            return
        if partition_of(inode_id) == partition_of(request.parent):
            result.inode.CopyFrom(self.inodes[inode_id])
        else:
            result.inode.inode_id = inode_id
            result.inode.mode = stat.S_IFMT(self.inodes[inode_id].mode)

    def _get_attr(self, request, result):
        result.inode.CopyFrom(self._inode(request.inode_id))

    def _read_dir(self, request, result):
        result.inode.CopyFrom(self._directory(request.inode_id))
        found = sorted(name for parent, name in self.names if parent == request.inode_id)
        for place, name in enumerate(found):
            if place + 10 <= request.after_hash:
                continue
            if len(result.entries) == request.limit:
                return
            inode = self.inodes[self.names[request.inode_id, name]]
            entry = result.entries.add(name=name, hash=place + 10, inode_id=inode.inode_id, type=inode.mode >> 12)
            if partition_of(inode.inode_id) == partition_of(request.inode_id):
                entry.inode.CopyFrom(inode)
        result.end = True

    def _inode(self, inode_id):
        if inode_id not in self.inodes:
            raise Refused(common_pb2.NOT_FOUND)
        return self.inodes[inode_id]

    def _directory(self, inode_id):
        inode = self._inode(inode_id)
        if not stat.S_ISDIR(inode.mode):
            raise Refused(common_pb2.NOT_A_DIRECTORY)
        return inode

    def _named(self, parent, name):
        self._directory(parent)
        if (parent, name) not in self.names:
            raise Refused(common_pb2.NOT_FOUND)
        return self.inodes[self.names[parent, name]]

    @staticmethod
    def _touch(inode):
        inode.change += 1

    @staticmethod
    def _within(inodes, spanning):
        if not spanning and len({partition_of(inode) for inode in inodes}) > 1:
            raise Refused(common_pb2.CROSS_PARTITION)
