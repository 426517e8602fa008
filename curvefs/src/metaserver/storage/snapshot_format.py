"""Bytes of a snapshot: a group's state as it crosses from one metaserver to another. Pure: no I/O.

DO NOT CHANGE: they are the format (version 1); replicas of different releases exchange it. Numbers are big-endian.

    header   0   7  magic "CURVEFS"
             7   4  version, 1
            11   8  index of the last entry that is applied in the state
            19   8  its term
            27   8  its time, nanoseconds since 1970, signed
            35   8  number of pairs
            43   4  length of the configuration
            47   n  the group's configuration then, a raft.Configuration
          47+n   4  checksum
    blocks       4  length of the pairs of this block, above 0
                 n  pairs, whole ones
                 4  checksum
    end          4  0
                 4  checksum
    pair         2  length of the key, above 0
                 4  length of the value
                 n  key
                 n  value

A checksum is the CRC-32 of all bytes of the file before it but for other checksums. So the last one covers everything,
and those before it tell damage early and where it is.

The pairs are all of the environment, its metadata too, by ascending key. Nothing but the state and its configuration
decides the bytes: a snapshot that is made again for the same index continues the first one at any byte.

A newer version may change everything behind the version.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

MAGIC = b"CURVEFS"
VERSION = 1
# Of a block's pairs; the last of them may reach beyond. So much is in memory at a time, and is one step between two
# looks at whether to go on.
BLOCK_SIZE = 1 << 20
# A value comes from one entry, and the log takes no entry half as long: a longer block is damage.
BLOCK_SIZE_MAX = 256 << 20
CONFIGURATION_SIZE_MAX = 1 << 20

_VERSION = struct.Struct(">7sI")
_FACTS = struct.Struct(">QQqQI")
_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">HI")

Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Header:
    """What a snapshot is: of which entry, whose time and configuration, and how many pairs."""

    index: int
    term: int
    time_ns: int
    pairs: int
    configuration: bytes


class BadSnapshot(Exception):
    """What lies at ``offset`` is not a snapshot's."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"byte {offset}: {why}")
        self.offset = offset
        self.why = why


class NewerVersion(Exception):
    """The snapshot is of a version that is not known here."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version}")
        self.version = version


def encode(header: Header, pairs: Iterable[Pair]) -> Iterator[bytes]:
    """Yield a snapshot piece by piece: its header, then one block at a time."""
    assert len(header.configuration) <= CONFIGURATION_SIZE_MAX, "reading it would call it damage"
    said = _VERSION.pack(MAGIC, VERSION)
    said += _FACTS.pack(header.index, header.term, header.time_ns, header.pairs, len(header.configuration))
    said += header.configuration
    crc = zlib.crc32(said)
    yield said + _U32.pack(crc)
    count = 0
    for parts in _gathered(pairs):
        count += len(parts) // 3
        block = b"".join(parts)
        assert len(block) <= BLOCK_SIZE_MAX, "reading it would call it damage"
        length = _U32.pack(len(block))
        crc = zlib.crc32(block, zlib.crc32(length, crc))
        yield b"".join((length, block, _U32.pack(crc)))
    assert count == header.pairs, "one view counts and shows the same pairs"
    end = _U32.pack(0)
    yield end + _U32.pack(zlib.crc32(end, crc))


def _gathered(pairs: Iterable[Pair]) -> Iterator[list[bytes]]:
    """Yield the bytes of whole blocks in parts, three a pair."""
    pack, overhead = _PAIR.pack, _PAIR.size
    parts: list[bytes] = []
    size = 0
    for key, value in pairs:
        parts += (pack(len(key), len(value)), key, value)
        size += overhead + len(key) + len(value)
        if size >= BLOCK_SIZE:
            yield parts
            parts, size = [], 0
    if parts:
        yield parts


class Decoder:
    """A snapshot that is being read, from its first byte to its last. read: returns up to so many of the next bytes.

    Everything it gives out was checked before, but only after the end of pairs() it is known that nothing is missing.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Read the header. Raises BadSnapshot, NewerVersion, what ``read`` raises."""
        self._read = read
        self._offset = 0
        self._crc = 0
        self.header = self._header()

    def pairs(self) -> Iterator[list[Pair]]:
        """Yield what each block holds. Raises BadSnapshot, what ``read`` raises."""
        count, last = 0, b""
        while True:
            start = self._offset
            length = int(_U32.unpack(self._take(_U32.size))[0])
            if length > BLOCK_SIZE_MAX:
                raise BadSnapshot(start, f"a block of {length} bytes")
            block = self._take(length)
            self._check(start)
            if not length:
                break
            pairs = _decode_pairs(block, start + _U32.size, last)
            count, last = count + len(pairs), pairs[-1][0]
            yield pairs
        if count != self.header.pairs:
            raise BadSnapshot(self._offset, f"it ends after {count} pairs; its header says {self.header.pairs}")
        if self._read(1):
            raise BadSnapshot(self._offset, "something follows its end")

    def _header(self) -> Header:
        magic, version = _VERSION.unpack(self._take(_VERSION.size))
        if magic != MAGIC or version == 0:
            raise BadSnapshot(0, "it does not begin as a snapshot does")
        if version > VERSION:
            raise NewerVersion(version)
        index, term, time_ns, pairs, length = _FACTS.unpack(self._take(_FACTS.size))
        if length > CONFIGURATION_SIZE_MAX:
            raise BadSnapshot(self._offset - _U32.size, f"a configuration of {length} bytes")
        configuration = self._take(length)
        self._check(0)
        return Header(index, term, time_ns, pairs, configuration)

    def _take(self, size: int) -> bytes:
        """Return the next bytes, which the next checksum covers."""
        data = self._exactly(size)
        self._crc = zlib.crc32(data, self._crc)
        return data

    def _check(self, start: int) -> None:
        """Read the checksum of what began at ``start``."""
        if self._exactly(_U32.size) != _U32.pack(self._crc):
            raise BadSnapshot(start, f"the checksum does not match what is there up to byte {self._offset}")

    def _exactly(self, size: int) -> bytes:
        data = self._read(size)
        self._offset += len(data)
        if len(data) < size:
            raise BadSnapshot(self._offset, "it is cut off")
        return data


def _decode_pairs(block: bytes, start: int, last: bytes) -> list[Pair]:
    """Return the pairs of a block, the keys above ``last``. start: its offset in the file. Raises BadSnapshot."""
    unpack, overhead, end = _PAIR.unpack_from, _PAIR.size, len(block)
    pairs: list[Pair] = []
    at = 0
    while at < end:
        if at + overhead > end:
            raise BadSnapshot(start + at, "a pair goes beyond its block")
        key_size, value_size = unpack(block, at)
        key_at = at + overhead
        value_at = key_at + key_size
        after = value_at + value_size
        if after > end:
            raise BadSnapshot(start + at, "a pair goes beyond its block")
        key = block[key_at:value_at]
        if key <= last:
            raise BadSnapshot(start + at, "a key is not above the one before it")
        pairs.append((key, block[value_at:after]))
        last = key
        at = after
    return pairs
