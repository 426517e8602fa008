"""Sessions in a group: opened, their lane, ended (rules 7 and 8)."""

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...rpc.lane import WINDOW
from ..storage import keys
from . import ids, namespace
from .scope import Refusal, Scope

TOMBSTONE_NS = 24 * 3600 * 10**9
KEYS_PER_STEP = 200


def open_session(scope: Scope, session_id: bytes) -> None:
    """OpenSession. Idempotent. Raises Refusal SESSION_ENDED."""
    record = read(scope, session_id)
    if record is not None:
        if record.ended_ns:
            raise Refusal(common_pb2.SESSION_ENDED)
        return
    write(
        scope,
        session_id,
        state_pb2.SessionRecord(fs_id=scope.fs_id, expected_sequence=1, opened_ns=scope.time_ns),
    )
    _bury(scope, session_id)


def end_session(scope: Scope, session_id: bytes) -> None:
    """EndSession: nothing more is taken from it; its ranges close, what it held is let go. In bounded steps."""
    record = read(scope, session_id)
    if record is None:
        # It may still try to open itself here with a token that is valid for a while.
        record = state_pb2.SessionRecord(fs_id=scope.fs_id, expected_sequence=1, opened_ns=scope.time_ns)
    if not record.ended_ns:
        record.ended_ns = scope.time_ns
        write(scope, session_id, record)
    scope.fs_id = record.fs_id
    more = False
    for prefix, step in (
        (keys.HOLDING + session_id, _let_go),
        (keys.RANGE + session_id, _close_range),
        (keys.RESULT + session_id, _forget_result),
    ):
        pairs = list(scope.txn.scan(prefix, keys.after_prefix(prefix), KEYS_PER_STEP + 1))
        more = more or len(pairs) > KEYS_PER_STEP
        for key, value in pairs[:KEYS_PER_STEP]:
            step(scope, session_id, key, value)
    if more:
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


def acknowledge(scope: Scope, session_id: bytes, record: state_pb2.SessionRecord, acknowledged: int) -> None:
    """Forget the results that the client has; at most WINDOW of them are stored."""
    upto = min(acknowledged, record.expected_sequence - 1)
    for sequence in range(record.acknowledged + 1, upto + 1):
        scope.txn.delete(keys.result(session_id, sequence))
    record.acknowledged = max(record.acknowledged, upto)


def stored_result(scope: Scope, session_id: bytes, sequence: int) -> pb.OperationResult:
    """Return the answer to an operation that was applied before."""
    raw = scope.txn.get(keys.result(session_id, sequence))
    if raw is None:
        return pb.OperationResult(sequence=sequence, status=common_pb2.RESULT_FORGOTTEN)
    return pb.OperationResult.FromString(raw)


def has_room(record: state_pb2.SessionRecord) -> bool:
    """True when another result may be stored."""
    return record.expected_sequence - 1 - record.acknowledged < WINDOW


def _let_go(scope: Scope, session_id: bytes, key: bytes, _: bytes) -> None:
    scope.fs_id, inode_id = keys.unpack_holding(key)
    namespace.let_go(scope, session_id, inode_id)


def _close_range(scope: Scope, _: bytes, key: bytes, value: bytes) -> None:
    ids.close_range(scope, key, value)


def _forget_result(scope: Scope, _: bytes, key: bytes, __: bytes) -> None:
    scope.txn.delete(key)


def _bury(scope: Scope, near: bytes) -> None:
    """Remove some tombstones that are older than a day; ids are random, so every place gets its turn."""
    end = keys.after_prefix(keys.SESSION)
    for key, value in list(scope.txn.scan(keys.session(near) + b"\0", end, 16)):
        record = state_pb2.SessionRecord.FromString(value)
        if record.ended_ns and record.ended_ns + TOMBSTONE_NS < scope.time_ns:
            scope.txn.delete(key)
