"""What servers of a group tell one another, and the entries of their log, as values.

The names follow the paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, figure
2); pre-vote and leadership transfer follow Ongaro's thesis (2014, sections 9.6 and 3.10). `source` and `to` are server
ids, above 0; `term` is the sender's, but for a pre-vote, where it is the term the sender would stand for.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from .configuration import Configuration


class EntryKind(IntEnum):
    """What an entry is for."""

    NORMAL = 0  # the data is the state machine's
    CONFIGURATION = 1  # the data is a Configuration (codec.py)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    index: int
    term: int
    kind: EntryKind
    data: bytes


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before it is acted upon (but for ``committed``, which only spares work after a restart).

    joining: it came into a group that was there already, and has not caught up yet (State.remember).
    """

    term: int = 0
    vote: int = 0
    committed: int = 0
    joining: bool = False

    def at(self, committed: int) -> "HardState":
        """Return it with another commit index."""
        return replace(self, committed=committed)


@dataclass(frozen=True, slots=True)
class Vote:
    """RequestVote (section 5.2). pre: only asks whether it would be granted. forced: the leader itself asked for it."""

    source: int
    to: int
    term: int
    last_index: int
    last_term: int
    pre: bool
    forced: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply:
    """A granted pre-vote repeats the term asked for; a refused one names the voter's own."""

    source: int
    to: int
    term: int
    pre: bool
    granted: bool


@dataclass(frozen=True, slots=True)
class Append:
    """AppendEntries (section 5.3): entries that follow the one at previous_index.

    token: names what the leader knows of this follower; the reply repeats it. A server that left the group and came
    back is known anew, so that no late reply speaks for what it has lost.
    """

    source: int
    to: int
    term: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    committed: int
    token: int


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Accepted: the log equals the leader's up to ``index``, durably.

    Rejected: nothing at ``index`` has the term that was asked for; the hint is the last place where the logs may agree.
    """

    source: int
    to: int
    term: int
    index: int
    token: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The leader lives. committed: never past what the follower has. quiet: the next comes when something happens.

    round: counts the leader's heartbeats; the reply repeats it (reads.py).
    """

    source: int
    to: int
    term: int
    committed: int
    round: int
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """quiet: the follower has everything and waits without a timeout. joining: it grants no vote yet."""

    source: int
    to: int
    term: int
    round: int
    quiet: bool = False
    joining: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """InstallSnapshot (section 7): a part of the state at ``index``, which has ``snapshot_term``."""

    source: int
    to: int
    term: int
    index: int
    snapshot_term: int
    configuration: Configuration
    offset: int
    data: bytes
    last: bool
    token: int


@dataclass(frozen=True, slots=True)
class SnapshotReply:
    """``offset`` bytes of the snapshot at ``index`` have arrived; rejected: it was damaged, begin anew."""

    source: int
    to: int
    term: int
    index: int
    offset: int
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader asks this server to stand for election at once (leadership transfer)."""

    source: int
    to: int
    term: int


Message = (
    Vote | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | SnapshotChunk | SnapshotReply | TimeoutNow
)
