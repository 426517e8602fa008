"""Routes operations and reads to the metaserver that leads their partition, and keeps at it until the deadline.

A partition belongs to a group, a group has a leader, a leader has an address, an address has one stream. Redirects
and broken connections make the router ask the MDS again where the partitions are. When the session is over, a
new one is opened: what was never sent goes on under it, what was sent has an unknown outcome and fails (rule 8).

Shared across awaits: the tables below; they change in code without awaits only. A caller that resumes after an
await looks everything up afresh.
"""

import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
import trio

from ....proto import mds_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import (
    CurveFSError,
    IOFailure,
    Locked,
    Overloaded,
    Redirect,
    SessionEnded,
    Unavailable,
    WrongPartition,
)
from ...common.status import error_of, error_of_code
from ...rpc.lane import NEVER_SENT, Lane
from ...rpc.trio_stream import MetaserverStream, StreamListener
from .session import MountSession

log = structlog.get_logger()

RETRY_S = 0.05
REFRESH_S = 1.0

T = TypeVar("T")
Effect = Callable[[pb.OperationResult], None]


class _Answer(Generic[T]):
    """A slot for one answer, and the task that sleeps on it."""

    __slots__ = ("_task", "value")

    def __init__(self) -> None:
        self.value: T | CurveFSError | None = None
        self._task: trio.lowlevel.Task | None = None

    def set(self, value: T | CurveFSError) -> None:
        self.value = value
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        if self.value is not None:
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class Router(StreamListener):
    """See the module. ``timeout_s``: how long a caller waits for its answer before EIO."""

    def __init__(
        self, session: MountSession, *, timeout_s: float, on_new_session: Callable[[], None] = lambda: None
    ) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._on_new_session = on_new_session
        self._partitions: dict[int, int] = {}  # partition -> group
        self._leaders: dict[int, str] = {}  # group -> address
        self._streams: dict[str, MetaserverStream] = {}
        self._read_ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._session_lost = trio.Event()
        self._replacing = False
        self._usable = trio.Event()
        self._refresh = trio.Event()

    # ----------------------------------------------------------------------------------------- for callers

    async def operate(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None = None
    ) -> pb.OperationResult:
        """Have an operation applied, once, and return its result.

        ``effect`` is called with a successful result when it arrives, in the order of the lane, before anything
        else runs. Raises what the result says; SessionEnded and IOFailure leave the outcome unknown.
        """
        deadline = trio.current_time() + self._timeout_s
        while True:
            outcome = await self._submit(partition_id, operation, effect, deadline)
            if isinstance(outcome, SessionEnded) and str(outcome) == NEVER_SENT:
                continue
            if isinstance(outcome, CurveFSError):
                raise outcome
            if not outcome.status:
                return outcome
            error = error_of_code(outcome.status, outcome.message)
            if not isinstance(error, Locked):
                raise error
            await trio.sleep(RETRY_S)

    async def read(self, partition_id: int, read: pb.Read) -> pb.ReadResult:
        """Have a read answered by the leader. Raises what the answer says, IOFailure after the deadline."""
        deadline = trio.current_time() + self._timeout_s
        while True:
            outcome = await self._send_read(partition_id, read, deadline)
            if isinstance(outcome, pb.ReadResult):
                if not outcome.HasField("failure"):
                    return outcome
                outcome = error_of(outcome.failure)
            if isinstance(outcome, WrongPartition | Redirect):
                self._refresh.set()
            elif not isinstance(outcome, Unavailable | Overloaded):
                raise outcome
            await trio.sleep(RETRY_S)

    async def _submit(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None, deadline: float
    ) -> pb.OperationResult | CurveFSError:
        answer: _Answer[pb.OperationResult] = _Answer()

        def complete(outcome: pb.OperationResult | CurveFSError) -> None:
            if effect is not None and isinstance(outcome, pb.OperationResult) and not outcome.status:
                effect(outcome)
            answer.set(outcome)

        with trio.move_on_at(deadline):
            if not self._usable.is_set():
                await self._usable.wait()
            stream, group_id = self._stream_of(partition_id)
            sequence = stream.submit(group_id, operation, complete)
            try:
                await answer.wait()
            finally:
                if answer.value is None:
                    self._abandon(group_id, sequence)
        return answer.value or IOFailure(f"no metaserver answered within {self._timeout_s:.0f} s")

    async def _send_read(self, partition_id: int, read: pb.Read, deadline: float) -> pb.ReadResult | CurveFSError:
        answer: _Answer[pb.ReadResult] = _Answer()
        read.read_id = 0  # a repetition is a read of its own
        with trio.move_on_at(deadline):
            if not self._usable.is_set():
                await self._usable.wait()
            stream, group_id = self._stream_of(partition_id)
            read_id = stream.read(group_id, read, answer.set)
            try:
                await answer.wait()
            finally:
                if answer.value is None:
                    for one in self._streams.values():
                        one.cancel_read(read_id)
        return answer.value or IOFailure(f"no metaserver answered within {self._timeout_s:.0f} s")

    @property
    def partition_count(self) -> int:
        """Return how many partitions the filesystem has."""
        return len(self._partitions)

    @property
    def connected(self) -> bool:
        """True when every stream has the session open."""
        return bool(self._streams) and all(stream.connected for stream in self._streams.values())

    # ------------------------------------------------------------------------------------------ background

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the streams, the session's renewal and its replacement, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._place(self._session.partitions)
            self._usable.set()
            nursery.start_soon(self._refresh_loop)
            task_status.started()
            while True:
                self._session_lost = trio.Event()
                async with trio.open_nursery() as renewal:
                    renewal.start_soon(self._renew, renewal.cancel_scope)
                    await self._session_lost.wait()
                    renewal.cancel_scope.cancel()
                await self._replace_session()

    async def _renew(self, scope: trio.CancelScope) -> None:
        await self._session.renew_until_over()
        self._session_lost.set()
        scope.cancel()

    async def _replace_session(self) -> None:
        """The session is over: fail what was sent, open a new one, go on with fresh lanes."""
        self._usable = trio.Event()
        self._replacing = True
        detached = [stream.detach(group) for stream in self._streams.values() for group in stream.groups]
        for lane, reads in detached:
            lane.end()
            for _, complete in reads:
                complete(Unavailable())  # a read has no outcome to doubt: it is sent again
        while True:
            try:
                await self._session.open()
                break
            except CurveFSError as error:
                log.warning("no new session", reason=str(error))
                await trio.sleep(REFRESH_S)
        log.info("a new session is open", filesystem=self._session.filesystem.name)
        self._on_new_session()
        self._replacing = False
        self._place(self._session.partitions)
        for stream in self._streams.values():
            stream.reconnect()
        self._usable.set()

    async def _refresh_loop(self) -> None:
        """Ask the MDS where the partitions are, when something suggests that they moved."""
        while True:
            await self._refresh.wait()
            self._refresh = trio.Event()
            try:
                self._place(await self._session.list_partitions())
            except CurveFSError as error:
                log.warning("the partitions could not be listed", reason=str(error))
            await trio.sleep(REFRESH_S)

    # ---------------------------------------------------------------------------------------------- tables

    def _place(self, partitions: list[mds_pb2.Partition]) -> None:
        """Take the MDS's word on where each partition is."""
        for partition in partitions:
            self._partitions[partition.partition_id] = partition.group_id
            leader = partition.leader or (partition.peers[0].address if partition.peers else "")
            if leader:
                self._move(partition.group_id, leader)

    def _move(self, group_id: int, address: str) -> None:
        """Have a group's lane on the stream of its leader."""
        if self._replacing:
            return  # a lane belongs to a session, and there is none
        stream = self._stream_to(address)
        if group_id in stream.groups:
            return
        before = self._leaders.get(group_id)
        self._leaders[group_id] = address
        if before is not None and group_id in self._streams[before].groups:
            lane, reads = self._streams[before].detach(group_id)
        else:
            session = self._session
            lane, reads = Lane(session.filesystem.fs_id, session.session_id, group_id), []
        stream.attach(lane, reads)

    def _stream_to(self, address: str) -> MetaserverStream:
        stream = self._streams.get(address)
        if stream is None:
            assert self._nursery is not None, "the router runs"
            stream = self._streams[address] = MetaserverStream(address, self._session.credentials, self, self._read_ids)
            self._nursery.start_soon(stream.run)
        return stream

    def _stream_of(self, partition_id: int) -> tuple[MetaserverStream, int]:
        group_id = self._partitions.get(partition_id)
        if group_id is None:
            self._refresh.set()
            raise IOFailure(f"partition {partition_id} is unknown")
        return self._streams[self._leaders[group_id]], group_id

    def _abandon(self, group_id: int, sequence: int) -> None:
        address = self._leaders.get(group_id)
        if address is not None:
            self._streams[address].abandon(group_id, sequence)

    # ------------------------------------------------------------------------------- what streams tell us

    def on_redirect(self, group_id: int, leader: str) -> None:
        """Follow to the leader that was named, else ask the MDS."""
        if leader:
            self._move(group_id, leader)
        else:
            self._refresh.set()

    def on_session_ended(self, session_id: bytes) -> None:
        """Open a new session, unless that has happened already."""
        if session_id == self._session.session_id:
            self._session_lost.set()

    def on_disconnected(self, address: str) -> None:
        """A metaserver that went away may come back elsewhere."""
        log.info("metaserver connection lost", metaserver=address)
        self._refresh.set()

    def on_connected(self, address: str) -> None:
        """Note it."""
        log.info("metaserver connected", metaserver=address)
