"""Everything that one session has under way in one group: the lane, the transactions, the reads. Sans-IO.

It moves as a whole from the stream of one metaserver to another's when the group gets another leader: rewind() on the
new one, and all that is unanswered is sent again, under the numbers it has. At any time at most one stream sends it.

An answer that decides nothing (the leader is elsewhere, not ready, asks for less) completes nothing: the on_ methods
return it as an error, the call stays, and the stream decides what to do about the group.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...proto import common_pb2
from ...proto import metaserver_pb2 as pb
from ..common.errors import CurveFSError, Overloaded, Redirect, SessionEnded, SessionUnknown, Unavailable
from ..common.status import error_of
from .lane import Completion, Lane
from .transactions import Transaction, Transactions

ReadCompletion = Callable[[pb.ReadResult], None]

# What an answer may say that concerns the group as a whole and not what was asked.
ABOUT_THE_GROUP = (Redirect, Unavailable, Overloaded, SessionUnknown, SessionEnded)


@dataclass(frozen=True, slots=True)
class _ReadCall:
    read: pb.Read
    complete: ReadCompletion


class GroupCalls:
    """See the module. ``read_ids`` is shared by all groups of a mount: a read keeps its id when it moves."""

    def __init__(self, fs_id: int, session_id: bytes, group_id: int, read_ids: Iterator[int]) -> None:
        self.group_id = group_id
        self.session_id = session_id
        self.lane = Lane(fs_id, session_id, group_id)
        self.transactions = Transactions(fs_id, session_id, group_id)
        self.refusals = 0  # since something was answered
        self.paused_until = 0.0  # nothing is sent before
        self.changes_paused_until = 0.0  # only reads are sent before: a full disk takes no changes
        self._fs_id = fs_id
        self._read_ids = read_ids
        self._unsent: dict[int, _ReadCall] = {}
        self._sent: dict[int, _ReadCall] = {}

    # ------------------------------------------------------------------------------------------- callers

    def submit(self, operation: pb.Operation, complete: Completion) -> int:
        """Put an operation into the lane. Returns its number there."""
        return self.lane.submit(operation, complete)

    def transact(self, operation: pb.Operation, complete: Completion) -> Transaction:
        """Take an operation that spans partitions."""
        return self.transactions.submit(operation, complete)

    def read(self, read: pb.Read, complete: ReadCompletion) -> int:
        """Take a read, which gets an id. ``complete`` is called once, with what the leader says of it."""
        read.read_id = next(self._read_ids)
        self._unsent[read.read_id] = _ReadCall(read, complete)
        return read.read_id

    def cancel_read(self, read_id: int) -> None:
        """Nobody waits for this read any more."""
        self._unsent.pop(read_id, None)
        self._sent.pop(read_id, None)

    # ------------------------------------------------------------------------------------------- sending

    @property
    def in_flight(self) -> bool:
        """True when an answer is due on the present connection."""
        return bool(self._sent) or self.lane.in_flight or self.transactions.in_flight

    def pause(self, until: float) -> None:
        """Send nothing before a time."""
        self.paused_until = max(self.paused_until, until)

    def pause_changes(self, until: float) -> None:
        """Send nothing but reads before a time."""
        self.changes_paused_until = max(self.changes_paused_until, until)

    def next_due(self, now: float) -> float | None:
        """Return when there is something to send that has to wait for its time; None when only events change that."""
        paused_until = max(self.paused_until, self.changes_paused_until)
        return paused_until if paused_until > now else self.transactions.next_due

    def rewind(self, *, owed: bool = False) -> None:
        """Begin again: everything unanswered is to be sent. owed: the connection is not another one (lane.py)."""
        self.lane.rewind(owed=owed)
        self.transactions.rewind()
        self._unsent = self._sent | self._unsent
        self._sent = {}

    def add_to(self, frame: pb.ClientFrame, now: float) -> None:
        """Put everything that may be sent now into a frame."""
        if self.paused_until > now:
            return
        if self.changes_paused_until <= now:
            while (batch := self.lane.next_batch()) is not None:
                frame.operations.append(batch)
            self.transactions.add_to(frame, now)
        if self._unsent:
            reads = [call.read for call in self._unsent.values()]
            frame.reads.add(fs_id=self._fs_id, group_id=self.group_id, reads=reads)
            self._sent |= self._unsent
            self._unsent = {}

    # ------------------------------------------------------------------------------------------- answers

    def on_operations(self, results: pb.OperationResults) -> CurveFSError | None:
        """Take the answer to a batch. Returns why it was refused as a whole, or None."""
        if results.results:
            self.refusals = 0
        return self.lane.on_results(results)

    def on_transaction(self, reply: pb.TransactionReply) -> tuple[Transaction, CurveFSError] | None:
        """Take the answer to a transaction. Returns it, and why, when it has to be sent again; else None."""
        if not reply.HasField("failure"):
            self.refusals = 0
        return self.transactions.on_reply(reply)

    def on_read(self, result: pb.ReadResult) -> tuple[bool, CurveFSError | None]:
        """Take the answer to a read. Returns whether it is one of this group's, and why it is to be sent again."""
        call = self._sent.get(result.read_id)
        if call is None:
            return False, None
        if result.HasField("failure"):
            error = error_of(result.failure)
            if isinstance(error, ABOUT_THE_GROUP):
                self._unsent[result.read_id] = self._sent.pop(result.read_id)
                return True, error
        else:
            self.refusals = 0
        del self._sent[result.read_id]
        call.complete(result)
        return True, None

    # --------------------------------------------------------------------------------------------- ending

    def end(self) -> None:
        """The session is over: what is numbered fails, or never happened. Reads stay, for the next session."""
        self.lane.end()
        self.transactions.end()

    def refuse_reads(self, failure: common_pb2.Failure) -> None:
        """There is no next session: answer the reads that stayed."""
        reads, self._sent, self._unsent = self._sent | self._unsent, {}, {}
        for read_id, call in reads.items():
            call.complete(pb.ReadResult(read_id=read_id, failure=failure))

    def inherit(self, ended: "GroupCalls") -> None:
        """Take over the reads of the session before: they have no outcome to doubt."""
        self._unsent = ended._sent | ended._unsent | self._unsent  # noqa: SLF001  # its own class
        ended._sent, ended._unsent = {}, {}  # noqa: SLF001
