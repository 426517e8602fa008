"""Quotas as their owner has them: the group of the quota's directory; the filesystem's lies with the root directory.

The owner lends allowances to partitions, and what is lent never exceeds the limit. A change of an allowance is said
under the next version and in three steps: an entry here, which counts the larger of old and new as lent; the
partition's; an entry here, which counts what the partition has. Each may be done again, and a later owner goes on where
one stopped; so at no time may partitions use more than is counted as lent here.

A quota begins COUNTING: the inodes below its directory are charged to it one by one, and nothing is refused. It is
ACTIVE when all are. DELETING, its charges are taken off again.
"""

from collections.abc import Iterator

from ....proto import common_pb2, state_pb2, transaction_pb2
from ...common.errors import FilesystemError, NoSpace, QuotaExceeded
from ...common.ids import make_id, partition_of
from ..storage import keys
from ..storage.transaction import StateReader
from . import ids, locks
from .quotas import FILESYSTEM
from .scope import Refusal, Scope

Status = transaction_pb2.QuotaStatus
UNLIMITED = 1 << 62  # an allowance where the quota has no limit of that kind


# ---------------------------------------------------------------------------------------------- commands


def set_quota(scope: Scope, command: state_pb2.SetQuotaCommand) -> state_pb2.QuotaRecord:
    """SetQuota: a limit for a directory; the quota is made if there is none. Returns it.

    Raises Refusal NOT_FOUND, NOT_A_DIRECTORY, INVALID_ARGUMENT, LOCKED, RESOURCE_BUSY.
    """
    scope.fs_id = command.fs_id
    if not (command.limit.bytes or command.limit.inodes):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a quota limits bytes or inodes")
    if max(command.limit.bytes, command.limit.inodes) >= UNLIMITED:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a limit that nothing reaches")
    directory = scope.directory(command.inode_id)
    quota_id = FILESYSTEM if directory.inode_id == FILESYSTEM else directory.own_quota
    record = find(scope.txn, scope.fs_id, quota_id) if quota_id else None
    if record is None:
        if not quota_id:
            locks.require_none(
                locks.on_identity(scope, directory.inode_id), locks.on_names_in(scope, directory.inode_id)
            )
            quota_id = directory.own_quota = ids.take_inode_number(scope, directory.inode_id)
            scope.keep(directory)
        record = state_pb2.QuotaRecord(quota_id=quota_id, inode_id=directory.inode_id, state=Status.COUNTING)
    if record.state == Status.DELETING:
        raise Refusal(common_pb2.RESOURCE_BUSY, "the quota is still being removed")
    record.limit.CopyFrom(command.limit)
    record.limit_version += 1
    record.settling = True
    _put(scope, record)
    return record


def advance(scope: Scope, command: state_pb2.AdvanceQuotaCommand) -> state_pb2.QuotaRecord:
    """AdvanceQuota: go on to a state. Returns the quota as it is. Raises Refusal NOT_FOUND, LOCKED."""
    scope.fs_id = command.fs_id
    record = find(scope.txn, command.fs_id, command.quota_id)
    if record is None:
        raise Refusal(common_pb2.NOT_FOUND, "there is no such quota")
    if command.state != record.state:
        record.ClearField("progress")
    elif command.HasField("progress"):
        record.progress.CopyFrom(command.progress)
    if command.state == Status.DELETING and record.state != Status.DELETING:
        _detach(scope, record)
        record.state = Status.DELETING
    if command.state == Status.ACTIVE and record.state != Status.DELETING:
        record.state = Status.ACTIVE
        if command.limit_version == record.limit_version:
            record.settling = False
    if command.forget and record.state == Status.DELETING:
        scope.txn.delete(keys.quota(command.fs_id, command.quota_id))
        # Partitions outlive the filesystem's quota, and with it the versions of what they were told.
        for key, _ in list(loans(scope.txn, command.fs_id, command.quota_id)):
            if command.quota_id != FILESYSTEM:
                scope.txn.delete(key)
    else:
        _put(scope, record)
    return record


def _detach(scope: Scope, record: state_pb2.QuotaRecord) -> None:
    """What comes into its directory from now on is not charged to the quota."""
    directory = scope.find(record.inode_id)
    if directory is not None and directory.own_quota == record.quota_id:
        locks.require_none(locks.on_identity(scope, record.inode_id), locks.on_names_in(scope, record.inode_id))
        directory.own_quota = 0
        scope.keep(directory)


def abandon(scope: Scope, quota_id: int) -> None:
    """The quota's directory was removed."""
    record = find(scope.txn, scope.fs_id, quota_id)
    if record is not None:
        record.state = Status.DELETING
        record.ClearField("progress")
        _put(scope, record)


def lend(scope: Scope, command: state_pb2.LendCommand) -> None:
    """Lend: a partition is about to get another allowance.

    Raises Refusal SKIPPED (something else was said meanwhile), QUOTA_EXCEEDED (more than there is).
    """
    scope.fs_id = command.fs_id
    record = find(scope.txn, command.fs_id, command.quota_id)
    loan, said = _loan(scope, command.quota_id, command.partition_id), command.share
    if said.version != loan.said.version + 1 or (loan.said.version and not loan.confirmed):
        raise Refusal(common_pb2.SKIPPED, "the partition was told something else meanwhile")
    free = not said.unlimited and not said.gone
    if free and (record is None or record.state == Status.DELETING):
        raise Refusal(common_pb2.SKIPPED, "there is no such quota any more")
    if free and record is not None:
        for kind in ("bytes", "inodes"):
            limit, wanted, has = (getattr(one, kind) for one in (record.limit, said.allowance, loan.lent))
            if limit and wanted > has and _lent(scope, record.quota_id, kind) - has + wanted > limit:
                raise Refusal(common_pb2.QUOTA_EXCEEDED, "more is not left to lend")
    loan.said.CopyFrom(said)
    loan.lent.bytes = max(loan.lent.bytes, said.allowance.bytes)
    loan.lent.inodes = max(loan.lent.inodes, said.allowance.inodes)
    loan.confirmed = False
    _put_loan(scope, command.quota_id, command.partition_id, loan)


def lent(scope: Scope, command: state_pb2.LentCommand) -> None:
    """Lent: what the partition has of it."""
    scope.fs_id = command.fs_id
    loan = _loan(scope, command.quota_id, command.partition_id)
    if command.share.version == loan.said.version and not loan.confirmed:
        loan.lent.CopyFrom(command.share.allowance)
        loan.confirmed = True
        _put_loan(scope, command.quota_id, command.partition_id, loan)


# ------------------------------------------------------------------------------------------------- reads


def find(view: StateReader, fs_id: int, quota_id: int) -> state_pb2.QuotaRecord | None:
    """Return a quota."""
    raw = view.get(keys.quota(fs_id, quota_id))
    return None if raw is None else state_pb2.QuotaRecord.FromString(raw)


def all_here(view: StateReader) -> Iterator[tuple[int, state_pb2.QuotaRecord]]:
    """Return (filesystem, quota) of all that this group owns."""
    for key, value in view.scan(keys.QUOTA, keys.after_prefix(keys.QUOTA)):
        yield keys.unpack_quota(key)[0], state_pb2.QuotaRecord.FromString(value)


def loans(view: StateReader, fs_id: int, quota_id: int) -> Iterator[tuple[bytes, bytes]]:
    """Return (key, LoanRecord) of what is lent of a quota."""
    return iter(view.scan(keys.loan(fs_id, quota_id, 0), keys.loan(fs_id, quota_id + 1, 0)))


def partition_in(key: bytes) -> int:
    """Return the partition in a loan's key."""
    return keys.loan_partition(key)


def loan_of(view: StateReader, fs_id: int, quota_id: int, partition_id: int) -> state_pb2.LoanRecord:
    """Return what is lent to a partition."""
    return state_pb2.LoanRecord.FromString(view.get(keys.loan(fs_id, quota_id, partition_id)) or b"")


def ranges_of_partition(fs_id: int, partition_id: int) -> list[tuple[bytes, bytes]]:
    """Return the key ranges of what a partition has of quotas: its shares, and those that it owns."""
    first, end = make_id(partition_id, 0), make_id(partition_id + 1, 0)
    return [
        (keys.share(fs_id, partition_id, 0), keys.share(fs_id, partition_id + 1, 0)),
        (keys.quota(fs_id, first), keys.quota(fs_id, end)),
        (keys.loan(fs_id, first, 0), keys.loan(fs_id, end, 0)),
    ]


def exceeded(quota_id: int) -> FilesystemError:
    """Return what an application is told when a quota is used up: no space for the filesystem's, as df has it."""
    if quota_id == FILESYSTEM:
        return NoSpace("the filesystem's quota is used up")
    return QuotaExceeded(f"quota {quota_id} is used up")


def owner_partition(quota_id: int) -> int:
    """Return the partition whose group owns a quota."""
    return partition_of(quota_id)


# --------------------------------------------------------------------------------------------- internals


def _put(scope: Scope, record: state_pb2.QuotaRecord) -> None:
    scope.txn.put(keys.quota(scope.fs_id, record.quota_id), record.SerializeToString(deterministic=True))


def _loan(scope: Scope, quota_id: int, partition_id: int) -> state_pb2.LoanRecord:
    return loan_of(scope.txn, scope.fs_id, quota_id, partition_id)


def _put_loan(scope: Scope, quota_id: int, partition_id: int, loan: state_pb2.LoanRecord) -> None:
    scope.txn.put(keys.loan(scope.fs_id, quota_id, partition_id), loan.SerializeToString(deterministic=True))


def _lent(scope: Scope, quota_id: int, kind: str) -> int:
    return sum(
        int(getattr(state_pb2.LoanRecord.FromString(value).lent, kind))
        for _, value in loans(scope.txn, scope.fs_id, quota_id)
    )
