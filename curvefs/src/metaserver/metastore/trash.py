"""The trash: what has lost its last link, until its retention is over (rule 27).

An inode in the trash has no links; it knows since when it is there, from under which name, in which directory. It can
be read, and it stays charged to its quotas. Restoring gives it a name again; purging makes it what it would have been
without a trash. Both take it out here, in the group of the inode.

Table T is in order of time, for purging. Table t says where mounts show it: below the directory it was removed from,
and below the hour in which it was. Only one of the two is looked at: the hour, unless the directory is in the trash
itself. As a directory gets there after what was in it, that is found out when it is asked for.

Whether there is a trash is written in the partition's record, so every replica decides alike.
"""

import stat

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import hour_of_trash
from ..storage import keys
from . import locks, namespace, quotas
from .applied import Applied
from .scope import LINK_COUNT_MAX, Refusal, Scope

KEYS_PER_ENTRY = 900
_KEYS_PER_INODE = 7  # three in the trash, itself, in the delete queue, its partition's counters, its quota's


def takes(scope: Scope, inode: pb.Inode, *, replaced: bool) -> bool:
    """Say whether an inode that lost its last link goes to the trash. replaced: by a rename."""
    if not scope.is_served(inode.inode_id):
        return False
    spec = scope.partition(inode.inode_id).spec
    return spec.trash_retention_s > 0 and (spec.trash_replaced or not replaced)


def put(scope: Scope, inode: pb.Inode, parent: int, name: bytes) -> None:
    """Put an inode without links into the trash; the caller touches it."""
    inode.trashed_ns, inode.trashed_parent, inode.trashed_name = scope.time_ns, parent, name
    scope.keep(inode)
    for key, value in _places(scope, inode):
        scope.txn.put(key, value)


def take_out(scope: Scope, inode: pb.Inode) -> None:
    """Take an inode out of the trash; the caller says what becomes of it."""
    for key, _ in _places(scope, inode):
        scope.txn.delete(key)
    inode.ClearField("trashed_ns")
    inode.ClearField("trashed_parent")
    inode.ClearField("trashed_name")


def _places(scope: Scope, inode: pb.Inode) -> list[tuple[bytes, bytes]]:
    time_ns, inode_id = inode.trashed_ns, inode.inode_id
    hash_ = keys.name_hash(scope.partition(inode_id).spec.hash_seed, inode.trashed_name)
    parent = inode.trashed_parent.to_bytes(8, "big")
    places = (inode.trashed_parent, hour_of_trash(time_ns))
    shown = [(keys.trash_place(scope.fs_id, place, hash_, time_ns, inode_id), parent) for place in places]
    return [(keys.trash(scope.fs_id, time_ns, inode_id), b""), *shown]


# ---------------------------------------------------------------------------------------------- restoring


def restore(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Restore, where the inode and its new directory lie in one partition."""
    request = operation.restore
    key = scope.dentry_key(request.new_parent, request.new_name)
    locks.require_here(request.new_parent, request.inode_id)
    inode = _trashed(scope, request.inode_id)
    parent = scope.directory(request.new_parent)
    locks.require_none(
        locks.on_name(scope, key),
        locks.on_inserts(scope, request.new_parent),
        locks.on_identity(scope, request.inode_id),
    )
    if scope.txn.get(key) is not None:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    is_directory = stat.S_ISDIR(inode.mode)
    if is_directory and parent.nlink >= LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    quotas.require_restored(scope, inode, quotas.below(parent))
    scope.txn.put(key, keys.pack_dentry(inode.inode_id, stat.S_IFMT(inode.mode) >> 12))
    parent.nlink += is_directory
    parent.entry_count += 1
    scope.touch(parent, content=True)
    come_back(scope, inode, parent.inode_id, quotas.below(parent))
    result.inode.CopyFrom(inode)
    result.new_parent.CopyFrom(parent)


def require_trashed(inode: pb.Inode) -> None:
    """Raise Refusal NOT_FOUND unless an inode is in the trash."""
    if not inode.trashed_ns:
        raise Refusal(common_pb2.NOT_FOUND, "it is not in the trash")


def come_back(scope: Scope, inode: pb.Inode, parent: int, charged: list[int]) -> None:
    """An inode in the trash has a name again, in this directory; it is charged to these quotas, as was required."""
    take_out(scope, inode)
    inode.nlink = 2 if stat.S_ISDIR(inode.mode) else 1
    quotas.move(scope, inode, charged)
    inode.parent, inode.parent_gone = parent, False
    scope.touch(inode)


def _trashed(scope: Scope, inode_id: int) -> pb.Inode:
    inode = scope.inode(inode_id)
    require_trashed(inode)
    return inode


# ------------------------------------------------------------------------------------------------ purging


def purge_trashed(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """PurgeTrashed: one inode, at once."""
    request = operation.purge_trashed
    inode = _trashed(scope, request.inode_id)
    scope.partition(request.inode_id)  # not being deleted
    locks.require_none(locks.on_identity(scope, request.inode_id))
    if request.held and scope.session_id:
        namespace.hold(scope, inode.inode_id)
        result.held = True
    _purge(scope, inode)
    result.replaced.CopyFrom(inode)


def purge_old(scope: Scope, command: state_pb2.PurgeTrashCommand, applied: Applied) -> None:
    """PurgeTrashCommand: what is older than the retention, as much as one entry may touch. Says how many it were.

    What is just being restored stays: its lock says so; it is looked at again later.
    """
    scope.fs_id = command.fs_id
    end = keys.trash(scope.fs_id, max(command.upto_ns, 0) + 1, 0)
    room = KEYS_PER_ENTRY
    applied.purged = 0
    for key, _ in list(scope.txn.scan(keys.of_fs(keys.TRASH, scope.fs_id), end, KEYS_PER_ENTRY // _KEYS_PER_INODE)):
        time_ns, inode_id = keys.unpack_trash(key)
        inode = scope.find(inode_id)
        if inode is None or not scope.is_served(inode_id) or locks.on_identity(scope, inode_id) is not None:
            continue
        retention_ns = scope.partition(inode_id).spec.trash_retention_s * 10**9
        if time_ns + retention_ns > scope.time_ns:
            continue
        room -= _KEYS_PER_INODE + inode.xattr_count
        applied.purged += 1
        _purge(scope, inode)
        if room <= 0:
            return


def _purge(scope: Scope, inode: pb.Inode) -> None:
    take_out(scope, inode)
    scope.touch(inode)
    if not namespace.is_held(scope, inode.inode_id):
        namespace.purge(scope, inode)
