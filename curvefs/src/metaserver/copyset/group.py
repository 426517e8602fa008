"""One group: proposals wait here, become entries of the log, are committed, and applied in order.

A group has one replica for now, so an entry is committed once it is durable in the own log; the stages are separate
nevertheless, because replication puts itself between logging and committing.

Shared across awaits: nothing is awaited here. The manager calls everything from the event loop.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ....proto import common_pb2, state_pb2
from ...common.clock import Clock
from ...common.errors import CurveFSError, NoSpace, Overloaded
from ..metastore.apply import Applied, apply
from ..storage.checkpoint import Checkpoints
from ..storage.environment import Environment
from ..wal.format import Record, RecordType

log = structlog.get_logger()

QUEUE_MAX = 4096  # proposals
OPERATIONS_PER_WRITE = 1024

# Called from the event loop: what the entry led to, or why it never entered the log.
Complete = Callable[[Applied | CurveFSError], None]


@dataclass(slots=True)
class _Proposal:
    entry: state_pb2.Entry
    operations: int
    complete: Complete


@dataclass(slots=True)
class Logged:
    """An entry on its way through the log."""

    index: int
    term: int
    entry: state_pb2.Entry
    operations: int
    complete: Complete


@dataclass(slots=True)
class Group:
    """One group. ``peers``: of its configuration."""

    group_id: int
    peers: list[common_pb2.Peer]
    environment: Environment
    checkpoints: Checkpoints
    clock: Clock
    term: int = 0
    last_index: int = 0
    last_time_ns: int = 0
    bytes_since_checkpoint: int = 0
    removed: bool = False
    _queue: deque[_Proposal] = field(default_factory=deque)
    _committed: deque[Logged] = field(default_factory=deque)

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry applied."""
        return self.environment.applied_index

    @property
    def queued(self) -> int:
        """Return how many proposals wait."""
        return len(self._queue)

    @property
    def unapplied(self) -> int:
        """Return how many committed entries wait to be applied; not 0 only when the disk is full."""
        return len(self._committed)

    # ------------------------------------------------------------------------------------------ propose

    def propose(self, entry: state_pb2.Entry, complete: Complete, operations: int = 1) -> None:
        """Queue an entry. ``complete`` is called once: when it is applied, or when it never entered the log.

        Raises Overloaded when too many wait, NoSpace while the disk is full.
        """
        if len(self._queue) >= QUEUE_MAX:
            raise Overloaded("too many proposals wait", retry_after_ms=50)
        if self._committed:
            raise NoSpace("no room left to apply what is logged")
        self._queue.append(_Proposal(entry, operations, complete))

    def take_for_log(self) -> tuple[list[Logged], list[Record]]:
        """Take what waits, give it index, term and time: the next write."""
        taken: list[Logged] = []
        records: list[Record] = []
        operations = 0
        now_ns = self.clock.time_ns()
        while self._queue and operations < OPERATIONS_PER_WRITE:
            proposal = self._queue.popleft()
            operations += proposal.operations
            self.last_index += 1
            self.last_time_ns = max(self.last_time_ns + 1, now_ns)  # rule 19
            entry = proposal.entry
            entry.format = 1
            entry.time_ns = self.last_time_ns
            payload = entry.SerializeToString()
            self.bytes_since_checkpoint += len(payload)
            records.append(Record(RecordType.ENTRY, self.group_id, self.term, self.last_index, payload))
            taken.append(Logged(self.last_index, self.term, entry, proposal.operations, proposal.complete))
        return taken, records

    def not_logged(self, taken: list[Logged], error: CurveFSError) -> None:
        """Undo a write that never happened: nothing of it counts."""
        self.last_index -= len(taken)
        for one in taken:
            one.complete(error)

    # ------------------------------------------------------------------------------------ commit, apply

    def committed(self, logged: list[Logged]) -> None:
        """Note that entries are committed."""
        self._committed.extend(logged)

    def apply_committed(self) -> list[state_pb2.Entry]:
        """Apply everything committed, in one transaction, and answer. Returns follow-ups to propose.

        Raises NoSpace when there is no room; then nothing was applied, and it is to be tried again.
        """
        if not self._committed:
            return []
        outcomes: list[Applied] = []
        with self.environment.write() as txn:
            for one in self._committed:
                outcomes.append(apply(txn, one.index, one.entry))
            last = self._committed[-1]
            self.environment.put_applied(txn, last.index, last.term, last.entry.time_ns)
        self.environment.now_applied(last.index, last.term, last.entry.time_ns)
        done, self._committed = self._committed, deque()
        for one, outcome in zip(done, outcomes, strict=True):
            one.complete(outcome)
        return [entry for outcome in outcomes for entry in outcome.follow_ups]

    def replay(self, records: list[Record]) -> None:
        """Apply entries of the own log after a restart. Blocks."""
        with self.environment.write() as txn:
            for record in records:
                entry = state_pb2.Entry.FromString(record.payload)
                assert record.index == self.last_index + 1, "the log has no holes"
                apply(txn, record.index, entry)
                self.last_index, self.last_time_ns = record.index, entry.time_ns
            last = records[-1]
            self.environment.put_applied(txn, last.index, last.term, self.last_time_ns)
        self.environment.now_applied(last.index, last.term, self.last_time_ns)

    def fail_queued(self, error: CurveFSError) -> None:
        """Answer everything that waits: the group is going away."""
        queue, self._queue = self._queue, deque()
        for proposal in queue:
            proposal.complete(error)
