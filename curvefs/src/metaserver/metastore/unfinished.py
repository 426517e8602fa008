"""What a restarted leader has to go on with: follow-ups whose trigger is in the state."""

from ....proto import state_pb2
from ..storage import keys
from ..storage.transaction import StateReader
from . import compaction, sessions
from .apply import entry_of
from .data import finish_cut_entry
from .reads import partitions

LIMIT = 1000


def unfinished(view: StateReader) -> list[state_pb2.Entry]:
    """Return entries to propose: cuts that hide slices, partitions that are being deleted, ends of sessions.

    And the end of what was leased to earlier leaders for compaction.
    """
    entries = [
        entry_of(state_pb2.DeletePartitionCommand(fs_id=one.spec.fs_id, partition_id=one.spec.partition_id))
        for one in partitions(view)
        if one.deleting
    ]
    for key, _ in view.scan(keys.CUT, keys.after_prefix(keys.CUT), LIMIT):
        fs_id, inode_id, order = keys.unpack_cut(key)
        entries.append(finish_cut_entry(fs_id, inode_id, order))
    for key, value in view.scan(keys.SESSION, keys.after_prefix(keys.SESSION)):
        session_id = key[len(keys.SESSION) :]
        if state_pb2.SessionRecord.FromString(value).ended_ns and sessions.has_left(view, session_id):
            command = state_pb2.EndSessionCommand(session_id=session_id)
            entries.append(state_pb2.Entry(format=1, end_session=command))
    if compaction.has_ranges(view):
        entries.append(compaction.close_entry())
    return entries
