"""A leader: replicates its log (section 5.3), commits what a majority has (5.4.2), and knows how long it leads.

It opens its term with an entry that repeats the configuration, so that what earlier terms left is committed. Until
that is, it answers no reads and begins no change of members. A change of voters goes through a joint configuration,
which the leader leaves by itself as soon as it is committed (section 6).

When nothing has happened for a while and every follower has everything, it says so in its heartbeats; when all have
answered, the group is quiet: no heartbeats, no timeouts, no lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.errors import Redirect, ResourceBusy, Unavailable
from .codec import encode_configuration
from .configuration import Configuration
from .messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
)
from .progress import Progress, Sending
from .reads import Rounds
from .state import State


@dataclass(frozen=True, slots=True)
class MakeSnapshot:
    """Work for the shell: the follower needs a snapshot. Then snapshot_made()."""

    to: int


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Work for the shell: read a part of the snapshot at ``index`` for a follower. Then chunk_read()."""

    to: int
    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of the leadership that is under way."""

    to: int
    deadline: float


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """What a snapshot is."""

    index: int
    term: int
    configuration: Configuration


class Leader:
    """One leadership."""

    def __init__(self, state: State, now: float) -> None:
        self._state = state
        self._rounds = Rounds(now)
        self._heartbeat_due = now
        self._active_at = self._woken_at = now
        self._progress: dict[int, Progress] = {}
        self._next_token = 1
        self._outgoing: dict[int, _Outgoing] = {}
        self._asked_to_leave = False  # TimeoutNow was sent in this term: no lease any more
        self._now = now
        self.transfer: Transfer | None = None
        self.quiet = False
        self.work: list[MakeSnapshot | ReadChunk] = []
        state.leader = state.id
        self._first_index = state.log.last_index + 1
        self._append_configuration(state.log.configuration)

    # ------------------------------------------------------------------------------------------- looking

    @property
    def is_established(self) -> bool:
        """True when an entry of this term is committed, and handed out to be applied.

        Then the commit index is the true one, and the state is not behind what earlier leaders acknowledged: an entry
        can be committed long before this server's own disk has it.
        """
        return self._state.log.applied >= self._first_index

    @property
    def has_left(self) -> bool:
        """True when a committed configuration is without this server."""
        log = self._state.log
        configuration = log.configuration
        return not configuration.is_voter(self._state.id) and log.committed >= log.configuration_index

    @property
    def progress(self) -> dict[int, Progress]:
        """Return what is known of each follower."""
        return self._progress

    def lease_until(self) -> float:
        """Return until when nobody else can lead; in the past when that is not known."""
        settings = self._state.settings
        if not settings.lease or self._asked_to_leave or not self.is_established:
            return float("-inf")
        if self.is_alone:
            return float("inf")
        return self._rounds.contact + settings.lease_ratio * settings.election_timeout_s

    def has_lost_contact(self, now: float) -> bool:
        """Say whether no majority answered for an election timeout (check-quorum, thesis section 6.2)."""
        heard_at = max(self._rounds.contact, self._woken_at)
        return not self.quiet and not self.is_alone and now - heard_at >= self._timeout_s

    @property
    def is_alone(self) -> bool:
        """True when this server is the only voter."""
        configuration = self._state.log.configuration
        return configuration.voters == (self._state.id,) and not configuration.outgoing

    @property
    def _timeout_s(self) -> float:
        return self._state.settings.election_timeout_s

    # -------------------------------------------------------------------------------------------- asking

    def propose(self, datas: Sequence[bytes], now: float) -> int:
        """Append entries and send them; returns the first index. Raises Unavailable during a transfer."""
        if self.transfer is not None:
            raise Unavailable("the leadership is being handed over")
        self.wake(now)
        log, term = self._state.log, self._state.term
        first = log.last_index + 1
        for index, data in enumerate(datas, first):
            log.append(Entry(index, term, EntryKind.NORMAL, data))
        self._send_to_all()
        return first

    def change(
        self, voters: Sequence[int], learners: Sequence[int], addresses: Sequence[tuple[int, str]], now: float
    ) -> int:
        """Begin a change of members; returns the index of its entry. Raises Unavailable, ResourceBusy."""
        log = self._state.log
        if not self.is_established or self.transfer is not None:
            raise Unavailable("the leader is not ready to change members")
        if log.configuration.is_joint or log.committed < log.configuration_index:
            raise ResourceBusy("another change of members is under way")
        for server in set(voters) - {*log.configuration.voters, self._state.id}:
            progress = self._progress.get(server)
            if progress is None or progress.joining:
                # A majority that needs its vote could elect nobody, and it needs a leader to catch up.
                raise Unavailable(f"server {server} has not caught up as a learner")
        self.wake(now)
        self._append_configuration(log.configuration.changed_to(voters, learners, addresses))
        self._send_to_all()
        self._advance()
        return log.configuration_index

    def begin_transfer(self, to: int, now: float) -> None:
        """Hand the leadership to a voter. Raises ResourceBusy, Redirect when it leads already (this server)."""
        if to == self._state.id or not self._state.log.configuration.is_voter(to):
            raise Redirect("the leadership cannot go there")
        if self.transfer is not None and self.transfer.to != to:
            raise ResourceBusy("the leadership is being handed over already")
        self.wake(now)
        self.transfer = Transfer(to, now + self._timeout_s)
        self._hand_over(to)
        self._replicate(to)

    def ask_read(self, read_id: int, now: float) -> None:
        """Have a read confirmed."""
        self.wake(now)
        self._rounds.ask(read_id, self._state.log.committed)
        if self.is_alone:
            self._rounds.answered(self._rounds.begin(now))

    def take_confirmed_reads(self) -> list[tuple[int, int]]:
        """Hand out the reads that may be answered."""
        if not self.is_established:
            return []
        return [(one.read_id, max(one.index, self._first_index)) for one in self._rounds.take_confirmed()]

    def wake(self, now: float) -> None:
        """Something happens: the group is quiet no longer."""
        self._active_at = now
        if self.quiet:
            self.quiet = False
            self._woken_at = now  # the others have time to answer; a lease begins with their answers only
            self._heartbeat_due = now
        for progress in self._progress.values():
            progress.quiet = False

    # ---------------------------------------------------------------------------------------------- time

    def tick(self, now: float) -> bool:
        """Send what is due; says whether there was anything."""
        self._now = now
        acted = False
        if self.transfer is not None and now >= self.transfer.deadline:
            self.transfer = None
            acted = True
        if self.quiet:
            return acted
        if now >= self._heartbeat_due:
            self._heartbeat(now)
            acted = True
        for to, progress in self._progress.items():
            if (
                progress.sending is Sending.SNAPSHOT
                and now >= progress.chunk_sent_at + self._state.settings.chunk_timeout_s
            ):
                self._want_snapshot(to, progress)
                acted = True
        return acted

    def flush(self, now: float) -> None:
        """Send the heartbeats that reads wait for; called once after many."""
        self._now = now
        if self._rounds.reads_waiting:
            self._heartbeat(now)

    def _heartbeat(self, now: float) -> None:
        state = self._state
        settings = state.settings
        self._heartbeat_due = now + settings.heartbeat_s
        quiet = self._may_go_quiet(now)
        if quiet and all(progress.quiet for progress in self._progress.values()):
            self.quiet = True
            return
        round_ = self._rounds.begin(now)
        if self.is_alone:
            self._rounds.answered(round_)
        committed = state.log.committed
        for to, progress in self._progress.items():
            state.send(Heartbeat(state.id, to, state.term, min(progress.match, committed), round_, quiet))

    def _may_go_quiet(self, now: float) -> bool:
        log, settings = self._state.log, self._state.settings
        return (
            settings.quiet_after_s > 0
            and now - self._active_at >= settings.quiet_after_s
            and self.transfer is None
            and log.committed == log.last_index == log.durable
            and not self._rounds.reads_waiting
            and all(progress.match == log.last_index for progress in self._progress.values())
        )

    # ------------------------------------------------------------------------------------------- answers

    def on_append_reply(self, message: AppendReply) -> None:
        """A follower has entries, or differs."""
        to = message.source
        progress = self._progress.get(to)
        if progress is None or message.token != progress.token:
            return
        if message.rejected:
            agreement, _ = self._state.log.agreement(message.hint_index, message.hint_term)
            if progress.rejected(message.index, agreement):
                self._replicate(to)
            return
        news = progress.accepted(message.index)
        if progress.sending is Sending.PROBE:
            progress.replicate()
        elif progress.sending is Sending.SNAPSHOT and progress.match >= self._state.log.base.index:
            self._outgoing.pop(to, None)
            progress.replicate()
        elif progress.sending is Sending.SNAPSHOT and progress.match >= progress.snapshot_index > 0:
            # It has the snapshot, and the log was compacted past it meanwhile.
            self._outgoing.pop(to, None)
            progress.send_snapshot()
            self._want_snapshot(to, progress)
        if news:
            self._advance()
        if to not in self._progress:
            return  # its answer has committed the change that removes it
        self._replicate(to)
        if self.transfer is not None and self.transfer.to == to:
            self._hand_over(to)

    def on_heartbeat_reply(self, message: HeartbeatReply) -> None:
        """A follower lives."""
        to = message.source
        progress = self._progress.get(to)
        if progress is None:
            return
        progress.heard()
        progress.round = max(progress.round, message.round)
        progress.quiet = message.quiet
        progress.joining = message.joining
        rounds = {server: one.round for server, one in self._progress.items()}
        rounds[self._state.id] = self._rounds.current
        self._rounds.answered(self._state.log.configuration.reached(rounds))
        if progress.match < self._state.log.last_index or progress.sending is Sending.PROBE:
            self._send(to, progress, also_empty=True)

    def durable(self) -> None:
        """More of the own log is durable."""
        self._advance()

    def _advance(self) -> None:
        """Commit what a majority has, if it is of this term (section 5.4.2)."""
        state, log = self._state, self._state.log
        while True:
            values = {server: progress.match for server, progress in self._progress.items()}
            values[state.id] = log.durable
            index = log.configuration.reached(values)
            if index <= log.committed or log.term_of(index) != state.term or not log.commit(index):
                return
            if not (log.configuration.is_joint and log.configuration_index <= log.committed):
                return
            # Another majority decides from here on, perhaps more at once.
            self._append_configuration(log.configuration.left())
            self._send_to_all()

    def _append_configuration(self, configuration: Configuration) -> None:
        state, log = self._state, self._state.log
        index = log.last_index + 1
        data = encode_configuration(configuration._replace(since=index))
        log.append(Entry(index, state.term, EntryKind.CONFIGURATION, data))
        members = log.configuration.members
        for server in members:
            if server != state.id and server not in self._progress:
                self._progress[server] = Progress(log.last_index, self._next_token)
                self._next_token += 1
        for server in self._progress.keys() - set(members):
            del self._progress[server]
            self._outgoing.pop(server, None)
            if self.transfer is not None and self.transfer.to == server:
                self.transfer = None

    def _hand_over(self, to: int) -> None:
        state = self._state
        if self._progress[to].match == state.log.last_index:
            self._asked_to_leave = True
            state.send(TimeoutNow(state.id, to, state.term))

    # ------------------------------------------------------------------------------------------- sending

    def send_to_all(self) -> None:
        """Send what followers lack."""
        self._send_to_all()

    def _send_to_all(self) -> None:
        for to in list(self._progress):
            self._replicate(to)

    def _replicate(self, to: int) -> None:
        progress = self._progress[to]
        while self._send(to, progress, also_empty=False):
            pass

    def _send(self, to: int, progress: Progress, *, also_empty: bool) -> bool:
        """Send one message with entries; says whether more may follow."""
        if not progress.may_send:
            return False
        state, log = self._state, self._state.log
        previous = progress.next - 1
        previous_term = log.term_of(previous)
        if previous_term is None:
            progress.send_snapshot()
            self._want_snapshot(to, progress)
            return False
        entries = log.entries(progress.next, state.settings.append_bytes_max)
        if not entries and not also_empty:
            return False
        state.send(Append(state.id, to, state.term, previous, previous_term, entries, log.committed, progress.token))
        if entries:
            progress.sent(entries[-1].index, sum(len(entry.data) for entry in entries))
        elif progress.sending is Sending.PROBE:
            progress.paused = True
        return bool(entries)

    # ----------------------------------------------------------------------------------------- snapshots

    def _want_snapshot(self, to: int, progress: Progress) -> None:
        """Ask the shell for what comes next of the snapshot for a follower."""
        progress.chunk_sent_at = self._now
        if progress.snapshot_index:
            self.work.append(ReadChunk(to, progress.snapshot_index, progress.snapshot_offset))
        else:
            self.work.append(MakeSnapshot(to))

    def snapshot_made(self, to: int, index: int, term: int, configuration: Configuration) -> None:
        """There is a snapshot for a follower."""
        progress = self._progress.get(to)
        if progress is None or progress.sending is not Sending.SNAPSHOT or progress.snapshot_index:
            return
        progress.snapshot_index = index
        self._outgoing[to] = _Outgoing(index, term, configuration)
        self._want_snapshot(to, progress)

    def snapshot_gone(self, to: int, index: int) -> None:
        """The snapshot cannot be read any more: it is made anew."""
        progress = self._progress.get(to)
        if progress is not None and progress.sending is Sending.SNAPSHOT and progress.snapshot_index == index:
            progress.send_snapshot()

    def chunk_read(self, to: int, index: int, offset: int, data: bytes, *, last: bool) -> None:
        """Send a chunk, unless it is wanted no longer."""
        progress, outgoing = self._progress.get(to), self._outgoing.get(to)
        if progress is None or outgoing is None or progress.sending is not Sending.SNAPSHOT:
            return
        if (progress.snapshot_index, progress.snapshot_offset) != (index, offset):
            return
        state = self._state
        progress.chunk_sent_at = self._now
        state.send(
            SnapshotChunk(
                state.id,
                to,
                state.term,
                index,
                outgoing.term,
                outgoing.configuration,
                offset,
                data,
                last,
                progress.token,
            )
        )

    def on_snapshot_reply(self, message: SnapshotReply) -> None:
        """A chunk has arrived, or the snapshot was of no use."""
        to = message.source
        progress = self._progress.get(to)
        if progress is None or progress.sending is not Sending.SNAPSHOT or progress.snapshot_index != message.index:
            return
        if message.rejected:
            # Not at once: what was wrong may still be; tick() asks again.
            progress.chunk_sent_at = self._now
            self._outgoing.pop(to, None)
            progress.send_snapshot()
        elif message.offset != progress.snapshot_offset:
            progress.snapshot_offset = message.offset
            self._want_snapshot(to, progress)
