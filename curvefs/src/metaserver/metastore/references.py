"""References to chunk ids (rule 4). The home of a chunk id is the group of its partition; only it deletes objects.

Each slice record holds one reference, by its number. The first, 0, is that of publication and needs no record, so an
ordinary file costs nothing. Others have one at home, and then there is a head (number 0) besides, which says the next
number to give, and whether the first reference was released. When the last one is released, all of it goes, and the
objects are queued for deletion.

Numbers are never given twice while the chunk id lives, so a release can be repeated at any later time: that of a number
without a record does nothing; that of the first without a head queues the objects, of which then nobody knows any more,
once again.

A slice whose home is another group is queued there as `release_slice`: the leader sends it home.
"""

from collections import Counter

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ..storage import keys
from .applied import Applied
from .scope import Refusal, Scope, put_queued

RELEASES_PER_ENTRY_MAX = 300
TOKEN_SIZE_MAX = 64
NUMBER_MAX = (1 << 32) - 2


def number_pieces(scope: Scope, slices: list[pb.Slice]) -> None:
    """Give each slice record of one publication its own reference, where several share a chunk id."""
    given: Counter[int] = Counter()
    for one in slices:
        one.reference = 0 if one.zero else given[one.chunk_id]
        given[one.chunk_id] += not one.zero
        if one.reference:
            _put(scope, one.chunk_id, one.reference, state_pb2.ReferenceRecord())
    for chunk_id, count in given.items():
        if count > 1:
            _put(scope, chunk_id, 0, state_pb2.ReferenceRecord(next=count))


def release(scope: Scope, one: pb.Slice, queued_ns: int) -> None:
    """Give up the reference of a slice that left its file at ``queued_ns``: the grace counts from then."""
    if one.zero or not one.chunk_id:
        return
    if not scope.is_here(one.chunk_id):
        put_queued(scope, queued_ns, state_pb2.DeleteRecord(queued_ns=queued_ns, release_slice=one))
    elif scope.is_served(one.chunk_id) and _was_last(scope, one):
        put_queued(scope, queued_ns, state_pb2.DeleteRecord(queued_ns=queued_ns, slice=one))


def release_all(scope: Scope, command: state_pb2.ReleaseCommand) -> None:
    """ReleaseCommand, from another group. Raises Refusal WRONG_PARTITION, INVALID_ARGUMENT."""
    scope.fs_id = command.fs_id
    if len(command.slices) > RELEASES_PER_ENTRY_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many references for one entry")
    for one in command.slices:
        if not scope.is_here(one.chunk_id):
            raise Refusal(common_pb2.WRONG_PARTITION, f"chunk id {one.chunk_id} has its home elsewhere")
    for one in command.slices:
        release(scope, one, scope.time_ns)


def add(scope: Scope, command: state_pb2.AddReferenceCommand, applied: Applied) -> None:
    """AddReferenceCommand. Raises Refusal WRONG_PARTITION, INVALID_ARGUMENT, NOT_FOUND, TOO_MANY_LINKS."""
    scope.fs_id = command.fs_id
    chunk_id = command.chunk_id
    if not 0 < len(command.token) <= TOKEN_SIZE_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, f"a token has 1 to {TOKEN_SIZE_MAX} bytes")
    if not scope.is_here(chunk_id):
        raise Refusal(common_pb2.WRONG_PARTITION, f"chunk id {chunk_id} has its home elsewhere")
    known = scope.txn.get(keys.reference(scope.fs_id, chunk_id, 0, command.token))
    if known is not None:
        applied.reference = state_pb2.ReferenceRecord.FromString(known).next
        return
    head = _head(scope, chunk_id)
    if not _has_others(scope, chunk_id) and not _first_is_held(scope, command):
        raise Refusal(common_pb2.NOT_FOUND, f"nothing refers to chunk id {chunk_id} any more")
    if head is None:
        head = state_pb2.ReferenceRecord(next=1)
    if head.next > NUMBER_MAX:
        raise Refusal(common_pb2.TOO_MANY_LINKS)
    applied.reference = number = head.next
    head.next += 1
    _put(scope, chunk_id, 0, head)
    _put(scope, chunk_id, number, state_pb2.ReferenceRecord(token=command.token))
    _put(scope, chunk_id, 0, state_pb2.ReferenceRecord(next=number), command.token)


def _was_last(scope: Scope, one: pb.Slice) -> bool:
    """Take a reference away; say whether it was there and the last one."""
    head = _head(scope, one.chunk_id)
    if not one.reference:
        if head is None:
            return True
        if head.released:
            return False
        if _has_others(scope, one.chunk_id):
            head.released = True
            _put(scope, one.chunk_id, 0, head)
            return False
    else:
        key = keys.reference(scope.fs_id, one.chunk_id, one.reference)
        raw = scope.txn.get(key)
        if raw is None:
            return False
        scope.txn.delete(key)
        token = state_pb2.ReferenceRecord.FromString(raw).token
        if token:
            scope.txn.delete(keys.reference(scope.fs_id, one.chunk_id, 0, token))
        assert head is not None, "other references come with a head"
        if not head.released or _has_others(scope, one.chunk_id):
            return False
    scope.txn.delete(keys.reference(scope.fs_id, one.chunk_id, 0))
    return True


def _head(scope: Scope, chunk_id: int) -> state_pb2.ReferenceRecord | None:
    raw = scope.txn.get(keys.reference(scope.fs_id, chunk_id, 0))
    return None if raw is None else state_pb2.ReferenceRecord.FromString(raw)


def _has_others(scope: Scope, chunk_id: int) -> bool:
    """Say whether there is a reference besides the first one."""
    start, end = keys.reference(scope.fs_id, chunk_id, 1), keys.reference(scope.fs_id, chunk_id + 1, 0)
    return any(True for _ in scope.txn.scan(start, end, 1))


def _first_is_held(scope: Scope, command: state_pb2.AddReferenceCommand) -> bool:
    """Say whether the named place holds the first reference: its file was published in this very group."""
    start = keys.slice_(scope.fs_id, command.holder, command.chunk_index, 0)
    end = keys.slice_(scope.fs_id, command.holder, command.chunk_index + 1, 0)
    held = (pb.Slice.FromString(value) for _, value in scope.txn.scan(start, end))
    return any(one.chunk_id == command.chunk_id and not one.reference for one in held)


def _put(scope: Scope, chunk_id: int, number: int, record: state_pb2.ReferenceRecord, token: bytes = b"") -> None:
    key = keys.reference(scope.fs_id, chunk_id, number, token)
    scope.txn.put(key, record.SerializeToString(deterministic=True))
