"""The transactions of one session with one group, as the client keeps them: outside the lane. Sans-IO.

They are numbered 1, 2, ... when they are first sent, have no order among one another, and may be sent again under the
same number: the group's first answer is the answer (rule 7). A number lives until its answer is known or the session
ends. One for which nobody waits any more is sent again as a no-op: if it was not done yet, the group keeps its refusal
of that, and a late copy does nothing. The group is told up to where every answer has arrived, and forgets those.

Invariants:
    acknowledged < every number under way <= last
    at most WINDOW are under way, and their numbers lie within NUMBERS_MAX of one another: the group keeps that many
"""

from collections import deque
from dataclasses import dataclass, field

from ...proto import metaserver_pb2 as pb
from ..common.errors import CurveFSError, NoSpace, SessionEnded
from ..common.status import error_of
from .lane import NEVER_SENT, Completion

WINDOW = 64
NUMBERS_MAX = 256
_NOOP = pb.Operation(noop=pb.NoOperation())


@dataclass(slots=True, eq=False)
class Transaction:
    """One of them; what the caller holds to give it up."""

    operation: pb.Operation
    complete: Completion | None
    number: int = 0  # 0: not sent yet
    refusals: int = 0  # in a row, of this transaction alone
    due: float = 0.0  # when it may be sent again
    sendings: int = 0


@dataclass(slots=True)
class Transactions:
    """See the module. Times are any clock's that never goes back, in seconds."""

    fs_id: int
    session_id: bytes
    group_id: int
    last: int = 0  # the highest number given out
    acknowledged: int = 0  # every answer up to here has arrived
    ended: bool = False
    _waiting: deque[Transaction] = field(default_factory=deque)  # without a number
    _pending: dict[int, Transaction] = field(default_factory=dict)
    _unsent: list[Transaction] = field(default_factory=list)  # of the pending, on the present connection
    _answered: set[int] = field(default_factory=set)  # above acknowledged

    def submit(self, operation: pb.Operation, complete: Completion) -> Transaction:
        """Take a transaction. ``complete`` is called once when its fate is known, in any order."""
        assert not self.ended, "the session is over"
        transaction = Transaction(operation, complete)
        self._waiting.append(transaction)
        return transaction

    def abandon(self, transaction: Transaction) -> None:
        """Nobody waits for it any more. One that was never sent never happens; of any other the outcome is unknown."""
        transaction.complete = None
        if transaction.number:
            # Only its number is to be answered: it must not hold up the others if it cannot get done.
            transaction.operation = _NOOP
        elif transaction in self._waiting:
            self._waiting.remove(transaction)

    @property
    def idle(self) -> bool:
        """True when nothing is under way or waits."""
        return not (self._pending or self._waiting)

    @property
    def in_flight(self) -> bool:
        """True when an answer is due on the present connection."""
        return len(self._pending) > len(self._unsent)

    @property
    def next_due(self) -> float | None:
        """When add_to() has something to send that it had not before; None when only answers change that."""
        return min((one.due for one in self._unsent), default=None)

    def add_to(self, frame: pb.ClientFrame, now: float) -> None:
        """Put what may be sent now into a frame."""
        if self._unsent:
            due = [one for one in self._unsent if one.due <= now]
            self._unsent = [one for one in self._unsent if one.due > now]
            for one in due:
                self._add(frame, one)
        while self._waiting and len(self._pending) < WINDOW and self.last < self.acknowledged + NUMBERS_MAX:
            transaction = self._waiting.popleft()
            self.last += 1
            transaction.number = self.last
            self._pending[self.last] = transaction
            self._add(frame, transaction)

    def rewind(self) -> None:
        """The connection is another one: nothing of what was sent counts."""
        self._unsent = list(self._pending.values())

    def on_reply(self, reply: pb.TransactionReply) -> tuple[Transaction, CurveFSError] | None:
        """Take an answer; complete what is decided. Returns what is to be sent again, and why: see send_again()."""
        transaction = self._pending.get(reply.number)
        if transaction is None:
            return None  # answered before
        outcome: pb.OperationResult | CurveFSError = reply.result
        if reply.HasField("failure"):
            outcome = error_of(reply.failure)
            # Sent once, and refused by a full disk: nothing of it is in any log, and its number is not needed.
            if not (isinstance(outcome, NoSpace) and transaction.sendings == 1):
                return transaction, outcome
        del self._pending[reply.number]
        if transaction in self._unsent:  # an answer to an earlier sending
            self._unsent.remove(transaction)
        self._answered.add(reply.number)
        while self.acknowledged + 1 in self._answered:
            self.acknowledged += 1
            self._answered.discard(self.acknowledged)
        if transaction.complete is not None:
            transaction.complete(outcome)
        return None

    def send_again(self, transaction: Transaction, due: float) -> None:
        """Have a transaction sent again, under its number, not before a time."""
        transaction.due = due
        if transaction not in self._unsent:
            self._unsent.append(transaction)

    def end(self) -> None:
        """The session is over: what was sent has an unknown outcome, what was not sent never happens."""
        self.ended = True
        transactions = [*self._pending.values(), *self._waiting]
        self._pending.clear()
        self._waiting.clear()
        self._unsent.clear()
        for one in transactions:
            if one.complete is not None:
                one.complete(SessionEnded("" if one.number else NEVER_SENT))

    def _add(self, frame: pb.ClientFrame, transaction: Transaction) -> None:
        transaction.sendings += 1
        frame.transactions.add(
            fs_id=self.fs_id,
            session_id=self.session_id,
            group_id=self.group_id,
            number=transaction.number,
            acknowledged=self.acknowledged,
            operation=transaction.operation,
        )
