"""Compaction in the state: ids for what is stored anew, and the entry that puts it in the place of what was merged.

Ids are leased to the leader of a group for its term, as to a session: a range is used by entries of the term in which
it was leased and of no other, and what a term leaves open the first leader after it closes. So whatever was stored and
not published is found (rules 2 and 3).

A commit is taken only if the slices it names are, byte for byte, those that were merged: then nothing was cut, purged
or compacted that it could undo. What comes in their place takes the last of their orders, so later slices win over it
and cuts hide it as they did before. Slices between them that are not merged lie elsewhere in the chunk: the leader sees
to that, on a state that has every entry of the terms before its own. The inode does not change: its content is the
same. Readers keep to lists they have read for 60 s; the objects stay longer.
"""

import struct
from hashlib import blake2b
from itertools import pairwise

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...slices.merging import MERGED_MAX
from ..storage import keys
from ..storage.transaction import StateReader
from . import data, ids
from .applied import Applied
from .scope import NeedsNewerVersion, Refusal, Scope

CLOSED_PER_ENTRY_MAX = 400
_HOLDER = b"compact:"  # no session's id is so long
_HOLDER_TAIL = struct.Struct(">IQ")
_DIGEST_SIZE = 16


def compact(scope: Scope, command: state_pb2.CompactCommand, term: int, applied: Applied) -> None:
    """Apply one step. Raises Refusal SKIPPED for a commit that comes too late."""
    scope.fs_id, scope.session_id = command.fs_id, _holder(command.fs_id, term)
    match command.WhichOneof("step"):
        case "lease":
            result = pb.OperationResult()
            ids.grant(scope, command.lease.partition_id, common_pb2.CHUNK, result)
            applied.ranges = list(result.ranges)
        case "commit":
            _commit(scope, command.commit, applied)
        case "give_up":
            ids.give_up(scope, command.give_up.chunk_ids)
        case "look_again":
            request = command.look_again
            if scope.is_served(request.inode_id):
                scope.tallies.look_again(request.inode_id, request.chunk_index, request.slices)
        case "close":
            _close(scope, term)
        case _:
            raise NeedsNewerVersion("a step of compaction that is not known here")


def digest_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return what tells stored slices from others: of their keys and values."""
    digest = blake2b(digest_size=_DIGEST_SIZE)
    for key, value in pairs:
        digest.update(key)
        digest.update(len(value).to_bytes(4, "big"))
        digest.update(value)
    return digest.digest()


def close_entry() -> state_pb2.Entry:
    """Return what closes the ranges of earlier terms."""
    return state_pb2.Entry(format=1, compact=state_pb2.CompactCommand(close=state_pb2.CompactClose()))


def has_ranges(view: StateReader) -> bool:
    """Say whether ranges are leased to any leader."""
    prefix = keys.RANGE + _HOLDER
    return any(True for _ in view.scan(prefix, keys.after_prefix(prefix), 1))


def fs_of_holder(owner: bytes) -> int | None:
    """Return of which filesystem the ids are that are leased to a leader; None: the owner is a session."""
    return _HOLDER_TAIL.unpack_from(owner, len(_HOLDER))[0] if owner.startswith(_HOLDER) else None


def _holder(fs_id: int, term: int) -> bytes:
    """Return what stands for a leader where a session's id stands otherwise."""
    return _HOLDER + _HOLDER_TAIL.pack(fs_id, term)


def _commit(scope: Scope, commit: state_pb2.CompactCommit, applied: Applied) -> None:
    inode_id, chunk_index = commit.inode_id, commit.chunk_index
    inode = scope.inode(inode_id)
    chunk_size = scope.partition(inode_id).spec.chunk_size
    if len(commit.orders) > MERGED_MAX or any(first >= then for first, then in pairwise(commit.orders)):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "too many slices at once, or not in their order")
    slice_keys = [keys.slice_(scope.fs_id, inode_id, chunk_index, order) for order in commit.orders]
    pairs = [(key, scope.txn.get(key) or b"") for key in slice_keys]
    if digest_of(pairs) != commit.digest:
        raise Refusal(common_pb2.SKIPPED, "the slices are not those that were merged")
    if len(commit.replacement) > len(pairs):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "more slices than there were")
    if any(one.chunk_index != chunk_index for one in commit.replacement):
        raise Refusal(common_pb2.INVALID_ARGUMENT, "slices of another chunk")
    result = pb.OperationResult()
    ids.publish(scope, [one.chunk_id for one in commit.replacement if not one.zero], result)
    for key, value in pairs:
        data.queue_slice(scope, key, value)
    orders = commit.orders[len(pairs) - len(commit.replacement) :]
    for order, one in zip(orders, commit.replacement, strict=True):
        data.put_slice(scope, inode, one, chunk_size=chunk_size, order=order)
    if commit.look_again_at:
        scope.tallies.look_again(inode_id, chunk_index, commit.look_again_at)
    applied.ranges = list(result.ranges)


def _close(scope: Scope, term: int) -> None:
    """Close what was leased in earlier terms: some of it an entry, of one filesystem, which is what a scope is of."""
    prefix = keys.RANGE + _HOLDER
    older = [
        (key, value)
        for key, value in scope.txn.scan(prefix, keys.after_prefix(prefix))
        if _HOLDER_TAIL.unpack_from(key, len(prefix))[1] < term
    ]
    if not older:
        return
    scope.fs_id = _HOLDER_TAIL.unpack_from(older[0][0], len(prefix))[0]
    closed = [pair for pair in older if _HOLDER_TAIL.unpack_from(pair[0], len(prefix))[0] == scope.fs_id]
    closed = closed[:CLOSED_PER_ENTRY_MAX]
    for key, value in closed:
        ids.close_range(scope, key, value)
    if len(older) > len(closed):
        scope.follow_ups.append(close_entry())
