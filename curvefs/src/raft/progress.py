"""What a leader knows of one follower, and how it sends to it.

A follower is probed (one message at a time, until the place where the logs agree is found), replicated to (a window of
messages, each sent without waiting for the one before), or sent a snapshot.

Invariants:
    0 <= match < next
    a message with entries is sent only while the window has room

After etcd's raft library (tracker/progress.go).
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

WINDOW_MESSAGES = 64
WINDOW_BYTES = 16 << 20


class Sending(Enum):
    """How a follower is sent to."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


@dataclass(slots=True)
class Progress:
    """One follower. match: the log is known to agree, durably, up to here. next: the first entry to send next.

    token: names this knowledge in messages.
    """

    next: int
    token: int
    match: int = 0
    sending: Sending = Sending.PROBE
    paused: bool = False  # probing: a message is under way
    round: int = 0  # the last heartbeat answered
    quiet: bool = False  # it has everything and said that it waits without a timeout
    joining: bool = True  # as far as is known, it grants no vote yet
    snapshot_index: int = 0  # of the snapshot that is being sent; 0 while it is being made
    snapshot_offset: int = 0  # bytes that have arrived
    chunk_sent_at: float = 0.0  # when a chunk was last asked for, or sent
    _window: deque[tuple[int, int]] = field(default_factory=deque)  # (last index, bytes) of messages under way
    _window_bytes: int = 0

    @property
    def may_send(self) -> bool:
        """True when a message may be sent now."""
        if self.sending is Sending.REPLICATE:
            return len(self._window) < WINDOW_MESSAGES and self._window_bytes < WINDOW_BYTES
        return self.sending is Sending.PROBE and not self.paused

    def sent(self, last_index: int, size: int) -> None:
        """Note a message with entries up to ``last_index``."""
        if self.sending is Sending.REPLICATE:
            self.next = last_index + 1
            self._window.append((last_index, size))
            self._window_bytes += size
        else:
            self.paused = True

    def probe(self) -> None:
        """Look for the place where the logs agree, beginning behind what surely does."""
        self.next = max(self.match + 1, self.snapshot_index + 1)
        self._become(Sending.PROBE)

    def replicate(self) -> None:
        """The logs agree up to ``match``."""
        self.next = self.match + 1
        self._become(Sending.REPLICATE)

    def send_snapshot(self) -> None:
        """What the follower needs was compacted."""
        self._become(Sending.SNAPSHOT)

    def accepted(self, index: int) -> bool:
        """The follower has everything up to ``index``; says whether that is news."""
        self.paused = False
        while self._window and self._window[0][0] <= index:
            self._window_bytes -= self._window.popleft()[1]
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        return True

    def rejected(self, index: int, agreement: int) -> bool:
        """The follower's log differs at ``index``; it may agree at ``agreement``. Says whether that is news."""
        if self.sending is Sending.REPLICATE:
            if index <= self.match:
                return False  # an old answer
            self.next = self.match + 1
            self._become(Sending.PROBE)
            return True
        if self.sending is Sending.SNAPSHOT or index != self.next - 1:
            return False
        self.next = max(min(index, agreement + 1), self.match + 1)
        self.paused = False
        return True

    def heard(self) -> None:
        """It answered a heartbeat: what was sent before may have been lost."""
        self.paused = False
        if self.sending is Sending.REPLICATE and not self.may_send:
            self._window_bytes -= self._window.popleft()[1]

    def _become(self, sending: Sending) -> None:
        self.sending = sending
        self.paused = False
        self.snapshot_index = self.snapshot_offset = 0
        self._window.clear()
        self._window_bytes = 0
