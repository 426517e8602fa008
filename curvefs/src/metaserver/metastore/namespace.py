"""Operations on names: create, unlink, rmdir, link, rename. Each is atomic: it is one operation of one entry.

Which times change follows POSIX (IEEE Std 1003.1-2017, the page of each function): a directory whose names change gets
mtime and ctime, an inode whose link count or parent changes gets ctime. An operation raises the change counter of each
inode it touches by exactly one; caches rely on that.
"""

import stat

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import SYMLINK_TARGET_SIZE_MAX, partition_of
from ..storage import keys
from . import ids, locks, quota_owner, quotas, trash
from .scope import LINK_COUNT_MAX, Refusal, Scope, put_queued

DIRECTORY_LENGTH = 4096
_TYPES = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK))


def create(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Create: a new inode and its name."""
    request = operation.create
    key = scope.dentry_key(request.parent, request.name)
    parent = scope.directory(request.parent)
    type_ = _type_of_new(request)
    locks.require_none(locks.on_name(scope, key), locks.on_inserts(scope, request.parent))
    existing = scope.txn.get(key)
    if existing is not None:
        _found_there(request, type_, keys.unpack_dentry(existing), result)
        there = scope.inode(keys.unpack_dentry(existing)[0])
        result.inode.CopyFrom(there)
        if request.exclusive or not (stat.S_ISREG(there.mode) and type_ == stat.S_IFREG):
            raise Refusal(common_pb2.ALREADY_EXISTS)
        result.existed = True
        return
    is_directory = type_ == stat.S_IFDIR
    if is_directory and parent.nlink >= LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    is_charged = quotas.apply_to(scope, parent)  # all that a create costs without quotas
    if is_charged:
        quotas.require(scope, request.parent, quotas.below(parent), 0, 1)
    inode_id = _number_of_new(scope, request, result)
    inode = pb.Inode(
        inode_id=inode_id,
        mode=request.mode,
        nlink=2 if is_directory else 1,
        uid=operation.credential.uid,
        gid=operation.credential.gid,
        rdev=request.rdev,
        length=DIRECTORY_LENGTH if is_directory else len(request.symlink_target),
        atime_ns=scope.time_ns,
        mtime_ns=scope.time_ns,
        ctime_ns=scope.time_ns,
        btime_ns=scope.time_ns,
        change=1,
        parent=request.parent,
        symlink_target=request.symlink_target,
    )
    if parent.mode & stat.S_ISGID:
        inode.gid = parent.gid
        if is_directory:
            inode.mode |= stat.S_ISGID
    scope.add(inode)
    scope.txn.put(key, keys.pack_dentry(inode_id, type_ >> 12))
    parent.nlink += is_directory
    parent.entry_count += 1
    scope.touch(parent, content=True)
    if is_charged:
        quotas.charge_new(scope, parent, inode, result)
    else:
        scope.partition(request.parent).inode_count += 1
    result.inode.CopyFrom(inode)
    result.parent.CopyFrom(parent)


def _type_of_new(request: pb.Create) -> int:
    """Return the type of what is to be created. Raises Refusal for what cannot be."""
    type_ = stat.S_IFMT(request.mode)
    if type_ not in _TYPES:
        raise Refusal(common_pb2.INVALID_ARGUMENT, f"mode {request.mode:o} has no known type")
    if bool(request.symlink_target) != (type_ == stat.S_IFLNK):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a symlink has a target, nothing else has")
    if len(request.symlink_target) > SYMLINK_TARGET_SIZE_MAX:
        raise Refusal(common_pb2.NAME_TOO_LONG, "the symlink's target")
    if request.HasField("partition_id"):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a directory is placed elsewhere by a transaction only")
    return type_


def _number_of_new(scope: Scope, request: pb.Create, result: pb.OperationResult) -> int:
    """Take the number that the session chose, or the next one. Raises Refusal ID_REFUSED."""
    if request.inode_id:
        leased = ids.check_inode_number(scope, request.inode_id, request.parent)
        ids.use_inode_number(scope, leased, request.inode_id, result)
        return request.inode_id
    inode_id = ids.take_inode_number(scope, request.parent)
    if scope.session_id:
        ids.grant_first(scope, request.parent, result)
    return inode_id


def _found_there(request: pb.Create, type_: int, found: tuple[int, int], result: pb.OperationResult) -> None:
    """Answer for a name whose inode lies in another partition: what is known of it here is its number and type."""
    inode_id, there_type = found
    if partition_of(inode_id) == partition_of(request.parent):
        return
    result.inode.inode_id, result.inode.mode = inode_id, there_type << 12
    if request.exclusive or not (there_type == stat.S_IFREG >> 12 and type_ == stat.S_IFREG):
        raise Refusal(common_pb2.ALREADY_EXISTS)
    raise Refusal(common_pb2.CROSS_PARTITION)


def unlink(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Unlink: remove a name that is no directory."""
    request = operation.unlink
    key, parent, target = _named(scope, request.parent, request.name)
    if stat.S_ISDIR(target.mode):
        raise Refusal(common_pb2.IS_A_DIRECTORY)
    locks.require_none(locks.on_identity(scope, target.inode_id))
    scope.txn.delete(key)
    parent.entry_count -= 1
    scope.touch(parent, content=True)
    target.nlink -= 1
    lost_a_name(target, request.parent)
    scope.touch(target)
    result.parent.CopyFrom(parent)
    lost_a_link(scope, target, request.held_inode, result, (request.parent, request.name))


def rmdir(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Rmdir: remove an empty directory."""
    request = operation.rmdir
    key, parent, target = _named(scope, request.parent, request.name)
    if not stat.S_ISDIR(target.mode):
        raise Refusal(common_pb2.NOT_A_DIRECTORY)
    _require_unlocked_directory(scope, target)
    if target.entry_count:
        raise Refusal(common_pb2.NOT_EMPTY)
    scope.txn.delete(key)
    parent.entry_count -= 1
    parent.nlink -= 1
    scope.touch(parent, content=True)
    target.nlink = 0
    scope.touch(target)
    result.parent.CopyFrom(parent)
    lost_a_link(scope, target, request.held_inode, result, (request.parent, request.name))


def link(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Link: another name for what is no directory."""
    request = operation.link
    key = scope.dentry_key(request.new_parent, request.new_name)
    locks.require_here(request.new_parent, request.inode_id)
    inode = scope.inode(request.inode_id)
    parent = scope.directory(request.new_parent)
    if stat.S_ISDIR(inode.mode):
        raise Refusal(common_pb2.NOT_PERMITTED, "a directory has one name")
    if not inode.nlink:
        raise Refusal(common_pb2.NOT_FOUND, "the file was removed")
    if inode.nlink >= LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    locks.require_none(
        locks.on_name(scope, key),
        locks.on_inserts(scope, request.new_parent),
        locks.on_identity(scope, request.inode_id),
    )
    if scope.txn.get(key) is not None:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    scope.txn.put(key, keys.pack_dentry(inode.inode_id, stat.S_IFMT(inode.mode) >> 12))
    inode.nlink += 1
    scope.touch(inode)
    parent.entry_count += 1
    scope.touch(parent, content=True)
    result.inode.CopyFrom(inode)
    result.new_parent.CopyFrom(parent)


def rename(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Move a name, as rename(2) and renameat2(2) have it."""
    request = operation.rename
    if request.no_replace and request.exchange:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "no_replace and exchange exclude each other")
    locks.require_here(request.parent, request.new_parent)
    new_key = scope.dentry_key(request.new_parent, request.new_name)
    key, parent, moved = _named(scope, request.parent, request.name)
    new_parent = scope.directory(request.new_parent)
    locks.require_none(locks.on_name(scope, new_key), locks.on_inserts(scope, request.new_parent))
    new_value = scope.txn.get(new_key)
    if new_value is not None and request.no_replace:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    target = None if new_value is None else _named_inode(scope, request.new_parent, new_value)
    if parent is not new_parent and (_is_directory(moved) or (request.exchange and _is_directory(target))):
        # Only one at a time may move directories, or two of them could make a circle (rule 18).
        raise Refusal(common_pb2.CROSS_PARTITION)
    locks.require_none(locks.on_identity(scope, moved.inode_id))
    if target is not None:
        _require_unlocked_directory(scope, target)
    if request.exchange and target is None:
        raise Refusal(common_pb2.NOT_FOUND)
    if target is moved:
        return  # two names of one inode: nothing happens
    if target is not None and not request.exchange:
        _check_replaceable(moved, target)
    gains = _is_directory(moved) - _is_directory(target)
    if parent is not new_parent and new_parent.nlink + gains > LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    displaced = target if request.exchange else None
    _require_moves(scope, (moved, new_parent), (displaced, parent))
    scope.txn.put(new_key, keys.pack_dentry(moved.inode_id, stat.S_IFMT(moved.mode) >> 12))
    if request.exchange and target is not None:
        scope.txn.put(key, keys.pack_dentry(target.inode_id, stat.S_IFMT(target.mode) >> 12))
        comes_to(scope, target, parent.inode_id, quotas.below(parent))
        parent.nlink -= gains
    else:
        scope.txn.delete(key)
        parent.entry_count -= 1
        parent.nlink -= _is_directory(moved)
        new_parent.entry_count += target is None
    new_parent.nlink += gains
    comes_to(scope, moved, new_parent.inode_id, quotas.below(new_parent))
    scope.touch(moved)
    scope.touch(parent, content=True)
    result.parent.CopyFrom(parent)
    if parent is not new_parent:
        scope.touch(new_parent, content=True)
        result.new_parent.CopyFrom(new_parent)
    result.inode.CopyFrom(moved)
    if target is not None:
        _displaced(scope, target, request, result)


def _require_moves(scope: Scope, *moves: tuple[pb.Inode | None, pb.Inode]) -> None:
    """Raise Refusal NO_ALLOWANCE, CROSS_DEVICE unless these inodes may be charged in the directories they come to."""
    for inode, parent in moves:
        if inode is not None:
            quotas.require_move(scope, inode, quotas.below(parent))


def comes_to(scope: Scope, inode: pb.Inode, parent: int, charged: list[int]) -> None:
    """A name in a directory becomes the inode's primary one. charged: the quotas of what lies there."""
    quotas.move(scope, inode, charged)
    inode.parent, inode.parent_gone = parent, False


def lost_a_name(inode: pb.Inode, parent: int) -> None:
    """A name in a directory went, and perhaps others are left: the inode stays charged where it was."""
    if inode.nlink and inode.parent == parent:
        inode.parent_gone = True


def _displaced(scope: Scope, target: pb.Inode, request: pb.Rename, result: pb.OperationResult) -> None:
    """Say what became of the inode that had the new name."""
    if request.exchange:
        scope.touch(target)
        result.replaced.CopyFrom(target)
        return
    target.nlink = 0 if _is_directory(target) else target.nlink - 1
    lost_a_name(target, request.new_parent)
    scope.touch(target)
    lost_a_link(scope, target, request.held_inode, result, (request.new_parent, request.new_name), replaced=True)


def release(scope: Scope, operation: pb.Operation, _: pb.OperationResult) -> None:
    """ReleaseInode: the session holds an unlinked inode no longer."""
    inode_id = operation.release_inode.inode_id
    # An unlink that says "held" may be decided and not applied yet: the release comes after it.
    locks.require_none(locks.on_identity(scope, inode_id))
    let_go(scope, scope.session_id, inode_id)


def let_go(scope: Scope, session_id: bytes, inode_id: int) -> None:
    """Take a session from an inode's waiters; the last one lets it be purged."""
    scope.txn.delete(keys.holding(session_id, scope.fs_id, inode_id))
    if not scope.txn.delete(keys.waiter(scope.fs_id, inode_id, session_id)):
        return
    inode = scope.find(inode_id)
    if inode is not None and not inode.nlink and not inode.trashed_ns and not is_held(scope, inode_id):
        purge(scope, inode)


def is_held(scope: Scope, inode_id: int) -> bool:
    """Say whether some session holds an inode without links open."""
    start = keys.of_inode(keys.WAITER, scope.fs_id, inode_id)
    return any(True for _ in scope.txn.scan(start, keys.after_inode(keys.WAITER, scope.fs_id, inode_id), 1))


def hold(scope: Scope, inode_id: int) -> None:
    """Note that the session holds an inode without links open."""
    scope.txn.put(keys.waiter(scope.fs_id, inode_id, scope.session_id), b"")
    scope.txn.put(keys.holding(scope.session_id, scope.fs_id, inode_id), b"")


def purge(scope: Scope, inode: pb.Inode) -> None:
    """Remove an inode that nobody can reach; its slices stay for the delete queue (rule 14)."""
    if not scope.is_served(inode.inode_id):
        return
    quotas.charge(scope, inode.inode_id, inode.quotas, -quotas.size_of(inode), -1)
    if inode.own_quota:
        quota_owner.abandon(scope, inode.own_quota)
    if stat.S_ISREG(inode.mode):
        put_queued(scope, scope.time_ns, state_pb2.DeleteRecord(queued_ns=scope.time_ns, inode=inode))
    if inode.xattr_count:
        scope.attributes += inode.xattr_count
        start = keys.of_inode(keys.XATTR, scope.fs_id, inode.inode_id)
        for key, _ in list(scope.txn.scan(start, keys.after_inode(keys.XATTR, scope.fs_id, inode.inode_id))):
            scope.txn.delete(key)
    scope.drop(inode.inode_id)


def _named(scope: Scope, parent_id: int, name: bytes) -> tuple[bytes, pb.Inode, pb.Inode]:
    """Return (key, parent, inode) of a name. Raises Refusal NOT_FOUND, NOT_A_DIRECTORY, LOCKED, CROSS_PARTITION."""
    key = scope.dentry_key(parent_id, name)
    parent = scope.directory(parent_id)
    locks.require_none(locks.on_name(scope, key))
    value = scope.txn.get(key)
    if value is None:
        raise Refusal(common_pb2.NOT_FOUND)
    return key, parent, _named_inode(scope, parent_id, value)


def _named_inode(scope: Scope, parent_id: int, value: bytes) -> pb.Inode:
    """Return the inode that a dentry leads to. Raises Refusal CROSS_PARTITION when it lies in another partition."""
    inode_id, _ = keys.unpack_dentry(value)
    locks.require_here(parent_id, inode_id)
    return scope.inode(inode_id)


def _require_unlocked_directory(scope: Scope, target: pb.Inode) -> None:
    """Raise Refusal LOCKED when an inode, or a name in it, is locked."""
    names = locks.on_names_in(scope, target.inode_id) if _is_directory(target) else None
    locks.require_none(locks.on_identity(scope, target.inode_id), names)


def _is_directory(inode: pb.Inode | None) -> bool:
    return inode is not None and stat.S_ISDIR(inode.mode)


def _check_replaceable(moved: pb.Inode, target: pb.Inode) -> None:
    if stat.S_ISDIR(target.mode):
        if not stat.S_ISDIR(moved.mode):
            raise Refusal(common_pb2.IS_A_DIRECTORY)
        if target.entry_count:
            raise Refusal(common_pb2.NOT_EMPTY)
    elif stat.S_ISDIR(moved.mode):
        raise Refusal(common_pb2.NOT_A_DIRECTORY)


def lost_a_link(
    scope: Scope,
    target: pb.Inode,
    held_inode: int,
    result: pb.OperationResult,
    name: tuple[int, bytes],
    *,
    replaced: bool = False,
) -> None:
    """Say what became of an inode that lost a name: without names it is in the trash, held by sessions, or purged.

    name: with its directory. replaced: by a rename.
    """
    is_held_here = not target.nlink and held_inode == target.inode_id and bool(scope.session_id)
    if is_held_here:
        hold(scope, target.inode_id)
        result.held = True
    if not target.nlink and trash.takes(scope, target, replaced=replaced):
        trash.put(scope, target, *name)
    elif not target.nlink and not is_held(scope, target.inode_id):
        purge(scope, target)
    result.replaced.CopyFrom(target)
