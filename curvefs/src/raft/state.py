"""What a server is in every role: its term, vote and log, whom it follows, and what it has to say.

Some answers promise that something is durable (a vote, entries). They are held until the write that covers them is; all
others may leave at once.

Invariants:
    a vote and its term are durable before anybody hears of the vote
    no vote is granted before ``promised_until``: a leader's lease counts on it (rule 20)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .log import Log
from .messages import AppendReply, Entry, HardState, Message

# Elections are spread over this share of the election timeout when the leader is known to be gone.
_SUSPECT_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. An election begins after one to two election timeouts without a leader.

    lease_ratio: the share of the election timeout for which a leader's lease holds; clocks may differ in rate by what
    is left (rule 20). lease: whether reads may rely on it. quiet_after_s: a group in which nothing happened for so long
    goes quiet; 0: never. append_bytes_max: of entries in one message. chunk_timeout_s: after which a snapshot's chunk
    is sent again.
    """

    election_timeout_s: float = 1.0
    heartbeat_s: float = 0.2
    lease_ratio: float = 0.8
    lease: bool = True
    quiet_after_s: float = 1.0
    append_bytes_max: int = 1 << 20
    chunk_timeout_s: float = 5.0


class Write(NamedTuple):
    """What is to be made durable, in this order, in one write."""

    hard_state: HardState | None
    entries: list[Entry]


@dataclass(slots=True)
class State:
    """See the module. jitter: returns a number in [0, 1)."""

    id: int
    settings: Settings
    log: Log
    jitter: Callable[[], float]
    term: int
    vote: int
    promised_until: float
    election_due: float = 0.0
    leader: int = 0
    joining: bool = False  # see HardState
    may_lead: bool = True  # the shell's word: not with a clock that is off (rule 19)
    outbox: list[Message] = field(default_factory=list)
    _held: list[Message] = field(default_factory=list)  # until what is unwritten now is durable
    _held_in_flight: list[Message] = field(default_factory=list)  # until the write under way is
    _in_flight: tuple[HardState, int, int] | None = None  # hard state, last index and term of the write under way
    _durable: HardState = field(default_factory=HardState)

    def __post_init__(self) -> None:
        self._durable = self.hard_state

    @property
    def hard_state(self) -> HardState:
        """Return what it is now."""
        return HardState(self.term, self.vote, self.log.committed, self.joining)

    # --------------------------------------------------------------------------------------------- saying

    def send(self, message: Message) -> None:
        """Say something that promises nothing durable."""
        self.outbox.append(message)

    def send_when_durable(self, message: Message) -> None:
        """Say something once everything that is so now is durable. Of what a later one makes void nothing is kept.

        So what waits stays bounded while nothing can be written.
        """
        if self._must_write:
            self._held = [one for one in self._held if not _is_void(one, message)]
            self._held.append(message)
        elif self._in_flight is not None:
            self._held_in_flight.append(message)
        else:
            self.outbox.append(message)

    # --------------------------------------------------------------------------------------------- writing

    @property
    def _promises(self) -> tuple[int, int, bool]:
        return self.term, self.vote, self.joining

    @property
    def _must_write(self) -> bool:
        known = self._durable if self._in_flight is None else self._in_flight[0]
        return self.log.has_unwritten or self._promises != _promises(known)

    def needs_write(self, *, entries_too: bool) -> bool:
        """Say whether there is something to be made durable, and no write is under way."""
        if self._in_flight is not None:
            return False
        if entries_too:
            return self._must_write
        return self._promises != _promises(self._durable)

    def take_write(self, *, entries_too: bool) -> Write | None:
        """Hand out what is to be made durable; None when there is nothing, or a write is under way.

        entries_too: not while a snapshot is being installed, which takes the place of all entries: what is not written
        yet of them must not come behind it in the log.
        """
        if not self.needs_write(entries_too=entries_too):
            return None
        entries, hard_state = [], self.hard_state
        held, self._held = self._held, []
        if entries_too:
            entries = self.log.take_unwritten()
        else:
            # What is on disk beyond the durable end is of an older leader: it must not count as committed.
            hard_state = hard_state.at(min(self.log.committed, self.log.durable))
            self._held = [message for message in held if isinstance(message, AppendReply)]
            held = [message for message in held if not isinstance(message, AppendReply)]
        self._in_flight = (hard_state, *self.log.last_taken)
        self._held_in_flight = held
        return Write(None if hard_state == self._durable else hard_state, entries)

    def written(self) -> list[Message]:
        """The write is durable. Returns what may be said now."""
        assert self._in_flight is not None, "a write is under way"
        self._durable, index, term = self._in_flight
        self._in_flight = None
        self.log.written(index, term)
        said, self._held_in_flight = self._held_in_flight, []
        return said

    def not_written(self) -> None:
        """Nothing of the write was kept: what depends on it waits for the next."""
        assert self._in_flight is not None, "a write is under way"
        self._in_flight = None
        self.log.not_written()
        self._held = self._held_in_flight + self._held
        self._held_in_flight = []

    @property
    def is_term_durable(self) -> bool:
        """True when the term is on disk as it is now."""
        return self._durable.term == self.term

    @property
    def is_vote_durable(self) -> bool:
        """True when term and vote are on disk as they are now."""
        return (self._durable.term, self._durable.vote) == (self.term, self.vote)

    @property
    def may_vote(self) -> bool:
        """False for a server that joined, until it has durably caught up."""
        return not (self.joining or self._durable.joining)

    def remember(self) -> None:
        """Be a full member once everything is here that was committed before this server came.

        A server that joins may be one that was here before, and has lost what it knew. Its vote counts in old
        configurations too, for servers that do not know of later ones: it must not elect one of those. The leader's
        commit index covers an entry of its own term, so by leader completeness (section 5.4) it covers all that was
        committed before; and that is in this log, durably.
        """
        log = self.log
        if self.joining and log.committed <= log.durable and log.term_of(log.committed) == self.term:
            self.joining = False

    # --------------------------------------------------------------------------------------------- leaders

    def follow(self, leader: int, now: float) -> None:
        """A leader of this term was heard."""
        self.leader = leader
        self.promised_until = now + self.settings.election_timeout_s
        self.await_leader(now)

    def await_leader(self, now: float) -> None:
        """Give a leader time to be heard: one to two election timeouts, by chance (section 5.2)."""
        self.election_due = now + self.settings.election_timeout_s * (1 + self.jitter())

    def suspect_leader(self) -> None:
        """The leader is probably gone: stand soon after the promise to it is over, still not all at the same time."""
        spread_s = self.settings.election_timeout_s * _SUSPECT_SPREAD
        if self.election_due > self.promised_until + spread_s:
            self.election_due = self.promised_until + spread_s * self.jitter()

    def enter_term(self, term: int, vote: int = 0) -> None:
        """Go on to a later term, in which nobody leads yet."""
        assert term > self.term, "terms rise"
        self.term = term
        self.vote = vote
        self.leader = 0


def _promises(hard_state: HardState) -> tuple[int, int, bool]:
    return hard_state.term, hard_state.vote, hard_state.joining


def _is_void(held: Message, later: Message) -> bool:
    """Say whether a message that waits is worth nothing any more: of a term before, or said again."""
    if held.term < later.term:
        return True
    if type(held) is not type(later) or held.to != later.to:
        return False
    if isinstance(held, AppendReply) and isinstance(later, AppendReply):
        # Both say "up to here"; those that reject do not wait.
        return held.token == later.token and held.index <= later.index
    return True
