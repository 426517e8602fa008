"""Pages of a file that say where they belong and by which write they came, so that a reader finds what is wrong. Pure.

A page is filled with one record of 24 bytes, again and again: its offset, the number of the write, a CRC-32 of both.
So a page that is torn between two writes, lies elsewhere, or is damaged, is found; zeros are a page never written.
"""

import struct
import zlib

PAGE_SIZE = 4096
_RECORD = struct.Struct(">QQQ")
_COUNT, _REST = divmod(PAGE_SIZE, _RECORD.size)
_ZEROS = bytes(PAGE_SIZE)


def page(offset, number):
    """Return the page at an offset of the file, of the n-th write (from 1 on)."""
    head = struct.pack(">QQ", offset, number)
    record = head + zlib.crc32(head).to_bytes(8, "big")
    return record * _COUNT + bytes(_REST)


def pages(offset, size, number):
    """Return consecutive pages."""
    return b"".join(page(at, number) for at in range(offset, offset + size, PAGE_SIZE))


def fault(offset, data):
    """Return what is wrong with consecutive pages read at an offset, or None."""
    for begin in range(0, len(data), PAGE_SIZE):
        one = data[begin : begin + PAGE_SIZE]
        if one == _ZEROS:
            continue
        at, number, _ = _RECORD.unpack_from(one)
        if at != offset + begin or one != page(at, number):
            return f"the page at {offset + begin} says it is at {at}, of write {number}"
    return None
