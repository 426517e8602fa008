"""From an operation across partitions, and the state of the coordinator's group, to its parts. Pure.

A plan may rest on what is not so any more when it is decided: its parts say what they expect, and then the operation is
planned again. What a name leads to in another group is learned when it is prepared there: then comes a second round.
"""

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ....proto.transaction_pb2 import (
    AddLink,
    DropLink,
    Fact,
    MoveInode,
    MoveLock,
    NewDirectory,
    Part,
    PutName,
    QuotaChain,
    RemoveName,
    RestoreInode,
)
from ...common.ids import make_id, partition_of
from ..metastore import locks, quotas
from ..metastore.scope import Refusal, Scope
from ..storage import keys

Parts = dict[int, list[Part]]  # by partition
# A new directory gets its number before its name.
_DECIDED = {"new_directory": 0, "remove_name": 1, "put_name": 1}
_DIRECTORY = pb.DIRECTORY


class NothingToDo(Exception):
    """The operation succeeds and changes nothing: two names of one inode."""


@dataclass(slots=True)
class Plan:
    """What is to be done. home: the partitions in the coordinator's group.

    first: prepared at once. home_parts: done by the decision. walks: (directory to walk up from, inode that must not be
    met on the way); with them goes the lock on moving directories. moved: the inode that gets another name.
    """

    home: frozenset[int]
    first: Parts = field(default_factory=dict)
    home_parts: list[Part] = field(default_factory=list)
    walks: list[tuple[int, int]] = field(default_factory=list)
    moves_directories: bool = False
    moved: int = 0
    source_quotas: list[int] = field(default_factory=list)  # rename: of what lies in the source parent
    result: pb.OperationResult = field(default_factory=pb.OperationResult)

    def add(self, inode_id: int, part: Part) -> None:
        """Add a part where an inode lies."""
        partition_id = partition_of(inode_id)
        if partition_id in self.home:
            self.home_parts.append(part)
        else:
            self.first.setdefault(partition_id, []).append(part)

    def names(self) -> list[Part]:
        """Return what the plan takes the names at home to lead to, before anything is learned."""
        return [part for part in self.home_parts if part.WhichOneof("part") in ("remove_name", "put_name")]

    def decided_parts(self) -> list[Part]:
        """Return the parts for the decision: names first, so that what has become stale is not taken for a refusal."""
        return names_first(self.home_parts)

    def learn(self, operation: pb.Operation, session_id: bytes, part: Part, fact: Fact) -> Parts:
        """Take in what a prepared part found; returns parts of the second round, elsewhere than at home."""
        before = self.first
        self.first = {}
        match part.WhichOneof("part"):
            case "new_directory":
                self._learn_directory(operation, fact)
            case "add_link":
                _put_link(self, operation, fact.type)
            case "restore_inode":
                _put_restored(self, operation, part.restore_inode.quotas, fact.type)
            case "put_name":
                _displace(self, operation, session_id, fact)
        second, self.first = self.first, before
        return second

    def _learn_directory(self, operation: pb.Operation, fact: Fact) -> None:
        create = operation.create
        self.result.inode.CopyFrom(fact.inode)
        chain = QuotaChain(quotas=fact.inode.quotas)
        name = PutName(parent=create.parent, name=create.name, inode_id=fact.inode_id, type=_DIRECTORY, chain=chain)
        self.home_parts.append(Part(put_name=name))


def names_first(parts: list[Part]) -> list[Part]:
    """Return parts in an order in which what has become stale shows before it makes others fail."""
    return sorted(parts, key=lambda part: _DECIDED.get(part.WhichOneof("part") or "", 2))


def plan(scope: Scope, operation: pb.Operation, home: frozenset[int], target_quotas: list[int] | None = None) -> Plan:
    """Return the plan of an operation. home: the partitions in this group.

    target_quotas: of what lies in a rename's new parent, elsewhere; unknown, they are taken to be the source parent's.

    Raises Refusal (the operation fails), NothingToDo.
    """
    match operation.WhichOneof("operation"):
        case "create":
            return _create(scope, operation, Plan(home))
        case "unlink":
            return _remove(scope, operation.unlink, Plan(home), is_directory=False)
        case "rmdir":
            return _remove(scope, operation.rmdir, Plan(home), is_directory=True)
        case "link":
            return _link(scope, operation, Plan(home))
        case "rename":
            return _rename(scope, operation, Plan(home), target_quotas)
        case "restore":
            return _restore(scope, operation, Plan(home))
        case kind:
            raise Refusal(common_pb2.UNSUPPORTED, f"no operation across partitions: {kind}")


def home_of(operation: pb.Operation) -> int:
    """Return the partition whose group coordinates an operation. Raises Refusal UNSUPPORTED."""
    match operation.WhichOneof("operation"):
        case "create":
            return partition_of(operation.create.parent)
        case "unlink":
            return partition_of(operation.unlink.parent)
        case "rmdir":
            return partition_of(operation.rmdir.parent)
        case "link":
            return partition_of(operation.link.new_parent)
        case "rename":
            return partition_of(operation.rename.parent)
        case "restore":
            return partition_of(operation.restore.new_parent)
        case kind:
            raise Refusal(common_pb2.UNSUPPORTED, f"no operation across partitions: {kind}")


def _create(scope: Scope, operation: pb.Operation, made: Plan) -> Plan:
    request = operation.create
    if not stat.S_ISDIR(request.mode) or not request.HasField("partition_id") or request.inode_id:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "only new directories are placed in other partitions")
    parent = scope.directory(request.parent)
    if _find(scope, request.parent, request.name) is not None:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    mode, gid = request.mode, operation.credential.gid
    if parent.mode & stat.S_ISGID:
        mode, gid = mode | stat.S_ISGID, parent.gid
    new = NewDirectory(
        partition_id=request.partition_id,
        parent=request.parent,
        mode=mode,
        uid=operation.credential.uid,
        gid=gid,
        quotas=quotas.below(parent),
    )
    made.add(make_id(request.partition_id, 0), Part(new_directory=new))
    if made.home_parts:
        chain = QuotaChain(quotas=new.quotas)
        # Of the new directory before it.
        name = PutName(parent=request.parent, name=request.name, type=_DIRECTORY, chain=chain)
        made.home_parts.append(Part(put_name=name))
    return made


def _remove(scope: Scope, request: pb.Unlink | pb.Rmdir, made: Plan, *, is_directory: bool) -> Plan:
    inode_id, type_ = _named(scope, request.parent, request.name)
    if (type_ == _DIRECTORY) != is_directory:
        raise Refusal(common_pb2.NOT_A_DIRECTORY if is_directory else common_pb2.IS_A_DIRECTORY)
    removed = RemoveName(parent=request.parent, name=request.name, inode_id=inode_id, is_directory=is_directory)
    made.home_parts.append(Part(remove_name=removed))
    dropped = DropLink(parent=request.parent, name=request.name)
    made.add(inode_id, _drop(dropped, inode_id, is_directory, scope.session_id, request.held_inode))
    made.result.replaced.inode_id = inode_id
    return made


def _link(scope: Scope, operation: pb.Operation, made: Plan) -> Plan:
    request = operation.link
    if _find(scope, request.new_parent, request.new_name) is not None:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    made.add(request.inode_id, Part(add_link=AddLink(inode_id=request.inode_id)))
    if partition_of(request.inode_id) in made.home:
        _put_link(made, operation, stat.S_IFMT(scope.inode(request.inode_id).mode) >> 12)
    return made


def _put_link(made: Plan, operation: pb.Operation, type_: int) -> None:
    request = operation.link
    name = PutName(
        parent=request.new_parent,
        name=request.new_name,
        inode_id=request.inode_id,
        is_new_parent=True,
        type=type_,  # type: ignore[arg-type]
    )
    made.home_parts.append(Part(put_name=name))


def _restore(scope: Scope, operation: pb.Operation, made: Plan) -> Plan:
    """It takes no lock on moving directories: below what is in the trash there is nothing it could come to lie in."""
    request = operation.restore
    if _find(scope, request.new_parent, request.new_name) is not None:
        raise Refusal(common_pb2.ALREADY_EXISTS)
    charged = quotas.below(scope.directory(request.new_parent))
    restored = RestoreInode(inode_id=request.inode_id, new_parent=request.new_parent, quotas=charged)
    made.add(request.inode_id, Part(restore_inode=restored))
    if partition_of(request.inode_id) in made.home:
        _put_restored(made, operation, charged, stat.S_IFMT(scope.inode(request.inode_id).mode) >> 12)
    return made


def _put_restored(made: Plan, operation: pb.Operation, charged: Sequence[int], type_: int) -> None:
    request = operation.restore
    name = PutName(
        parent=request.new_parent,
        name=request.new_name,
        inode_id=request.inode_id,
        is_new_parent=True,
        type=type_,  # type: ignore[arg-type]
        chain=QuotaChain(quotas=charged),
    )
    made.home_parts.append(Part(put_name=name))


def _rename(scope: Scope, operation: pb.Operation, made: Plan, target_quotas: list[int] | None) -> Plan:
    request = operation.rename
    if request.no_replace and request.exchange:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "no_replace and exchange exclude each other")
    moved, type_ = _named(scope, request.parent, request.name)
    if (request.parent, request.name) == (request.new_parent, request.new_name):
        if request.no_replace:
            raise Refusal(common_pb2.ALREADY_EXISTS)
        raise NothingToDo
    is_directory = type_ == _DIRECTORY
    made.moved = moved
    made.source_quotas = quotas.below(scope.directory(request.parent))
    is_here = partition_of(request.new_parent) in made.home
    if is_here:
        target_quotas = quotas.below(scope.directory(request.new_parent))
    elif target_quotas is None:
        target_quotas = made.source_quotas
    put = PutName(
        parent=request.new_parent,
        name=request.new_name,
        inode_id=moved,
        type=type_,  # type: ignore[arg-type]
        rule=_rule(request),
        is_new_parent=True,
        chain=QuotaChain(quotas=target_quotas),
    )
    if not request.exchange:
        gone = RemoveName(parent=request.parent, name=request.name, inode_id=moved, is_directory=is_directory)
        made.home_parts.append(Part(remove_name=gone))
    moves = MoveInode(inode_id=moved, new_parent=request.new_parent, is_directory=is_directory, quotas=target_quotas)
    made.add(moved, Part(move_inode=moves))
    if request.parent != request.new_parent and (is_directory or request.exchange):
        made.moves_directories = True
        made.walks.append((request.new_parent, moved))
    if is_here:
        there, there_type = _find(scope, request.new_parent, request.new_name) or (0, 0)
        put.expected = there
        _displace(made, operation, scope.session_id, Fact(inode_id=there, type=there_type))  # type: ignore[arg-type]
    made.add(request.new_parent, Part(put_name=put))
    return made


def _rule(request: pb.Rename) -> PutName.Rule:
    if request.no_replace:
        return PutName.ABSENT
    return PutName.PRESENT if request.exchange else PutName.ANY


def _displace(made: Plan, operation: pb.Operation, session_id: bytes, fact: Fact) -> None:
    """Say what becomes of the inode that has the new name now."""
    request = operation.rename
    there, is_directory = fact.inode_id, fact.type == _DIRECTORY
    if there == made.moved and not request.no_replace:
        raise NothingToDo
    if there:
        made.result.replaced.inode_id = there  # what it is like afterwards is told only when it lies here
    if request.exchange:
        if not there:
            raise Refusal(common_pb2.NOT_FOUND)
        back = PutName(
            parent=request.parent,
            name=request.name,
            inode_id=there,
            type=fact.type,
            rule=PutName.PRESENT,
            expected=made.moved,
            chain=QuotaChain(quotas=made.source_quotas),
        )
        made.home_parts.append(Part(put_name=back))
        moves = MoveInode(
            inode_id=there,
            new_parent=request.parent,
            is_directory=is_directory,
            displaced=True,
            quotas=made.source_quotas,
        )
        made.add(there, Part(move_inode=moves))
        if request.parent != request.new_parent and is_directory:
            made.walks.append((request.parent, there))
    elif there and not request.no_replace:
        dropped = DropLink(parent=request.new_parent, name=request.new_name, replaced=True)
        made.add(there, _drop(dropped, there, is_directory, session_id, request.held_inode))


def _drop(dropped: DropLink, inode_id: int, is_directory: bool, session_id: bytes, held_inode: int) -> Part:  # noqa: FBT001 -- as in the part
    dropped.inode_id, dropped.is_directory = inode_id, is_directory
    dropped.session_id, dropped.held = session_id, held_inode == inode_id
    return Part(drop_link=dropped)


def move_lock() -> Part:
    """Return the part that lets only one transaction move directories."""
    return Part(move_lock=MoveLock())


def _named(scope: Scope, parent: int, name: bytes) -> tuple[int, int]:
    """Return (inode, type) of a name. Raises Refusal NOT_FOUND, and what _find raises."""
    found = _find(scope, parent, name)
    if found is None:
        raise Refusal(common_pb2.NOT_FOUND)
    return found


def _find(scope: Scope, parent: int, name: bytes) -> tuple[int, int] | None:
    """Return (inode, type) of a name, or None. Raises Refusal LOCKED: what it leads to is just being decided."""
    scope.directory(parent)
    key = scope.dentry_key(parent, name)
    locks.require_none(locks.on_name(scope, key))
    value = scope.txn.get(key)
    return None if value is None else keys.unpack_dentry(value)
