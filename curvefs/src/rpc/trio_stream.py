"""The client's stream with one metaserver, under trio: the calls of all groups that this metaserver leads.

A group is first presented (a Hello that names it), and attached once the metaserver has opened it; from then on its
calls flow here. What the metaserver says against a group, at the Hello or later, goes to the listener, which looks for
the leader and takes the group away. Groups come and go on one connection, so that the others' calls go on.

A Hello is answered at once, by a Welcome; each of its groups by a lane, when the group was opened or has refused. One
that can do neither holds no other back: it is turned away after LANE_S. At most one Hello waits for its Welcome; groups
that are to be presented meanwhile go together in the next.

A connection is made when there is a group to present, and lives until it breaks, or stays silent: answers are due and
no frame comes for SILENT_S, although it was asked for a sign of life in between (a Hello is one).

Shared across awaits: the tables of groups. They are only touched in code without awaits: by the listener's calls, by
frames arriving (a callback of the event loop), and by the task of run().
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from ...proto import metaserver_pb2 as pb
from ..common.errors import (
    CurveFSError,
    NoSpace,
    Overloaded,
    SequenceGap,
    SessionEnded,
    TokenRefused,
    Unavailable,
    Unreachable,
)
from ..common.status import error_of
from .backoff import PAUSE_S_FIRST, PAUSE_S_MAX, Random, pause_s
from .connection import Connect, Connection
from .group_calls import GroupCalls
from .transactions import Transaction

log = structlog.get_logger()

PROTOCOL_VERSION = 1
SIGN_OF_LIFE_S = 0.6
SILENT_S = 1.5
LANE_S = 10.0  # a metaserver that works says within 6 s that a group cannot be opened
OVERLOADED_S_FIRST, OVERLOADED_S_MAX = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a Hello presents."""

    fs_id: int
    session_id: bytes
    token: bytes


class StreamListener:
    """What a stream tells its owner; all calls come from the event loop, none may block."""

    def on_welcome(self, address: str, group_id: int) -> None:
        """The session is open in the group, which is led here: it may be attached."""

    def on_turned_away(self, address: str, group_id: int, error: CurveFSError) -> None:
        """The group is not led here, not ready, or cannot be reached here. It is neither presented nor attached now."""

    def on_session_ended(self, session_id: bytes) -> None:
        """The session is over."""

    def on_token_refused(self, session_id: bytes) -> None:
        """The session's token was refused: it may have expired."""


class MetaserverStream:
    """See the module. One metaserver, all sessions of a mount in turn."""

    def __init__(
        self,
        address: str,
        credentials: Callable[[], Credentials],
        listener: StreamListener,
        *,
        connect: Connect,
        random: Random,
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._listener = listener
        self._connect = connect
        self._random = random
        self._attached: dict[int, GroupCalls] = {}
        self._owing: set[int] = set()  # groups taken away while answers were due on this connection
        self._to_present: dict[int, None] = {}  # in order; not yet in a Hello
        self._presented: frozenset[int] | None = None  # in the Hello whose Welcome is due
        self._opening: dict[int, float] = {}  # groups whose lane is due -> until when; the first comes first
        self._connection: Connection | None = None
        self._reset = trio.Event()  # the connection is to be given up without a word
        self._wanted = trio.Event()
        self._unanswered_since: float | None = None
        self._alarm_at: float | None = None  # when _resume_loop wakes
        self._alarm_changed = trio.Event()
        self._asked = trio.Event()
        self._failures = 0  # to connect, in a row
        self._welcomed = False  # on this connection
        self._last_refusal = ""

    # ------------------------------------------------------------------------------------- for the owner

    @property
    def connected(self) -> bool:
        """True while a metaserver answers on the connection."""
        return self._connection is not None and self._welcomed

    def present(self, group_id: int) -> None:
        """Ask the metaserver to open the session in a group; the answer is on_welcome() or on_turned_away()."""
        if group_id in self._opening or (self._presented is not None and group_id in self._presented):
            return
        self._to_present[group_id] = None
        self._wanted.set()
        self._say_hello()

    def withdraw(self, group_id: int) -> None:
        """The group was welcomed elsewhere."""
        self._to_present.pop(group_id, None)

    def attach(self, calls: GroupCalls) -> None:
        """Have a welcomed group's calls flow here, beginning with everything unanswered."""
        calls.rewind(owed=calls.group_id in self._owing)
        self._attached[calls.group_id] = calls
        self.flush()

    def detach(self, group_id: int) -> None:
        """Have a group's calls flow here no more."""
        calls = self._attached.pop(group_id, None)
        if calls is not None and calls.lane.in_flight:
            self._owing.add(group_id)

    def reset(self) -> None:
        """Forget all groups and the connection: the session is another one."""
        self._attached.clear()
        self._to_present.clear()
        self._presented = None
        self._opening.clear()
        self._connection = None
        self._reset.set()

    def flush(self) -> None:
        """Send everything that may go now, in one frame."""
        if self._connection is None or not self._attached:
            return
        now = trio.current_time()
        frame = pb.ClientFrame()
        for calls in self._attached.values():
            calls.add_to(frame, now)
            if (due := calls.next_due(now)) is not None:
                self._wake_at(due)
        if frame.operations or frame.reads or frame.transactions:
            self._send(frame, now)

    # -------------------------------------------------------------------------------------- connection

    async def run(self) -> None:
        """Connect whenever there is a group to present, until cancelled."""
        while True:
            if not self._to_present:
                self._wanted = trio.Event()
                await self._wanted.wait()
            await self._live_once()
            if not self._reset.is_set():
                self._turn_all_away()
            self._failures = 0 if self._welcomed else self._failures + 1
            await trio.sleep(pause_s(self._failures, self._random))

    def _turn_all_away(self) -> None:
        lost = [*self._attached, *self._to_present, *(self._presented or ()), *self._opening]
        self._attached.clear()
        self._to_present.clear()
        self._presented = None
        self._opening.clear()
        for group_id in dict.fromkeys(lost):
            self._listener.on_turned_away(self.address, group_id, Unreachable(f"{self.address} does not answer"))

    async def _live_once(self) -> None:
        """Make one connection and see it through."""
        self._reset = trio.Event()
        self._welcomed = False
        self._presented = None
        self._owing.clear()
        self._unanswered_since = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._first, self._reset.wait, nursery.cancel_scope)
                await self._be_connected()
                nursery.cancel_scope.cancel()
        finally:
            self._connection = None
        if self._welcomed:
            log.info("metaserver connection lost", metaserver=self.address)

    async def _be_connected(self) -> None:
        try:
            connection = await self._connect(self.address, self._on_frame)
        except Unreachable as error:
            self._note_refusal("a metaserver is not reached", error)
            return
        self._connection = connection
        self._say_hello()
        async with trio.open_nursery() as nursery:
            for way_to_end in (connection.run, self._until_silent):
                nursery.start_soon(self._first, way_to_end, nursery.cancel_scope)
            nursery.start_soon(self._resume_loop)

    @staticmethod
    async def _first(ends: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        await ends()
        scope.cancel()

    async def _until_silent(self) -> None:
        """Return when answers are due and no frame has come for too long; ask for a sign of life before."""
        while True:
            since = self._unanswered_since
            if since is None:
                self._asked = trio.Event()
                await self._asked.wait()
                continue
            now = trio.current_time()
            if now >= since + SILENT_S:
                log.warning("a metaserver is silent", metaserver=self.address, seconds=round(now - since, 1))
                return
            if now >= since + SIGN_OF_LIFE_S:
                self._say_hello(sign_of_life=True)
                await trio.sleep_until(since + SILENT_S)
            else:
                await trio.sleep_until(since + SIGN_OF_LIFE_S)

    async def _resume_loop(self) -> None:
        """Send what had to wait for its time."""
        while True:
            self._alarm_changed = trio.Event()
            at = self._alarm_at
            with trio.move_on_at(float("inf") if at is None else at) as waiting:
                await self._alarm_changed.wait()
            if waiting.cancelled_caught:
                self._alarm_at = None
                self._turn_late_away()
                self.flush()

    def _turn_late_away(self) -> None:
        """Wait no longer for lanes that are overdue."""
        now = trio.current_time()
        for group_id, until in list(self._opening.items()):
            if until > now:
                self._wake_at(until)
                break
            del self._opening[group_id]
            error = Unavailable(f"{self.address} does not say whether the group is open")
            self._listener.on_turned_away(self.address, group_id, error)

    def _wake_at(self, at: float) -> None:
        if self._alarm_at is None or at < self._alarm_at:
            self._alarm_at = at
            self._alarm_changed.set()

    # ------------------------------------------------------------------------------------------- sending

    def _say_hello(self, *, sign_of_life: bool = False) -> None:
        if self._connection is None or self._presented is not None or not (self._to_present or sign_of_life):
            return
        self._presented = frozenset(self._to_present)
        self._to_present.clear()
        credentials = self._credentials()
        hello = pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            fs_id=credentials.fs_id,
            session_id=credentials.session_id,
            token=credentials.token,
            groups=sorted(self._presented),
        )
        self._send(pb.ClientFrame(hello=hello), trio.current_time())

    def _send(self, frame: pb.ClientFrame, now: float) -> None:
        assert self._connection is not None
        self._connection.send(frame)
        if self._unanswered_since is None:
            self._unanswered_since = now
            self._asked.set()

    # ------------------------------------------------------------------------------------------- answers

    def _on_frame(self, frame: pb.ServerFrame) -> None:
        if self._connection is None:
            return
        if frame.HasField("welcome"):
            self._on_welcome(frame.welcome)
        for lane in frame.lanes:
            self._on_lane(lane)
        for results in frame.operations:
            calls = self._attached.get(results.group_id)
            if calls is not None:
                error = calls.on_operations(results)
                if error is not None:
                    self._on_refusal(calls, error)
        for reply in frame.transactions:
            calls = self._attached.get(reply.group_id)
            if calls is not None:
                again = calls.on_transaction(reply)
                if again is not None:
                    self._on_transaction_refused(calls, *again)
        for batch in frame.reads:
            for result in batch.results:
                self._on_read(result)
        self.flush()
        due = self._presented is not None or self._opening or any(calls.in_flight for calls in self._attached.values())
        self._unanswered_since = trio.current_time() if due else None

    def _on_welcome(self, welcome: pb.Welcome) -> None:
        presented, self._presented = self._presented or frozenset(), None
        if welcome.HasField("failure"):
            error = error_of(welcome.failure)
            self._note_refusal("a session was refused", error)
            self._on_refused_session(error)
            for group_id in sorted(presented):
                self._listener.on_turned_away(self.address, group_id, error)
        else:
            if not self._welcomed:
                self._welcomed = True
                self._last_refusal = ""
                log.info("metaserver connected", metaserver=self.address)
            if presented:
                until = trio.current_time() + LANE_S
                self._opening |= dict.fromkeys(sorted(presented), until)
                self._wake_at(until)
        self._say_hello()

    def _on_lane(self, lane: pb.Lane) -> None:
        if self._opening.pop(lane.group_id, None) is None:
            return  # nobody waits for it any more
        if not lane.HasField("failure"):
            self._listener.on_welcome(self.address, lane.group_id)
            return
        error = error_of(lane.failure)
        self._on_refused_session(error)
        self._listener.on_turned_away(self.address, lane.group_id, error)

    def _on_refused_session(self, error: CurveFSError) -> None:
        """Pass on what is about the session, if it is."""
        if isinstance(error, SessionEnded):
            self._listener.on_session_ended(self._credentials().session_id)
        elif isinstance(error, TokenRefused):
            self._listener.on_token_refused(self._credentials().session_id)

    def _note_refusal(self, event: str, error: CurveFSError) -> None:
        """Log why this metaserver is of no use, once as long as it is for the same reason."""
        if str(error) != self._last_refusal:
            self._last_refusal = str(error)
            log.warning(event, metaserver=self.address, reason=str(error))

    def _on_read(self, result: pb.ReadResult) -> None:
        for calls in list(self._attached.values()):
            mine, error = calls.on_read(result)
            if error is not None:
                self._on_refusal(calls, error)
            if mine:
                return

    def _on_refusal(self, calls: GroupCalls, error: CurveFSError) -> None:
        """A group's answer said that nothing was decided: wait a little, or have the listener look for the leader."""
        match error:
            case SequenceGap():
                if error.expected_sequence <= calls.lane.acknowledged:
                    log.error("a group has lost acknowledged operations", group=calls.group_id, reason=str(error))
                self._pause(calls, PAUSE_S_FIRST, PAUSE_S_MAX)
            case NoSpace():
                calls.refusals += 1
                calls.pause_changes(trio.current_time() + pause_s(calls.refusals, self._random))
            case Overloaded():
                self._pause(calls, OVERLOADED_S_FIRST, OVERLOADED_S_MAX, error.retry_after_ms / 1000)
            case SessionEnded():
                self.detach(calls.group_id)
                self._listener.on_session_ended(calls.session_id)
            case _:
                self.detach(calls.group_id)
                self._listener.on_turned_away(self.address, calls.group_id, error)

    def _pause(self, calls: GroupCalls, first_s: float, max_s: float, least_s: float = 0.0) -> None:
        calls.refusals += 1
        wait_s = max(least_s, pause_s(calls.refusals, self._random, first_s=first_s, max_s=max_s))
        calls.pause(trio.current_time() + wait_s)

    def _on_transaction_refused(self, calls: GroupCalls, transaction: Transaction, error: CurveFSError) -> None:
        """Unavailable and Overloaded are about this transaction alone: locked for too long, too many under way."""
        if not isinstance(error, Overloaded | Unavailable):
            calls.transactions.send_again(transaction, 0.0)
            self._on_refusal(calls, error)
            return
        transaction.refusals += 1
        if isinstance(error, Overloaded):
            wait_s = pause_s(transaction.refusals, self._random, first_s=OVERLOADED_S_FIRST, max_s=OVERLOADED_S_MAX)
            wait_s = max(wait_s, error.retry_after_ms / 1000)
        else:
            wait_s = pause_s(transaction.refusals, self._random)
        calls.transactions.send_again(transaction, trio.current_time() + wait_s)
