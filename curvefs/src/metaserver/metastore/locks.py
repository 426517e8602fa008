"""Locks of transactions (rule 17): on names, and on an inode's identity (existence, parent, links).

Operations of one partition that meet one answer LOCKED and are sent again; a transaction that meets another's learns
whose it is. Data, lengths, attributes and times are never locked.
"""

from ....proto import common_pb2, state_pb2
from ...common.ids import partition_of
from ..storage import keys
from ..storage.transaction import StateReader
from .scope import Refusal, Scope, has_locks

Lock = state_pb2.LockRecord


def on_name(scope: Scope, key: bytes) -> Lock | None:
    """Return the lock of a name, by its key."""
    return scope.lock_of(key)


def on_identity(scope: Scope, inode_id: int) -> Lock | None:
    """Return the lock of an inode."""
    return scope.lock_of(scope.inode_key(inode_id))


def on_inserts(scope: Scope, directory: int) -> Lock | None:
    """Return the lock that keeps a directory from taking names: it is about to be removed."""
    lock = on_identity(scope, directory)
    return lock if lock is not None and lock.kind == Lock.REMOVAL else None


def on_names_in(scope: Scope, directory: int) -> Lock | None:
    """Return the lock of some name in a directory: it may be about to get or lose one."""
    if not scope.has_locks:
        return None
    return next(iter(_in(scope.txn, scope.fs_id, directory)), None)


def require_none(*locks: Lock | None) -> None:
    """Raise Refusal LOCKED when there is one."""
    if any(lock is not None for lock in locks):
        raise Refusal(common_pb2.LOCKED, "a transaction is about to change it")


def require_here(parent: int, *inodes: int) -> None:
    """Raise Refusal CROSS_PARTITION unless all lie in one partition."""
    here = partition_of(parent)
    if any(partition_of(inode_id) != here for inode_id in inodes):
        raise Refusal(common_pb2.CROSS_PARTITION)


def require_settled_name(view: StateReader, key: bytes) -> None:
    """For a read: raise Refusal LOCKED when a name is locked."""
    if has_locks(view) and view.get(keys.lock(key)) is not None:
        raise Refusal(common_pb2.LOCKED, "a transaction is about to change it")


def require_settled_identity(view: StateReader, fs_id: int, inode_id: int) -> None:
    """For a read of an inode's parent: raise Refusal LOCKED when its identity is locked."""
    if has_locks(view) and view.get(keys.lock(keys.of_inode(keys.INODE, fs_id, inode_id))) is not None:
        raise Refusal(common_pb2.LOCKED, "a transaction is about to change it")


def is_settled(view: StateReader, fs_id: int, inode_id: int) -> bool:
    """Say whether neither the identity of an inode nor a name in it is locked."""
    return view.get(keys.lock(keys.of_inode(keys.INODE, fs_id, inode_id))) is None and not _in(view, fs_id, inode_id)


def require_settled_inode(view: StateReader, fs_id: int, inode_id: int) -> None:
    """For a read: raise Refusal LOCKED when the identity of an inode, or a name in it, is locked."""
    if has_locks(view) and not is_settled(view, fs_id, inode_id):
        raise Refusal(common_pb2.LOCKED, "a transaction is about to change it")


def _in(view: StateReader, fs_id: int, directory: int) -> list[Lock]:
    start = keys.lock(keys.of_inode(keys.DENTRY, fs_id, directory))
    end = keys.lock(keys.after_inode(keys.DENTRY, fs_id, directory))
    return [Lock.FromString(value) for _, value in view.scan(start, end, 1)]
