"""Commands of transactions: prepare, decide, finish, forget (rule 16). Each may be applied again.

A prepared transaction is a record with its parts, what they found, and their locks. The decision is one entry in the
coordinator's group; it is valid only in the term of the transaction's id, so who knows that a later term has begun to
be applied knows whether there will ever be one. Its record is also the stored answer of the session's operation.

What has finished in a group is remembered for a while: a Prepare that was long on its way must not lock anything again.
"""

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...rpc.lane import WINDOW
from ..storage import keys
from ..storage.transaction import StateReader
from . import parts, sessions
from .applied import Applied
from .parts import Conflicted, Work
from .scope import Refusal, Scope

REMEMBERED_NS = 600 * 10**9  # far longer than anybody waits for an answer
_BURIED_AT_ONCE = 4
_ROUND_MAX = 255  # a byte in the key


def prepare(scope: Scope, entry: state_pb2.Entry, applied: Applied) -> None:
    """Check and lock the parts that lie here. Answers facts, or a conflict; raises Refusal."""
    command = entry.prepare
    scope.fs_id = command.fs_id
    packed = pack(command.id)
    if command.round > _ROUND_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many rounds")
    key_here = keys.PREPARED + packed + bytes([command.round])
    raw = scope.txn.get(key_here)
    if raw is not None:
        applied.facts = list(state_pb2.TransactionRecord.FromString(raw).facts)
        return
    if scope.txn.get(keys.FINISHED + packed) is not None:
        raise Refusal(common_pb2.SKIPPED, "the transaction has ended here")
    work = Work(scope, command.id)
    try:
        facts = [parts.check(work, part) for part in command.parts]
    except Conflicted as conflict:
        applied.conflict = conflict.lock
        return
    record = state_pb2.TransactionRecord(age=command.age, fs_id=command.fs_id, parts=command.parts)
    for part, fact in zip(command.parts, facts, strict=True):
        parts.reserve(work, part, fact)
        for key, kind in parts.locks_of(work, part, fact):
            scope.put_lock(key, state_pb2.LockRecord(kind=kind, holder=command.id, age=command.age))
            record.locks.append(key)
    record.facts.extend(facts)
    scope.txn.put(key_here, record.SerializeToString(deterministic=True))
    applied.facts = facts


def finish(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    """Apply what was prepared, or forget it."""
    command = entry.finish
    packed = pack(command.id)
    if scope.txn.get(keys.FINISHED + packed) is not None:
        return
    scope.txn.put(keys.FINISHED + packed, scope.time_ns.to_bytes(8, "big"))
    scope.txn.put(keys.finished_at(scope.time_ns, packed), b"")
    _bury(scope)
    work = Work(scope, command.id)
    prefix = keys.PREPARED + packed
    for prepared_key, value in list(scope.txn.scan(prefix, keys.after_prefix(prefix))):
        record = state_pb2.TransactionRecord.FromString(value)
        scope.fs_id = record.fs_id
        for part, fact in zip(record.parts, record.facts, strict=True):
            if command.commit:
                parts.commit(work, part, fact)
            else:
                parts.release(work, part, fact)
        for key in record.locks:
            scope.txn.delete(keys.lock(key))
        scope.txn.delete(prepared_key)


def decide(scope: Scope, entry: state_pb2.Entry, applied: Applied, term: int) -> None:
    """Decide for a commit, apply the own parts, and keep the answer. Answers it, or a conflict; raises Refusal."""
    command = entry.decide
    scope.fs_id, scope.session_id = command.fs_id, command.session_id
    if command.id.term != term:
        raise Refusal(common_pb2.NOT_APPENDED, "it was to be decided in an earlier term")
    session = _session(scope, command)
    stored = scope.txn.get(keys.decision(command.session_id, command.number))
    if stored is not None:
        applied.decided = state_pb2.DecisionRecord.FromString(stored)
        return
    if command.number <= session.transactions_acknowledged:
        raise Refusal(common_pb2.RESULT_FORGOTTEN)
    if command.number > max(session.transactions_acknowledged, command.acknowledged) + WINDOW:
        raise Refusal(common_pb2.OVERLOADED, "too many results are not acknowledged")
    result = pb.OperationResult()
    result.CopyFrom(command.result)
    work = Work(scope, command.id, result)
    try:
        facts = [parts.check(work, part) for part in command.parts]
    except Conflicted as conflict:
        applied.conflict = conflict.lock
        return
    made = 0
    for part, fact in zip(command.parts, facts, strict=True):
        parts.reserve(work, part, fact)
        if part.HasField("new_directory"):
            made = fact.inode_id
        elif part.HasField("put_name") and not part.put_name.inode_id:
            part.put_name.inode_id = made
        parts.commit(work, part, fact)
    _tell_parents(scope, command, result)
    record = state_pb2.DecisionRecord(
        id=command.id, fs_id=command.fs_id, participants=command.participants, result=result
    )
    _put(scope, command.session_id, command.number, record)
    if command.participants:
        where = command.session_id + command.number.to_bytes(8, "big")
        scope.txn.put(keys.DECIDED + pack(command.id), where)
    _acknowledge(scope, session, command)
    applied.decided = record


def forget(scope: Scope, entry: state_pb2.Entry, _: Applied) -> None:
    """Every participant of these has finished."""
    for id_ in entry.forget.ids:
        key = keys.DECIDED + pack(id_)
        where = scope.txn.get(key)
        if where is None:
            continue
        scope.txn.delete(key)
        session_id, number = where[:-8], int.from_bytes(where[-8:], "big")
        raw = scope.txn.get(keys.decision(session_id, number))
        if raw is None:
            continue
        record = state_pb2.DecisionRecord.FromString(raw)
        if record.acknowledged:
            scope.txn.delete(keys.decision(session_id, number))
        else:
            del record.participants[:]
            _put(scope, session_id, number, record)


# ------------------------------------------------------------------------------------------------- reads


def is_decided(view: StateReader, id_: transaction_pb2.TransactionId) -> bool:
    """Say whether a transaction was decided, and not all participants have finished."""
    return view.get(keys.DECIDED + pack(id_)) is not None


def stored_answer(view: StateReader, session_id: bytes, number: int) -> state_pb2.DecisionRecord | None:
    """Return the decision of a session's operation."""
    raw = view.get(keys.decision(session_id, number))
    return None if raw is None else state_pb2.DecisionRecord.FromString(raw)


def undone(view: StateReader, limit: int) -> list[state_pb2.DecisionRecord]:
    """Return decisions of which some participant may not have heard."""
    records = []
    for _, where in view.scan(keys.DECIDED, keys.after_prefix(keys.DECIDED), limit):
        raw = view.get(keys.DECISION + where)
        if raw is not None:
            records.append(state_pb2.DecisionRecord.FromString(raw))
    return records


def prepared(
    view: StateReader, limit: int, after: transaction_pb2.TransactionId | None = None
) -> list[tuple[transaction_pb2.TransactionId, state_pb2.TransactionRecord]]:
    """Return the transactions that are prepared here, in order of their ids; one of two rounds is there twice."""
    start = keys.PREPARED if after is None else keys.after_prefix(keys.PREPARED + pack(after))
    return [
        (unpack(key[1:]), state_pb2.TransactionRecord.FromString(value))
        for key, value in view.scan(start, keys.after_prefix(keys.PREPARED), limit)
    ]


def is_prepared(view: StateReader, id_: transaction_pb2.TransactionId) -> bool:
    """Say whether a transaction is prepared here, and may hold locks."""
    prefix = keys.PREPARED + pack(id_)
    return any(True for _ in view.scan(prefix, keys.after_prefix(prefix), 1))


def pack(id_: transaction_pb2.TransactionId) -> bytes:
    """Return a transaction's id as it lies in keys."""
    return keys.transaction(b"", id_.group_id, id_.term, id_.number)


def unpack(packed: bytes) -> transaction_pb2.TransactionId:
    """Return the id that lies in a key."""
    group_id, term, number = (int.from_bytes(packed[at : at + 8], "big") for at in (0, 8, 16))
    return transaction_pb2.TransactionId(group_id=group_id, term=term, number=number)


def is_older(one: transaction_pb2.Age, other: transaction_pb2.Age) -> bool:
    """Compare ages: who began first is older."""
    return _age(one) < _age(other)


def _age(age: transaction_pb2.Age) -> tuple[int, bytes]:
    return age.time_ns, pack(age.first)


# --------------------------------------------------------------------------------------------- internals


def _session(scope: Scope, command: state_pb2.DecideCommand) -> state_pb2.SessionRecord:
    sessions.check_id(command.session_id, common_pb2.SESSION_UNKNOWN)
    session = sessions.read(scope, command.session_id)
    if session is None or session.fs_id != command.fs_id:
        raise Refusal(common_pb2.SESSION_UNKNOWN)
    if session.ended_ns:
        raise Refusal(common_pb2.SESSION_ENDED)
    return session


def _acknowledge(scope: Scope, session: state_pb2.SessionRecord, command: state_pb2.DecideCommand) -> None:
    upto = min(command.acknowledged, command.number - 1)
    first = session.transactions_acknowledged + 1
    if upto < first:
        return
    start, end = keys.decision(command.session_id, first), keys.decision(command.session_id, upto + 1)
    for key, value in list(scope.txn.scan(start, end)):
        record = state_pb2.DecisionRecord.FromString(value)
        if record.participants:
            record.acknowledged = True
            scope.txn.put(key, record.SerializeToString(deterministic=True))
        else:
            scope.txn.delete(key)
    session.transactions_acknowledged = upto
    sessions.write(scope, command.session_id, session)


def _tell_parents(scope: Scope, command: state_pb2.DecideCommand, result: pb.OperationResult) -> None:
    """Add the directories whose names changed, as they are now, as operations of one partition do."""
    for part in command.parts:
        if part.HasField("remove_name"):
            parent_id, is_new = part.remove_name.parent, False
        elif part.HasField("put_name"):
            parent_id, is_new = part.put_name.parent, part.put_name.is_new_parent
        else:
            continue
        parent = scope.find(parent_id)
        if parent is not None:
            (result.new_parent if is_new else result.parent).CopyFrom(parent)
    if result.new_parent.inode_id and result.new_parent.inode_id == result.parent.inode_id:
        result.ClearField("new_parent")


def _put(scope: Scope, session_id: bytes, number: int, record: state_pb2.DecisionRecord) -> None:
    scope.txn.put(keys.decision(session_id, number), record.SerializeToString(deterministic=True))


def _bury(scope: Scope) -> None:
    """Forget some of what finished long ago."""
    end = keys.finished_at(max(0, scope.time_ns - REMEMBERED_NS), b"")
    for key, _ in list(scope.txn.scan(keys.FINISHED_AT, end, _BURIED_AT_ONCE)):
        scope.txn.delete(key)
        scope.txn.delete(keys.FINISHED + key[-keys.TRANSACTION_SIZE :])
