"""One group on this metaserver: raft between the log on disk, the network and the state machine.

Proposals wait; when the log begins its next write they become entries (only then do they get index and time), which go
to the disk and to the peers at the same time. What is committed is applied in one transaction, and the leader answers.

It is synchronous: whoever puts something in (a message, the time, a finished write) calls act(), which does what raft
asks for: messages go out, entries are applied, reads are confirmed. So the simulator runs this very code.

A full disk: what does not fit in the log is refused, for certain not appended, if no other server was told of it;
else it waits and is tried again. An entry that is in the log but cannot be applied waits too; meanwhile proposals
are refused, and once much waits, so is what a leader sends: as if lost.

Invariants:
    entries are applied in order, each once, and only when they are durable here (rule 24)
    entry times rise: an entry's time is at least that of the one before it + 1 ns (rule 19)

Shared across awaits: everything here, touched on the event loop only and never across an await.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from ....proto import metaserver_pb2 as pb
from ....proto import state_pb2
from ...common.clock import Clock
from ...common.errors import CurveFSError, InternalError, NoSpace, Redirect, Unavailable
from ...raft.codec import encode_hard_state
from ...raft.configuration import Configuration
from ...raft.core import Raft, SnapshotWork
from ...raft.log import Base
from ...raft.messages import Append, Entry, Message
from ..metastore.apply import refuse_unknown
from ..metastore.scope import NeedsNewerVersion
from ..metastore.unfinished import unfinished
from ..metrics import Metrics
from ..storage.checkpoint import Checkpoints
from ..storage.environment import Environment, LmdbTransaction
from ..wal.format import Record, RecordType
from .applying import apply_entries, record_of
from .confirmed_reads import Confirmed, ConfirmedReads
from .follow_ups import FollowUps
from .proposals import Complete, Proposal, Proposals

_log = structlog.get_logger()

UNCOMMITTED_MAX = 4096  # entries: no more are made while so many wait for a majority
UNCOMMITTED_BYTES_MAX = 64 << 20
# Entries are kept in memory for followers that lag: gladly so much, if they still need it up to so much.
LOG_BYTES_SOFT, LOG_BYTES_HARD = 4 << 20, 32 << 20
LOG_ENTRIES_SOFT, LOG_ENTRIES_HARD = 4096, 32_768
WAITING_BYTES_MAX = 32 << 20  # while entries cannot be applied, so much is kept of what a leader sends
# In one transaction, and in one step of the event loop: some 20 ms of creates.
_APPLY_ENTRIES_MAX = 256
_APPLY_BYTES_MAX = 48 << 10
_RETRY_S_FIRST = 0.1
_RETRY_S_MAX = 2.0


class Outside(Protocol):
    """What a group needs of its metaserver."""

    def announce(self, group: "Group") -> None:
        """Say that the group has something for the log."""
        ...

    def send(self, group_id: int, messages: list[Message]) -> None:
        """Send messages to peers."""
        ...

    def address_of(self, metaserver_id: int) -> str:
        """Return where a metaserver is; empty when unknown."""
        ...

    def snapshot_work(self, group: "Group", work: list[SnapshotWork]) -> None:
        """Have work with snapshots done."""
        ...

    def go_on_soon(self, group: "Group") -> None:
        """Call act() again, after others had their turn."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What every group of a metaserver uses."""

    clock: Clock
    metrics: Metrics
    outside: Outside


class Group:
    """See the module. broken: why it serves nothing, or None."""

    def __init__(
        self, group_id: int, raft: Raft, environment: Environment, checkpoints: Checkpoints, tools: Tools
    ) -> None:
        self.group_id = group_id
        self.raft = raft
        self.environment = environment
        self.checkpoints = checkpoints
        self.bytes_since_checkpoint = 0
        self.broken: CurveFSError | None = None
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outside = tools.outside
        self._proposals = Proposals()
        self._to_apply: deque[Entry] = deque()
        self._reads = ConfirmedReads()
        self._follow_ups = FollowUps(group_id)
        self._led_term = 0  # the term in which this server is known to lead, established
        self._retry_s = _RETRY_S_FIRST
        self._apply_again_at: float | None = None
        self._write_again_at: float | None = None
        self._became_idle = asyncio.Event()
        self._changed = asyncio.Event()  # another one each time
        self._leadership_watchers: list[Callable[[bool], None]] = []
        self._apply_watchers: list[Callable[[], None]] = []

    # ------------------------------------------------------------------------------------------- state

    @property
    def term(self) -> int:
        """Return raft's term."""
        return self.raft.term

    @property
    def is_leader(self) -> bool:
        """True when this server leads and its state has everything that was ever acknowledged."""
        return self._led_term > 0 and self._led_term == self.raft.term and self.broken is None

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry applied."""
        return self.environment.applied.index

    @property
    def queued(self) -> int:
        """Return how many proposals wait for the log."""
        return len(self._proposals)

    @property
    def idle(self) -> bool:
        """True when nobody waits for an answer."""
        return self._proposals.idle

    @property
    def needs_ticks(self) -> bool:
        """False when time changes nothing until something happens."""
        return not (self.raft.is_quiet and self._apply_again_at is None and self._write_again_at is None)

    async def until_idle(self) -> None:
        """Wait until nobody waits for an answer."""
        while not self.idle:
            self._became_idle.clear()
            await self._became_idle.wait()

    def on_leadership(self, callback: Callable[[bool], None]) -> None:
        """Have it called when this server begins to lead (True) and when that ends (False)."""
        self._leadership_watchers.append(callback)

    def on_applied(self, callback: Callable[[], None]) -> None:
        """Have it called after entries were applied."""
        self._apply_watchers.append(callback)

    async def changed(self) -> None:
        """Wait until entries were applied, or the leadership ended."""
        await self._changed.wait()

    # ------------------------------------------------------------------------------------------- reading

    @contextmanager
    def view(self) -> Iterator[LmdbTransaction]:
        """A consistent view of the state. It is linearizable if may_answer() holds afterwards."""
        if self.broken is not None:
            raise self.broken
        with self.environment.read() as view:
            yield view

    def may_answer(self) -> bool:
        """Say whether what view() showed just now is the truth: ask after reading, before answering (rule 20)."""
        return self.is_leader and self.raft.holds_lease(self._clock.boottime_s())

    def confirm_read(self, complete: Confirmed) -> None:
        """Call ``complete`` with None as soon as view() is linearizable without a lease (ReadIndex), or with an error.

        Raises Redirect. Call act() afterwards.
        """
        self._check_leads()
        self.raft.ask_read(self._reads.add(complete), self._clock.boottime_s())

    # ------------------------------------------------------------------------------------------ propose

    def propose_batch(self, batch: pb.OperationBatch, complete: Complete) -> None:
        """Propose a client's batch; see propose()."""
        entry = state_pb2.Entry(format=1)
        entry.operations.batch.CopyFrom(batch)
        refuse_unknown(entry.operations.batch)
        self.propose(entry, complete, len(batch.operations))

    def propose(self, entry: state_pb2.Entry, complete: Complete, operations: int = 0) -> None:
        """Queue an entry. ``complete`` is called once, when it is applied or when it surely never entered the log.

        Raises Redirect, Overloaded when too much waits, NoSpace while the disk is full, InternalError when the group
        is stopped; then ``complete`` is not called.
        """
        self._check_leads()
        if self._apply_again_at is not None or self._write_again_at is not None:
            raise NoSpace("the disk below the metaserver is full: what is logged waits")
        self._proposals.add(Proposal(entry, operations, entry.ByteSize(), complete))
        self._outside.announce(self)

    def _check_leads(self) -> None:
        if self.broken is not None:
            raise self.broken
        if not self.raft.is_leader:
            raise self.redirect()

    def redirect(self) -> Redirect:
        """Return the error that names the leader, as far as it is known."""
        leader = self._outside.address_of(self.raft.leader) if self.raft.leader else ""
        return Redirect(f"group {self.group_id} is led by another metaserver", leader=leader)

    # ----------------------------------------------------------------------------------- what comes in

    def step(self, message: Message) -> None:
        """Take a message from a peer. Call act() after the last of several."""
        if self.broken is not None:
            return
        if (
            self._apply_again_at is not None
            and self.raft.log.size_bytes > WAITING_BYTES_MAX
            and isinstance(message, Append)
        ):
            return  # nothing is forgotten before it is applied; the leader sends it again
        self.raft.step(message, self._clock.boottime_s())

    def tick(self) -> None:
        """Time has come on."""
        if self.broken is not None:
            return
        now = self._clock.boottime_s()
        due = False
        if self._apply_again_at is not None and now >= self._apply_again_at:
            self._apply_again_at, due = None, True
        if self._write_again_at is not None and now >= self._write_again_at:
            self._write_again_at, due = None, True
        if self.raft.tick(now) or due:
            self.act()

    def wake(self) -> None:
        """Somebody may be gone: be quiet no longer."""
        if self.broken is None:
            self.raft.wake(self._clock.boottime_s())

    def allow_leading(self, *, allowed: bool) -> None:
        """Let this server lead, or not, unless it is alone in the group."""
        if self.raft.may_lead != allowed:
            self.raft.may_lead = allowed
            if self.raft.is_leader and not allowed and self.broken is None:
                self._hand_over()

    def _hand_over(self) -> None:
        """Have the voter that has most of the log lead. If it does not, raft steps down at a tick.

        In a quiet group nobody would notice that; so the others are woken, too.
        """
        leadership, me = self.raft.leadership, self.raft.id
        voters = [one for one in self.raft.log.configuration.voters if one != me]
        self.wake()
        if leadership is not None and voters and leadership.transfer is None:
            to = max(voters, key=lambda voter: leadership.progress[voter].match)
            self.raft.transfer(to, self._clock.boottime_s())
        self.act()

    def suspect_leader(self) -> None:
        """There is no connection to the leader: it is probably gone."""
        if self.broken is None and self.raft.leader:
            self.raft.suspect(self._clock.boottime_s())

    def campaign(self) -> None:
        """Stand for election now."""
        if self.broken is None:
            self.raft.campaign(self._clock.boottime_s())
            self.act()

    def act(self) -> None:
        """Do what raft asks for."""
        if self.broken is not None:
            return
        self._take_ready()
        if self._to_apply and self._apply_again_at is None and not self.raft.is_installing:
            self._apply()
            if self.broken is not None:
                return
            if self._to_apply and self._apply_again_at is None:
                self._outside.go_on_soon(self)
        self._note_role()
        self._reads.applied(self.applied_index)
        self._announce()

    def _take_ready(self) -> None:
        ready = self.raft.ready(self._clock.boottime_s())
        if ready.messages:
            self._outside.send(self.group_id, ready.messages)
        if ready.snapshots:
            self._outside.snapshot_work(self, ready.snapshots)
        self._to_apply.extend(ready.committed)
        for read_id, index in ready.reads:
            self._reads.confirmed(read_id, index)

    def _announce(self) -> None:
        if self._write_again_at is None and (self.raft.needs_write or self._has_room_for_more()):
            self._outside.announce(self)

    def _has_room_for_more(self) -> bool:
        """Say whether something waits to become entries, and may."""
        log = self.raft.log
        return (
            (len(self._proposals) > 0 or len(self._follow_ups) > 0)
            and log.last_index - log.committed < UNCOMMITTED_MAX
            and log.size_bytes < UNCOMMITTED_BYTES_MAX
        )

    # -------------------------------------------------------------------------------- LogSource: the log

    def take(self) -> list[Record]:
        """Give what waits an index and a time: it goes into the next write, and to the peers."""
        if self.broken is not None or self._write_again_at is not None:
            return []
        if self._has_room_for_more():
            self._make_entries()
        write = self.raft.take_write()
        self._take_ready()
        if write is None:
            return []
        records: list[Record] = []
        if write.hard_state is not None:
            # First: a torn write leaves a prefix, and what it says of the entries before must not be lost with them.
            said = encode_hard_state(write.hard_state)
            records.append(Record(RecordType.HARD_STATE, self.group_id, write.hard_state.term, 0, said))
        for entry in write.entries:
            records.append(record_of(self.group_id, entry))
            self.bytes_since_checkpoint += len(entry.data)
        return records

    def appended(self) -> None:
        """Everything taken is durable."""
        self.raft.written(self._clock.boottime_s())

    def proceed(self) -> None:
        """Go on with what that allows."""
        self.act()

    def refused(self, error: NoSpace) -> None:
        """Nothing taken was appended."""
        self.raft.not_written()
        if self.raft.may_drop_unwritten:
            self.raft.drop_unwritten()
            self._proposals.dropped(self.raft.log.last_index, error)
            self._follow_ups.is_incomplete = True
        else:
            self._write_again_at = self._clock.boottime_s() + self._next_pause()
            self._proposals.refuse(error)
        self._note_idle()

    def _make_entries(self) -> None:
        if not self.raft.is_leader:
            return
        proposals = self._proposals.take()
        if self._follow_ups:
            proposals.append(self._follow_ups.take())  # one a write: they get on, and delay nobody
        now_ns = self._clock.time_ns()
        for proposal in proposals:
            proposal.entry.time_ns = now_ns
            self._metrics.taken(proposal.operations)
        datas = [proposal.entry.SerializeToString() for proposal in proposals]
        try:
            first = self.raft.propose(datas, self._clock.boottime_s())
        except CurveFSError as error:  # it is handing over its leadership
            for proposal in proposals:
                proposal.complete(error)
            return
        self._proposals.logged(first, self.raft.term, proposals)

    # -------------------------------------------------------------------------------------------- apply

    def _apply(self) -> None:
        """Apply what is committed in one transaction, and answer."""
        entries: list[Entry] = []
        size = 0
        while self._to_apply and len(entries) < _APPLY_ENTRIES_MAX and size < _APPLY_BYTES_MAX:
            entries.append(self._to_apply.popleft())
            size += len(entries[-1].data)
        began = time.perf_counter()
        try:
            outcomes = apply_entries(self.environment, entries)
        except NoSpace as error:
            self._to_apply.extendleft(reversed(entries))
            self._wait_for_room(error)
            return
        except NeedsNewerVersion as error:
            what = str(error)
            _log.error("an entry needs a newer version", group=self.group_id, after_index=self.applied_index, what=what)
            self.break_(Unavailable(f"group {self.group_id} is stopped here: its log needs a newer version: {error}"))
            return
        except Exception:  # noqa: BLE001  # a bug, contained
            # Every replica meets the same entry: ending the process would only end the other groups too.
            _log.exception("an entry cannot be applied", group=self.group_id, after_index=self.applied_index)
            self.break_(InternalError(f"group {self.group_id} is stopped: an entry cannot be applied"))
            return
        self._retry_s = _RETRY_S_FIRST
        self._metrics.applied(time.perf_counter() - began)
        for entry, outcome in zip(entries, outcomes, strict=True):
            proposal = self._proposals.applied(entry.index, entry.term)
            if outcome is not None:
                if proposal is not None:
                    proposal.complete(outcome)
                if self.raft.is_leader:
                    for follow_up in outcome.follow_ups:
                        self._follow_ups.add(follow_up)
        self._compact()
        if self.is_leader and not self._follow_ups and self._follow_ups.is_incomplete:
            self._resume()
        self._note_idle()
        self._tell_changed()

    def _tell_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        for callback in self._apply_watchers:
            callback()

    def _compact(self) -> None:
        """Forget entries that followers have, or that are too many (those then need a snapshot)."""
        log = self.raft.log
        size, count = log.size_bytes, log.last_index - log.base.index
        if size <= LOG_BYTES_SOFT and count <= LOG_ENTRIES_SOFT:
            return
        # Half is kept, so that it is not done again at once.
        end = min(log.applied, log.base.index + count // 2)
        if size <= LOG_BYTES_HARD and count <= LOG_ENTRIES_HARD and self.raft.leadership is not None:
            matches = [one.match for one in self.raft.leadership.progress.values()]
            end = min([end, *matches])
        self.raft.compact(end)

    def _wait_for_room(self, error: NoSpace) -> None:
        """Try again later; refuse what waits meanwhile. The entries are in the log: nothing is lost."""
        pause_s = self._next_pause()
        _log.error("applying waits for room", group=self.group_id, reason=str(error), again_in_s=pause_s)
        self._apply_again_at = self._clock.boottime_s() + pause_s
        self._proposals.refuse(error)

    def _next_pause(self) -> float:
        pause_s = self._retry_s
        self._retry_s = min(2 * pause_s, _RETRY_S_MAX)
        return pause_s

    def _note_idle(self) -> None:
        if self.idle:
            self._became_idle.set()

    # ------------------------------------------------------------------------------------- leadership

    def _note_role(self) -> None:
        """Act upon a leadership that began or ended."""
        if self._led_term and not (self.raft.is_leader and self.raft.term == self._led_term):
            _log.info("leads a group no longer", group=self.group_id, term=self._led_term)
            self._led_term = 0
            self._follow_ups.clear()
            self._tell_leadership(leads=False)
        if not self._led_term and self.raft.is_established and not self._to_apply:
            self._led_term = self.raft.term
            _log.info("leads a group", group=self.group_id, term=self.raft.term)
            self._resume()
            self._tell_leadership(leads=True)
        if not (self.raft.is_leader or (self._proposals.idle and not self._reads)):
            error = self.redirect()
            self._proposals.give_up(error)
            self._reads.fail(error)
            self._note_idle()

    def _tell_leadership(self, *, leads: bool) -> None:
        self._tell_changed()
        for callback in self._leadership_watchers:
            callback(leads)

    def _resume(self) -> None:
        """Go on with what the state says is unfinished."""
        with self.environment.read() as view:
            self._follow_ups.begin(unfinished(view))

    # --------------------------------------------------------------------------------------------- ends

    def installed(self, base: Base, configuration: Configuration) -> None:
        """A snapshot has taken the state's place. Call act() afterwards."""
        self._to_apply.clear()
        self.raft.installed(base, configuration)
        self._tell_changed()

    def break_(self, error: CurveFSError) -> None:
        """Serve no more, for instance because a bug met an entry that cannot be applied; tell everybody who waits."""
        self.broken = error
        _log.critical("a group is stopped", group=self.group_id, reason=str(error))
        self._end(error)

    def close(self, error: CurveFSError) -> None:
        """Serve no more; tell everybody who waits. The environment is the caller's to close."""
        self.broken = error
        self._end(error)

    def _end(self, error: CurveFSError) -> None:
        self._proposals.give_up(error)
        self._reads.fail(error)
        self._note_idle()
        if self._led_term:
            self._led_term = 0
            self._tell_leadership(leads=False)
