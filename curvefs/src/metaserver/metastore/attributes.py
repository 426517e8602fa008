"""Operations on attributes: chmod, chown, utimens, truncate in one; extended attributes."""

import stat

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import NAME_SIZE_MAX
from ...slices.geometry import LENGTH_MAX
from ..storage import keys
from .data import set_length
from .scope import Refusal, Scope

XATTR_VALUE_SIZE_MAX = 65536
XATTR_BYTES_MAX = 1 << 20  # names and values of one inode
XATTR_LIST_MAX = 65536  # names of one inode, each with the byte that ends it: more the kernel does not list
XATTR_COUNT_MAX = 500  # so that one entry can remove them all (rule 14)


def set_attr(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """SetAttr. The kernel checked the permissions."""
    request = operation.set_attr
    inode = scope.inode(request.inode_id)
    has_length = request.HasField("length")
    if has_length:
        if stat.S_ISDIR(inode.mode):
            raise Refusal(common_pb2.IS_A_DIRECTORY)
        if not stat.S_ISREG(inode.mode):
            raise Refusal(common_pb2.INVALID_ARGUMENT, "only a regular file has a length to set")
        if request.length > LENGTH_MAX:
            raise Refusal(common_pb2.FILE_TOO_LARGE)
        set_length(scope, inode, request.length)
    if request.HasField("mode"):
        inode.mode = stat.S_IFMT(inode.mode) | stat.S_IMODE(request.mode)
    if request.HasField("uid"):
        inode.uid = request.uid
    if request.HasField("gid"):
        inode.gid = request.gid
    scope.touch(inode, content=has_length)
    if request.atime_now:
        inode.atime_ns = scope.time_ns
    elif request.HasField("atime_ns"):
        inode.atime_ns = request.atime_ns
    if request.mtime_now:
        inode.mtime_ns = scope.time_ns
    elif request.HasField("mtime_ns"):
        inode.mtime_ns = request.mtime_ns
    result.inode.CopyFrom(inode)


def set_xattr(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """SetXattr, one attribute alone: no other writer's attribute is lost."""
    request = operation.set_xattr
    inode = scope.inode(request.inode_id)
    if not request.name or len(request.name) > NAME_SIZE_MAX or len(request.value) > XATTR_VALUE_SIZE_MAX:
        raise Refusal(common_pb2.TOO_LARGE)
    key = keys.xattr(scope.fs_id, request.inode_id, request.name)
    before = scope.txn.get(key)
    if before is not None and request.create:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    if before is None:
        if request.replace:
            raise Refusal(common_pb2.NO_ATTRIBUTE)
        if inode.xattr_count >= XATTR_COUNT_MAX:
            raise Refusal(common_pb2.NO_SPACE, "too many extended attributes on one inode")
    if inode.xattr_count:
        scope.attributes += inode.xattr_count
        start = keys.of_inode(keys.XATTR, scope.fs_id, request.inode_id)
        end = keys.after_inode(keys.XATTR, scope.fs_id, request.inode_id)
        others = [(len(k) - keys.XATTR_NAME_AT, len(v)) for k, v in scope.txn.scan(start, end)]
        if before is None and sum(name + 1 for name, _ in others) + len(request.name) + 1 > XATTR_LIST_MAX:
            raise Refusal(common_pb2.NO_SPACE, "the names of extended attributes of one inode could not be listed")
        total = sum(name + value for name, value in others)
        if before is not None:
            total -= len(request.name) + len(before)
        if total + len(request.name) + len(request.value) > XATTR_BYTES_MAX:
            raise Refusal(common_pb2.NO_SPACE, "too many bytes in extended attributes of one inode")
    scope.txn.put(key, request.value)
    inode.xattr_count += before is None
    scope.touch(inode)
    result.inode.CopyFrom(inode)


def remove_xattr(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """RemoveXattr."""
    request = operation.remove_xattr
    inode = scope.inode(request.inode_id)
    if not request.name or len(request.name) > NAME_SIZE_MAX:
        raise Refusal(common_pb2.NO_ATTRIBUTE)
    if not scope.txn.delete(keys.xattr(scope.fs_id, request.inode_id, request.name)):
        raise Refusal(common_pb2.NO_ATTRIBUTE)
    inode.xattr_count -= 1
    scope.touch(inode)
    result.inode.CopyFrom(inode)
