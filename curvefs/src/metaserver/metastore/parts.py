"""The parts of a transaction: what each demands of the state, what it locks, and what it does at the commit.

check() changes nothing; what it demands stays true while its locks are held, so commit() cannot fail. The coordinator's
own parts are checked and committed in one entry and lock nothing. A parent's times, link count and counters are changed
at the commit only (rule 17).
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import ROOT_INODE, SESSION_ID_SIZE, make_id
from ..storage import keys
from . import ids, locks, namespace, quotas, sessions, trash
from .scope import LINK_COUNT_MAX, NeedsNewerVersion, Refusal, Scope

Fact = transaction_pb2.Fact
Lock = state_pb2.LockRecord
_DIRECTORY = pb.DIRECTORY
_TYPES = frozenset(pb.FileType.values()) - {pb.UNKNOWN}


class Conflicted(Exception):
    """The part meets another transaction's lock; nothing was changed."""

    def __init__(self, lock: Lock) -> None:
        super().__init__("locked by another transaction")
        self.lock = lock


@dataclass(slots=True)
class Work:
    """One transaction at work in one entry. touched: directories whose change was counted already."""

    scope: Scope
    id: transaction_pb2.TransactionId
    result: pb.OperationResult = field(default_factory=pb.OperationResult)
    touched: set[int] = field(default_factory=set)

    def meet(self, *found: Lock | None) -> None:
        """Raise Conflicted for a lock that is not its own."""
        for lock in found:
            if lock is not None and lock.holder != self.id:
                raise Conflicted(lock)

    def touch(self, directory: pb.Inode) -> None:
        """Count a change of a directory's names, once."""
        if directory.inode_id not in self.touched:
            self.touched.add(directory.inode_id)
            self.scope.touch(directory, content=True)


def check(work: Work, part: transaction_pb2.Part) -> Fact:
    """Return what a part finds. Raises Refusal (the operation fails), Conflicted."""
    kind = _kind(part)
    return _CHECKS[kind](work, getattr(part, kind))


def locks_of(work: Work, part: transaction_pb2.Part, fact: Fact) -> list[tuple[bytes, Lock.Kind]]:
    """Return (key, kind) of what a part locks, after it was reserved."""
    kind = _kind(part)
    if kind == "new_directory":
        # Its name may be seen before it is there itself.
        return [(work.scope.inode_key(fact.inode_id), Lock.IDENTITY)]
    if kind in ("move_inode", "restore_inode") and fact.charged:
        return [(work.scope.inode_key(_charged_inode(part)), Lock.CHARGE)]
    return _LOCKS[kind](work.scope, getattr(part, kind))


def reserve(work: Work, part: transaction_pb2.Part, fact: Fact) -> None:
    """Take what a part needs at once, after all were checked: a new directory's number, and room in quotas."""
    if _kind(part) == "new_directory":
        _reserve_directory(work.scope, part.new_directory, fact)
    if fact.charged:
        inode_id = _charged_inode(part)
        fact.charged[:] = quotas.hold(work.scope, inode_id, fact.charged, fact.charge)


def release(work: Work, part: transaction_pb2.Part, fact: Fact) -> None:
    """Give back what reserve() set aside in quotas: the part is about to be committed, or never will be."""
    if fact.charged:
        quotas.let_go(work.scope, _charged_inode(part), fact)


def _charged_inode(part: transaction_pb2.Part) -> int:
    if part.HasField("move_inode"):
        return part.move_inode.inode_id
    if part.HasField("restore_inode"):
        return part.restore_inode.inode_id
    return make_id(part.new_directory.partition_id, 0)


def commit(work: Work, part: transaction_pb2.Part, fact: Fact) -> None:
    """Do it."""
    release(work, part, fact)
    kind = _kind(part)
    _COMMITS[kind](work, getattr(part, kind), fact)


def _kind(part: transaction_pb2.Part) -> str:
    kind = part.WhichOneof("part")
    if kind is None:
        raise NeedsNewerVersion("a part of a transaction that is not known here")
    return str(kind)


# ------------------------------------------------------------------------------------------------- names


def _check_remove_name(work: Work, part: transaction_pb2.RemoveName) -> Fact:
    scope = work.scope
    scope.directory(part.parent)
    key = scope.dentry_key(part.parent, part.name)
    work.meet(locks.on_name(scope, key))
    value = scope.txn.get(key)
    if value is None or keys.unpack_dentry(value)[0] != part.inode_id:
        raise Refusal(common_pb2.SKIPPED, "the name leads elsewhere by now")
    return Fact()


def _commit_remove_name(work: Work, part: transaction_pb2.RemoveName, _: Fact) -> None:
    scope = work.scope
    parent = scope.find(part.parent) if scope.is_served(part.parent) else None
    if parent is None:
        return  # its partition was deleted meanwhile
    scope.txn.delete(scope.dentry_key(part.parent, part.name))
    parent.entry_count -= 1
    parent.nlink -= part.is_directory
    work.touch(parent)


def _check_put_name(work: Work, part: transaction_pb2.PutName) -> Fact:
    scope = work.scope
    parent = scope.directory(part.parent)
    key = scope.dentry_key(part.parent, part.name)
    work.meet(locks.on_name(scope, key), locks.on_inserts(scope, part.parent))
    value = scope.txn.get(key)
    inode_id, type_ = (0, 0) if value is None else keys.unpack_dentry(value)
    if part.HasField("expected") and part.expected != inode_id:
        raise Refusal(common_pb2.SKIPPED, "the name leads elsewhere by now")
    if part.HasField("chain") and part.chain.quotas != quotas.below(parent):
        raise Refusal(common_pb2.SKIPPED, "the directory is under other quotas by now")
    is_directory = part.type == _DIRECTORY
    if part.type not in _TYPES:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "no type of an inode")
    match part.rule:
        case transaction_pb2.PutName.ABSENT if inode_id:
            raise Refusal(common_pb2.ALREADY_EXISTS)
        case transaction_pb2.PutName.PRESENT if not inode_id:
            raise Refusal(common_pb2.NOT_FOUND)
        case transaction_pb2.PutName.ANY if inode_id and inode_id != part.inode_id:
            if type_ == _DIRECTORY and not is_directory:
                raise Refusal(common_pb2.IS_A_DIRECTORY)
            if type_ != _DIRECTORY and is_directory:
                raise Refusal(common_pb2.NOT_A_DIRECTORY)
    if is_directory and type_ != _DIRECTORY and parent.nlink >= LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    return Fact(inode_id=inode_id, type=type_)  # type: ignore[arg-type]


def _commit_put_name(work: Work, part: transaction_pb2.PutName, fact: Fact) -> None:
    scope = work.scope
    parent = scope.find(part.parent) if scope.is_served(part.parent) else None
    if parent is None:
        return
    scope.txn.put(scope.dentry_key(part.parent, part.name), keys.pack_dentry(part.inode_id, part.type))
    parent.entry_count += not fact.inode_id
    parent.nlink += (part.type == _DIRECTORY) - (fact.type == _DIRECTORY)
    work.touch(parent)


def _lock_name(scope: Scope, part: Any) -> list[tuple[bytes, Lock.Kind]]:
    return [(scope.dentry_key(part.parent, part.name), Lock.NAME)]


# ------------------------------------------------------------------------------------------------ inodes


def _planned(scope: Scope, inode_id: int) -> pb.Inode:
    """Return an inode that a name led to when the operation was planned. Raises Refusal SKIPPED when it is gone."""
    try:
        return scope.inode(inode_id)
    except Refusal as refusal:
        if refusal.code == common_pb2.NOT_FOUND:
            raise Refusal(common_pb2.SKIPPED, "it was removed meanwhile") from refusal
        raise


def _check_add_link(work: Work, part: transaction_pb2.AddLink) -> Fact:
    inode = work.scope.inode(part.inode_id)
    work.meet(locks.on_identity(work.scope, part.inode_id))
    if stat.S_ISDIR(inode.mode):
        raise Refusal(common_pb2.NOT_PERMITTED, "a directory has one name")
    if not inode.nlink:
        raise Refusal(common_pb2.NOT_FOUND, "the file was removed")
    if inode.nlink >= LINK_COUNT_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    return Fact(type=stat.S_IFMT(inode.mode) >> 12)  # type: ignore[arg-type]


def _commit_add_link(work: Work, part: transaction_pb2.AddLink, _: Fact) -> None:
    inode = work.scope.find(part.inode_id)
    if inode is None:
        return
    inode.nlink += 1
    work.scope.touch(inode)
    work.result.inode.CopyFrom(inode)


def _check_drop_link(work: Work, part: transaction_pb2.DropLink) -> Fact:
    scope = work.scope
    if part.held and len(part.session_id) != SESSION_ID_SIZE:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "no session id")
    inode = _planned(scope, part.inode_id)
    work.meet(locks.on_identity(scope, part.inode_id))
    if stat.S_ISDIR(inode.mode) != part.is_directory:
        raise Refusal(common_pb2.NOT_A_DIRECTORY if part.is_directory else common_pb2.IS_A_DIRECTORY)
    if not inode.nlink:
        raise Refusal(common_pb2.SKIPPED, "it was removed meanwhile")
    if part.is_directory:
        # A name that is about to come counts, until it is known whether it comes (rule 17).
        work.meet(locks.on_names_in(scope, part.inode_id))
        if inode.entry_count:
            raise Refusal(common_pb2.NOT_EMPTY)
    return Fact()


def _commit_drop_link(work: Work, part: transaction_pb2.DropLink, _: Fact) -> None:
    scope = work.scope
    inode = scope.find(part.inode_id)
    if inode is None:
        return
    inode.nlink = 0 if part.is_directory else inode.nlink - 1
    namespace.lost_a_name(inode, part.parent)
    scope.touch(inode)
    scope.session_id = part.session_id
    # A session that is not known here may open itself yet; what it holds is let go when it ends.
    session = sessions.read(scope, part.session_id) if part.held else None
    holds = part.held and not (session is not None and session.ended_ns)
    name = (part.parent, part.name)
    namespace.lost_a_link(scope, inode, part.inode_id if holds else 0, work.result, name, replaced=part.replaced)


def _lock_drop_link(scope: Scope, part: transaction_pb2.DropLink) -> list[tuple[bytes, Lock.Kind]]:
    return [(scope.inode_key(part.inode_id), Lock.REMOVAL if part.is_directory else Lock.IDENTITY)]


def _check_move_inode(work: Work, part: transaction_pb2.MoveInode) -> Fact:
    inode = _planned(work.scope, part.inode_id)
    work.meet(locks.on_identity(work.scope, part.inode_id))
    if not inode.nlink:
        raise Refusal(common_pb2.SKIPPED, "it was removed meanwhile")
    added = quotas.require_move(work.scope, inode, part.quotas)
    if not added:
        return Fact()
    return Fact(charge=common_pb2.QuotaAmount(bytes=quotas.size_of(inode), inodes=1), charged=added)


def _commit_move_inode(work: Work, part: transaction_pb2.MoveInode, _: Fact) -> None:
    inode = work.scope.find(part.inode_id)
    if inode is None:
        return
    namespace.comes_to(work.scope, inode, part.new_parent, list(part.quotas))
    work.scope.touch(inode)
    (work.result.replaced if part.displaced else work.result.inode).CopyFrom(inode)


def _check_restore_inode(work: Work, part: transaction_pb2.RestoreInode) -> Fact:
    inode = work.scope.inode(part.inode_id)
    work.meet(locks.on_identity(work.scope, part.inode_id))
    trash.require_trashed(inode)
    fact = Fact(type=stat.S_IFMT(inode.mode) >> 12)  # type: ignore[arg-type]
    added = quotas.require_restored(work.scope, inode, part.quotas)
    if added:
        fact.charge.bytes, fact.charge.inodes = quotas.size_of(inode), 1
        fact.charged.extend(added)
    return fact


def _commit_restore_inode(work: Work, part: transaction_pb2.RestoreInode, _: Fact) -> None:
    inode = work.scope.find(part.inode_id) if work.scope.is_served(part.inode_id) else None
    if inode is None:
        return  # its partition was deleted meanwhile
    trash.come_back(work.scope, inode, part.new_parent, list(part.quotas))
    work.result.inode.CopyFrom(inode)


def _lock_inode(scope: Scope, part: Any) -> list[tuple[bytes, Lock.Kind]]:
    return [(scope.inode_key(part.inode_id), Lock.IDENTITY)]


# --------------------------------------------------------------------------------------- new directories


def _check_new_directory(work: Work, part: transaction_pb2.NewDirectory) -> Fact:
    here = make_id(part.partition_id, 0)
    ids.require_inode_number(work.scope, here)
    quotas.require(work.scope, here, part.quotas, 0, 1)
    charged = quotas.held_by(work.scope, here, part.quotas)
    if not charged:
        return Fact()
    return Fact(charge=common_pb2.QuotaAmount(inodes=1), charged=charged)


def _reserve_directory(scope: Scope, part: transaction_pb2.NewDirectory, fact: Fact) -> None:
    fact.inode_id = ids.take_inode_number(scope, make_id(part.partition_id, 0))
    now = scope.time_ns
    inode = pb.Inode(
        inode_id=fact.inode_id,
        mode=part.mode,
        nlink=2,
        uid=part.uid,
        gid=part.gid,
        length=namespace.DIRECTORY_LENGTH,
        change=1,
        parent=part.parent,
        atime_ns=now,
        mtime_ns=now,
        ctime_ns=now,
        btime_ns=now,
        quotas=part.quotas,
    )
    fact.inode.CopyFrom(inode)


def _commit_new_directory(work: Work, _: transaction_pb2.NewDirectory, fact: Fact) -> None:
    scope = work.scope
    if not scope.is_served(fact.inode_id):
        return
    inode = pb.Inode()
    inode.CopyFrom(fact.inode)
    scope.add(inode)
    quotas.charge(scope, fact.inode_id, inode.quotas, 0, 1)
    work.result.inode.CopyFrom(inode)


# ------------------------------------------------------------------------------------- moving directories


def _check_move_lock(work: Work, _: transaction_pb2.MoveLock) -> Fact:
    work.scope.partition(ROOT_INODE)
    work.meet(work.scope.lock_of(keys.directory_moves(work.scope.fs_id)))
    return Fact()


def _commit_nothing(_: Work, __: Any, ___: Fact) -> None:
    """The lock was all."""


def _lock_moves(scope: Scope, _: transaction_pb2.MoveLock) -> list[tuple[bytes, Lock.Kind]]:
    return [(keys.directory_moves(scope.fs_id), Lock.MOVE)]


_CHECKS: dict[str, Callable[[Work, Any], Fact]] = {
    "remove_name": _check_remove_name,
    "put_name": _check_put_name,
    "add_link": _check_add_link,
    "drop_link": _check_drop_link,
    "move_inode": _check_move_inode,
    "new_directory": _check_new_directory,
    "move_lock": _check_move_lock,
    "restore_inode": _check_restore_inode,
}
_LOCKS: dict[str, Callable[[Scope, Any], list[tuple[bytes, Lock.Kind]]]] = {
    "remove_name": _lock_name,
    "put_name": _lock_name,
    "add_link": _lock_inode,
    "drop_link": _lock_drop_link,
    "move_inode": _lock_inode,
    "move_lock": _lock_moves,
    "restore_inode": _lock_inode,
}
_COMMITS: dict[str, Callable[[Work, Any, Fact], None]] = {
    "remove_name": _commit_remove_name,
    "put_name": _commit_put_name,
    "add_link": _commit_add_link,
    "drop_link": _commit_drop_link,
    "move_inode": _commit_move_inode,
    "new_directory": _commit_new_directory,
    "move_lock": _commit_nothing,
    "restore_inode": _commit_restore_inode,
}
