"""What one log entry sees while it is applied: decoded records, written back once at the end.

A record is decoded at most once an entry, however many operations of a batch touch it; handlers change the
decoded message in place after all their checks have passed, and mark it. Refusal is how a handler says that an
operation fails; it must raise it before it changes anything.

Everything here is a function of the entry and the state: no clock, no randomness.
"""

import stat
from dataclasses import dataclass, field

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import CurveFSError
from ...common.ids import NAME_SIZE_MAX, partition_of
from ...common.status import error_of
from ..storage import keys
from ..storage.transaction import StateReader, StateTransaction
from .tallies import Tallies

LINK_COUNT_MAX = (1 << 31) - 1
# What a batch may put into ordered tables before the rest of it has to come again: a batch of the largest operations
# would otherwise outgrow both a step of the event loop and the ordinals of one entry.
ORDERS_PER_ENTRY = 16_384
ATTRIBUTES_PER_ENTRY = 4096  # extended ones that a batch may remove or look through: the same, for what has no order


class Refusal(Exception):
    """The operation fails with this status; nothing was changed."""

    def __init__(
        self, code: common_pb2.StatusCode, message: str = "", need: common_pb2.QuotaNeed | None = None
    ) -> None:
        """need: with NO_ALLOWANCE."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.need = need

    def as_failure(self) -> common_pb2.Failure:
        """Return it as it goes over the wire."""
        return common_pb2.Failure(code=self.code, message=self.message, need=self.need)

    def as_error(self) -> CurveFSError:
        """Return the error that a caller gets."""
        return error_of(self.as_failure())


class NeedsNewerVersion(Exception):
    """A replica of a newer version applies this, and so must every other: this one stops before it."""


@dataclass(slots=True)
class Scope:
    """One entry being applied, for one filesystem and (for operations) one session."""

    txn: StateTransaction
    index: int
    time_ns: int
    fs_id: int
    session_id: bytes = b""
    identity: bytes | None = None  # of the session; None: not looked up yet
    follow_ups: list[state_pb2.Entry] = field(default_factory=list)
    granted: set[int] = field(default_factory=set)  # partitions of which the session surely has ranges (ids.py)
    attributes: int = 0  # removed or looked through
    _ordinal: int = 0
    _inodes: dict[int, pb.Inode | None] = field(default_factory=dict)
    _changed: set[int] = field(default_factory=set)
    _partitions: dict[int, state_pb2.PartitionRecord] = field(default_factory=dict)
    _shares: dict[tuple[int, int], common_pb2.QuotaShare] = field(default_factory=dict)
    _changed_shares: set[tuple[int, int]] = field(default_factory=set)
    _has_locks: bool | None = None
    tallies: Tallies = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.tallies = Tallies(self)

    @property
    def owner(self) -> bytes:
        """Return whose the session's chunk ids are: its durable identity's, if it has one, else its own."""
        if self.identity is None:
            raw = self.txn.get(keys.session(self.session_id))
            self.identity = b"" if raw is None else state_pb2.SessionRecord.FromString(raw).identity
        return self.identity or self.session_id

    @property
    def is_full(self) -> bool:
        """True when the entry has done so much that no further operation should join it (rule 14)."""
        return self._ordinal >= ORDERS_PER_ENTRY or self.attributes >= ATTRIBUTES_PER_ENTRY

    def next_order(self) -> int:
        """Return the next place in the commit order."""
        self._ordinal += 1
        return keys.order_of(self.index, self._ordinal)

    # -------------------------------------------------------------------------------------- partitions

    def partition(self, inode_id: int) -> state_pb2.PartitionRecord:
        """Return the partition of an inode, to be read or changed. Raises Refusal when it is not served here."""
        record = self._find_partition(inode_id)
        if record is None:
            raise Refusal(common_pb2.WRONG_PARTITION, f"partition {partition_of(inode_id)} is not here")
        if record.deleting:
            raise Refusal(common_pb2.NOT_FOUND, "the filesystem is being deleted")
        return record

    def is_served(self, inode_id: int) -> bool:
        """False when the partition of an inode is gone or going: what is left of it is removed with it."""
        record = self._find_partition(inode_id)
        return record is not None and not record.deleting

    def is_here(self, id_: int) -> bool:
        """Say whether this group has the partition of an inode or chunk id, be it one that is going."""
        return self._find_partition(id_) is not None

    def _find_partition(self, inode_id: int) -> state_pb2.PartitionRecord | None:
        partition_id = partition_of(inode_id)
        record = self._partitions.get(partition_id)
        if record is None:
            raw = self.txn.get(keys.partition(self.fs_id, partition_id))
            if raw is not None:
                record = self._partitions[partition_id] = state_pb2.PartitionRecord.FromString(raw)
        return record

    # ------------------------------------------------------------------------------------------- quotas

    def share(self, partition_id: int, quota_id: int) -> common_pb2.QuotaShare:
        """Return what a partition may use of a directory's quota; one that was not told yet may use nothing."""
        at = partition_id, quota_id
        found = self._shares.get(at)
        if found is None:
            raw = self.txn.get(keys.share(self.fs_id, partition_id, quota_id))
            found = self._shares[at] = common_pb2.QuotaShare.FromString(raw or b"")
        return found

    def changed_share(self, partition_id: int, quota_id: int) -> None:
        """Note that it changed."""
        self._changed_shares.add((partition_id, quota_id))

    # ------------------------------------------------------------------------------------------- locks

    def lock_of(self, key: bytes) -> state_pb2.LockRecord | None:
        """Return the lock of what lies under a key."""
        if not self.has_locks:
            return None
        raw = self.txn.get(keys.lock(key))
        return None if raw is None else state_pb2.LockRecord.FromString(raw)

    @property
    def has_locks(self) -> bool:
        """False when no transaction holds any lock here: so it is nearly always."""
        if self._has_locks is None:
            self._has_locks = has_locks(self.txn)
        return self._has_locks

    def put_lock(self, key: bytes, record: state_pb2.LockRecord) -> None:
        """Lock what lies under a key."""
        self.txn.put(keys.lock(key), record.SerializeToString(deterministic=True))
        self._has_locks = True

    def inode_key(self, inode_id: int) -> bytes:
        """Return the key of an inode."""
        return keys.of_inode(keys.INODE, self.fs_id, inode_id)

    # ------------------------------------------------------------------------------------------ inodes

    def find(self, inode_id: int) -> pb.Inode | None:
        """Return an inode, or None."""
        if inode_id in self._inodes:
            return self._inodes[inode_id]
        raw = self.txn.get(keys.of_inode(keys.INODE, self.fs_id, inode_id))
        inode = None if raw is None else pb.Inode.FromString(raw)
        self._inodes[inode_id] = inode
        return inode

    def inode(self, inode_id: int) -> pb.Inode:
        """Return an inode. Raises Refusal NOT_FOUND, WRONG_PARTITION."""
        found = self.find(inode_id)
        if found is None:
            self.partition(inode_id)
            if self.lock_of(self.inode_key(inode_id)) is not None:
                raise Refusal(common_pb2.LOCKED, "a transaction is about to make it")
            raise Refusal(common_pb2.NOT_FOUND, f"inode {inode_id}")
        return found

    def directory(self, inode_id: int) -> pb.Inode:
        """Return a directory that still has a name. Raises Refusal NOT_FOUND, NOT_A_DIRECTORY."""
        inode = self.inode(inode_id)
        if not stat.S_ISDIR(inode.mode):
            raise Refusal(common_pb2.NOT_A_DIRECTORY)
        if not inode.nlink:
            raise Refusal(common_pb2.NOT_FOUND, "the directory was removed")
        return inode

    def add(self, inode: pb.Inode) -> None:
        """Put a new inode."""
        self._inodes[inode.inode_id] = inode
        self._changed.add(inode.inode_id)

    def touch(self, inode: pb.Inode, *, content: bool = False) -> None:
        """Note that an inode changed: change counter and ctime, with ``content`` also mtime."""
        inode.change += 1
        inode.ctime_ns = self.time_ns
        if content:
            inode.mtime_ns = self.time_ns
        self._changed.add(inode.inode_id)

    def keep(self, inode: pb.Inode) -> None:
        """Note that an inode changed in what no application sees."""
        self._changed.add(inode.inode_id)

    def drop(self, inode_id: int) -> None:
        """Remove an inode."""
        self._inodes[inode_id] = None
        self._changed.discard(inode_id)
        self.txn.delete(keys.of_inode(keys.INODE, self.fs_id, inode_id))

    # ----------------------------------------------------------------------------------------- dentries

    def dentry_key(self, parent: int, name: bytes) -> bytes:
        """Return the key of a name. Raises Refusal for what is no name."""
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise Refusal(common_pb2.INVALID_ARGUMENT, "not a name")
        if len(name) > NAME_SIZE_MAX:
            raise Refusal(common_pb2.NAME_TOO_LONG)
        seed = self.partition(parent).spec.hash_seed
        return keys.dentry(self.fs_id, parent, keys.name_hash(seed, name), name)

    # -------------------------------------------------------------------------------------------- end

    def write_back(self) -> None:
        """Store every changed record."""
        for inode_id in sorted(self._changed):
            inode = self._inodes[inode_id]
            assert inode is not None, "a dropped inode is not changed"
            self.txn.put(keys.of_inode(keys.INODE, self.fs_id, inode_id), inode.SerializeToString(deterministic=True))
        for partition_id, quota_id in sorted(self._changed_shares):
            share = self._shares[partition_id, quota_id].SerializeToString(deterministic=True)
            self.txn.put(keys.share(self.fs_id, partition_id, quota_id), share)
        for partition_id, record in self._partitions.items():
            assert record.spec.fs_id == self.fs_id, "a scope is of one filesystem"
            self.txn.put(keys.partition(self.fs_id, partition_id), record.SerializeToString(deterministic=True))
        self.tallies.write_back()


def put_queued(scope: Scope, at_ns: int, record: state_pb2.DeleteRecord) -> None:
    """Put something into the delete queue; its grace counts from ``at_ns``."""
    key = keys.delete(scope.fs_id, at_ns, scope.next_order())
    scope.txn.put(key, record.SerializeToString(deterministic=True))


def has_locks(view: StateReader) -> bool:
    """Say whether any transaction holds a lock here."""
    return any(True for _ in view.scan(keys.LOCK, keys.after_prefix(keys.LOCK), 1))


def read_partition(txn: StateReader, fs_id: int, inode_id: int) -> state_pb2.PartitionRecord | None:
    """Return the partition of an inode for a read, or None when it is not here."""
    raw = txn.get(keys.partition(fs_id, partition_of(inode_id)))
    return None if raw is None else state_pb2.PartitionRecord.FromString(raw)
