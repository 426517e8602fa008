"""Sessions in a group: opened, their lane, ended (rules 7 and 8).

A durable identity (rule 9) is a session without a lane: it owns the chunk ids that the sessions of its mount take, one
after the other, and is ended by its own id.
"""

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import SESSION_ID_SIZE
from ...rpc.lane import WINDOW
from ..storage import keys
from ..storage.transaction import StateReader
from . import ids, namespace, quotas
from .scope import Refusal, Scope

TOMBSTONE_NS = 24 * 3600 * 10**9
KEYS_PER_STEP = 900  # of an end; the last inode may have XATTR_COUNT_MAX more
KEYS_PER_INODE = 4  # two for who holds it, itself, its place in the delete queue


def open_session(scope: Scope, session_id: bytes, identity: bytes = b"", *, durable: bool = False) -> None:
    """OpenSession. Idempotent. durable: it is an identity itself. Raises Refusal SESSION_ENDED, INVALID_ARGUMENT."""
    check_id(session_id, common_pb2.INVALID_ARGUMENT)
    if identity:
        open_session(scope, identity, durable=True)
    record = read(scope, session_id)
    if record is not None:
        if record.ended_ns:
            raise Refusal(common_pb2.SESSION_ENDED)
        return
    write(
        scope,
        session_id,
        state_pb2.SessionRecord(
            fs_id=scope.fs_id, expected_sequence=1, opened_ns=scope.time_ns, identity=identity, durable=durable
        ),
    )
    _bury(scope, session_id)


def end_session(scope: Scope, session_id: bytes) -> None:
    """EndSession: nothing more is taken from it; its ranges close, what it held is let go. In bounded steps.

    Raises Refusal INVALID_ARGUMENT.
    """
    check_id(session_id, common_pb2.INVALID_ARGUMENT)
    record = read(scope, session_id)
    if record is None:
        # It may still try to open itself here with a token that is valid for a while.
        record = state_pb2.SessionRecord(fs_id=scope.fs_id, expected_sequence=1, opened_ns=scope.time_ns)
    if not record.ended_ns:
        record.ended_ns = scope.time_ns
        write(scope, session_id, record)
    scope.fs_id = record.fs_id
    left = KEYS_PER_STEP
    for prefix, step in (
        (keys.HOLDING + session_id, _let_go),
        (keys.RANGE + session_id, _close_range),
        (keys.RESULT + session_id, _forget_result),
        (keys.DECISION + session_id, _forget_decision),
        (keys.RESERVED + session_id, _end_reservation),
    ):
        # An inode with many attributes counts for many: they go with it.
        for key, value in list(scope.txn.scan(prefix, keys.after_prefix(prefix), max(left, 0))):
            left -= step(scope, session_id, key, value)
            if left <= 0:
                break
    if has_left(scope.txn, session_id):
        command = state_pb2.EndSessionCommand(session_id=session_id)
        scope.follow_ups.append(state_pb2.Entry(format=1, end_session=command))
    _bury(scope, session_id)


def read(scope: Scope, session_id: bytes) -> state_pb2.SessionRecord | None:
    """Return a session's record."""
    raw = scope.txn.get(keys.session(session_id))
    return None if raw is None else state_pb2.SessionRecord.FromString(raw)


def write(scope: Scope, session_id: bytes, record: state_pb2.SessionRecord) -> None:
    """Store a session's record."""
    scope.txn.put(keys.session(session_id), record.SerializeToString(deterministic=True))


def has_left(view: StateReader, session_id: bytes) -> bool:
    """Say whether an ended session still has something to be let go."""
    tables = (keys.HOLDING, keys.RANGE, keys.RESULT, keys.RESERVED)
    prefixes = [table + session_id for table in tables]
    if any(True for prefix in prefixes for _ in view.scan(prefix, keys.after_prefix(prefix), 1)):
        return True
    prefix = keys.DECISION + session_id
    decisions = (
        state_pb2.DecisionRecord.FromString(value) for _, value in view.scan(prefix, keys.after_prefix(prefix))
    )
    return any(not one.acknowledged for one in decisions)


def acknowledge(record: state_pb2.SessionRecord, acknowledged: int) -> range:
    """Note which results the client has; return the numbers to forget, at most WINDOW of them."""
    upto = max(record.acknowledged, min(acknowledged, record.expected_sequence - 1))
    known = range(record.acknowledged + 1, upto + 1)
    record.acknowledged = upto
    return known


def forget(scope: Scope, session_id: bytes, sequences: range) -> None:
    """Remove stored results."""
    for sequence in sequences:
        scope.txn.delete(keys.result(session_id, sequence))


def stored_result(scope: Scope, session_id: bytes, sequence: int) -> pb.OperationResult:
    """Return the answer to an operation that was applied before."""
    raw = scope.txn.get(keys.result(session_id, sequence))
    if raw is None:
        return pb.OperationResult(sequence=sequence, status=common_pb2.RESULT_FORGOTTEN)
    return pb.OperationResult.FromString(raw)


def has_room(record: state_pb2.SessionRecord) -> bool:
    """True when another result may be stored."""
    return record.expected_sequence - 1 - record.acknowledged < WINDOW


def check_id(session_id: bytes, code: common_pb2.StatusCode) -> None:
    """Raise Refusal for what is no session id: keys rely on its size."""
    if len(session_id) != SESSION_ID_SIZE:
        raise Refusal(code, "no session id")


# The steps of an end return about how many keys they touched.


def _let_go(scope: Scope, session_id: bytes, key: bytes, _: bytes) -> int:
    scope.fs_id, inode_id = keys.unpack_holding(key)
    inode = scope.find(inode_id)
    touched = KEYS_PER_INODE + (0 if inode is None else inode.xattr_count)
    namespace.let_go(scope, session_id, inode_id)
    return touched


def _close_range(scope: Scope, _: bytes, key: bytes, value: bytes) -> int:
    ids.close_range(scope, key, value)
    return 2


def _forget_result(scope: Scope, _: bytes, key: bytes, __: bytes) -> int:
    scope.txn.delete(key)
    return 1


def _forget_decision(scope: Scope, _: bytes, key: bytes, value: bytes) -> int:
    record = state_pb2.DecisionRecord.FromString(value)
    if record.participants:
        record.acknowledged = True  # it goes when all of them have finished
        scope.txn.put(key, record.SerializeToString(deterministic=True))
    else:
        scope.txn.delete(key)
    return 1


def _end_reservation(scope: Scope, _: bytes, key: bytes, value: bytes) -> int:
    quotas.end_reservation(scope, key, value)
    return 3


def _bury(scope: Scope, near: bytes) -> None:
    """Remove some tombstones that are older than a day; ids are random, so every place gets its turn.

    Not of a session that a prepared transaction would have hold an inode: it must be known then that it is over.
    """
    end = keys.after_prefix(keys.SESSION)
    old = []
    for key, value in scope.txn.scan(keys.session(near) + b"\0", end, 16):
        record = state_pb2.SessionRecord.FromString(value)
        if record.ended_ns and record.ended_ns + TOMBSTONE_NS < scope.time_ns:
            old.append(key)
    if not old:
        return
    awaited = {
        keys.session(part.drop_link.session_id)
        for _, value in scope.txn.scan(keys.PREPARED, keys.after_prefix(keys.PREPARED))
        for part in state_pb2.TransactionRecord.FromString(value).parts
    }
    for key in old:
        if key not in awaited:
            scope.txn.delete(key)
