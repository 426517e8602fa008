"""One group: proposals wait, become entries of the log, are committed, and are applied in order.

The stages are separate: propose() queues; the log takes what is queued when it begins its next write (only then do
entries get index and time); what is durable is committed, since this replica is the only one; what is committed is
applied in one transaction and answered. Replication puts itself between the log and committing.

A full disk: an entry that does not fit in the log is refused, for certain not appended. An entry that is in the log
but cannot be applied waits; meanwhile proposals are refused; it is tried again until it fits.

Invariants:
    applied index <= committed index <= last index; the entries between are in `_logging` and `_committed`, in order
    entry times rise (rule 19)

Shared across awaits: everything here, touched on the event loop only and never across an await.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from ....proto import common_pb2, raft_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.clock import Clock
from ...common.errors import CurveFSError, InternalError, NoSpace, Overloaded, Unavailable
from ...common.status import failure_of
from ..metastore.apply import Applied, apply
from ..metastore.unfinished import unfinished
from ..metrics import Metrics
from ..storage import environment as env
from ..storage.checkpoint import Checkpoints
from ..storage.environment import Environment, LmdbTransaction
from ..wal.format import Record, RecordType
from ..wal.log import WriteAheadLog

_log = structlog.get_logger()

QUEUE_OPERATIONS_MAX = 8192
QUEUE_BYTES_MAX = 64 << 20
WRITE_OPERATIONS_MAX = 512  # of one group in one write; bounds a step of the event loop
WRITE_BYTES_MAX = 8 << 20
FOLLOW_UPS_MAX = 1000
_RETRY_AFTER_MS = 50
_RETRY_S_FIRST = 0.1
_RETRY_S_MAX = 2.0

# Called once, from the event loop: what the entry led to, or why it never entered the log.
Complete = Callable[[Applied | CurveFSError], None]


@dataclass(frozen=True, slots=True)
class _Proposal:
    entry: state_pb2.Entry
    operations: int
    size: int
    complete: Complete


@dataclass(frozen=True, slots=True)
class _Logged:
    index: int
    proposal: _Proposal


class Group:
    """One group of this metaserver."""

    def __init__(
        self,
        group_id: int,
        peers: list[common_pb2.Peer],
        environment: Environment,
        checkpoints: Checkpoints,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.group_id = group_id
        self.peers = peers
        self.environment = environment
        self.checkpoints = checkpoints
        self.term = environment.applied.term
        self.last_index = environment.applied.index
        self.bytes_since_checkpoint = 0
        self._clock = clock
        self._metrics = metrics
        self._wal: WriteAheadLog | None = None
        self._last_time_ns = environment.applied.time_ns
        self._opening: list[Record] = []  # records that go before the next entry
        self._queue: deque[_Proposal] = deque()
        self._queued_operations = 0
        self._queued_bytes = 0
        self._logging: list[_Logged] = []
        self._logging_opening = False
        self._committed: deque[_Logged] = deque()
        self._follow_ups: deque[state_pb2.Entry] = deque()
        self._more_unfinished = False
        self._retry_s = _RETRY_S_FIRST
        self._retry: asyncio.TimerHandle | None = None
        self._broken: CurveFSError | None = None
        self._became_idle = asyncio.Event()

    # ------------------------------------------------------------------------------------------- state

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry applied."""
        return self.environment.applied.index

    @property
    def committed_index(self) -> int:
        """Return the index of the last entry committed."""
        return self._committed[-1].index if self._committed else self.applied_index

    @property
    def queued(self) -> int:
        """Return how many proposals wait for the log."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """True when nobody waits for an answer."""
        return not (self._queue or self._logging or self._committed)

    async def until_idle(self) -> None:
        """Wait until nobody waits for an answer."""
        while not self.idle:
            self._became_idle.clear()
            await self._became_idle.wait()

    @contextmanager
    def view(self) -> Iterator[LmdbTransaction]:
        """A consistent view of the state, with everything that was acknowledged in it."""
        if self._broken is not None:
            raise self._broken
        with self.environment.read() as view:
            yield view

    # --------------------------------------------------------------------------------------- beginning

    def replay(self, records: list[Record]) -> None:
        """Apply entries of the own log after a restart. Blocks. Raises NoSpace."""
        entries = [(record, state_pb2.Entry.FromString(record.payload)) for record in records]
        with self.environment.write() as txn:
            for record, entry in entries:
                assert record.index == self.last_index + 1, "the log has no holes"
                apply(txn, record.index, entry)
                self.last_index = record.index
            applied = env.Applied(records[-1].index, records[-1].term, entries[-1][1].time_ns)
            self.environment.put_applied(txn, applied)
        self.environment.applied = applied
        self._last_time_ns = applied.time_ns

    def serve(self, wal: WriteAheadLog, term: int, *, begin: bool = False) -> None:
        """Take proposals from now on, in a new term. begin: the log of this group begins anew here.

        The term becomes durable with the first entry: before that, nothing depends on it.
        """
        self._wal = wal
        self.term = term
        said = raft_pb2.HardState(term=term, committed=self.last_index).SerializeToString()
        if begin:
            self._opening.append(Record(RecordType.BEGIN, self.group_id, term, 0))
        self._opening.append(Record(RecordType.HARD_STATE, self.group_id, term, 0, said))
        self._resume()

    def break_(self, reason: str) -> None:
        """Serve no more: a bug met an entry that cannot be applied. Restarting with a fixed version goes on."""
        self._broken = InternalError(f"group {self.group_id} is stopped: {reason}")
        _log.critical("a group is stopped", group=self.group_id, reason=reason)
        self._fail_queue(self._broken)
        self._apply()

    def close(self, error: CurveFSError) -> None:
        """Serve no more; tell everybody who waits. The environment is the caller's to close."""
        self._broken = error
        if self._retry is not None:
            self._retry.cancel()
        self._fail_queue(error)
        self._apply()

    # ------------------------------------------------------------------------------------------ propose

    def propose_batch(self, batch: pb.OperationBatch, complete: Complete) -> None:
        """Propose a client's batch; see propose()."""
        entry = state_pb2.Entry(format=1)
        entry.operations.batch.CopyFrom(batch)
        self.propose(entry, complete, len(batch.operations))

    def propose(self, entry: state_pb2.Entry, complete: Complete, operations: int = 0) -> None:
        """Queue an entry. ``complete`` is called once, when it is applied or when it surely never entered the log.

        Raises Overloaded when too much waits, NoSpace while the disk is full, InternalError when the group is
        stopped; then ``complete`` is not called.
        """
        if self._broken is not None:
            raise self._broken
        if self._retry is not None:
            raise NoSpace("the disk below the metaserver is full: what is logged waits to be applied")
        size = entry.ByteSize()
        weight = max(1, operations)
        if self._queue and (
            self._queued_operations + weight > QUEUE_OPERATIONS_MAX or self._queued_bytes + size > QUEUE_BYTES_MAX
        ):
            raise Overloaded("too much waits for the log", retry_after_ms=_RETRY_AFTER_MS)
        self._queue.append(_Proposal(entry, operations, size, complete))
        self._queued_operations += weight
        self._queued_bytes += size
        assert self._wal is not None, "serving"
        self._wal.ready(self)

    async def run(self, entry: state_pb2.Entry, deadline_s: float) -> Applied:
        """Propose and wait. Raises what propose() raises, Unavailable when the deadline passes; it may happen later."""
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()

        def complete(outcome: Applied | CurveFSError) -> None:
            if future.done():
                return
            if isinstance(outcome, CurveFSError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.propose(entry, complete)
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError as error:
            raise Unavailable("the metaserver did not get it done in time") from error

    # -------------------------------------------------------------------------------- LogSource: the log

    def take(self) -> list[Record]:
        """Give what waits an index and a time: it goes into the next write."""
        assert not self._logging, "one write at a time"
        if self._broken is not None or self._retry is not None:
            return []
        records = list(self._opening)
        self._logging_opening = bool(records)
        now_ns = self._clock.time_ns()
        operations = size = 0
        while self._queue and operations < WRITE_OPERATIONS_MAX and size < WRITE_BYTES_MAX:
            proposal = self._queue.popleft()
            weight = max(1, proposal.operations)
            operations += weight
            size += proposal.size
            self._queued_operations -= weight
            self._queued_bytes -= proposal.size
            records.append(self._log_entry(proposal, now_ns))
        if self._follow_ups:
            # One a write: they get on, and delay nobody.
            entry = self._follow_ups.popleft()
            records.append(self._log_entry(_Proposal(entry, 0, entry.ByteSize(), self._followed_up(entry)), now_ns))
        self._announce()
        return records

    def appended(self) -> None:
        """Everything taken is durable, and so committed."""
        for logged in self._logging:
            self.bytes_since_checkpoint += logged.proposal.size
        if self._logging_opening:
            self._opening.clear()
        self._committed.extend(self._logging)
        self._logging = []

    def proceed(self) -> None:
        """Apply what is committed."""
        if self._retry is None:
            self._apply()

    def refused(self, error: NoSpace) -> None:
        """Nothing taken was appended."""
        taken, self._logging = self._logging, []
        self.last_index -= len(taken)
        for logged in taken:
            logged.proposal.complete(error)
        self._note_idle()

    def _log_entry(self, proposal: _Proposal, now_ns: int) -> Record:
        self.last_index += 1
        self._last_time_ns = max(self._last_time_ns + 1, now_ns)
        proposal.entry.time_ns = self._last_time_ns
        self._logging.append(_Logged(self.last_index, proposal))
        self._metrics.taken(proposal.operations)
        payload = proposal.entry.SerializeToString()
        return Record(RecordType.ENTRY, self.group_id, self.term, self.last_index, payload)

    def _announce(self) -> None:
        if self._queue or self._follow_ups:
            assert self._wal is not None, "serving"
            self._wal.ready(self)

    # -------------------------------------------------------------------------------------------- apply

    def _apply(self) -> None:
        """Apply everything committed in one transaction, and answer."""
        self._retry = None
        if self._broken is not None:
            done, self._committed = self._committed, deque()
            for logged in done:  # it is in the log: it may still happen, after a restart
                logged.proposal.complete(Applied(failure=failure_of(self._broken)))
            self._note_idle()
            return
        if not self._committed:
            return
        began = time.perf_counter()
        try:
            outcomes = self._apply_in_transaction()
        except NoSpace as error:
            self._wait_for_room(error)
            return
        except Exception:  # noqa: BLE001  # a bug, contained
            # Every replica meets the same entry: ending the process would only end the other groups too.
            _log.exception("an entry cannot be applied", group=self.group_id, after_index=self.applied_index)
            self.break_("an entry cannot be applied")
            return
        self._retry_s = _RETRY_S_FIRST
        self._metrics.applied(time.perf_counter() - began)
        done, self._committed = self._committed, deque()
        for logged, outcome in zip(done, outcomes, strict=True):
            logged.proposal.complete(outcome)
            for entry in outcome.follow_ups:
                self._follow_up(entry)
        if not self._follow_ups and self._more_unfinished:
            self._resume()
        self._announce()
        self._note_idle()

    def _note_idle(self) -> None:
        if self.idle:
            self._became_idle.set()

    def _apply_in_transaction(self) -> list[Applied]:
        with self.environment.write() as txn:
            outcomes = [apply(txn, logged.index, logged.proposal.entry) for logged in self._committed]
            last = self._committed[-1]
            applied = env.Applied(last.index, self.term, last.proposal.entry.time_ns)
            self.environment.put_applied(txn, applied)
        self.environment.applied = applied
        return outcomes

    def _wait_for_room(self, error: NoSpace) -> None:
        """Try again later; refuse what waits meanwhile. The entries are in the log: nothing is lost."""
        _log.error("applying waits for room", group=self.group_id, reason=str(error), again_in_s=self._retry_s)
        self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._apply)
        self._retry_s = min(2 * self._retry_s, _RETRY_S_MAX)
        self._fail_queue(error)

    def _fail_queue(self, error: CurveFSError) -> None:
        """Answer everything that waits to be logged."""
        queue, self._queue = self._queue, deque()
        self._queued_operations = self._queued_bytes = 0
        for proposal in queue:
            proposal.complete(error)

    # --------------------------------------------------------------------------------------- follow-ups

    def _resume(self) -> None:
        """Go on with what the state says is unfinished."""
        with self.environment.read() as view:
            entries = unfinished(view)
        self._more_unfinished = False
        for entry in entries:
            self._follow_up(entry)
        self._announce()

    def _follow_up(self, entry: state_pb2.Entry) -> None:
        if len(self._follow_ups) >= FOLLOW_UPS_MAX:
            self._more_unfinished = True  # the state remembers it
        else:
            self._follow_ups.append(entry)

    def _followed_up(self, entry: state_pb2.Entry) -> Complete:
        def complete(outcome: Applied | CurveFSError) -> None:
            if isinstance(outcome, NoSpace):
                # The state remembers it; it is looked for again when something was applied.
                self._more_unfinished = True
            elif isinstance(outcome, Applied) and outcome.failure is not None:
                _log.error("a follow-up failed", group=self.group_id, entry=entry.WhichOneof("command"))

        return complete
