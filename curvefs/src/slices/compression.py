"""Compression of one segment by zstd or lz4; the only importer of both.

Segments are small and alone, so that each can be read without the others; that costs a few percent of the ratio. zstd
at level 1 is as fast as the rest of the path; lz4 takes half of its CPU, and compresses less.
"""

from collections.abc import Callable
from enum import StrEnum

import lz4.block
import zstandard

from ..common.errors import CorruptData

_ZSTD_LEVEL = 1


class Compression(StrEnum):
    """By the names that users say."""

    NONE = "none"
    ZSTD = "zstd"
    LZ4 = "lz4"


def compressor(kind: Compression) -> Callable[[memoryview], bytes]:
    """Return what compresses the segments of a block; for one thread."""
    if kind is Compression.ZSTD:
        # The size is known to the reader; damage is found by the seal.
        return zstandard.ZstdCompressor(_ZSTD_LEVEL, write_content_size=False, write_checksum=False).compress
    assert kind is Compression.LZ4, kind
    return _lz4_compressed


def decompressor(kind: Compression) -> Callable[[memoryview, int], bytes]:
    """Return what takes a compressed segment and its size and decompresses it; for one thread. Raises CorruptData."""
    if kind is Compression.ZSTD:
        context = zstandard.ZstdDecompressor()

        def decompress(data: memoryview, size: int) -> bytes:
            try:
                return _of_size(context.decompress(data, max_output_size=size, allow_extra_data=False), size)
            except zstandard.ZstdError as error:
                raise CorruptData(f"it cannot be decompressed: {error}") from error

        return decompress
    assert kind is Compression.LZ4, kind
    return _lz4_decompressed


def _lz4_compressed(data: memoryview) -> bytes:
    compressed: bytes = lz4.block.compress(data, store_size=False)
    return compressed


def _lz4_decompressed(data: memoryview, size: int) -> bytes:
    try:
        return _of_size(lz4.block.decompress(data, uncompressed_size=size), size)
    except lz4.block.LZ4BlockError as error:
        raise CorruptData(f"it cannot be decompressed: {error}") from error


def _of_size(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise CorruptData(f"it has {len(data)} bytes, not {size}")
    return data
