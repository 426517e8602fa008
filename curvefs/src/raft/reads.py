"""Linearizable reads: how a leader knows that it still leads (thesis section 6.4; rule 20).

Heartbeats are numbered in rounds. Once a majority has answered round r, nobody else can have been elected before round
r was sent. So a read that came before round r was sent may be answered by the state at the commit index it met
(ReadIndex). And as no voter grants a vote within an election timeout of hearing the leader, the leader leads for a
share of that timeout from when round r was sent: its lease.

Invariants:
    rounds and their times rise
    reads are confirmed in the order they came
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfirmedRead:
    """A read that may be answered once the state has applied ``index``."""

    read_id: int
    index: int


class Rounds:
    """The rounds of one leadership, and the reads that wait for one."""

    __slots__ = ("_reads", "_sent", "contact", "current", "reached")

    def __init__(self, now: float) -> None:
        self.current = 0
        self.reached = 0  # the last round a majority has answered
        self.contact = now  # when it was sent; at first, when the leadership began
        self._sent: deque[tuple[int, float]] = deque()
        self._reads: deque[tuple[int, int, int]] = deque()  # read id, round, index

    @property
    def reads_waiting(self) -> bool:
        """True when a read waits for a round that was not sent yet."""
        return bool(self._reads) and self._reads[-1][1] > self.current

    def begin(self, now: float) -> int:
        """Begin a round."""
        self.current += 1
        self._sent.append((self.current, now))
        return self.current

    def answered(self, round_: int) -> None:
        """A majority has answered rounds up to this one."""
        if round_ <= self.reached:
            return
        self.reached = round_
        while self._sent and self._sent[0][0] <= round_:
            _, self.contact = self._sent.popleft()

    def ask(self, read_id: int, index: int) -> None:
        """A read came; the next round confirms it. index: the commit index now."""
        self._reads.append((read_id, self.current + 1, index))

    def take_confirmed(self) -> list[ConfirmedRead]:
        """Hand out the reads that are confirmed."""
        confirmed = []
        while self._reads and self._reads[0][1] <= self.reached:
            read_id, _, index = self._reads.popleft()
            confirmed.append(ConfirmedRead(read_id, index))
        return confirmed
