"""One open stream with another metaserver, from the moment both have proved themselves until it ends.

Three tasks. The reader takes frames and hands their messages on. The writer sends what waits in the outbox; it is woken
once however much is put during a step of the event loop, and what comes while a frame is being written goes together in
the next. The watch has an empty frame sent when nothing else was for a while, and ends the stream when nothing is heard
although the other side does the same: so a link that was cut silently is noticed by both.

Invariants:
    one writer: frames go out whole and in order
    only messages from this peer to this metaserver are handed on, and all of a frame or none

Shared across awaits: the outbox, filled by Peers and emptied by the writer, each between awaits; `_alive_due`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ....proto import raft_pb2 as pb
from ...common.clock import Clock
from ...common.errors import Unavailable
from ...rpc.asyncio_peers import PeerStream
from .hello import Reason, Refused, source_of
from .metrics import PeerMetrics
from .outbox import Frame, Outbox
from .settings import PeerSettings

# A RaftFrame without anything.
_ALIVE = Frame(b"", 0)


@dataclass(frozen=True, slots=True)
class Ends:
    """Whose messages a link carries, and what it tells its owner, on the event loop.

    hello: returns a new signed hello. on_hello: another hello came; raises Refused. on_heard: a frame came, at this
    boot time. deliver: a frame's messages, at least one.
    """

    me: int
    peer: int
    hello: Callable[[], pb.PeerHello]
    on_hello: Callable[[pb.PeerHello], None]
    on_heard: Callable[[float], None]
    deliver: Callable[[list[pb.GroupMessage]], None]


class Link:
    """See the module."""

    def __init__(
        self,
        stream: PeerStream,
        ends: Ends,
        outbox: Outbox,
        *,
        settings: PeerSettings,
        clock: Clock,
        metrics: PeerMetrics,
    ) -> None:
        self._stream = stream
        self._ends = ends
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._heard_at = self._sent_at = self._hello_at = clock.boottime_s()
        self._alive_due = False
        self._idle: asyncio.Future[None] | None = None  # while the writer waits for something to send
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Something waits in the outbox."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def stop(self, why: str) -> None:
        """End it. run() raises Unavailable(why)."""
        if not self._stopped.done():
            self._stopped.set_result(why)

    async def run(self) -> None:
        """Carry messages until the stream ends. Always raises: Refused, or Unavailable and what it derives from."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_loop(), name="peer writer")
                tasks.create_task(self._watch_loop(), name="peer watch")
                await self._read_loop()
        except BaseExceptionGroup as group:
            # A task group that is cancelled while it fails forgets the one for the other (until Python 3.13).
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from None
            # The tasks end one another; the first to fail says why.
            raise group.exceptions[0] from None

    # ------------------------------------------------------------------------------------------- receiving

    async def _read_loop(self) -> None:
        while True:
            frame = await self._stream.read()
            if self._stopped.done():
                return
            self._heard_at = self._clock.boottime_s()
            self._ends.on_heard(self._heard_at)
            self._metrics.frames_received.inc()
            if frame:
                self._on_frame(frame)

    def _on_frame(self, data: bytes) -> None:
        frame = parse(data, self._settings.frame_size_max)
        if frame.HasField("hello"):
            self._ends.on_hello(frame.hello)
        messages = list(frame.messages)
        for message in messages:
            said = message.message
            if (source_of(said), said.to) != (self._ends.peer, self._ends.me):
                raise Refused(
                    Reason.MESSAGE,
                    f"metaserver {self._ends.peer} sent {self._ends.me} a message from {source_of(said)} to {said.to}",
                )
        self._metrics.bytes_received.inc(len(data))
        if messages:
            self._metrics.messages_received.inc(len(messages))
            self._ends.deliver(messages)

    # --------------------------------------------------------------------------------------------- sending

    async def _write_loop(self) -> None:
        while not self._stopped.done():
            now = self._clock.boottime_s()
            frame = self._next_frame(now)
            if frame is None:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                continue
            self._alive_due = False
            self._sent_at = now
            await self._stream.write(frame.data)
            self._metrics.frames_sent.inc()
            self._metrics.bytes_sent.inc(len(frame.data))
            self._metrics.messages_sent.inc(frame.message_count)

    def _next_frame(self, now: float) -> Frame | None:
        """Return what is to be written now; None when nothing is."""
        if now - self._hello_at >= self._settings.hello_interval_s:
            self._hello_at = now
            return Frame(pb.RaftFrame(hello=self._ends.hello()).SerializeToString(), 0)
        return self._outbox.take_frame() or (_ALIVE if self._alive_due else None)

    # -------------------------------------------------------------------------------------------- watching

    async def _watch_loop(self) -> None:
        alive_s, silence_s = self._settings.alive_interval_s, self._settings.silence_s
        excused_until = self._clock.boottime_s() + alive_s
        while True:
            asleep_at = self._clock.boottime_s()
            silent_at = max(self._heard_at + silence_s, excused_until)
            pause_s = max(min(self._sent_at + alive_s, silent_at) - asleep_at, alive_s / 4)
            await asyncio.wait([self._stopped], timeout=pause_s)
            if self._stopped.done():
                raise Unavailable(self._stopped.result())
            now = self._clock.boottime_s()
            if now - self._sent_at >= alive_s:
                self._alive_due = True
                self.wake()
            if now - asleep_at > pause_s + alive_s:
                # This process itself was late: what the peer sent meanwhile has yet to be read.
                excused_until = now + alive_s
            elif now >= max(self._heard_at + silence_s, excused_until):
                raise Unavailable(f"nothing was heard for {now - self._heard_at:.1f} s")


def parse(data: bytes, size_max: int) -> pb.RaftFrame:
    """Return a frame. Raises Refused when it is too large, or none."""
    if len(data) > size_max:
        raise Refused(Reason.TOO_LARGE, f"a frame of {len(data)} bytes; at most {size_max} are taken")
    try:
        return pb.RaftFrame.FromString(data)
    except DecodeError as error:
        raise Refused(Reason.UNREADABLE, "a frame cannot be read") from error
