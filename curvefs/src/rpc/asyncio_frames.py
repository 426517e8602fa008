"""Session streams under asyncio: the port where metaservers take them, and the way to one.

No state is shared across awaits but the two directions of a connection, each of which one task uses.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

import structlog
from google.protobuf.message import DecodeError

from ...proto import metaserver_pb2 as pb
from ...proto import metaserver_pb2_grpc
from ..common.addresses import parse_address
from ..common.errors import CorruptData, StartupError
from ..common.exits import ExitCode
from .asyncio_client import AsyncClient
from .frames import FRAME_SIZE_MAX, LENGTH_SIZE, PREFACE, length_of, pack

_log = structlog.get_logger()

PREFACE_S = 10.0
FLUSH_S = 5.0
BACKLOG = 4096  # all mounts may come at once, after a restart
# A machine that vanished says nothing: its connections end after 60 s of silence and three questions, or when what was
# sent is not taken for 90 s.
_SOCKET_OPTIONS = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 90_000),
)


Received = TypeVar("Received")


class FrameStream(Generic[Received]):
    """One connection: frames of one type are written, of another read. The end of it is a ConnectionError."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parse: Callable[[bytes], Received]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._parse = parse

    @property
    def peer(self) -> str:
        """HOST:PORT of the other end, for logs."""
        host, port, *_ = self._writer.get_extra_info("peername") or ("?", 0)
        return f"{host}:{port}"

    async def read(self, size_max: Callable[[], int] = lambda: FRAME_SIZE_MAX) -> Received:
        """Return the next frame. size_max: asked when one begins. Raises ConnectionError, CorruptData."""
        try:
            head = await self._reader.readexactly(LENGTH_SIZE)
            return self._parse(await self._reader.readexactly(length_of(head, size_max())))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ConnectionResetError("the connection has ended") from error
        except DecodeError as error:
            raise CorruptData("a frame that cannot be read") from error

    async def write(self, message: Any) -> None:
        """Send a frame; waits while too much is unsent. Raises ConnectionError."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the connection has ended")
        try:
            self._writer.write(pack(message.SerializeToString()))
            await self._writer.drain()
        except OSError as error:
            raise ConnectionResetError("the connection has ended") from error

    def close(self) -> None:
        """End the connection; what is unsent has a moment to be sent."""
        self._writer.close()
        asyncio.get_running_loop().call_later(FLUSH_S, self._writer.transport.abort)

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


ServerFrames = FrameStream[pb.ClientFrame]
ClientFrames = FrameStream[pb.ServerFrame]


async def serve_frames(
    address: str, instance: bytes, take: Callable[[ServerFrames], Awaitable[None]]
) -> tuple[asyncio.Server, int]:
    """Listen on HOST:PORT (0: any) for session streams; return the server and its port.

    instance: what clients were told to ask for. take: serves one connection, which is closed when it returns. Raises
    StartupError when the port is taken.
    """
    preface = PREFACE + instance

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames: ServerFrames = FrameStream(reader, writer, pb.ClientFrame.FromString)
        try:
            made: socket.socket = writer.get_extra_info("socket")
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _SOCKET_OPTIONS:
                made.setsockopt(socket.IPPROTO_TCP, option, value)
            async with asyncio.timeout(PREFACE_S):
                said = await reader.readexactly(len(preface))
            if not said.startswith(PREFACE):
                raise CorruptData("this is no CurveFS client")
            if said != preface:
                raise CorruptData("another metaserver is looked for")
            await take(frames)
        except CorruptData as error:
            _log.warning("a connection was refused", peer=frames.peer, reason=str(error))
        except (OSError, EOFError, TimeoutError):
            pass  # it has gone, or never said anything
        finally:
            frames.close()

    host, port = parse_address(address)
    try:
        server = await asyncio.start_server(connected, host.strip("[]"), port, backlog=BACKLOG)
    except OSError as error:
        raise StartupError(f"cannot listen on {address}: {error.strerror}", ExitCode.ADDRESS_IN_USE) from error
    return server, int(server.sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def open_frames(address: str) -> AsyncIterator[ClientFrames]:
    """Connect to the metaserver at HOST:PORT. Raises OSError, Unreachable."""
    client = AsyncClient([address])
    try:
        stub = metaserver_pb2_grpc.MetaServerServiceStub
        found = await client.call(stub, "FindSessions", pb.FindSessionsRequest())
    finally:
        await client.close()
    host, _ = parse_address(address)
    reader, writer = await asyncio.open_connection(host.strip("[]"), found.port)
    frames: ClientFrames = FrameStream(reader, writer, pb.ServerFrame.FromString)
    try:
        writer.write(PREFACE + found.instance)
        yield frames
    finally:
        frames.abort()
