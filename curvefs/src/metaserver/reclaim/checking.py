"""What a group knows of chunk ids, for `curvefs-tool gc`. Pure, on one view of the state.

A chunk id that is not OPEN is never published any more, and references are added only where there is one; so what is
UNREFERENCED once stays so.
"""

from collections.abc import Collection, Container, Iterable, Iterator

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ....proto import reclaim_pb2 as rpb
from ...common.errors import InvalidArgument, WrongPartition
from ...common.ids import make_id, number_of, partition_of
from ..metastore.compaction import fs_of_holder
from ..metastore.scope import read_partition
from ..storage import keys
from ..storage.transaction import StateReader

CHUNKS_MAX = 50_000
SLICES_PER_PAGE = 2000


def check_chunks(view: StateReader, fs_id: int, partition_id: int, chunk_ids: Iterable[int]) -> list[rpb.ChunkState]:
    """Return the state of chunk ids of a partition. Raises WrongPartition, InvalidArgument."""
    asked = list(chunk_ids)
    if len(asked) > CHUNKS_MAX or any(partition_of(one) != partition_id for one in asked):
        raise InvalidArgument(f"up to {CHUNKS_MAX} chunk ids of one partition can be asked for")
    states = dict.fromkeys(asked, rpb.UNREFERENCED)
    # The later of these win.
    for chunk_id in _queued(view, fs_id, partition_id, states):
        states[chunk_id] = rpb.QUEUED
    for chunk_id in _open(view, fs_id, partition_id, states):
        states[chunk_id] = rpb.OPEN
    for chunk_id in _referenced(view, fs_id, partition_id):
        if chunk_id in states:
            states[chunk_id] = rpb.REFERENCED
    return [states[one] for one in asked]


def list_slices(view: StateReader, fs_id: int, partition_id: int, cursor: bytes) -> rpb.ListSlicesReply:
    """Return a page of the slices that a partition's files have. Raises WrongPartition."""
    _require(view, fs_id, partition_id)
    start, end = _inodes(keys.SLICE, fs_id, partition_id)
    if cursor and not start <= cursor < end:
        raise InvalidArgument("no cursor of this partition")
    pairs = list(view.scan(cursor + b"\0" if cursor else start, end, SLICES_PER_PAGE))
    reply = rpb.ListSlicesReply(cursor=pairs[-1][0] if len(pairs) == SLICES_PER_PAGE else b"")
    for key, value in pairs:
        one = pb.Slice.FromString(value)
        if not one.zero:
            reply.slices.add(inode_id=keys.slice_inode(key), slice=one)
    return reply


def _referenced(view: StateReader, fs_id: int, partition_id: int) -> Iterator[int]:
    """Yield chunk ids that slices here hold, and those of the partition to which others hold references."""
    start = keys.of_fs(keys.SLICE, fs_id)
    for _, value in view.scan(start, keys.after_prefix(start)):
        yield pb.Slice.FromString(value).chunk_id
    start, end = (keys.reference(fs_id, make_id(at, 0), 0) for at in (partition_id, partition_id + 1))
    for key, _ in view.scan(start, end):
        yield keys.reference_chunk(key)


def _queued(view: StateReader, fs_id: int, partition_id: int, asked: Container[int]) -> Iterator[int]:
    """Yield chunk ids of the partition in the delete queue."""
    start = keys.of_fs(keys.DELETE, fs_id)
    for _, value in view.scan(start, keys.after_prefix(start)):
        record = state_pb2.DeleteRecord.FromString(value)
        if record.HasField("slice"):
            if partition_of(record.slice.chunk_id) == partition_id:
                yield record.slice.chunk_id
        elif record.HasField("never_published"):
            yield from _unpublished(record.never_published, record.published, asked)


def _open(view: StateReader, fs_id: int, partition_id: int, asked: Collection[int]) -> Iterator[int]:
    """Yield what may still be published: ids of open ranges, and those not given out yet."""
    next_chunk = _require(view, fs_id, partition_id).next_chunk
    yield from (one for one in asked if number_of(one) >= next_chunk)
    first, end = make_id(partition_id, 0), make_id(partition_id + 1, 0)
    for key, value in view.scan(keys.RANGE, keys.after_prefix(keys.RANGE)):
        owner, kind, at = keys.unpack_range(key)
        # Partitions of other filesystems have the same numbers.
        if kind == common_pb2.CHUNK and first <= at < end and _fs_of_owner(view, owner) in (fs_id, None):
            record = state_pb2.RangeRecord.FromString(value)
            yield from _unpublished(record.range, record.published, asked)


def _fs_of_owner(view: StateReader, owner: bytes) -> int | None:
    """Return of which filesystem the ids are that are leased to a session, an identity or a leader; None: unknown."""
    fs_id = fs_of_holder(owner)
    if fs_id is None and (raw := view.get(keys.session(owner))) is not None:
        return state_pb2.SessionRecord.FromString(raw).fs_id
    return fs_id


def _unpublished(range_: common_pb2.IdRange, published: bytes, asked: Container[int]) -> Iterator[int]:
    bits = int.from_bytes(published, "little")
    for one in range(range_.first, range_.end):
        if one in asked and not bits >> one - range_.first & 1:
            yield one


def _require(view: StateReader, fs_id: int, partition_id: int) -> state_pb2.PartitionRecord:
    record = read_partition(view, fs_id, make_id(partition_id, 0))
    if record is None:
        raise WrongPartition(f"partition {partition_id} is not here")
    return record


def _inodes(table: bytes, fs_id: int, partition_id: int) -> tuple[bytes, bytes]:
    start, end = (keys.of_inode(table, fs_id, make_id(at, 0)) for at in (partition_id, partition_id + 1))
    return start, end
