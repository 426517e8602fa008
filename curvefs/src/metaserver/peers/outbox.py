"""What waits to be sent to one peer, within a bound, and its cutting into frames. Pure.

Messages are serialised when they are put: what waits is measured exactly, and a frame is made by joining bytes. A
RaftFrame of messages is, on the wire, each message behind its field's tag and its length (protobuf, "Message
Structure"), so frames need no second serialisation. When the buffer is full the newest message is dropped: Raft sends
again what it misses.

Invariants:
    size_bytes = the sum of what waits, each with OVERHEAD_SIZE; never above buffer_size
    a frame is at most frame_size, unless it is one single message
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from ....proto import raft_pb2 as pb

# A bytes object and its place in the queue, so that many small messages count as what they take.
OVERHEAD_SIZE = 48
# Field 2 of RaftFrame, length-delimited.
_TAG = b"\x12"


class Fate(Enum):
    """What became of a message."""

    TAKEN = "taken"
    FULL = "full"
    TOO_LARGE = "too large"


class Frame(NamedTuple):
    """A serialised RaftFrame, and how many messages it carries."""

    data: bytes
    message_count: int


class Outbox:
    """See the module. message_size_max: a larger one could not be received."""

    def __init__(self, *, frame_size: int, message_size_max: int, buffer_size: int) -> None:
        self._frame_size = frame_size
        self._message_size_max = message_size_max
        self._buffer_size = buffer_size
        self._waiting: deque[bytes] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: pb.GroupMessage) -> Fate:
        """Take a message, if there is room."""
        said = message.SerializeToString()
        part = b"".join((_TAG, _varint(len(said)), said))
        if len(part) > self._message_size_max:
            return Fate.TOO_LARGE
        if self.size_bytes + len(part) + OVERHEAD_SIZE > self._buffer_size:
            return Fate.FULL
        self._waiting.append(part)
        self.size_bytes += len(part) + OVERHEAD_SIZE
        return Fate.TAKEN

    def take_frame(self) -> Frame | None:
        """Take what waits, in its order, as far as a frame reaches; None when nothing waits."""
        if not self._waiting:
            return None
        parts = [self._waiting.popleft()]
        size = len(parts[0])
        while self._waiting and size + len(self._waiting[0]) <= self._frame_size:
            size += len(self._waiting[0])
            parts.append(self._waiting.popleft())
        self.size_bytes -= size + OVERHEAD_SIZE * len(parts)
        return Frame(b"".join(parts), len(parts))

    def clear(self) -> int:
        """Drop all that waits. Returns how many messages."""
        count = len(self._waiting)
        self._waiting.clear()
        self.size_bytes = 0
        return count


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
