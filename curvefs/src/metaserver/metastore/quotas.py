"""What is charged to quotas, in the group of the inode that it is charged for (rule 26).

An inode says which directory quotas it is charged to, and what is taken off again is exactly that: so the counters are
at all times the sums over the inodes that name the quota. The filesystem's quota counts what the partition counts
anyway.

A partition has an allowance of each quota, lent by the quota's owner. What grows is refused with NO_ALLOWANCE when it
would pass that; the client asks the owner then, and sends it again. A share of which nobody told the partition allows
nothing. What is reserved, by sessions for growth to come and by prepared transactions, counts as used.

An inode is charged one inode, and a regular file its length, at its primary parent: the directory of its first name, or
of the last one it was renamed to. When that name goes and others are left, the charge stays where it is.
"""

import stat
from collections.abc import Iterable, Sequence

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import ROOT_INODE, make_id, partition_of
from ..storage import keys
from ..storage.transaction import StateReader
from . import locks
from .scope import Refusal, Scope, read_partition

Lock = state_pb2.LockRecord

FILESYSTEM = ROOT_INODE  # the number of the filesystem's quota; those of directories are inode numbers nobody uses
MARKED_MAX = 256  # inodes in one entry
USED_BYTES_MAX = 1 << 62  # of a partition: what is used and reserved fits into 64 bits together
RESERVED_BYTES_MAX = 1 << 62  # of its sessions, in one quota
_WISH_PART = 16  # of what a partition may still use, one reservation gets at most this part beyond its need


def below(directory: pb.Inode) -> list[int]:
    """Return the directory quotas that what lies in a directory is charged to."""
    if not directory.own_quota:
        return list(directory.quotas)
    return sorted((*directory.quotas, directory.own_quota))


def apply_to(scope: Scope, directory: pb.Inode) -> bool:
    """Say whether anything limits what is created in a directory."""
    return scope.partition(directory.inode_id).HasField("share") or bool(directory.quotas) or directory.own_quota > 0


def size_of(inode: pb.Inode) -> int:
    """Return the bytes that an inode is charged."""
    return inode.length if stat.S_ISREG(inode.mode) else 0


# ------------------------------------------------------------------------------------------------ charging


def require(scope: Scope, inode_id: int, quotas: Sequence[int], bytes_: int, inodes: int = 0) -> None:
    """Raise Refusal NO_ALLOWANCE unless this may be charged, for an inode in this partition."""
    partition = scope.partition(inode_id)
    if quotas or partition.HasField("share"):
        _require(scope, partition, (*_filesystem(partition), *quotas), (bytes_, inodes), b"", pb.Reservation())


def require_growth(scope: Scope, inode: pb.Inode, length: int, reserved: pb.Reservation | None = None) -> None:
    """Raise Refusal NO_ALLOWANCE, LOCKED, NO_SPACE unless a file may become this long.

    reserved: what the session has for it.
    """
    growth = length - inode.length
    if growth <= 0:
        return
    lock = locks.on_identity(scope, inode.inode_id)
    if lock is not None and lock.kind == Lock.CHARGE:
        raise Refusal(common_pb2.LOCKED, "the file comes to another quota")
    partition = scope.partition(inode.inode_id)
    if partition.used_bytes + growth > USED_BYTES_MAX:
        raise Refusal(common_pb2.NO_SPACE, "the partition's files are as long together as they may be")
    if not inode.quotas and not partition.HasField("share"):
        return
    quotas = (*_filesystem(partition), *inode.quotas)
    _require(scope, partition, quotas, (growth, 0), scope.session_id, reserved or pb.Reservation())


def require_move(scope: Scope, inode: pb.Inode, quotas: Sequence[int]) -> list[int]:
    """Return the quotas that an inode comes to when charged to these. Raises Refusal NO_ALLOWANCE, CROSS_DEVICE.

    A directory stays where it is charged to the same, also within its parent: so a walk that is about to charge it, or
    what lies in it, misses nothing. Quotas that were removed do not count.
    """
    if inode.quotas == quotas:
        return []
    if stat.S_ISDIR(inode.mode):
        here = partition_of(inode.inode_id)
        if all(scope.share(here, one).gone for one in set(inode.quotas).symmetric_difference(quotas)):
            return []
        raise Refusal(common_pb2.CROSS_DEVICE, "a directory stays below the quotas it is below")
    return require_restored(scope, inode, quotas)


def require_restored(scope: Scope, inode: pb.Inode, quotas: Sequence[int]) -> list[int]:
    """Do the same for what nothing lies below. Raises Refusal NO_ALLOWANCE."""
    added = [one for one in quotas if one not in inode.quotas]
    _require(scope, scope.partition(inode.inode_id), added, (size_of(inode), 1), b"", pb.Reservation())
    return added


def charge(scope: Scope, inode_id: int, quotas: Iterable[int], bytes_: int, inodes: int = 0) -> None:
    """Charge, or with negative numbers take off, after it was required. For an inode in this partition."""
    partition = scope.partition(inode_id)
    partition.used_bytes += bytes_
    partition.inode_count += inodes
    _charge_directories(scope, inode_id, quotas, bytes_, inodes)


def charge_new(scope: Scope, parent: pb.Inode, inode: pb.Inode, result: pb.OperationResult) -> None:
    """Charge an inode that was just made in a directory, after it was required."""
    inode.quotas.extend(below(parent))
    charge(scope, inode.inode_id, inode.quotas, 0, 1)
    result.limited = limits(scope.partition(inode.inode_id))


def move(scope: Scope, inode: pb.Inode, quotas: Sequence[int]) -> None:
    """Charge an inode to these directory quotas from now on, after it was required."""
    if inode.quotas == quotas:
        return
    size = size_of(inode)
    _charge_directories(scope, inode.inode_id, [one for one in inode.quotas if one not in quotas], -size, -1)
    _charge_directories(scope, inode.inode_id, [one for one in quotas if one not in inode.quotas], size, 1)
    inode.quotas[:] = quotas


def _charge_directories(scope: Scope, inode_id: int, quotas: Iterable[int], bytes_: int, inodes: int) -> None:
    partition_id = partition_of(inode_id)
    for quota_id in quotas:
        share = scope.share(partition_id, quota_id)
        if not share.gone:
            share.used.bytes += bytes_
            share.used.inodes += inodes
            scope.changed_share(partition_id, quota_id)


def _filesystem(partition: state_pb2.PartitionRecord) -> tuple[int, ...]:
    return (FILESYSTEM,) if partition.HasField("share") else ()


def limits(partition: state_pb2.PartitionRecord) -> bool:
    """Say whether a partition is under a quota of the filesystem: growth is to be reserved."""
    return partition.HasField("share") and not partition.share.unlimited


def _share(scope: Scope, partition: state_pb2.PartitionRecord, quota_id: int) -> common_pb2.QuotaShare:
    return partition.share if quota_id == FILESYSTEM else scope.share(partition.spec.partition_id, quota_id)


def _left(partition: state_pb2.PartitionRecord, quota_id: int, share: common_pb2.QuotaShare) -> tuple[int, int]:
    """Return the (bytes, inodes) that may still be charged."""
    used_bytes, used_inodes = share.used.bytes, share.used.inodes
    if quota_id == FILESYSTEM:
        used_bytes, used_inodes = partition.used_bytes, partition.inode_count
    return (
        share.allowance.bytes - used_bytes - share.reserved.bytes,
        share.allowance.inodes - used_inodes - share.reserved.inodes,
    )


def _require(  # noqa: PLR0917 -- one call for all
    scope: Scope,
    partition: state_pb2.PartitionRecord,
    quotas: Iterable[int],
    wanted: tuple[int, int],
    session_id: bytes,
    brought: pb.Reservation,
) -> None:
    """Raise Refusal NO_ALLOWANCE unless every one of the quotas has room. brought: of the session's reservations."""
    partition_id = partition.spec.partition_id
    for quota_id in quotas:
        share = _share(scope, partition, quota_id)
        if share.unlimited or share.gone:
            continue
        bytes_left, inodes_left = _left(partition, quota_id, share)
        if quota_id in brought.quotas:
            bytes_left += min(brought.bytes, _reserved(scope, session_id, partition_id, quota_id))
        bytes_, inodes = wanted
        if (bytes_ > 0 and bytes_ > bytes_left) or (inodes > 0 and inodes > inodes_left):
            amount = common_pb2.QuotaAmount(bytes=max(bytes_, 0), inodes=max(inodes, 0))
            need = common_pb2.QuotaNeed(quota_id=quota_id, partition_id=partition_id, amount=amount)
            raise Refusal(common_pb2.NO_ALLOWANCE, f"the partition's share of quota {quota_id} is used up", need)


# ---------------------------------------------------------------------------- reservations of transactions


def hold(scope: Scope, inode_id: int, quotas: Sequence[int], amount: common_pb2.QuotaAmount) -> list[int]:
    """Set aside what a prepared part will charge; returns the quotas in which something was."""
    partition = scope.partition(inode_id)
    held = []
    for quota_id in quotas:
        share = _share(scope, partition, quota_id)
        if not share.gone:
            _reserve(scope, partition, quota_id, share, amount.bytes, amount.inodes)
            held.append(quota_id)
    return held


def let_go(scope: Scope, inode_id: int, fact: transaction_pb2.Fact) -> None:
    """Give back what was set aside for a part."""
    if not fact.charged or not scope.is_served(inode_id):
        return
    partition = scope.partition(inode_id)
    for quota_id in fact.charged:
        share = _share(scope, partition, quota_id)
        if not share.gone:
            _reserve(scope, partition, quota_id, share, -fact.charge.bytes, -fact.charge.inodes)


def held_by(scope: Scope, inode_id: int, quotas: Sequence[int]) -> list[int]:
    """Return the quotas in which a new inode in a partition is to be set aside, the filesystem's included."""
    return [*_filesystem(scope.partition(inode_id)), *quotas]


def _reserve(  # noqa: PLR0917 -- as above
    scope: Scope,
    partition: state_pb2.PartitionRecord,
    quota_id: int,
    share: common_pb2.QuotaShare,
    bytes_: int,
    inodes: int,
) -> None:
    share.reserved.bytes += bytes_
    share.reserved.inodes += inodes
    if quota_id != FILESYSTEM:
        scope.changed_share(partition.spec.partition_id, quota_id)


# -------------------------------------------------------------------------------- reservations of sessions


def reserve(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Reserve: room for a file's growth to come, for this session."""
    request = operation.reserve
    inode = scope.inode(request.inode_id)
    if not stat.S_ISREG(inode.mode):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "only a regular file grows")
    partition = scope.partition(request.inode_id)
    quotas = [*_filesystem(partition), *inode.quotas]
    _require(scope, partition, quotas, (request.bytes, 0), b"", pb.Reservation())
    more = request.wish
    for quota_id in quotas:
        share = _share(scope, partition, quota_id)
        if not (share.unlimited or share.gone):
            more = min(more, (_left(partition, quota_id, share)[0] - request.bytes) // _WISH_PART)
    total = request.bytes + max(more, 0)
    there = max((_share(scope, partition, one).reserved.bytes for one in quotas), default=0)
    if there + total > RESERVED_BYTES_MAX:
        raise Refusal(common_pb2.NO_SPACE, "more is reserved than there can be")
    for quota_id in quotas:
        share = _share(scope, partition, quota_id)
        if share.gone:
            continue
        result.reserved.quotas.append(quota_id)
        _reserve(scope, partition, quota_id, share, total, 0)
        _add_reserved(scope, scope.session_id, partition.spec.partition_id, quota_id, total)
    result.reserved.bytes = total
    result.limited = limits(partition)


def give_back(scope: Scope, operation: pb.Operation, _: pb.OperationResult) -> None:
    """GiveBack: the session needs it no longer."""
    request = operation.give_back
    use_reserved(scope, make_id(request.partition_id, 0), request.reserved)


def use_reserved(scope: Scope, inode_id: int, reserved: pb.Reservation) -> None:
    """Take a reservation off, as far as the session has it: used by what is charged instead, or given back."""
    partition_id = partition_of(inode_id)
    for quota_id in reserved.quotas:
        bytes_ = min(reserved.bytes, _reserved(scope, scope.session_id, partition_id, quota_id))
        if bytes_:
            _add_reserved(scope, scope.session_id, partition_id, quota_id, -bytes_)
            _unreserve(scope, partition_id, quota_id, bytes_)


def end_reservation(scope: Scope, key: bytes, value: bytes) -> None:
    """Give back what an ended session had."""
    _, partition_id, quota_id = keys.unpack_reserved(key)
    scope.txn.delete(key)
    _unreserve(scope, partition_id, quota_id, common_pb2.QuotaAmount.FromString(value).bytes)


def _unreserve(scope: Scope, partition_id: int, quota_id: int, bytes_: int) -> None:
    inode_id = make_id(partition_id, 0)
    if not scope.is_served(inode_id):
        return
    partition = scope.partition(inode_id)
    share = _share(scope, partition, quota_id)
    if not share.gone:
        _reserve(scope, partition, quota_id, share, -bytes_, 0)


def _reserved(scope: Scope, session_id: bytes, partition_id: int, quota_id: int) -> int:
    raw = scope.txn.get(keys.reserved(session_id, scope.fs_id, partition_id, quota_id))
    return 0 if raw is None else common_pb2.QuotaAmount.FromString(raw).bytes


def _add_reserved(scope: Scope, session_id: bytes, partition_id: int, quota_id: int, bytes_: int) -> None:
    key = keys.reserved(session_id, scope.fs_id, partition_id, quota_id)
    total = _reserved(scope, session_id, partition_id, quota_id) + bytes_
    if total:
        scope.txn.put(key, common_pb2.QuotaAmount(bytes=total).SerializeToString(deterministic=True))
    else:
        scope.txn.delete(key)


# ------------------------------------------------------------------------------------- the owner's commands


def set_share(scope: Scope, command: state_pb2.SetShareCommand) -> common_pb2.QuotaShare:
    """SetShare: take the owner's word, if it is newer. An allowance is never less than what is used and reserved.

    Returns the share. Raises Refusal WRONG_PARTITION, NOT_FOUND.
    """
    scope.fs_id = command.fs_id
    partition = scope.partition(make_id(command.partition_id, 0))
    said, share = command.share, _share(scope, partition, command.quota_id)
    if not share.gone and (said.version > share.version or said.gone):
        share.version = max(said.version, share.version)
        share.unlimited, share.gone = said.unlimited, said.gone
        share.allowance.CopyFrom(said.allowance)
        bytes_left, inodes_left = _left(partition, command.quota_id, share)
        share.allowance.bytes -= min(bytes_left, 0)
        share.allowance.inodes -= min(inodes_left, 0)
        if command.quota_id != FILESYSTEM:
            scope.changed_share(command.partition_id, command.quota_id)
    answer = common_pb2.QuotaShare()
    answer.CopyFrom(share)
    if command.quota_id == FILESYSTEM:
        answer.used.bytes, answer.used.inodes = partition.used_bytes, partition.inode_count
    return answer


def share_in(view: StateReader, fs_id: int, partition_id: int, quota_id: int) -> common_pb2.QuotaShare:
    """Return what a partition has of a quota, for a read. Raises Refusal WRONG_PARTITION."""
    record = read_partition(view, fs_id, make_id(partition_id, 0))
    if record is None:
        raise Refusal(common_pb2.WRONG_PARTITION, "the partition is not here")
    if quota_id != FILESYSTEM:
        return common_pb2.QuotaShare.FromString(view.get(keys.share(fs_id, partition_id, quota_id)) or b"")
    share = common_pb2.QuotaShare()
    share.CopyFrom(record.share)
    share.unlimited = share.unlimited or not record.HasField("share")
    share.used.bytes, share.used.inodes = record.used_bytes, record.inode_count
    return share


def mark(scope: Scope, command: state_pb2.MarkInodesCommand) -> list[int]:
    """MarkInodes: charge what lies in a directory to a quota, or take it off; returns what is locked just now.

    A directory is marked only while no name in it is locked: what comes into it later knows of the quota then. An inode
    is marked only while the directory is its primary parent. If it has none any more, the directory becomes that: it is
    charged there and no longer where it was; but it stays where it was when other quotas have no room for it.
    """
    scope.fs_id = command.fs_id
    if len(command.inodes) > MARKED_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many inodes at once")
    locked = []
    for inode_id in command.inodes:
        lock = locks.on_identity(scope, inode_id) or locks.on_names_in(scope, inode_id)
        if lock is not None:
            locked.append(inode_id)
            continue
        inode = scope.find(inode_id) if scope.is_served(inode_id) else None
        if inode is None or not inode.nlink:
            continue
        if not command.remove and scope.share(partition_of(inode_id), command.quota_id).gone:
            continue  # from an owner that has been followed by another, which removed the quota
        if inode.parent != command.parent and not inode.parent_gone:
            continue
        if command.remove:
            _recharge(scope, inode, [one for one in inode.quotas if one != command.quota_id])
        elif inode.parent == command.parent:
            _recharge(scope, inode, sorted({*inode.quotas, command.quota_id}))
        else:
            _adopt(scope, inode, command)
    return locked


def _recharge(scope: Scope, inode: pb.Inode, chain: list[int]) -> None:
    if inode.quotas != chain:
        move(scope, inode, chain)
        scope.keep(inode)


def _adopt(scope: Scope, inode: pb.Inode, command: state_pb2.MarkInodesCommand) -> None:
    """Make the directory that is counted the primary parent of an inode that has lost its own."""
    chain = sorted({*command.chain, command.quota_id})
    try:
        require_restored(scope, inode, chain)
    except Refusal:
        return
    inode.parent, inode.parent_gone = command.parent, False
    scope.keep(inode)
    _recharge(scope, inode, chain)
