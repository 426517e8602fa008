"""The block formats: a small closed set, by the number that a filesystem and each of its slices carry.

A number never changes its meaning. New blocks get the filesystem's format; a slice keeps that of its blocks, so reading
goes by the slice.
"""

from dataclasses import dataclass

from ..common.errors import InvalidArgument, IOFailure
from .compression import Compression


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """How segments are stored: compressed or not, and with a checksum or encrypted with a tag."""

    number: int
    compression: Compression
    encrypted: bool


FORMATS = {
    one.number: one
    for one in (
        BlockFormat(1, Compression.NONE, encrypted=False),  # framing.py
        BlockFormat(2, Compression.ZSTD, encrypted=False),
        BlockFormat(3, Compression.LZ4, encrypted=False),
        BlockFormat(4, Compression.NONE, encrypted=True),
        BlockFormat(5, Compression.ZSTD, encrypted=True),
        BlockFormat(6, Compression.LZ4, encrypted=True),
    )
}
_NUMBERS = {(one.compression, one.encrypted): one.number for one in FORMATS.values()}


def format_number(compression: str, *, encrypted: bool) -> int:
    """Return the block format of a choice; '' is none. Raises InvalidArgument for an unknown compression."""
    try:
        return _NUMBERS[Compression(compression or "none"), encrypted]
    except ValueError:
        raise InvalidArgument(f"'{compression}' is no compression: none, zstd or lz4") from None


def block_format(number: int) -> BlockFormat:
    """Return a block format. Raises IOFailure for one that is not known here, e.g. of a newer version."""
    found = FORMATS.get(number)
    if found is None:
        raise IOFailure(f"block format {number} is not known to this version")
    return found
