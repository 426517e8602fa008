"""One server of a raft group, without I/O: values in, values out (after etcd's raft library).

In go messages from peers, proposals and the time; out come messages, entries to make durable, and entries to apply. The
shell passes ``now``, seconds of a clock that also runs while the machine sleeps, and never goes back.

    step(), tick(), propose(), ...    then ready() and take_write(), and act upon them
    take_write() ... written()        one write at a time; what depends on it comes out of ready() afterwards

Two deviations from etcd's library. A configuration is in force from when it is in the log, as the paper has it (section
6), not from when it is applied: so there is nothing to forget between commit and apply. A leader opens its term with
its configuration instead of an empty entry.

Invariants:
    the term never goes back; at most one vote a term
    outside a leadership there is no lease and no confirmed read
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from ..common.errors import Redirect
from . import messages as m
from .candidate import Candidate
from .configuration import Configuration, Tally
from .follower import Follower, StoreChunk
from .leader import Leader, MakeSnapshot, ReadChunk
from .log import Base, Log
from .messages import Entry, HardState, Message
from .state import Settings, State, Write

SnapshotWork = MakeSnapshot | ReadChunk | StoreChunk


@dataclass(frozen=True, slots=True)
class Start:
    """What recovery found. configuration: at ``applied``. entries: behind ``base``, all durable."""

    hard_state: HardState = field(default_factory=HardState)
    base: Base = field(default_factory=Base)
    applied: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    entries: Sequence[Entry] = field(default_factory=tuple)


class Ready(NamedTuple):
    """What is to be done. reads: (id, index) of reads that may be answered once the index is applied."""

    messages: list[Message]
    committed: list[Entry]
    reads: list[tuple[int, int]]
    snapshots: list[SnapshotWork]


class Raft:
    """See the module. jitter: returns a number in [0, 1), another one each time."""

    def __init__(self, id_: int, settings: Settings, start: Start, *, now: float, jitter: Callable[[], float]) -> None:
        hard_state = start.hard_state
        log = Log(start.base, start.configuration, start.entries, committed=hard_state.committed, applied=start.applied)
        # A voter that restarts may have promised a leader its silence a moment ago; one without a term never did.
        promised_until = now + settings.election_timeout_s if hard_state.term else now
        self._state = State(
            id_,
            settings,
            log,
            jitter,
            hard_state.term,
            hard_state.vote,
            promised_until,
            joining=hard_state.joining,
        )
        self._state.await_leader(now)
        self._role: Follower | Candidate | Leader = Follower(self._state)
        # Alone, it stands at once; not while the leader of before may not know that this configuration is committed:
        # that one may still lead the one before, by this server's promise.
        alone = log.configuration.voters == (id_,) and not log.configuration.is_joint
        if alone and log.committed >= log.configuration_index and self.may_campaign:
            self._campaign(now, pre=False)

    # ------------------------------------------------------------------------------------------- looking

    @property
    def id(self) -> int:
        """Return this server's id."""
        return self._state.id

    @property
    def term(self) -> int:
        """Return the present term."""
        return self._state.term

    @property
    def vote(self) -> int:
        """Return whom this server voted for in the present term; 0: nobody."""
        return self._state.vote

    @property
    def hard_state(self) -> HardState:
        """Return the hard state as it is now, durable or not."""
        return self._state.hard_state

    @property
    def leader(self) -> int:
        """Return the leader of the present term, as far as it is known; 0: unknown."""
        return self._state.leader

    @property
    def log(self) -> Log:
        """Return the log, to be looked at."""
        return self._state.log

    @property
    def is_leader(self) -> bool:
        """True when this server leads."""
        return isinstance(self._role, Leader)

    @property
    def is_established(self) -> bool:
        """True when this server leads, and an entry of its own term is committed and handed out to be applied."""
        return isinstance(self._role, Leader) and self._role.is_established

    @property
    def role(self) -> str:
        """Return the role's name."""
        return type(self._role).__name__.lower()

    @property
    def is_quiet(self) -> bool:
        """True when tick() has nothing to do until something happens."""
        return not isinstance(self._role, Candidate) and self._role.quiet

    @property
    def may_lead(self) -> bool:
        """Return whether this server may stand for election."""
        return self._state.may_lead

    @may_lead.setter
    def may_lead(self, value: bool) -> None:
        self._state.may_lead = value

    @property
    def may_campaign(self) -> bool:
        """True when this server's candidature makes sense."""
        state = self._state
        if self.is_installing:
            return False
        log = state.log
        # One that is leaving is still needed until its leaving is committed (thesis section 4.2.2).
        return (
            state.may_lead
            and state.may_vote
            and (log.configuration.is_voter(state.id) or log.configuration_at(log.committed).is_voter(state.id))
        )

    @property
    def is_installing(self) -> bool:
        """True while a snapshot takes the state's place: nothing must be applied."""
        return isinstance(self._role, Follower) and self._role.is_installing

    @property
    def needs_write(self) -> bool:
        """True when take_write() has something to hand out."""
        return self._state.needs_write(entries_too=not self.is_installing)

    @property
    def leadership(self) -> Leader | None:
        """Return what a leader knows, to be looked at."""
        return self._role if isinstance(self._role, Leader) else None

    def holds_lease(self, now: float) -> bool:
        """Say whether nobody else can lead now. ask after the state was read, with the time of then (rule 20)."""
        return isinstance(self._role, Leader) and now < self._role.lease_until()

    # ------------------------------------------------------------------------------------------- requests

    def propose(self, datas: Sequence[bytes], now: float) -> int:
        """Append entries; returns the index of the first. Raises Redirect (not the leader), Unavailable."""
        return self._led().propose(datas, now)

    def change(
        self, voters: Sequence[int], learners: Sequence[int], addresses: Sequence[tuple[int, str]], now: float
    ) -> int:
        """Begin a change of members; returns the index of its entry. Raises Redirect, Unavailable, ResourceBusy.

        It is over when the configuration is not joint and committed.
        """
        index = self._led().change(voters, learners, addresses, now)
        self._after_commit(now)
        return index

    def transfer(self, to: int, now: float) -> None:
        """Hand the leadership over. Raises Redirect, ResourceBusy."""
        self._led().begin_transfer(to, now)

    def ask_read(self, read_id: int, now: float) -> None:
        """Have a read confirmed; it comes out of ready(), unless the leadership ends before. Raises Redirect."""
        self._led().ask_read(read_id, now)

    def campaign(self, now: float) -> None:
        """Stand for election now, unless a leader was heard: its lease counts on this server's vote too (rule 20)."""
        if not self.is_leader and self.may_campaign and not self._hears_a_leader(now):
            self._campaign(now, pre=True)

    def wake(self, now: float) -> None:
        """Somebody may be gone: be quiet no longer."""
        if isinstance(self._role, Leader):
            self._role.wake(now)
        elif isinstance(self._role, Follower) and self._role.quiet:
            self._role.quiet = False
            self._state.await_leader(now)

    def suspect(self, now: float) -> None:
        """The shell has lost its connection to the leader."""
        if isinstance(self._role, Follower):
            self.wake(now)
            self._state.suspect_leader()

    def compact(self, index: int) -> None:
        """Forget entries up to ``index``; they are applied."""
        self._state.log.compact(index)

    @property
    def may_drop_unwritten(self) -> bool:
        """True when nobody can have been sent what is not durable: this server has been alone since before that."""
        log = self._state.log
        return (
            self.is_established and log.configuration.members == (self.id,) and log.configuration_index <= log.durable
        )

    def drop_unwritten(self) -> int:
        """Forget entries that are not durable and that nobody was told of. Returns how many."""
        assert self.may_drop_unwritten, "others may have them"
        return self._state.log.drop_unwritten()

    def _led(self) -> Leader:
        if isinstance(self._role, Leader):
            return self._role
        raise Redirect("this server does not lead the group")

    # ----------------------------------------------------------------------------------------------- time

    def tick(self, now: float) -> bool:
        """Time has come on; says whether that led to anything. Call it a few times per heartbeat interval."""
        role, state = self._role, self._state
        if isinstance(role, Leader):
            if role.has_lost_contact(now) or (role.transfer is None and not state.may_lead and not role.is_alone):
                self._become_follower(now)
                return True
            return role.tick(now)
        if now < state.election_due or self.is_quiet:
            return False
        if self.may_campaign:
            self._campaign(now, pre=True)
        else:
            self._ask_for_a_leader()
            state.await_leader(now)
        return True

    def _ask_for_a_leader(self) -> None:
        """A learner that hears nobody may be behind, and the group quiet: whoever leads it wakes when it is asked."""
        state, log = self._state, self._state.log
        if state.id in log.configuration.learners and not self.is_installing:
            for voter in log.configuration.voters:
                state.send(
                    m.Vote(state.id, voter, state.term + 1, log.last_index, log.last_term, pre=True, forced=False)
                )

    # ------------------------------------------------------------------------------------------- messages

    def step(self, message: Message, now: float) -> None:
        """Take a message from a peer."""
        state = self._state
        if message.term > state.term:
            if not self._enter(message, now):
                return
        elif message.term < state.term:
            self._answer_old(message)
            return
        self._handlers[type(message)](self, message, now)

    def _enter(self, message: Message, now: float) -> bool:
        """Meet a later term; says whether the message is still to be looked at."""
        match message:
            case m.Vote():
                if not message.forced and self._hears_a_leader(now):
                    return False
                if not message.pre:
                    self._become_follower(now, message.term)
            case m.VoteReply(pre=True, granted=True):
                pass  # the term asked for
            case m.VoteReply() | m.AppendReply() | m.HeartbeatReply() | m.SnapshotReply():
                self._become_follower(now, message.term)
                return False
            case _:
                self._become_follower(now, message.term)
        return True

    def _hears_a_leader(self, now: float) -> bool:
        if isinstance(self._role, Leader):
            self._role.wake(now)
            return True
        return now < self._state.promised_until

    def _answer_old(self, message: Message) -> None:
        """Let a sender that is behind know this term."""
        state = self._state
        match message:
            case m.Append() | m.Heartbeat() | m.SnapshotChunk() | m.TimeoutNow():
                state.send(m.AppendReply(state.id, message.source, state.term, 0, 0, rejected=True))
            case m.Vote(pre=True):
                state.send(m.VoteReply(state.id, message.source, state.term, pre=True, granted=False))
            case _:
                pass

    def _on_vote(self, message: m.Vote, now: float) -> None:
        state = self._state
        if isinstance(self._role, Follower) and self._role.quiet:
            self.wake(now)
        free = message.term > state.term or state.vote == message.source or (not state.vote and not state.leader)
        # The term may have been raised by others than a leader while a promise still holds.
        free = free and (message.forced or now >= state.promised_until)
        granted = free and state.may_vote and state.log.is_up_to_date(message.last_index, message.last_term)
        if message.pre:
            term = message.term if granted else state.term
            state.send(m.VoteReply(state.id, message.source, term, pre=True, granted=granted))
            return
        if granted:
            state.vote = message.source
            state.await_leader(now)
        reply = m.VoteReply(state.id, message.source, state.term, pre=False, granted=granted)
        if granted:
            state.send_when_durable(reply)
        else:
            state.send(reply)

    def _on_vote_reply(self, message: m.VoteReply, now: float) -> None:
        if isinstance(self._role, Candidate):
            self._decide(self._role, self._role.on_reply(message), now)

    def _decide(self, candidate: Candidate, tally: Tally, now: float) -> None:
        if tally is Tally.LOST:
            self._become_follower(now)
        elif tally is Tally.WON and candidate.pre:
            self._campaign(now, pre=False)
        elif tally is Tally.WON:
            self._role = Leader(self._state, now)
            self._role.send_to_all()
            self._role.durable()

    def _follow(self, message: Message, now: float) -> Follower:
        assert not isinstance(self._role, Leader), "one leader a term"
        if not isinstance(self._role, Follower):
            self._role = Follower(self._state)
        self._state.follow(message.source, now)
        return self._role

    def _on_append(self, message: m.Append, now: float) -> None:
        self._follow(message, now).on_append(message)

    def _on_heartbeat(self, message: m.Heartbeat, now: float) -> None:
        self._follow(message, now).on_heartbeat(message)

    def _on_chunk(self, message: m.SnapshotChunk, now: float) -> None:
        self._follow(message, now).on_chunk(message)

    def _on_append_reply(self, message: m.AppendReply, now: float) -> None:
        if isinstance(self._role, Leader):
            self._role.on_append_reply(message)
            self._after_commit(now)

    def _on_heartbeat_reply(self, message: m.HeartbeatReply, _: float) -> None:
        if isinstance(self._role, Leader):
            self._role.on_heartbeat_reply(message)

    def _on_snapshot_reply(self, message: m.SnapshotReply, _: float) -> None:
        if isinstance(self._role, Leader):
            self._role.on_snapshot_reply(message)

    def _on_timeout_now(self, message: m.TimeoutNow, now: float) -> None:
        self._follow(message, now)
        if self.may_campaign:
            self._campaign(now, pre=False, forced=True)

    # ------------------------------------------------------------------------------------------- the shell

    def ready(self, now: float) -> Ready:
        """Hand out what is to be done."""
        state, role = self._state, self._role
        reads: list[tuple[int, int]] = []
        snapshots: list[SnapshotWork] = []
        if isinstance(role, Leader):
            role.flush(now)
            reads = role.take_confirmed_reads()
        if not isinstance(role, Candidate) and role.work:
            snapshots = [*role.work]
            role.work.clear()
        said, state.outbox = state.outbox, []
        return Ready(said, state.log.take_committed(), reads, snapshots)

    def take_write(self) -> Write | None:
        """Hand out what is to be made durable; None when there is nothing, or a write is under way."""
        return self._state.take_write(entries_too=not self.is_installing)

    def written(self, now: float) -> None:
        """What take_write() handed out is durable."""
        self._state.outbox += self._state.written()
        if isinstance(self._role, Leader):
            self._role.durable()
            self._after_commit(now)
        elif isinstance(self._role, Candidate):
            self._decide(self._role, self._role.count(), now)

    def not_written(self) -> None:
        """Nothing of what take_write() handed out was kept."""
        self._state.not_written()

    def expects(self, chunk: m.SnapshotChunk) -> bool:
        """Say whether a chunk that ready() handed out is still to be stored."""
        return isinstance(self._role, Follower) and self._role.expects(chunk)

    def chunk_stored(self, chunk: m.SnapshotChunk) -> None:
        """A chunk that ready() handed out is stored."""
        if isinstance(self._role, Follower):
            self._role.chunk_stored(chunk)

    def installed(self, base: Base, configuration: Configuration) -> None:
        """The snapshot that was coming in has replaced the state; both it and the log's new beginning are durable."""
        assert isinstance(self._role, Follower), "nothing else is begun while a snapshot is being installed"
        self._role.installed(base, configuration)

    def snapshot_failed(self, chunk: m.SnapshotChunk) -> None:
        """The snapshot that a chunk belongs to is of no use."""
        if isinstance(self._role, Follower):
            self._role.snapshot_failed(chunk)

    def snapshot_made(self, to: int, base: Base, configuration: Configuration) -> None:
        """There is a snapshot for a follower."""
        if isinstance(self._role, Leader):
            self._role.snapshot_made(to, base.index, base.term, configuration)

    def snapshot_gone(self, to: int, index: int) -> None:
        """A snapshot cannot be read any more."""
        if isinstance(self._role, Leader):
            self._role.snapshot_gone(to, index)

    def chunk_read(self, to: int, index: int, offset: int, data: bytes, *, last: bool) -> None:
        """A chunk that ready() asked for."""
        if isinstance(self._role, Leader):
            self._role.chunk_read(to, index, offset, data, last=last)

    # -------------------------------------------------------------------------------------------- roles

    def _campaign(self, now: float, *, pre: bool, forced: bool = False) -> None:
        self._state.await_leader(now)
        self._state.leader = 0
        candidate = self._role = Candidate(self._state, pre=pre, forced=forced)
        self._decide(candidate, candidate.count(), now)

    def _become_follower(self, now: float, term: int | None = None) -> None:
        if term is not None:
            self._state.enter_term(term)
        if self._state.leader == self.id:
            self._state.leader = 0
        self._state.await_leader(now)
        if not isinstance(self._role, Follower):
            self._role = Follower(self._state)

    def _after_commit(self, now: float) -> None:
        """A leader that is no member any more goes, once the others know."""
        if isinstance(self._role, Leader) and self._role.has_left:
            self._role.send_to_all()
            self._become_follower(now)

    _handlers: ClassVar[dict[type, Callable[[Any, Any, float], None]]] = {
        m.Vote: _on_vote,
        m.VoteReply: _on_vote_reply,
        m.Append: _on_append,
        m.AppendReply: _on_append_reply,
        m.Heartbeat: _on_heartbeat,
        m.HeartbeatReply: _on_heartbeat_reply,
        m.SnapshotChunk: _on_chunk,
        m.SnapshotReply: _on_snapshot_reply,
        m.TimeoutNow: _on_timeout_now,
    }
