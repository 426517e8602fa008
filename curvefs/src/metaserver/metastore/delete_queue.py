"""The delete queue: what waits until its objects may go (rules 3, 4, 5 and 14).

A record is due when the filesystem's grace is over, counted from the time in its key: the queue is in that order. The
leader of the group carries out what is due (../reclaim/), then one entry says that it is done:

    inode            its slices are given up, some an entry, as of when it was queued; then the record goes
    slice            its objects are gone: the record goes
    release_slice    the other group has the release in its log: the record goes
    never_published  the objects found are gone: it comes again a day later, for uploads that were long on their way
"""

from ....proto import metaserver_pb2 as pb
from ....proto import state_pb2
from ..storage import keys
from . import references
from .scope import Scope, put_queued

SLICES_PER_ENTRY_MAX = 300
LATE_UPLOADS_NS = 24 * 3600 * 10**9


def reclaim(scope: Scope, command: state_pb2.ReclaimCommand) -> None:
    """ReclaimCommand: forget what is done."""
    scope.fs_id = command.fs_id
    room = SLICES_PER_ENTRY_MAX
    for key in command.keys:
        raw = scope.txn.get(key)
        if raw is None or not key.startswith(keys.of_fs(keys.DELETE, scope.fs_id)):
            continue
        record = state_pb2.DeleteRecord.FromString(raw)
        if record.HasField("inode"):
            given_up = _give_up_slices(scope, record.inode.inode_id, keys.delete_time(key), room)
            room -= given_up
            if not room:
                return  # the leader sees what is left, and asks again
        scope.txn.delete(key)
        if record.HasField("never_published") and not was_looked_for(key, record):
            put_queued(scope, scope.time_ns + LATE_UPLOADS_NS, record)


def was_looked_for(key: bytes, record: state_pb2.DeleteRecord) -> bool:
    """Say whether ids never published were looked for once already."""
    return keys.delete_time(key) != record.queued_ns


def _give_up_slices(scope: Scope, inode_id: int, queued_ns: int, room: int) -> int:
    """Give up the slices of an inode that is gone, at most ``room``; returns how many. Fewer: there are no more."""
    start, end = (at(keys.SLICE, scope.fs_id, inode_id) for at in (keys.of_inode, keys.after_inode))
    slices = list(scope.txn.scan(start, end, room))
    for key, value in slices:
        one = pb.Slice.FromString(value)
        scope.tallies.removed(key, one)
        scope.txn.delete(key)
        references.release(scope, one, queued_ns)
    if len(slices) < room:
        start, end = (at(keys.CUT, scope.fs_id, inode_id) for at in (keys.of_inode, keys.after_inode))
        for key, _ in list(scope.txn.scan(start, end)):
            scope.txn.delete(key)
    return len(slices)
