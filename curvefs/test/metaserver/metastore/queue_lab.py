"""What tests of the delete queue share: entries as the leader would make them."""

from curvefs.proto import state_pb2
from curvefs.src.metaserver.storage import keys

from .lab import FS


def queued(lab, kind="slice"):
    """What waits, of a kind."""
    records = [state_pb2.DeleteRecord.FromString(lab.state.pairs[key]) for key in lab.table(b"q")]
    return [getattr(one, kind) for one in records if one.WhichOneof("what") == kind]


def reclaim(lab, *which):
    """Say that what these keys stand for is done."""
    return lab.entry(reclaim=state_pb2.ReclaimCommand(fs_id=FS, keys=which))


def slice_key(inode_id, chunk_index=0, order=1):
    return keys.slice_(FS, inode_id, chunk_index, order)


def give_up(lab, inode_id):
    """Reclaim an inode that was purged."""
    key = keys.delete(FS, lab.time_ns, 1)
    record = state_pb2.DeleteRecord(queued_ns=lab.time_ns)
    record.inode.inode_id = inode_id
    lab.state.put(key, record.SerializeToString())
    reclaim(lab, key)
