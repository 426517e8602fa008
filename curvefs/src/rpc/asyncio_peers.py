"""The stream between two metaservers on grpc.aio (raft.proto, RaftService): the same to who dialled and who answers.

Frames are bytes here: who makes them has serialised them already, and who takes them says what is unreadable. Each
dialled stream has a connection of its own: one that was cut silently would otherwise be used again for the next
stream. A stream ends by leaving dialled(), or with what serving() was given; what that raises is told to the other
side.

One read and one write may be under way at a time, in different tasks. Nothing is shared across awaits.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import grpc.aio

from ...proto import raft_pb2
from ..common.errors import Unavailable
from .asyncio_server import AddServicer
from .replies import CHANNEL_OPTIONS, MESSAGE_SIZE_MAX

# What a server takes at most (SERVER_OPTIONS).
FRAME_SIZE_MAX = MESSAGE_SIZE_MAX

_SERVICE = raft_pb2.DESCRIPTOR.services_by_name["RaftService"].full_name
_METHOD = "Messages"
_DETAILS_LENGTH_MAX = 200


class StreamEnded(Unavailable):
    """The other side ended the stream and has no complaint."""


class StreamRefused(Unavailable):
    """The other side ended the stream and says why."""


class FrameTooLarge(Unavailable):
    """A frame was larger than its receiver takes; it ended the stream."""


class PeerStream(Protocol):
    """Frames both ways. remote: the other side's address as the network has it."""

    remote: str

    async def write(self, frame: bytes) -> None:
        """Send a frame; returns when the connection has taken it. Raises Unavailable when the stream has ended."""
        ...

    async def read(self) -> bytes:
        """Return the next frame. Raises Unavailable when the stream has ended; StreamRefused, FrameTooLarge say why."""
        ...


Accept = Callable[[PeerStream], Awaitable[None]]


def serving(accept: Accept) -> AddServicer:
    """Return what adds RaftService to a server: ``accept`` is called for each stream, which ends with it.

    The other side gets StreamRefused or Unavailable as ``accept`` raises them, and StreamEnded when it returns.
    """

    async def messages(_: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        try:
            await accept(_Accepted(context))
        except StreamRefused as refused:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refused))
        except Unavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    handler: Any = grpc.stream_stream_rpc_method_handler(messages)
    generic = grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler})
    return lambda server: server.add_generic_rpc_handlers((generic,))


@contextlib.asynccontextmanager
async def dialled(address: str, *, frame_size_max: int, deadline_s: float) -> AsyncIterator[PeerStream]:
    """Give a stream with the server at HOST:PORT, ended with the block.

    Raises Unavailable when nobody answers within the deadline.
    """
    options = dict(CHANNEL_OPTIONS) | {
        "grpc.max_receive_message_length": frame_size_max,
        "grpc.max_send_message_length": -1,  # the receiver says what is too large, and then it is known as that
        # Also how long one attempt to connect may take; there is no second one on this channel.
        "grpc.min_reconnect_backoff_ms": int(deadline_s * 1000),
    }
    channel = grpc.aio.insecure_channel(address, options=list(options.items()))
    try:
        call: Any = channel.stream_stream(f"/{_SERVICE}/{_METHOD}")()
        stream = _Dialled(address, call)
        try:
            async with asyncio.timeout(deadline_s):
                await stream.connected()
        except TimeoutError as error:
            raise Unavailable(f"{address} does not answer within {deadline_s:g} s") from error
        yield stream
    finally:
        await channel.close()


class _Dialled:
    def __init__(self, remote: str, call: Any) -> None:
        self.remote = remote
        self._call = call

    async def connected(self) -> None:
        try:
            await self._call.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code(), error.details()) from error

    async def write(self, frame: bytes) -> None:
        try:
            await self._call.write(frame)
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code(), error.details()) from error
        except asyncio.InvalidStateError:
            raise await self._ended() from None

    async def read(self) -> bytes:
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code(), error.details()) from error
        if isinstance(frame, bytes):
            return frame
        raise await self._ended()

    async def _ended(self) -> Unavailable:
        return _failure(await self._call.code(), await self._call.details())


class _Accepted:
    def __init__(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        self.remote = unquote(context.peer())
        self._context = context

    async def write(self, frame: bytes) -> None:
        try:
            await self._context.write(frame)
        except grpc.aio.BaseError as error:
            raise Unavailable("the connection broke") from error

    async def read(self) -> bytes:
        try:
            frame = await self._context.read()
        except grpc.aio.BaseError as error:
            raise Unavailable("the connection broke") from error
        if isinstance(frame, bytes):
            return frame
        # gRPC tells a server no more than that; who dialled learns it when its frame was too large.
        raise Unavailable("nothing comes any more")


def _failure(code: grpc.StatusCode, details: str | None) -> Unavailable:
    # The text is a stranger's: bounded, on one line.
    said = " ".join((details or "").split())[:_DETAILS_LENGTH_MAX]
    match code:
        case grpc.StatusCode.OK:
            return StreamEnded(said)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return StreamRefused(said)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return FrameTooLarge(said)
        case _:
            return Unavailable(f"{code.name}: {said}" if said else code.name)
