"""The client's stream with one metaserver, under trio.

A stream carries the lanes and reads of all groups that this metaserver leads. gRPC's blocking stream is used from
trio: a thread of its own reads frames and hands them to the event loop; sending is a put into a queue that
gRPC drains. That costs about 190 us a round trip, half of a unary call.

The stream reconnects for ever, with back-off; lanes and reads wait meanwhile, each caller with its own
deadline. After a reconnect the session is presented again (Hello) and everything unanswered is sent again.

Shared across awaits: lanes, reads and `_outbox`. They are only touched in code without awaits: by callers
(submit, read), by frames arriving (a callback of the event loop), and by the connection task.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import structlog
import trio

from ...proto import metaserver_pb2 as pb
from ...proto import metaserver_pb2_grpc
from ..common.errors import (
    CurveFSError,
    NoSpace,
    Overloaded,
    Redirect,
    SequenceGap,
    SessionEnded,
    SessionUnknown,
    TokenRefused,
    VersionUnsupported,
    WrongPartition,
)
from ..common.status import error_of
from .lane import Completion, Lane
from .replies import CHANNEL_OPTIONS

log = structlog.get_logger()

PROTOCOL_VERSION = 1
READS_PER_FRAME_MAX = 256
WELCOME_TIMEOUT_S = 5.0
BACKOFF_S_FIRST = 0.05
BACKOFF_S_MAX = 1.0

ReadCompletion = Callable[[pb.ReadResult | CurveFSError], None]


@dataclass(slots=True)
class _ReadCall:
    group_id: int
    read: pb.Read
    complete: ReadCompletion


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a Hello presents."""

    fs_id: int
    session_id: bytes
    token: bytes


class StreamListener:
    """What a stream tells its owner; all calls come from the event loop, none may block."""

    def on_redirect(self, group_id: int, leader: str) -> None:
        """The group is led elsewhere ('' when unknown)."""

    def on_session_ended(self, session_id: bytes) -> None:
        """The session is over, or its token was refused."""

    def on_disconnected(self, address: str) -> None:
        """The connection broke or could not be made; it is tried again."""

    def on_connected(self, address: str) -> None:
        """The session is open on this metaserver."""


class MetaserverStream:
    """Lanes and reads of the groups that one metaserver leads."""

    def __init__(
        self,
        address: str,
        credentials: Callable[[], Credentials],
        listener: StreamListener,
        read_ids: Iterator[int],
    ) -> None:
        self.address = address
        self._read_ids = read_ids  # shared by all streams of a mount: a read keeps its id when it moves
        self._credentials = credentials
        self._listener = listener
        self._lanes: dict[int, Lane] = {}
        self._reads: dict[int, _ReadCall] = {}
        self._unsent_reads: list[int] = []
        self._connection: _Connection | None = None  # set while operations may flow
        self._blocked: dict[int, float] = {}  # group -> not before this trio time
        self._wake = trio.Event()

    # ------------------------------------------------------------------------------------ for callers

    @property
    def groups(self) -> list[int]:
        """Return the groups attached."""
        return list(self._lanes)

    @property
    def connected(self) -> bool:
        """True while the session is open on this metaserver."""
        return self._connection is not None

    def attach(self, lane: Lane, reads: list[tuple[pb.Read, ReadCompletion]]) -> None:
        """Take over a group, with the reads that wait for it."""
        lane.rewind()
        self._lanes[lane.group_id] = lane
        for read, complete in reads:
            self._queue_read(lane.group_id, read, complete)
        if self._connection is not None:
            self._connection.broken()  # the new group is presented with the next Hello

    def detach(self, group_id: int) -> tuple[Lane, list[tuple[pb.Read, ReadCompletion]]]:
        """Give a group away, with the reads that wait for it."""
        lane = self._lanes.pop(group_id)
        mine = [read_id for read_id, call in self._reads.items() if call.group_id == group_id]
        calls = [self._reads.pop(read_id) for read_id in mine]
        return lane, [(call.read, call.complete) for call in calls]

    def submit(self, group_id: int, operation: pb.Operation, complete: Completion) -> int:
        """Queue an operation and send it unless enough is under way. Returns its number."""
        sequence = self._lanes[group_id].submit(operation, complete)
        self._flush()
        return sequence

    def abandon(self, group_id: int, sequence: int) -> None:
        """Nobody waits for this operation any more."""
        lane = self._lanes.get(group_id)
        if lane is not None:
            lane.abandon(sequence)

    def read(self, group_id: int, read: pb.Read, complete: ReadCompletion) -> int:
        """Send a read. Returns its id, for cancel_read()."""
        read_id = self._queue_read(group_id, read, complete)
        self._flush()
        return read_id

    def cancel_read(self, read_id: int) -> None:
        """Nobody waits for this read any more. Ids are unique in the process: a read may have moved here."""
        self._reads.pop(read_id, None)

    def reconnect(self) -> None:
        """Present the (new) session again."""
        if self._connection is not None:
            self._connection.broken()
        self._wake.set()

    # ------------------------------------------------------------------------------------- connection

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        backoff_s = BACKOFF_S_FIRST
        while True:
            connection = _Connection(self.address, trio.lowlevel.current_trio_token())
            try:
                welcomed = await self._open(connection)
                if welcomed:
                    backoff_s = BACKOFF_S_FIRST
                    self._connection = connection
                    self._listener.on_connected(self.address)
                    connection.deliver = self._on_frame
                    for frame in connection.drain():
                        self._on_frame(frame)
                    self._flush()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._unblock_loop)
                        await connection.ended.wait()
                        nursery.cancel_scope.cancel()
            finally:
                self._connection = None
                connection.close()
            for lane in self._lanes.values():
                lane.rewind()
            self._unsent_reads = list(self._reads)
            self._listener.on_disconnected(self.address)
            self._wake = trio.Event()
            with trio.move_on_after(backoff_s):
                await self._wake.wait()
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _open(self, connection: "_Connection") -> bool:
        """Say Hello and take the Welcome; False when the session could not be opened here now."""
        credentials = self._credentials()
        hello = pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            fs_id=credentials.fs_id,
            session_id=credentials.session_id,
            token=credentials.token,
            groups=sorted(self._lanes),
        )
        connection.send(pb.ClientFrame(hello=hello))
        with trio.move_on_after(WELCOME_TIMEOUT_S):
            frame = await connection.first_frame()
            if frame is None or not frame.HasField("welcome"):
                return False
            return self._welcomed(frame.welcome, credentials)
        return False

    def _welcomed(self, welcome: pb.Welcome, credentials: Credentials) -> bool:
        if welcome.HasField("failure"):
            error = error_of(welcome.failure)
            log.warning("session refused", metaserver=self.address, reason=str(error))
            if isinstance(error, SessionEnded | TokenRefused):
                self._listener.on_session_ended(credentials.session_id)
            elif isinstance(error, VersionUnsupported):
                log.error("the metaserver speaks another protocol version", metaserver=self.address)
            return False
        for state in welcome.lanes:
            if not state.HasField("failure"):
                continue
            error = error_of(state.failure)
            if isinstance(error, SessionEnded):
                self._listener.on_session_ended(credentials.session_id)
                return False
            if isinstance(error, Redirect | WrongPartition):
                leader = error.leader if isinstance(error, Redirect) else ""
                self._listener.on_redirect(state.group_id, leader)
            self._block(state.group_id, BACKOFF_S_MAX)
        return True

    # ------------------------------------------------------------------------------------------ frames

    def _on_frame(self, frame: pb.ServerFrame) -> None:
        for results in frame.operations:
            lane = self._lanes.get(results.group_id)
            if lane is None:
                continue
            refusal = lane.on_results(results)
            if refusal is not None:
                self._on_refusal(lane, refusal)
        for batch in frame.reads:
            for result in batch.results:
                call = self._reads.pop(result.read_id, None)
                if call is not None:
                    self._on_read(call, result)
        self._flush()

    def _on_refusal(self, lane: Lane, error: CurveFSError) -> None:
        match error:
            case SequenceGap() | NoSpace():
                self._block(lane.group_id, BACKOFF_S_FIRST)
            case Redirect():
                self._listener.on_redirect(lane.group_id, error.leader)
                self._block(lane.group_id, BACKOFF_S_FIRST)
            case Overloaded():
                self._block(lane.group_id, max(BACKOFF_S_FIRST, error.retry_after_ms / 1000))
            case SessionEnded():
                self._listener.on_session_ended(lane.session_id)
                self._block(lane.group_id, BACKOFF_S_MAX)
            case SessionUnknown():
                assert self._connection is not None
                self._connection.broken()
            case _:
                log.warning("batch refused", metaserver=self.address, group=lane.group_id, reason=str(error))
                self._block(lane.group_id, BACKOFF_S_MAX / 4)

    def _on_read(self, call: _ReadCall, result: pb.ReadResult) -> None:
        if result.HasField("failure"):
            error = error_of(result.failure)
            if isinstance(error, Redirect):
                self._listener.on_redirect(call.group_id, error.leader)
        call.complete(result)

    # ------------------------------------------------------------------------------------------ sending

    def _queue_read(self, group_id: int, read: pb.Read, complete: ReadCompletion) -> int:
        read_id = read.read_id or next(self._read_ids)
        read.read_id = read_id
        self._reads[read_id] = _ReadCall(group_id, read, complete)
        self._unsent_reads.append(read_id)
        return read_id

    def _flush(self) -> None:
        """Send everything that may go now, in one frame."""
        connection = self._connection
        if connection is None:
            return
        frame: pb.ClientFrame | None = None
        for lane in self._lanes.values():
            if lane.group_id in self._blocked:
                continue
            while (batch := lane.next_batch()) is not None:
                frame = frame or pb.ClientFrame()
                frame.operations.append(batch)
        if self._unsent_reads:
            frame = frame or pb.ClientFrame()
            self._add_reads(frame)
        if frame is not None:
            connection.send(frame)

    def _add_reads(self, frame: pb.ClientFrame) -> None:
        batches: dict[int, pb.ReadBatch] = {}
        fs_id = self._credentials().fs_id
        for read_id in self._unsent_reads:
            call = self._reads.get(read_id)
            if call is None:
                continue
            batch = batches.get(call.group_id)
            if batch is None:
                batch = batches[call.group_id] = frame.reads.add(fs_id=fs_id, group_id=call.group_id)
            batch.reads.append(call.read)
        self._unsent_reads = []

    def _block(self, group_id: int, delay_s: float) -> None:
        self._blocked[group_id] = trio.current_time() + delay_s
        self._wake.set()

    async def _unblock_loop(self) -> None:
        """Let refused groups try again when their pause is over."""
        while True:
            if not self._blocked:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            await trio.sleep_until(min(self._blocked.values()))
            now = trio.current_time()
            self._blocked = {group: until for group, until in self._blocked.items() if until > now}
            self._flush()


class _Connection:
    """One attempt: a channel, a request queue that gRPC drains, and a thread that reads the answers."""

    def __init__(self, address: str, token: trio.lowlevel.TrioToken) -> None:
        self.ended = trio.Event()
        self.deliver: Callable[[pb.ServerFrame], None] | None = None
        self._token = token
        self._arrived: list[pb.ServerFrame] = []
        self._first = trio.Event()
        self._requests: queue.SimpleQueue[pb.ClientFrame | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        stub = metaserver_pb2_grpc.MetaServerServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._call = stub.Session(iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._read, args=(self._call,), name=f"stream {address}", daemon=True)
        self._thread.start()

    def send(self, frame: pb.ClientFrame) -> None:
        """Queue a frame; gRPC's own thread writes it."""
        self._requests.put(frame)

    async def first_frame(self) -> pb.ServerFrame | None:
        """Wait for the first frame; None when the connection ended before."""
        await self._first.wait()
        return self._arrived.pop(0) if self._arrived else None

    def drain(self) -> list[pb.ServerFrame]:
        """Return the frames that arrived before ``deliver`` was set."""
        frames, self._arrived = self._arrived, []
        return frames

    def broken(self) -> None:
        """Give this connection up."""
        self.ended.set()

    def close(self) -> None:
        """End the call and its thread; frames that still come are dropped."""
        self.deliver = None
        self._requests.put(None)
        self._call.cancel()
        # Closing waits for gRPC's threads; not the event loop's business.
        threading.Thread(target=self._channel.close, daemon=True).start()

    def _read(self, frames: Iterator[pb.ServerFrame]) -> None:
        # RpcError: the reason does not matter, the owner reconnects. RunFinishedError: nobody is left to tell.
        with contextlib.suppress(trio.RunFinishedError):
            with contextlib.suppress(grpc.RpcError):
                for frame in frames:
                    self._token.run_sync_soon(self._on_frame, frame)
            self._token.run_sync_soon(self._on_end)

    def _on_frame(self, frame: pb.ServerFrame) -> None:
        if self.deliver is not None:
            self.deliver(frame)
        else:
            self._arrived.append(frame)
            self._first.set()

    def _on_end(self) -> None:
        self._first.set()
        self.ended.set()
