"""A lane: the numbered operations of one session in one group, as the client keeps them. Sans-IO.

Operations are numbered 1, 2, ... and applied in that order (rule 7). The lane keeps each until its result has
arrived, cuts batches from what was not sent yet, and starts over from the first unanswered one after a lost
connection, or after a refusal as soon as every batch under way is answered, so that each answer is known to belong
to one batch: the server answers what it has applied from its stored results. What is submitted while batches are
under way goes together in the next one; that is where batching comes from.

Invariants:
    acknowledged < every pending sequence <= last; pending sequences are consecutive
    sent - acknowledged <= WINDOW: the server stores at most that many results
    an operation is given up (replaced by a NoOperation) only when it surely never entered a log
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...proto import metaserver_pb2 as pb
from ..common.errors import CurveFSError, NoSpace, SequenceGap, SessionEnded
from ..common.status import error_of

WINDOW = 256
BATCH_SIZE_MAX = 128
BATCHES_IN_FLIGHT_MAX = 2

# Called once with the result, or with the error that ended the wait; at arrival, in the order of the lane.
Completion = Callable[[pb.OperationResult | CurveFSError], None]

_NOOP = pb.Operation(noop=pb.NoOperation())


@dataclass(slots=True)
class _Pending:
    operation: pb.Operation
    complete: Completion | None
    attempts: int = 0  # that may have entered a log: not those that were refused for certain


@dataclass(slots=True)
class Lane:
    """The operations of one session in one group."""

    fs_id: int
    session_id: bytes
    group_id: int
    last: int = 0  # the highest number given out
    acknowledged: int = 0  # every result up to here has arrived
    sent: int = 0  # on the present connection
    ended: bool = False
    _pending: deque[_Pending] = field(default_factory=deque)  # acknowledged + 1 ...
    _in_flight: dict[int, int] = field(default_factory=dict)  # unanswered batches: first sequence -> last
    _resume: int = 0  # if not 0: where to begin again when nothing is in flight any more
    _is_exact: bool = True  # False: answers to batches of before may be taken for those of batches under way
    # Results that arrived ahead of an unanswered predecessor (after resending): at most WINDOW.
    _early: dict[int, pb.OperationResult] = field(default_factory=dict)

    def submit(self, operation: pb.Operation, complete: Completion) -> int:
        """Give an operation the next number. ``complete`` is called when its fate is known."""
        assert not self.ended, "the session is over"
        self.last += 1
        self._pending.append(_Pending(operation, complete))
        return self.last

    def abandon(self, sequence: int) -> None:
        """Nobody waits for this result any more. What was sent stays, its outcome unknown; the rest never happens."""
        index = sequence - self.acknowledged - 1
        if 0 <= index < len(self._pending):
            pending = self._pending[index]
            pending.complete = None
            if not pending.attempts:
                pending.operation = _NOOP

    @property
    def idle(self) -> bool:
        """True when nothing waits for a result."""
        return not self._pending

    @property
    def in_flight(self) -> bool:
        """True when an answer is due on the present connection."""
        return bool(self._in_flight)

    def next_batch(self) -> pb.OperationBatch | None:
        """Return the next batch to send, or None: nothing to send, or enough is under way."""
        if self._resume:
            return None
        limit = min(self.last, self.acknowledged + WINDOW, self.sent + BATCH_SIZE_MAX)
        if self.sent >= limit or len(self._in_flight) >= BATCHES_IN_FLIGHT_MAX:
            return None
        first = self.sent + 1
        batch = pb.OperationBatch(
            fs_id=self.fs_id,
            session_id=self.session_id,
            group_id=self.group_id,
            first_sequence=first,
            acknowledged=self.acknowledged,
        )
        base = self.acknowledged + 1
        operations = []
        for sequence in range(first, limit + 1):
            pending = self._pending[sequence - base]
            pending.attempts += 1
            operations.append(pending.operation)
        batch.operations.extend(operations)
        self._in_flight[first] = limit
        self.sent = limit
        return batch

    def rewind(self, *, owed: bool = False) -> None:
        """Begin again: nothing of what was sent counts. owed: answers to it may still come, on this connection."""
        self._is_exact = not owed
        self.sent = self.acknowledged
        self._in_flight.clear()
        self._resume = 0

    def on_results(self, results: pb.OperationResults) -> CurveFSError | None:
        """Take what the server says of one batch; complete what is decided.

        Returns None, or the reason why the batch was refused as a whole: the caller waits, follows a redirect
        or opens the session again, and then goes on with next_batch().
        """
        for result in results.results:
            self._arrived(result)
        last = self._in_flight.pop(results.first_sequence, 0)
        refusal: CurveFSError | None = None
        if results.HasField("failure"):
            refusal = self._refused(results, last)
        if self._resume and not self._in_flight:
            self.sent = max(self.acknowledged, min(self.sent, self._resume - 1))
            self._resume = 0
        return refusal

    def end(self) -> None:
        """The session is over: what was sent has an unknown outcome, what was not sent never happens."""
        self.ended = True
        pending, self._pending = self._pending, deque()
        for one in pending:
            if one.complete is not None:
                one.complete(SessionEnded("" if one.attempts else NEVER_SENT))

    def _arrived(self, result: pb.OperationResult) -> None:
        if result.sequence <= self.acknowledged:
            return  # answered before: the answer to a repetition
        if result.sequence != self.acknowledged + 1:
            if result.sequence <= self.last:
                self._early[result.sequence] = result
            return
        self._finish(result)
        while self._early and (following := self._early.pop(self.acknowledged + 1, None)):
            self._finish(following)

    def _finish(self, result: pb.OperationResult) -> None:
        pending = self._pending.popleft()
        self.acknowledged += 1
        self.sent = max(self.sent, self.acknowledged)
        if pending.complete is not None:
            pending.complete(result)

    def _refused(self, results: pb.OperationResults, last: int) -> CurveFSError:
        error = error_of(results.failure)
        first = max(results.first_sequence, self.acknowledged + 1)
        surely_not = self._is_exact and (results.not_appended or isinstance(error, SequenceGap))
        for sequence in range(first, last + 1) if surely_not else ():
            if sequence not in self._early:
                pending = self._pending[sequence - self.acknowledged - 1]
                pending.attempts -= 1
                if isinstance(error, NoSpace) and not pending.attempts:
                    self._give_up(pending, error)
        # A gap may begin before the batch that met it: with one that was refused without a word to us.
        resume = min(first, error.expected_sequence) if isinstance(error, SequenceGap) else first
        self._resume = min(self._resume or resume, resume)
        return error

    @staticmethod
    def _give_up(pending: _Pending, error: NoSpace) -> None:
        """Tell the caller at once. The number is filled with a no-op, because later ones may be on their way."""
        complete, pending.complete, pending.operation = pending.complete, None, _NOOP
        if complete is not None:
            complete(error)


NEVER_SENT = "the session ended before the operation was sent"
