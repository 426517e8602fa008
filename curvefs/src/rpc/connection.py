"""One session stream: asking a metaserver where it takes them, connecting, and then frames out, frames in, an end.

Sending is a call of the event loop that goes straight to the socket; only what does not fit there waits for run().

Shared across awaits: what is unsent, which send() adds to and run() takes from, between awaits.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import grpc
import structlog
import trio
from google.protobuf.message import DecodeError

from ...proto import metaserver_pb2 as pb
from ...proto import metaserver_pb2_grpc
from ..common.errors import CorruptData, Unreachable
from .frames import PREFACE, FrameReader, pack
from .replies import CHANNEL_OPTIONS, failure_in, unreachable

log = structlog.get_logger()

STEP_S = 2.0  # of connecting: to ask, and to connect
SPARE_S = 0.5
_RECEIVE_SIZE = 256 << 10
# Threads of our own: those that wait for the object store must not be in the way.
_connecting = trio.CapacityLimiter(64)

T = TypeVar("T")
Deliver = Callable[[pb.ServerFrame], None]


class Connection(Protocol):
    """A stream to one metaserver."""

    def send(self, frame: pb.ClientFrame) -> None:
        """Send a frame; after the end it is dropped."""
        ...

    async def run(self) -> None:
        """Deliver frames until the end, or until cancelled, which ends it."""
        ...


# Opens a connection to an address. Frames are delivered by run(). Raises Unreachable.
Connect = Callable[[str, Deliver], Awaitable[Connection]]


class TcpConnection:
    """See the module. out: connected, not blocking, and nothing said yet. instance: of whom it is meant for."""

    def __init__(self, out: socket.socket, instance: bytes, deliver: Deliver) -> None:
        self._out = out
        self._in = trio.socket.from_stdlib_socket(out)
        self._deliver = deliver
        self._unsent = bytearray()
        self._stuck = trio.Event()  # something is unsent
        self._ended = False
        self._send(PREFACE + instance)

    def send(self, frame: pb.ClientFrame) -> None:
        """Send a frame; after the end it is dropped."""
        if not self._ended:
            self._send(pack(frame.SerializeToString()))

    def _send(self, data: bytes) -> None:
        sent = 0 if self._unsent else self._send_some(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._stuck.set()

    def _send_some(self, data: bytes | bytearray) -> int:
        try:
            return self._out.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # it is broken; the reading side hears of it
            self._ended = True
            return len(data)

    async def run(self) -> None:
        """Deliver frames until the end, or until cancelled, which ends it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_the_rest)
                await self._receive()
                nursery.cancel_scope.cancel()
        finally:
            self._ended = True
            self._in.close()

    async def _receive(self) -> None:
        frames = FrameReader()
        try:
            while data := await self._in.recv(_RECEIVE_SIZE):
                for message in frames.take(data):
                    self._deliver(pb.ServerFrame.FromString(message))
        except OSError:
            pass  # the reason does not matter, the owner reconnects
        except (CorruptData, DecodeError) as error:
            log.error("a metaserver sends what cannot be read", reason=str(error))

    async def _send_the_rest(self) -> None:
        while True:
            if not self._unsent:
                self._stuck = trio.Event()
                await self._stuck.wait()
            await trio.lowlevel.wait_writable(self._out)
            del self._unsent[: self._send_some(self._unsent)]


@dataclass(frozen=True, slots=True)
class SessionsAt:
    """Where a metaserver takes session streams: HOST:PORT, and who it is."""

    address: str
    instance: bytes


async def connect(address: str, deliver: Deliver) -> TcpConnection:
    """Connect to the metaserver at HOST:PORT. Raises Unreachable."""
    return await dial(await find_sessions(address), deliver)


async def find_sessions(address: str) -> SessionsAt:
    """Ask a metaserver where it takes session streams. Raises Unreachable."""
    return await _in_thread(address, partial(_find, address))


async def dial(place: SessionsAt, deliver: Deliver) -> TcpConnection:
    """Connect to a port of session streams. Raises Unreachable."""
    return TcpConnection(await _in_thread(place.address, partial(_dial, place.address)), place.instance, deliver)


async def _in_thread(address: str, call: Callable[[], T]) -> T:
    """Make a call that blocks, which is left to itself after a while: resolving a name has no limit of its own."""
    with trio.move_on_after(STEP_S + SPARE_S):
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=_connecting)
    raise Unreachable(f"{address} is not reached within {STEP_S:.0f} s")


def _find(address: str) -> SessionsAt:
    # Asked once: whoever refuses is known at once, and the others can be asked meanwhile.
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = metaserver_pb2_grpc.MetaServerServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        try:
            reply = stub.FindSessions(pb.FindSessionsRequest(), timeout=STEP_S)
        except grpc.RpcError as error:
            raise Unreachable(str(unreachable(address, error))) from error
    if (failure := failure_in(reply)) is not None:
        raise Unreachable(f"{address}: {failure}") from failure
    return SessionsAt(f"{address.rpartition(':')[0]}:{reply.port}", reply.instance)


def _dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        made = socket.create_connection((host.strip("[]"), int(port)), timeout=STEP_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, ValueError) as error:  # ValueError: no name of a host, no number
        raise Unreachable(f"no session can be opened at {address}: {error}") from error
    made.setblocking(False)
    return made
