"""Bytes of the write-ahead log. DO NOT CHANGE: they are the format on disk (version 1). Pure: no I/O.

A segment is a header and records; numbers are big-endian.

    header   magic "CURVEWAL", version u32, number of the segment u64, salt u64, crc32 u32 of the bytes before
    record   marker u32, length u32, crc32 u32, then `length` bytes: type u8, group u64, term u64, index u64,
             start u32, payload

`start` is the offset at which the write began that brought the record here. A write is synced before the next one
begins, so a valid record with start > o proves that everything before o was durable once: what is bad at o then is
damage. Without such a proof it is the torn end of the last write.

A record's checksum covers what follows it and begins from the header's checksum. The salt is random, so bytes of
another segment, or bytes that a user stored and that look like a record, are never taken for one.

What records say of a group's log, and which may follow which: outline.py. A write may be torn, and then a prefix of its
records is there. So a writer puts a hard state before the entries that depend on it, and segments.py puts before both
a TAIL when entries are replaced: a hard state that counts new entries as committed never meets those that they replace.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

MAGIC = b"CURVEWAL"
VERSION = 1
MARKER = 0xC5F5_10A6
RECORD_SIZE_MAX = 128 << 20

_HEADER = struct.Struct(">8sIQQ")
_CRC = struct.Struct(">I")
_PREFIX = struct.Struct(">III")
_BODY = struct.Struct(">BQQQI")
_MARKER_BYTES = _CRC.pack(MARKER)

HEADER_SIZE = _HEADER.size + _CRC.size
RECORD_OVERHEAD = _PREFIX.size + _BODY.size


class RecordType(IntEnum):
    """What a record says about its group."""

    ENTRY = 1  # a log entry; one with an index that was there before replaces it and all that followed
    HARD_STATE = 2  # the payload is a raft.HardState; the last one counts
    BEGIN = 3  # the group's log begins behind this index and term: what came before is not part of it
    TAIL = 4  # the group's log ends with this index and term here; written by segments.py only


@dataclass(frozen=True, slots=True)
class Record:
    """One record. index is 0 for a hard state."""

    type: RecordType
    group_id: int
    term: int
    index: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a segment. ``seed`` is what checksums of its records begin from."""

    version: int
    number: int
    seed: int


class Bytes(Protocol):
    """What a segment is read from: bytes, or a file mapped into memory."""

    def __len__(self) -> int:
        """Return the size."""
        ...

    def __getitem__(self, at: slice, /) -> bytes:
        """Return a part."""
        ...

    def find(self, sub: bytes, start: int, /) -> int:
        """Return the first offset of ``sub`` at or after ``start``, or -1."""
        ...


class BadRecord(Exception):
    """The bytes at ``offset`` are no record."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"no record at {offset}")
        self.offset = offset


def encode_header(number: int, salt: int) -> bytes:
    """Return a segment's first bytes."""
    said = _HEADER.pack(MAGIC, VERSION, number, salt)
    return said + _CRC.pack(zlib.crc32(said))


def decode_header(data: bytes) -> Header | None:
    """Return what the first HEADER_SIZE bytes say, or None when they are no header.

    Of a newer version only the magic and the version are looked at.
    """
    if len(data) < HEADER_SIZE:
        return None
    magic, version, number, _ = _HEADER.unpack_from(data)
    crc = int(_CRC.unpack_from(data, _HEADER.size)[0])
    if magic != MAGIC or (version <= VERSION and crc != zlib.crc32(data[: _HEADER.size])):
        return None
    return Header(version, number, crc)


def encode(records: list[Record], start: int, seed: int) -> bytes:
    """Return the bytes of one write of ``records`` at offset ``start``."""
    parts: list[bytes] = []
    for record in records:
        body = _BODY.pack(record.type, record.group_id, record.term, record.index, start)
        length = len(body) + len(record.payload)
        assert length <= RECORD_SIZE_MAX, "reading it again would call it damage"
        parts.append(_PREFIX.pack(MARKER, length, zlib.crc32(record.payload, zlib.crc32(body, seed))))
        parts.append(body)
        parts.append(record.payload)
    return b"".join(parts)


def decode(data: Bytes, seed: int, offset: int = HEADER_SIZE) -> Iterator[tuple[int, Record]]:
    """Yield (offset of the end, record) from ``offset`` to the end of the data. Raises BadRecord."""
    while offset < len(data):
        found = _record_at(data, offset, seed)
        if found is None:
            raise BadRecord(offset)
        end, _, record = found
        yield end, record
        offset = end


def write_of(data: Bytes, seed: int, offset: int) -> int:
    """Return where the write began that brought the good record at ``offset``."""
    found = _record_at(data, offset, seed)
    assert found is not None, "it was read before"
    return found[1]


def written_later(data: Bytes, seed: int, bad: int) -> int | None:
    """Return the offset of a record that was written after what is bad at ``bad`` had been synced, or None."""
    offset = data.find(_MARKER_BYTES, bad + 1)
    while offset >= 0:
        found = _record_at(data, offset, seed)
        if found is not None and bad < found[1] <= offset:
            return offset
        offset = data.find(_MARKER_BYTES, offset + 1)
    return None


def _record_at(data: Bytes, offset: int, seed: int) -> tuple[int, int, Record] | None:
    """Return (end, start of its write, record), or None."""
    prefix = data[offset : offset + _PREFIX.size]
    if len(prefix) < _PREFIX.size:
        return None
    marker, length, crc = _PREFIX.unpack(prefix)
    if marker != MARKER or not _BODY.size <= length <= RECORD_SIZE_MAX:
        return None
    begin = offset + _PREFIX.size
    if begin + length > len(data):
        return None
    body = data[begin : begin + length]
    if zlib.crc32(body, seed) != crc:
        return None
    type_, group_id, term, index, start = _BODY.unpack_from(body)
    try:
        kind = RecordType(type_)
    except ValueError:
        return None
    return begin + length, start, Record(kind, group_id, term, index, body[_BODY.size :])
