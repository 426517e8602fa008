"""Ranges of inode numbers and chunk ids, leased to sessions by their partition (rule 1).

Both kinds come in aligned ranges, so that the range of an id is found by its number. An inode number counts as used
when it is created with, a chunk id when it is published or given up. A range of inode numbers that are all used is
forgotten; one of chunk ids is kept for a while, so that a publication whose answer was lost is known when it is tried
again. Chunk ids of a session with a durable identity belong to that, so that what it staged can be published in another
session (rule 9).
Until that identity ends, an id of it that was published is never taken for one that was not: else its mount would store
old bytes again, over newer ones. So none of its ranges is taken back, and where those lie that are used up is kept.

Ranges are granted with results, so that they cost no round trip: the first create of a session in a partition brings
one of each kind; using an id that leaves little of a range brings the next.
"""

from collections.abc import Iterable

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import CHUNK_RANGE_SIZE, INODE_RANGE_SIZE, N_MAX, make_id, number_of, partition_of
from ..storage import keys
from .scope import Refusal, Scope, put_queued

RANGES_MAX = 64  # of a session in a partition, of a kind
INODES_LEFT_MIN = 256
CHUNKS_PUBLISHED_HIGH = 700
# Of an identity in a partition: 10 GiB staged in slices of 4 KiB are 2,622 ranges; others have ids that are not used.
DURABLE_RANGES_MAX = 4096
GIVEN_UP_MAX = 400  # at once
_ALL_USED = b"\xff" * (CHUNK_RANGE_SIZE // 8)
_NO_NUMBERS = "the partition has given out all its numbers"
_USED_UP = 255  # in a key: the kind of the record that says between which ids the ranges of an identity are used up


def take_inode_number(scope: Scope, parent: int) -> int:
    """Take the partition's next number, for an operation that left it out. Raises Refusal NO_SPACE."""
    require_inode_number(scope, parent)
    record = scope.partition(parent)
    record.next_inode += 1
    return make_id(record.spec.partition_id, record.next_inode - 1)


def require_inode_number(scope: Scope, parent: int) -> None:
    """Raise Refusal NO_SPACE unless the partition has a number left."""
    if scope.partition(parent).next_inode > N_MAX:
        raise Refusal(common_pb2.NO_SPACE, _NO_NUMBERS)


def check_inode_number(scope: Scope, inode_id: int, parent: int) -> state_pb2.RangeRecord:
    """Return the range that a number of the client's choice may be taken from. Raises Refusal ID_REFUSED."""
    first = make_id(partition_of(inode_id), number_of(inode_id) // INODE_RANGE_SIZE * INODE_RANGE_SIZE)
    raw = scope.txn.get(keys.range_(scope.session_id, common_pb2.INODE, first))
    if raw is None or partition_of(inode_id) != partition_of(parent):
        raise Refusal(common_pb2.ID_REFUSED, f"inode number {inode_id} is not leased to the session")
    record = state_pb2.RangeRecord.FromString(raw)
    if inode_id < record.next:
        raise Refusal(common_pb2.ID_REFUSED, f"inode number {inode_id} was used before")
    return record


def use_inode_number(scope: Scope, record: state_pb2.RangeRecord, inode_id: int, result: pb.OperationResult) -> None:
    """Mark a checked number as used; grant the next range when little is left."""
    left_before = record.range.end - record.next
    record.next = inode_id + 1
    left = record.range.end - record.next
    key = keys.range_(scope.session_id, common_pb2.INODE, record.range.first)
    if left:
        scope.txn.put(key, record.SerializeToString(deterministic=True))
    else:
        scope.txn.delete(key)
    if left < INODES_LEFT_MIN <= left_before:
        grant(scope, partition_of(inode_id), common_pb2.INODE, result)


def grant_first(scope: Scope, parent: int, result: pb.OperationResult) -> None:
    """Give a session that has none a range of each kind, with the result of a create; looked at once an entry."""
    partition_id = partition_of(parent)
    if partition_id in scope.granted:
        return
    scope.granted.add(partition_id)
    for kind in (common_pb2.INODE, common_pb2.CHUNK):
        if not _ranges(scope, kind, partition_id, 1):
            grant(scope, partition_id, kind, result)


def grant(scope: Scope, partition_id: int, kind: common_pb2.IdKind, result: pb.OperationResult) -> None:
    """Lease a fresh range to the session and say so in the result.

    A session that has many ranges loses the oldest that is used up, else the oldest: the upload of an id of it takes
    very long; that one is refused when it comes after all, and the client stores the bytes again under another id. An
    identity loses none, and gets no more than DURABLE_RANGES_MAX: then, and after its end, no range is leased. Nor is
    one when the partition has used up its numbers.
    """
    partition = scope.partition(make_id(partition_id, 0))
    next_range = _next_range(partition, kind)
    if next_range is None:
        return
    if kind == common_pb2.CHUNK and _is_durable(scope):
        if _identity_has_ended(scope) or not _has_room(scope, partition_id):
            return
    else:
        ranges = _ranges(scope, kind, partition_id, RANGES_MAX)
        if len(ranges) >= RANGES_MAX:
            close_range(scope, *next((one for one in ranges if _is_used_up(one[1])), ranges[0]))
    n, size = next_range
    if kind == common_pb2.INODE:
        partition.next_inode = n + size
    else:
        partition.next_chunk = n + size
    first = make_id(partition_id, n)
    record = state_pb2.RangeRecord(
        range=common_pb2.IdRange(kind=kind, first=first, end=first + size),
        next=first,
        published=b"" if kind == common_pb2.INODE else bytes(CHUNK_RANGE_SIZE // 8),
    )
    scope.txn.put(keys.range_(_owner(scope, kind), kind, first), record.SerializeToString(deterministic=True))
    result.ranges.append(record.range)


def _next_range(partition: state_pb2.PartitionRecord, kind: common_pb2.IdKind) -> tuple[int, int] | None:
    """Return (first number, size) of the range to be leased next, or None when the numbers are used up."""
    n, size = partition.next_chunk, CHUNK_RANGE_SIZE
    if kind == common_pb2.INODE:
        n, size = -(-partition.next_inode // INODE_RANGE_SIZE) * INODE_RANGE_SIZE, INODE_RANGE_SIZE
    return (n, size) if n + size <= N_MAX + 1 else None


def close_range(scope: Scope, key: bytes, value: bytes) -> None:
    """Take a range back. Chunk ids that were never published may have objects: the delete queue looks (rule 3).

    Not where the partition is gone: its filesystem goes with all its objects.
    """
    record = state_pb2.RangeRecord.FromString(value)
    looked_for = record.range.kind == common_pb2.CHUNK and record.published  # else it says which were used up
    if looked_for and record.published != _ALL_USED and scope.is_served(record.range.first):
        queued = state_pb2.DeleteRecord(
            queued_ns=scope.time_ns, never_published=record.range, published=record.published
        )
        put_queued(scope, scope.time_ns, queued)
    scope.txn.delete(key)


def publish(scope: Scope, chunk_ids: list[int], result: pb.OperationResult) -> None:
    """Mark chunk ids as published. Raises Refusal ALREADY_DONE (all were), ID_REFUSED; then nothing changed."""
    records = require_unpublished(scope, chunk_ids)
    full = []
    for first, (record, bits) in records.items():
        before = int.from_bytes(record.published, "little").bit_count()
        _put_chunk_range(scope, record, bits)
        if before < CHUNKS_PUBLISHED_HIGH <= bits.bit_count():
            full.append(partition_of(first))
    # Only now: a grant may close a range, and must find in it what this operation published.
    for partition_id in full:
        grant(scope, partition_id, common_pb2.CHUNK, result)


def require_unpublished(scope: Scope, chunk_ids: list[int]) -> dict[int, tuple[state_pb2.RangeRecord, int]]:
    """Return the ranges of chunk ids by their first id, and which ids of them are published then, as bits.

    Raises Refusal ALREADY_DONE (all are published), ID_REFUSED.
    """
    records: dict[int, tuple[state_pb2.RangeRecord, int]] = {}
    done = 0
    for chunk_id in chunk_ids:
        first = make_id(partition_of(chunk_id), number_of(chunk_id) // CHUNK_RANGE_SIZE * CHUNK_RANGE_SIZE)
        if first not in records:
            record = _chunk_range(scope, first)
            records[first] = record, int.from_bytes(record.published, "little")
        record, bits = records[first]
        bit = 1 << (chunk_id - first)
        done += bool(bits & bit)
        records[first] = record, bits | bit
    if done:
        if done == len(chunk_ids):
            raise Refusal(common_pb2.ALREADY_DONE)
        raise Refusal(common_pb2.ID_REFUSED, "some of the chunk ids were published before")
    return records


def give_up(scope: Scope, chunk_ids: Iterable[int]) -> None:
    """Nothing is published under ids any more; what may be stored under them goes to the delete queue.

    Only those that are leased and neither published nor given up: the others stay as they are.
    """
    by_range: dict[int, int] = {}
    for chunk_id in chunk_ids:
        first = make_id(partition_of(chunk_id), number_of(chunk_id) // CHUNK_RANGE_SIZE * CHUNK_RANGE_SIZE)
        by_range[first] = by_range.get(first, 0) | 1 << (chunk_id - first)
    for first, given_up in by_range.items():
        raw = scope.txn.get(keys.range_(scope.owner, common_pb2.CHUNK, first))
        if raw is None or not scope.is_served(first):
            continue  # the range is closed; or the filesystem goes with its objects
        record = state_pb2.RangeRecord.FromString(raw)
        bits = int.from_bytes(record.published, "little")
        if gone := given_up & ~bits:
            _put_chunk_range(scope, record, bits | gone)
            _queue_given_up(scope, first, gone)


def give_up_ids(scope: Scope, operation: pb.Operation, _: pb.OperationResult) -> None:
    """GiveUpIds. Raises Refusal INVALID_ARGUMENT."""
    if len(operation.give_up_ids.chunk_ids) > GIVEN_UP_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many ids at once")
    give_up(scope, operation.give_up_ids.chunk_ids)


def _queue_given_up(scope: Scope, first: int, gone: int) -> None:
    """Have looked for what is stored under some ids of a range, a bit each: in one go."""
    low, high = (gone & -gone).bit_length() - 1, gone.bit_length()
    others = ~(gone >> low) & (1 << high - low) - 1
    range_ = common_pb2.IdRange(kind=common_pb2.CHUNK, first=first + low, end=first + high)
    published = others.to_bytes(-(-(high - low) // 8), "little")
    queued = state_pb2.DeleteRecord(queued_ns=scope.time_ns, never_published=range_, published=published)
    put_queued(scope, scope.time_ns, queued)


def _put_chunk_range(scope: Scope, record: state_pb2.RangeRecord, used: int) -> None:
    """Store which ids of a range are used, a bit each; of an identity's that are used up it is kept where they lie."""
    key = keys.range_(scope.owner, common_pb2.CHUNK, record.range.first)
    if used.bit_count() == CHUNK_RANGE_SIZE and _is_durable(scope):
        scope.txn.delete(key)
        _keep_as_used_up(scope, record.range)
    else:
        record.published = used.to_bytes(CHUNK_RANGE_SIZE // 8, "little")
        scope.txn.put(key, record.SerializeToString(deterministic=True))


def _chunk_range(scope: Scope, first: int) -> state_pb2.RangeRecord:
    """Return the range of chunk ids that begins there. Raises Refusal ID_REFUSED."""
    raw = scope.txn.get(keys.range_(scope.owner, common_pb2.CHUNK, first))
    if raw is not None:
        return state_pb2.RangeRecord.FromString(raw)
    if _is_durable(scope):
        used_up = scope.txn.get(_used_up_key(scope, first))
        within = common_pb2.IdRange() if used_up is None else state_pb2.RangeRecord.FromString(used_up).range
        if within.first <= first < within.end:
            return state_pb2.RangeRecord(published=_ALL_USED)
    raise Refusal(common_pb2.ID_REFUSED, f"chunk id {first}, or one of its range, is not leased to the session")


def _keep_as_used_up(scope: Scope, range_: common_pb2.IdRange) -> None:
    """Note that all ids of a range were published.

    One record says it of all: what lies between and is not open was used up too, or never was the identity's.
    """
    key = _used_up_key(scope, range_.first)
    raw = scope.txn.get(key)
    record = state_pb2.RangeRecord(range=range_) if raw is None else state_pb2.RangeRecord.FromString(raw)
    record.range.first = min(record.range.first, range_.first)
    record.range.end = max(record.range.end, range_.end)
    scope.txn.put(key, record.SerializeToString(deterministic=True))


def _used_up_key(scope: Scope, first: int) -> bytes:
    return keys.range_(scope.owner, _USED_UP, make_id(partition_of(first), 0))


def _is_durable(scope: Scope) -> bool:
    return scope.owner != scope.session_id


def _is_used_up(value: bytes) -> bool:
    return state_pb2.RangeRecord.FromString(value).published == _ALL_USED


def _identity_has_ended(scope: Scope) -> bool:
    raw = scope.txn.get(keys.session(scope.owner))
    return raw is None or bool(state_pb2.SessionRecord.FromString(raw).ended_ns)


def _has_room(scope: Scope, partition_id: int) -> bool:
    """Say whether the identity may have another range of chunk ids."""
    return len(_ranges(scope, common_pb2.CHUNK, partition_id, DURABLE_RANGES_MAX)) < DURABLE_RANGES_MAX


def _owner(scope: Scope, kind: common_pb2.IdKind) -> bytes:
    return scope.owner if kind == common_pb2.CHUNK else scope.session_id


def allocate(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """AllocateIds: a range on demand. Raises Refusal NO_SPACE, OVERLOADED (an identity has too many), SESSION_ENDED."""
    request = operation.allocate_ids
    if request.kind not in (common_pb2.INODE, common_pb2.CHUNK):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "ids of an unknown kind")
    grant(scope, request.partition_id, request.kind, result)
    if not result.ranges:
        if _next_range(scope.partition(make_id(request.partition_id, 0)), request.kind) is None:
            raise Refusal(common_pb2.NO_SPACE, _NO_NUMBERS)
        if _identity_has_ended(scope):
            raise Refusal(common_pb2.SESSION_ENDED, "the identity of the session is over")
        raise Refusal(common_pb2.OVERLOADED, "the write-back identity has too many ids that are not published")


def _ranges(scope: Scope, kind: common_pb2.IdKind, partition_id: int, limit: int) -> list[tuple[bytes, bytes]]:
    """Return (key, value) of the session's ranges, the oldest first."""
    owner = _owner(scope, kind)
    start = keys.range_(owner, kind, make_id(partition_id, 0))
    end = keys.range_(owner, kind, make_id(partition_id + 1, 0))
    return list(scope.txn.scan(start, end, limit))
