"""Operations on a file's content: publishing slices, lengths, holes.

A slice is stored under its chunk and commit order; a reader lets later ones win. Shrinking cuts: slices wholly past the
new end go to the delete queue at once when they are few; when they are many a cut record hides them, and follow-up
entries remove them (rule 14). Growing only sets the length, so it must never uncover old bytes: what was cut stays cut.
"""

import stat
from collections.abc import Iterable

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...slices.geometry import LENGTH_MAX, PIECES_PER_PUBLICATION, pieces
from ..storage import keys
from . import ids, quotas, references
from .scope import Refusal, Scope

SLICES_PER_ENTRY_MAX = 500


def append_slices(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """AppendSlices: what was stored becomes part of the file, with its length and mtime."""
    request = operation.append_slices
    inode = scope.inode(request.inode_id)
    if not stat.S_ISREG(inode.mode):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "only a regular file has slices")
    chunk_size = scope.partition(request.inode_id).spec.chunk_size
    base = inode.length if request.at_end else 0
    end = base + request.length
    if end > LENGTH_MAX:
        raise Refusal(common_pb2.FILE_TOO_LARGE)
    _check_slices(request, chunk_size)
    try:
        quotas.require_growth(scope, inode, end, request.reserved)
    except Refusal:
        # The room may be missing because this very operation was done before, and took it.
        ids.require_unpublished(scope, [one.chunk_id for one in request.slices if not one.zero])
        raise
    slices = _placed(request.slices, base, chunk_size) if request.at_end else list(request.slices)
    chunk_ids = list(dict.fromkeys(one.chunk_id for one in slices if not one.zero))
    ids.publish(scope, chunk_ids, result)
    quotas.use_reserved(scope, request.inode_id, request.reserved)
    length = max(inode.length, end)
    references.number_pieces(scope, slices)
    for one in slices:
        put_slice(scope, inode, one, chunk_size=chunk_size, length=length)
        if not one.zero:
            inode.allocated += one.length
    _raise_length(scope, inode, end)
    inode.allocated = min(inode.allocated, inode.length)
    if request.clear_suid:
        inode.mode &= ~stat.S_ISUID
        if inode.mode & stat.S_IXGRP:
            inode.mode &= ~stat.S_ISGID
    scope.touch(inode, content=True)
    if request.mtime_ns:
        inode.mtime_ns = request.mtime_ns
    result.offset = base
    result.limited = quotas.limits(scope.partition(request.inode_id))
    result.inode.CopyFrom(inode)


def _check_slices(request: pb.AppendSlices, chunk_size: int) -> None:
    """Raise Refusal for slices that no reader could read, for too many, and for what lies past the length.

    What lay past the length would come to light when the file grows. A slice at the end may be longer than a chunk: it
    is split where its place is known.
    """
    if sum(pieces(one.length, chunk_size) for one in request.slices) > PIECES_PER_PUBLICATION:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many slices for one operation")
    for one in request.slices:
        if not one.length or (one.offset + one.length > chunk_size and not request.at_end):
            raise Refusal(common_pb2.INVALID_ARGUMENT, "a slice that does not lie within one chunk")
        if one.chunk_index * chunk_size + one.offset + one.length > request.length:
            raise Refusal(common_pb2.INVALID_ARGUMENT, "a slice past the length it is published with")
        if one.zero:
            continue
        if one.WhichOneof("location") == "inline":
            raise Refusal(common_pb2.UNSUPPORTED, "bytes in the log")
        if not one.chunk_id or one.object.offset + one.length > one.size:
            raise Refusal(common_pb2.INVALID_ARGUMENT, "a slice of bytes that are not stored")


def fallocate(scope: Scope, operation: pb.Operation, result: pb.OperationResult) -> None:
    """Fallocate: zeros or room. Room is not reserved in an object store; only the length follows."""
    request = operation.fallocate
    inode = scope.inode(request.inode_id)
    if not stat.S_ISREG(inode.mode) or not request.length:
        raise Refusal(common_pb2.INVALID_ARGUMENT)
    if request.punch_hole and not request.keep_size:
        raise Refusal(common_pb2.UNSUPPORTED)
    end = request.offset + request.length
    if end > LENGTH_MAX:
        raise Refusal(common_pb2.FILE_TOO_LARGE)
    if not request.keep_size:
        quotas.require_growth(scope, inode, end)
    if request.punch_hole or request.zero_range:
        chunk_size = scope.partition(request.inode_id).spec.chunk_size
        last = min(end, inode.length)
        if request.offset < last:
            first_chunk, last_chunk = request.offset // chunk_size, (last - 1) // chunk_size
            if last_chunk - first_chunk >= SLICES_PER_ENTRY_MAX:
                raise Refusal(common_pb2.UNSUPPORTED, "too large a range for one operation")
            for chunk in range(first_chunk, last_chunk + 1):
                low = max(request.offset - chunk * chunk_size, 0)
                high = min(last - chunk * chunk_size, chunk_size)
                _put_zeros(scope, inode, chunk, low, high)
            if request.punch_hole:
                inode.allocated -= min(inode.allocated, last - request.offset)
    if not request.keep_size:
        _raise_length(scope, inode, end)
    scope.touch(inode, content=True)
    result.inode.CopyFrom(inode)


def set_length(scope: Scope, inode: pb.Inode, length: int) -> None:
    """Set a regular file's length; the caller touches the inode. Raises Refusal NO_ALLOWANCE, LOCKED."""
    quotas.require_growth(scope, inode, length)
    if length < inode.length:
        _cut(scope, inode, length)
    quotas.charge(scope, inode.inode_id, inode.quotas, length - inode.length)
    inode.length = length
    inode.allocated = min(inode.allocated, length)


def finish_cut(scope: Scope, inode_id: int, order: int) -> None:
    """FinishCut: remove up to SLICES_PER_ENTRY_MAX slices that a cut hides; ask for another entry if more are left."""
    key = keys.cut(scope.fs_id, inode_id, order)
    raw = scope.txn.get(key)
    if raw is None or not scope.is_served(inode_id):
        return
    if scope.find(inode_id) is None:
        scope.txn.delete(key)  # purged: the delete queue has everything
        return
    cut = state_pb2.CutRecord.FromString(raw)
    chunk_size = scope.partition(inode_id).spec.chunk_size
    dead: list[tuple[bytes, bytes]] = []
    start = keys.slice_(scope.fs_id, inode_id, cut.start // chunk_size, 0)
    for pair in scope.txn.scan(start, keys.after_inode(keys.SLICE, scope.fs_id, inode_id)):
        if keys.slice_order(pair[0]) < order:
            dead.append(pair)
            if len(dead) > SLICES_PER_ENTRY_MAX:
                break
    for slice_key, value in dead[:SLICES_PER_ENTRY_MAX]:
        queue_slice(scope, slice_key, value)
    if len(dead) > SLICES_PER_ENTRY_MAX:
        scope.follow_ups.append(finish_cut_entry(scope.fs_id, inode_id, order))
    else:
        scope.txn.delete(key)


def finish_cut_entry(fs_id: int, inode_id: int, order: int) -> state_pb2.Entry:
    """Return the follow-up that goes on with a cut."""
    command = state_pb2.FinishCutCommand(fs_id=fs_id, inode_id=inode_id, order=order)
    return state_pb2.Entry(format=1, finish_cut=command)


def _cut(scope: Scope, inode: pb.Inode, length: int) -> None:
    """Make everything at and past ``length`` read as zeros for good."""
    inode_id = inode.inode_id
    chunk_size = scope.partition(inode_id).spec.chunk_size
    chunk, within = divmod(length, chunk_size)
    if within:
        start, end = keys.slice_(scope.fs_id, inode_id, chunk, 0), keys.slice_(scope.fs_id, inode_id, chunk + 1, 0)
        if any(True for _ in scope.txn.scan(start, end, 1)):
            _put_zeros(scope, inode, chunk, within, min(chunk_size, inode.length - chunk * chunk_size))
        chunk += 1
    start = keys.slice_(scope.fs_id, inode_id, chunk, 0)
    end = keys.after_inode(keys.SLICE, scope.fs_id, inode_id)
    dead = list(scope.txn.scan(start, end, SLICES_PER_ENTRY_MAX + 1))
    if len(dead) <= SLICES_PER_ENTRY_MAX:
        for key, value in dead:
            queue_slice(scope, key, value)
        return
    order = scope.next_order()
    record = state_pb2.CutRecord(start=chunk * chunk_size, order=order, old_length=inode.length)
    scope.txn.put(keys.cut(scope.fs_id, inode_id, order), record.SerializeToString(deterministic=True))
    scope.tallies.cut()
    scope.follow_ups.append(finish_cut_entry(scope.fs_id, inode_id, order))


def queue_slice(scope: Scope, key: bytes, value: bytes) -> None:
    """Take a slice out of its file and give up its reference."""
    one = pb.Slice.FromString(value)
    scope.tallies.removed(key, one)
    scope.txn.delete(key)
    references.release(scope, one, scope.time_ns)


def put_slice(
    scope: Scope, inode: pb.Inode, one: pb.Slice, *, chunk_size: int, length: int = 0, order: int = 0
) -> None:
    """Add a slice to a file. length: of the file then, if it grows. order: its place, if not behind all others."""
    key = keys.slice_(scope.fs_id, inode.inode_id, one.chunk_index, order or scope.next_order())
    scope.tallies.added(key, one, chunk_size, length or inode.length, inode.length)
    scope.txn.put(key, one.SerializeToString(deterministic=True))


def _put_zeros(scope: Scope, inode: pb.Inode, chunk_index: int, low: int, high: int) -> None:
    chunk_size = scope.partition(inode.inode_id).spec.chunk_size
    zeros = pb.Slice(chunk_index=chunk_index, offset=low, length=high - low, zero=True)
    put_slice(scope, inode, zeros, chunk_size=chunk_size)


def _raise_length(scope: Scope, inode: pb.Inode, length: int) -> None:
    if length > inode.length:
        quotas.charge(scope, inode.inode_id, inode.quotas, length - inode.length)
        inode.length = length


def _placed(slices: Iterable[pb.Slice], base: int, chunk_size: int) -> list[pb.Slice]:
    """Shift slices that count from the end to where the end is, split at chunk borders (rule 12)."""
    placed = []
    for one in slices:
        at = base + one.chunk_index * chunk_size + one.offset
        done = 0
        while done < one.length:
            chunk, offset = divmod(at + done, chunk_size)
            length = min(one.length - done, chunk_size - offset)
            piece = pb.Slice()
            piece.CopyFrom(one)
            piece.chunk_index, piece.offset, piece.length = chunk, offset, length
            if not one.zero:
                piece.object.offset = one.object.offset + done
            placed.append(piece)
            done += length
    return placed
