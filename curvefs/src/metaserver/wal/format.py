"""Records and segments of the write-ahead log. DO NOT CHANGE: this is the format on disk (version 1). Pure.

A segment file is ``<number>.wal``: a header (magic CURVEWAL, version u32), then records.
A record is: marker u32, length u32, crc u32, then `length` bytes: type u8, group u64, term u64, index u64, payload. The crc
is zlib's CRC-32 of these `length` bytes. The marker makes it possible to tell a torn last record, after which
nothing follows, from damage in the middle, after which valid records follow. All numbers are big-endian.
"""

import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"CURVEWAL"
VERSION = 1
HEADER = struct.Struct(">8sI")
MARKER = 0xC57EF5A1
_MARKER_BYTES = MARKER.to_bytes(4, "big")
_FRAME = struct.Struct(">III")
_BODY = struct.Struct(">BQQQ")
RECORD_SIZE_MAX = 80 << 20


class RecordType(IntEnum):
    """What a record is."""

    ENTRY = 1  # a log entry of a group: payload is state.Entry
    HARD_STATE = 2  # payload is raft.HardState; index is 0


class Record(NamedTuple):
    """One record."""

    type: int
    group_id: int
    term: int
    index: int
    payload: bytes


def segment_header() -> bytes:
    """Return the beginning of a segment."""
    return HEADER.pack(MAGIC, VERSION)


def encode(record: Record) -> bytes:
    """Return a record's bytes."""
    body = _BODY.pack(record.type, record.group_id, record.term, record.index) + record.payload
    assert len(body) <= RECORD_SIZE_MAX, "the proposer bounds entries"
    return _FRAME.pack(MARKER, len(body), zlib.crc32(body)) + body


def decode(data: bytes | memoryview, at: int) -> tuple[Record, int] | None:
    """Return the valid record at an offset and where it ends; None when there is none."""
    body_at = at + _FRAME.size
    if body_at > len(data):
        return None
    marker, length, checksum = _FRAME.unpack_from(data, at)
    if marker != MARKER or not _BODY.size <= length <= RECORD_SIZE_MAX or body_at + length > len(data):
        return None
    body = bytes(data[body_at : body_at + length])
    if zlib.crc32(body) != checksum:
        return None
    return Record(*_BODY.unpack_from(body), body[_BODY.size :]), body_at + length


def valid_record_after(data: bytes, at: int) -> bool:
    """True when a valid record begins anywhere past ``at``."""
    while (at := data.find(_MARKER_BYTES, at + 1)) >= 0:
        if decode(data, at) is not None:
            return True
    return False
