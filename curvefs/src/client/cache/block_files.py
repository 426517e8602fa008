"""One block as a file: a checked header, then the object byte by byte as it is in the store.

The header (24 bytes, big-endian) says of which object it is, by a checksum of its name, and how long that is; so a file
that is cut off, or lies under another's name, is found when it is opened. The bytes themselves carry the checksums of
the block format, which whoever decodes them verifies on every read.

Blocking calls; they raise OSError, and DamagedFile for what is no whole block.
"""

import os
import struct
import zlib
from pathlib import Path

_HEADER = struct.Struct(">4sIIQ")
_CHECKSUM = struct.Struct(">I")
_MAGIC = b"CvBk"
_FORMAT = 1
HEADER_SIZE = _HEADER.size + _CHECKSUM.size

Bytes = bytes | bytearray | memoryview


class DamagedFile(Exception):
    """It is not the block it should be."""


def write(path: Path, name: str, data: Bytes, *, durable: bool = False) -> int:
    """Write a block to a file that does not exist; returns its size. durable: the bytes, not the name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        left = memoryview(_header(name, len(data)))
        for part in (left, memoryview(data)):
            view = part
            while view:
                view = view[os.write(descriptor, view) :]
        if durable:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return HEADER_SIZE + len(data)


def read(path: Path, name: str, start: int = 0, size: int | None = None) -> bytes:
    """Return bytes [start, start + size) of the object in a file; short only at its end."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        length = _checked(descriptor, name)
        wanted = max(0, min(length - start, length if size is None else size))
        found = os.pread(descriptor, wanted, HEADER_SIZE + start)
    finally:
        os.close(descriptor)
    if len(found) != wanted:
        raise DamagedFile(f"{path}: it ends early")
    return found


def object_size(path: Path, name: str) -> int:
    """Return how long the object in a file is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _checked(descriptor, name)
    finally:
        os.close(descriptor)


def _header(name: str, size: int) -> bytes:
    head = _HEADER.pack(_MAGIC, _FORMAT, zlib.crc32(name.encode()), size)
    return head + _CHECKSUM.pack(zlib.crc32(head))


def _checked(descriptor: int, name: str) -> int:
    """Return the length that the header of an open file says, if it is of this object and all of it is there."""
    said = os.pread(descriptor, HEADER_SIZE, 0)
    if len(said) == HEADER_SIZE:
        size = int(_HEADER.unpack_from(said)[3])
        if said == _header(name, size) and os.fstat(descriptor).st_size == HEADER_SIZE + size:
            return size
    raise DamagedFile(f"it is not the file of {name}")
