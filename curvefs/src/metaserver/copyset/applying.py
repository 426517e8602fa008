"""From entries of the log to changes of the state: all of a step in one transaction, with the applied index."""

from ....proto import state_pb2
from ...raft.messages import Entry, EntryKind
from ..metastore.applied import Applied
from ..metastore.apply import apply
from ..storage import environment as env
from ..storage.environment import Environment
from ..wal.format import Record, RecordType

_KIND = {kind: bytes([kind]) for kind in EntryKind}


def record_of(group_id: int, entry: Entry) -> Record:
    """Return the log's record of an entry: its kind is the payload's first byte."""
    return Record(RecordType.ENTRY, group_id, entry.term, entry.index, _KIND[entry.kind] + entry.data)


def entry_of(record: Record) -> Entry:
    """Return the entry that a record of the log holds."""
    return Entry(record.index, record.term, EntryKind(record.payload[0]), record.payload[1:])


def apply_entries(environment: Environment, entries: list[Entry]) -> list[Applied | None]:
    """Apply entries in one transaction; what each led to, None for configurations. Raises NoSpace.

    An entry's time is raised above that of the one before it (rule 19): every replica does the same.
    """
    outcomes: list[Applied | None] = []
    time_ns = environment.applied.time_ns
    with environment.write() as txn:
        for entry in entries:
            assert entry.index == environment.applied.index + len(outcomes) + 1, "in order, each once"
            if entry.kind is EntryKind.CONFIGURATION:
                environment.put_configuration(txn, entry.data)
                outcomes.append(None)
                continue
            command = state_pb2.Entry.FromString(entry.data)
            time_ns = command.time_ns = max(time_ns + 1, command.time_ns)
            outcomes.append(apply(txn, entry.index, entry.term, command))
        applied = env.Applied(entries[-1].index, entries[-1].term, time_ns)
        environment.put_applied(txn, applied)
    environment.applied = applied
    return outcomes
