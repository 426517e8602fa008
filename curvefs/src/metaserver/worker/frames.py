"""Messages on a pipe, each preceded by its size as four bytes, big-endian."""

import asyncio
import struct
from typing import BinaryIO

_SIZE = struct.Struct(">I")
FRAME_SIZE_MAX = 64 << 20


def pack(message: bytes) -> bytes:
    """Return a message as it goes on the pipe."""
    assert len(message) <= FRAME_SIZE_MAX, "jobs are bounded"
    return _SIZE.pack(len(message)) + message


def read(pipe: BinaryIO) -> bytes | None:
    """Return the next message; None at the end of the pipe, also in the middle of a message."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size = _checked(head)
    message = pipe.read(size)
    return message if len(message) == size else None


async def read_async(pipe: asyncio.StreamReader) -> bytes | None:
    """Return the next message; None at the end of the pipe, also in the middle of a message."""
    try:
        return await pipe.readexactly(_checked(await pipe.readexactly(_SIZE.size)))
    except asyncio.IncompleteReadError:
        return None


def _checked(head: bytes) -> int:
    size = int(_SIZE.unpack(head)[0])
    assert size <= FRAME_SIZE_MAX, "something else than messages is on the pipe"
    return size
