"""Applying a log entry: one function per command, one per operation. Deterministic (see scope.py).

An entry that is not known here, as a leader of a newer version made it, is not applied (NeedsNewerVersion). None is
made of what a client sends: an operation that the leader does not know is refused before the log (refuse_unknown).
"""

from collections.abc import Callable

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import CHUNK_RANGE_SIZE, FIRST_ORDINARY_N, PARTITION_SHIFT, ROOT_INODE, make_id
from ..storage import keys
from ..storage.transaction import StateTransaction
from . import (
    attributes,
    compaction,
    data,
    delete_queue,
    ids,
    locks,
    namespace,
    quota_owner,
    quotas,
    references,
    sessions,
    transactions,
    trash,
)
from .applied import Applied
from .scope import NeedsNewerVersion, Refusal, Scope

FORMAT = 1  # the highest that is known here
KEYS_PER_STEP = 900
ROOT_MODE = 0o040755
CHUNK_SIZE_MAX = (1 << 32) - 1  # places in a chunk are 32 bits
_OF_TRASH = (keys.TRASH, keys.TRASH_PLACE)
HASH_SEED_SIZE_MAX = 64  # blake2b's
PARTITION_ID_MAX = (1 << 64 - PARTITION_SHIFT) - 2  # so that the id after its last fits 64 bits


def apply(txn: StateTransaction, index: int, term: int, entry: state_pb2.Entry) -> Applied:
    """Apply the entry at a log index, made by the leader of a term. Raises NeedsNewerVersion."""
    scope = Scope(txn, index, entry.time_ns, 0)
    applied = Applied(follow_ups=scope.follow_ups)
    command = entry.WhichOneof("command")
    if command is None or entry.format > FORMAT:
        raise NeedsNewerVersion(f"an entry of format {entry.format}")
    try:
        if command == "decide":
            transactions.decide(scope, entry, applied, term)
        elif command == "compact":
            compaction.compact(scope, entry.compact, term, applied)
        else:
            _COMMANDS[command](scope, entry, applied)
    except Refusal as refusal:
        applied.failure = refusal.as_failure()
    scope.write_back()
    return applied


def refuse_unknown(batch: pb.OperationBatch) -> None:
    """Put in the place of operations that are not known here what fails with UNSUPPORTED wherever it is applied."""
    for operation in batch.operations:
        conditions = operation.preconditions
        if operation.WhichOneof("operation") is None or any(one.WhichOneof("condition") is None for one in conditions):
            operation.Clear()
            operation.unsupported.SetInParent()


# --------------------------------------------------------------------------------------------- operations


def _noop(_: Scope, __: pb.Operation, ___: pb.OperationResult) -> None:
    """Only the number is consumed."""


_OPERATIONS: dict[str, Callable[[Scope, pb.Operation, pb.OperationResult], None]] = {
    "noop": _noop,
    "create": namespace.create,
    "unlink": namespace.unlink,
    "rmdir": namespace.rmdir,
    "link": namespace.link,
    "rename": namespace.rename,
    "release_inode": namespace.release,
    "set_attr": attributes.set_attr,
    "set_xattr": attributes.set_xattr,
    "remove_xattr": attributes.remove_xattr,
    "append_slices": data.append_slices,
    "fallocate": data.fallocate,
    "allocate_ids": ids.allocate,
    "give_up_ids": ids.give_up_ids,
    "reserve": quotas.reserve,
    "give_back": quotas.give_back,
    "restore": trash.restore,
    "purge_trashed": trash.purge_trashed,
}


def _operations(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    """Apply a batch in its lane: exactly the next number; lower ones get their stored result."""
    batch = entry.operations.batch
    scope.fs_id, scope.session_id = batch.fs_id, batch.session_id
    sessions.check_id(batch.session_id, common_pb2.SESSION_UNKNOWN)
    record = sessions.read(scope, batch.session_id)
    if record is None or record.fs_id != batch.fs_id:
        raise Refusal(common_pb2.SESSION_UNKNOWN)
    if record.ended_ns:
        raise Refusal(common_pb2.SESSION_ENDED)
    scope.identity = record.identity
    acknowledged = sessions.acknowledge(record, batch.acknowledged)
    results = applied.results = pb.OperationResults(group_id=batch.group_id, first_sequence=batch.first_sequence)
    for sequence, operation in enumerate(batch.operations, batch.first_sequence):
        if sequence < record.expected_sequence:
            results.results.append(sessions.stored_result(scope, batch.session_id, sequence))
            continue
        if sequence > record.expected_sequence:
            results.failure.code = common_pb2.SEQUENCE_GAP
            results.failure.expected_sequence = record.expected_sequence
            break
        if scope.is_full:
            results.failure.code = common_pb2.OVERLOADED
            results.failure.message = "the batch asks for too much at once"
            break
        if not sessions.has_room(record):
            results.failure.code = common_pb2.OVERLOADED
            results.failure.message = "too many results are not acknowledged"
            break
        record.expected_sequence += 1
        result = results.results.add(sequence=sequence)
        _operation(scope, operation, result)
        result.sequence = sequence
        scope.txn.put(keys.result(batch.session_id, sequence), result.SerializeToString(deterministic=True))
    # Last: an operation of this batch may have asked how one of them had ended.
    sessions.forget(scope, batch.session_id, acknowledged)
    sessions.write(scope, batch.session_id, record)


def _operation(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    kind = operation.WhichOneof("operation")
    if kind is None:
        raise NeedsNewerVersion("an operation that is not known here")
    try:
        for precondition in operation.preconditions:
            _check(scope, precondition)
        if kind == "unsupported":
            raise Refusal(common_pb2.UNSUPPORTED, "an operation this server does not know")
        if kind not in _OPERATIONS:
            raise Refusal(common_pb2.UNSUPPORTED, f"no operation of one partition: {kind}")
        _OPERATIONS[kind](scope, operation, result)
    except Refusal as refusal:
        result.status = refusal.code
        result.message = refusal.message
        if refusal.need is not None:
            result.need.CopyFrom(refusal.need)


def _check(scope: Scope, precondition: pb.Precondition) -> None:
    """Raise Refusal SKIPPED unless the condition holds."""
    match precondition.WhichOneof("condition"):
        case "name_is":
            wanted = precondition.name_is
            key = scope.dentry_key(wanted.parent, wanted.name)
            locks.require_none(locks.on_name(scope, key))
            value = scope.txn.get(key)
            holds = (keys.unpack_dentry(value)[0] if value is not None else 0) == wanted.inode_id
        case "change_is":
            inode = scope.find(precondition.change_is.inode_id)
            holds = inode is not None and inode.change == precondition.change_is.change
        case "only_if_sequence":
            before = sessions.stored_result(scope, scope.session_id, precondition.only_if_sequence)
            holds = not before.status
        case _:
            raise NeedsNewerVersion("a precondition that is not known here")
    if not holds:
        raise Refusal(common_pb2.SKIPPED)


# ----------------------------------------------------------------------------------------------- commands


def _open_session(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    scope.fs_id = entry.open_session.fs_id
    sessions.open_session(scope, entry.open_session.session_id, entry.open_session.identity)


def _end_session(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    sessions.end_session(scope, entry.end_session.session_id)


def _finish_cut(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    scope.fs_id = entry.finish_cut.fs_id
    data.finish_cut(scope, entry.finish_cut.inode_id, entry.finish_cut.order)


def _create_partition(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    """CreatePartition; idempotent. Partition 0 begins with the root directory, which is its own parent."""
    spec = entry.create_partition.partition
    key = keys.partition(spec.fs_id, spec.partition_id)
    if scope.txn.get(key) is not None:
        return
    if (
        not 0 < spec.chunk_size <= CHUNK_SIZE_MAX
        or len(spec.hash_seed) > HASH_SEED_SIZE_MAX
        or spec.partition_id > PARTITION_ID_MAX
    ):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a partition that cannot be")
    record = state_pb2.PartitionRecord(spec=spec, next_inode=FIRST_ORDINARY_N, next_chunk=CHUNK_RANGE_SIZE)
    if spec.limited:
        record.share.SetInParent()
    scope.fs_id = spec.fs_id
    if spec.partition_id == 0:
        now = scope.time_ns
        record.inode_count = 1
        root = pb.Inode(inode_id=ROOT_INODE, mode=ROOT_MODE, nlink=2, length=namespace.DIRECTORY_LENGTH, change=1)
        root.parent = ROOT_INODE
        root.atime_ns = root.mtime_ns = root.ctime_ns = root.btime_ns = now
        scope.add(root)
    scope.txn.put(key, record.SerializeToString(deterministic=True))


def _delete_partition(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    """DeletePartition: everything of it, KEYS_PER_STEP keys an entry; the record goes last."""
    command = entry.delete_partition
    key = keys.partition(command.fs_id, command.partition_id)
    raw = scope.txn.get(key)
    if raw is None:
        return
    record = state_pb2.PartitionRecord.FromString(raw)
    record.deleting = True
    scope.txn.put(key, record.SerializeToString(deterministic=True))
    left = KEYS_PER_STEP
    first, end = make_id(command.partition_id, 0), make_id(command.partition_id + 1, 0)
    ranges = [
        (keys.of_inode(table, command.fs_id, first), keys.of_inode(table, command.fs_id, end))
        for table in (keys.INODE, keys.DENTRY, keys.XATTR, keys.SLICE, keys.CUT, keys.WAITER, keys.TALLY, keys.LISTED)
    ]
    for table in (keys.INODE, keys.DENTRY):
        start, stop = keys.of_inode(table, command.fs_id, first), keys.of_inode(table, command.fs_id, end)
        ranges.append((keys.lock(start), keys.lock(stop)))
    ranges.append((keys.reference(command.fs_id, first, 0), keys.reference(command.fs_id, end, 0)))
    ranges += quota_owner.ranges_of_partition(command.fs_id, command.partition_id)
    # The queue of a filesystem goes with it: its objects are removed by their common prefix.
    ranges.append((keys.delete(command.fs_id, 0, 0), keys.delete(command.fs_id + 1, 0, 0)))
    ranges += [(keys.of_fs(table, command.fs_id), keys.of_fs(table, command.fs_id + 1)) for table in _OF_TRASH]
    for start, stop in ranges:
        for one, _value in list(scope.txn.scan(start, stop, left)):
            scope.txn.delete(one)
            left -= 1
        if not left:
            scope.follow_ups.append(entry_of(command))
            return
    if command.partition_id == 0:
        scope.txn.delete(keys.lock(keys.directory_moves(command.fs_id)))
    scope.txn.delete(key)


def _set_share(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    applied.share = quotas.set_share(scope, entry.set_share)


def _mark_inodes(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    applied.locked = quotas.mark(scope, entry.mark_inodes)


def _set_quota(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    applied.quota = quota_owner.set_quota(scope, entry.set_quota)


def _advance_quota(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    applied.quota = quota_owner.advance(scope, entry.advance_quota)


def _lend(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    quota_owner.lend(scope, entry.lend)


def _lent(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    quota_owner.lent(scope, entry.lent)


def _release(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    references.release_all(scope, entry.release)


def _add_reference(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    references.add(scope, entry.add_reference, applied)


def _reclaim(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    delete_queue.reclaim(scope, entry.reclaim)


def _purge_trash(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    trash.purge_old(scope, entry.purge_trash, applied)


def entry_of(command: state_pb2.DeletePartitionCommand) -> state_pb2.Entry:
    """Return the follow-up that goes on with a deletion."""
    return state_pb2.Entry(format=1, delete_partition=command)


_COMMANDS: dict[str, Callable[[Scope, state_pb2.Entry, Applied], None]] = {
    "operations": _operations,
    "open_session": _open_session,
    "end_session": _end_session,
    "create_partition": _create_partition,
    "delete_partition": _delete_partition,
    "finish_cut": _finish_cut,
    "prepare": transactions.prepare,
    "finish": transactions.finish,
    "forget": transactions.forget,
    "set_share": _set_share,
    "mark_inodes": _mark_inodes,
    "set_quota": _set_quota,
    "advance_quota": _advance_quota,
    "lend": _lend,
    "lent": _lent,
    "release": _release,
    "add_reference": _add_reference,
    "reclaim": _reclaim,
    "purge_trash": _purge_trash,
}
