"""The group that has everything: the real state machine in memory, without a log, and what its leader is to others.

An entry is applied at once. An election makes another term: who led before is refused from then on, and what is
unfinished is proposed by the next, as a leader does.
"""

import itertools
from contextlib import contextmanager
from uuid import UUID

from curvefs.proto import common_pb2, mds_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Redirect, Unavailable
from curvefs.src.metaserver.metastore import unfinished
from curvefs.src.metaserver.metastore.apply import apply
from curvefs.src.metaserver.metastore.reads import read
from curvefs.src.metaserver.storage import keys
from curvefs.src.slices.geometry import Geometry
from curvefs.src.slices.names import block_name
from curvefs.test.support.memory_state import MemoryState

FS, GROUP = 1, 7
GRACE_S = 600
GEOMETRY = Geometry(UUID(int=7), chunk_size=4096, block_size=1024, block_format=1)


class Server:
    """clock: of the world."""

    def __init__(self, clock) -> None:
        self.state = MemoryState()
        self.clock = clock
        self.term = 1
        self._index = 0
        self._time_ns = 0
        self._sessions = itertools.count(1)
        self._sequences: dict[bytes, int] = {}
        self._late: dict[bytes, list[pb.Operation]] = {}
        spec = pb.PartitionSpec(
            fs_id=FS,
            group_id=GROUP,
            hash_seed=b"h" * 16,
            chunk_size=GEOMETRY.chunk_size,
            block_size=GEOMETRY.block_size,
        )
        self.log(state_pb2.Entry(format=1, create_partition=state_pb2.CreatePartitionCommand(partition=spec)))

    def log(self, entry):
        """Apply an entry, and what follows from it."""
        waiting = [entry]
        first = None
        while waiting:
            one = waiting.pop(0)
            self._index += 1
            self._time_ns = one.time_ns = max(self._time_ns + 1, self.clock.time_ns())
            applied = apply(self.state, self._index, self.term, one)
            waiting += applied.follow_ups
            first = first or applied
        return first

    def elect(self) -> None:
        """Let another lead."""
        self.term += 1
        for entry in unfinished.unfinished(self.state):
            self.log(entry)

    # ---------------------------------------------------------------------------------------- sessions

    def open_session(self, identity: bytes = b"") -> bytes:
        session_id = next(self._sessions).to_bytes(16, "big")
        command = state_pb2.OpenSessionCommand(fs_id=FS, session_id=session_id, identity=identity)
        applied = self.log(state_pb2.Entry(format=1, open_session=command))
        assert applied.failure is None, applied.failure
        self._sequences[session_id] = 0
        return session_id

    def end(self, session_id: bytes) -> None:
        """End a session, or an identity. What it sent and was not applied never is."""
        self._late.pop(session_id, None)
        self.log(state_pb2.Entry(format=1, end_session=state_pb2.EndSessionCommand(session_id=session_id)))

    def operate(self, session_id: bytes, operation: pb.Operation):
        """Return (result, failure of the batch), after what was sent before and comes late."""
        self.arrive(session_id)
        return self._apply(session_id, operation)

    def later(self, session_id: bytes, operation: pb.Operation) -> None:
        """Have an operation applied before the next of its lane."""
        copy = pb.Operation()
        copy.CopyFrom(operation)
        self._late.setdefault(session_id, []).append(copy)

    def arrive(self, session_id: bytes) -> None:
        """Apply what comes late."""
        for one in self._late.pop(session_id, []):
            self._apply(session_id, one)

    def _apply(self, session_id, operation):
        sequence = self._sequences[session_id] + 1
        batch = pb.OperationBatch(
            fs_id=FS,
            session_id=session_id,
            group_id=GROUP,
            first_sequence=sequence,
            acknowledged=sequence - 1,
            operations=[operation],
        )
        applied = self.log(state_pb2.Entry(format=1, operations=state_pb2.OperationsCommand(batch=batch)))
        if applied.failure is not None:
            return None, applied.failure
        self._sequences[session_id] = sequence
        result = pb.OperationResult()
        result.CopyFrom(applied.results.results[0])
        return result, None

    def read(self, request: pb.Read) -> pb.ReadResult:
        result = pb.ReadResult()
        result.CopyFrom(read(self.state, FS, request))
        return result

    # ------------------------------------------------------------------------------------------- state

    def objects_in_use(self) -> dict[str, int]:
        """Return the blocks that slices name, with how many bytes of data each holds."""
        found = {}
        for _, value in self.state.scan(keys.SLICE, keys.after_prefix(keys.SLICE)):
            found |= objects_of(pb.Slice.FromString(value))
        return found

    def count(self, table: bytes) -> int:
        return sum(1 for _ in self.state.scan(table, keys.after_prefix(table)))


def objects_of(one: pb.Slice) -> dict[str, int]:
    """Return the blocks of a slice, with how many bytes of data each holds."""
    if one.zero:
        return {}
    return {
        block_name(GEOMETRY.uuid, one.chunk_id, one.compaction, block.block): block.block_length
        for block in GEOMETRY.blocks(0, one.size, one.size)
    }


class Leader:
    """The leader of a term, as compactor and reclaimer see it. ``failing``: how the next proposals fail."""

    group_id = GROUP
    may_lead = True

    def __init__(self, server: Server) -> None:
        self._server = server
        self.term = server.term
        self.environment = self
        self.failing: list[str] = []

    @property
    def is_leader(self) -> bool:
        return self.term == self._server.term

    @contextmanager
    def view(self):
        yield self._server.state

    read_at_length = view

    def propose(self, entry, complete) -> None:
        if not self.is_leader:
            raise self.redirect()
        how = self.failing.pop(0) if self.failing else ""
        if how == "before":
            raise Unavailable("injected")
        applied = self._server.log(entry)
        complete(Unavailable("injected: no answer") if how == "applied" else applied)

    def redirect(self):
        return Redirect("another leads", leader="")

    # As the manager of all groups.

    def all(self):
        return [self]

    def get(self, group_id):
        assert group_id == GROUP
        return self


class Mds:
    """Says what there is to compact and to reclaim."""

    def __init__(self, clock) -> None:
        self._clock = clock

    async def call(self, stub, method, request):
        assert method == "ListFilesystems"
        reply = mds_pb2.ListFilesystemsReply(mds_time_ns=self._clock.time_ns())
        reply.filesystems.add(
            fs_id=FS,
            name="demo",
            uuid=GEOMETRY.uuid.bytes,
            object_store="memory:",
            block_size=GEOMETRY.block_size,
            chunk_size=GEOMETRY.chunk_size,
            block_format=GEOMETRY.block_format,
            delete_grace_s=GRACE_S,
            state=mds_pb2.ACTIVE,
        )
        return reply


SESSION_ENDED = common_pb2.SESSION_ENDED
