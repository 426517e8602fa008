"""Block format 1: segments of 64 KiB, each followed by its CRC-32, so that a range can be read and verified alone.

A block of n bytes takes n + 4 * ceil(n / 65536) bytes. The checksum is zlib's CRC-32 over the segment, 4 bytes
big-endian. It finds damage, not exchange: a segment does not know its place. That an object is the right one follows
from its name, which is never used twice.
"""

import struct
import zlib
from collections.abc import Iterable

from ..common.errors import CorruptData

FORMAT = 1
SEGMENT_SIZE = 64 << 10
CHECKSUM_SIZE = 4
_STRIDE = SEGMENT_SIZE + CHECKSUM_SIZE
_CHECKSUM = struct.Struct(">I")


def framed_size(size: int) -> int:
    """Return how many bytes a block of ``size`` bytes takes in its object."""
    return size + CHECKSUM_SIZE * -(-size // SEGMENT_SIZE)


def encode(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """Return the object of a block given as consecutive pieces; one copy of the data."""
    pieces: list[bytes | memoryview] = []
    checksum = filled = 0
    for part in parts:
        view = memoryview(part)
        while view:
            taken = view[: SEGMENT_SIZE - filled]
            pieces.append(taken)
            checksum = zlib.crc32(taken, checksum)
            filled += len(taken)
            view = view[len(taken) :]
            if filled == SEGMENT_SIZE:
                pieces.append(_CHECKSUM.pack(checksum))
                checksum = filled = 0
    if filled:
        pieces.append(_CHECKSUM.pack(checksum))
    return b"".join(pieces)


def framed_range(offset: int, size: int, block_size: int) -> tuple[int, int]:
    """Return (offset, size) of the bytes in the object that hold whole segments covering a range of the block.

    What decode returns of them begins ``offset % SEGMENT_SIZE`` bytes before the range.
    """
    assert 0 <= offset < offset + size <= block_size, (offset, size, block_size)
    first = offset // SEGMENT_SIZE
    end = min(-(-(offset + size) // SEGMENT_SIZE) * SEGMENT_SIZE, block_size)
    start = first * _STRIDE
    return start, framed_size(end - first * SEGMENT_SIZE)


def decode(framed: bytes, size: int) -> list[memoryview]:
    """Verify whole segments and return their data as consecutive pieces.

    ``size``: bytes of data expected in them. Raises CorruptData.
    """
    if len(framed) != framed_size(size):
        raise CorruptData(f"{len(framed)} bytes where {framed_size(size)} are expected")
    view = memoryview(framed)
    pieces = []
    for start in range(0, len(framed), _STRIDE):
        segment = view[start : start + SEGMENT_SIZE] if start + _STRIDE <= len(framed) else view[start:-CHECKSUM_SIZE]
        at = start + len(segment)
        if zlib.crc32(segment) != _CHECKSUM.unpack_from(framed, at)[0]:
            raise CorruptData(f"the checksum of the segment at byte {start} does not match")
        pieces.append(segment)
    return pieces
