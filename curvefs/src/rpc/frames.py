"""How messages lie on the connection of a session stream (sans-IO): a preface by the client, then frames both ways.

The preface says what is spoken, and which process is meant: ports are given to others in time.

A frame is the length of a serialized message in four bytes, the most significant first, and the message. There is no
library between: a round trip takes a fraction of what it takes through a stream of gRPC, whose threads hand each
message on to one another (ARCHITECTURE.md has the figures).
"""

import struct
from collections.abc import Iterator

from ..common.errors import CorruptData

PREFACE = b"curvefs1"  # and INSTANCE_SIZE bytes
INSTANCE_SIZE = 8
FRAME_SIZE_MAX = 64 << 20
_LENGTH = struct.Struct(">I")
LENGTH_SIZE = _LENGTH.size


def pack(message: bytes) -> bytes:
    """Return a serialized message as a frame."""
    return _LENGTH.pack(len(message)) + message


def length_of(head: bytes, size_max: int = FRAME_SIZE_MAX) -> int:
    """Return how many bytes follow the length. Raises CorruptData: more than are taken."""
    (length,) = _LENGTH.unpack(head)
    if length > size_max:
        raise CorruptData(f"a frame of {length} bytes; at most {size_max} are taken")
    return int(length)


class FrameReader:
    """Puts messages together again from whatever arrives."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0  # of the parts
        self._needed = LENGTH_SIZE  # before the next frame can be whole

    def take(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived; yield the messages that are whole now. Raises CorruptData."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        data = b"".join(self._parts)
        at, self._needed = 0, LENGTH_SIZE
        while len(data) - at >= LENGTH_SIZE:
            begin = at + LENGTH_SIZE
            end = begin + length_of(data[at:begin])
            if end > len(data):
                self._needed = end - at
                break
            yield data[begin:end]
            at = end
        self._parts = [data[at:]]
        self._size = len(data) - at
