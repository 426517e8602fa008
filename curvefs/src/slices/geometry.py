"""Chunks and blocks of a file. Pure.

A file is cut into chunks (64 MiB by default); a slice lies within one chunk. The run of bytes a slice stores is cut
into blocks (4 MiB) counted from the start of the run, so that a slice may lie at any offset (rule 2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

PIECES_PER_PUBLICATION = 500  # at most, by pieces(): so much one entry of the log may touch
LENGTH_MAX = (1 << 62) - 1  # of a file
SMALL_FILE_MAX = 128 << 10  # read as a whole by whoever opens it, as a rule: so it is fetched by then


class ChunkRange(NamedTuple):
    """Part of a file range within one chunk."""

    chunk_index: int
    offset: int  # in the chunk
    length: int


class BlockRange(NamedTuple):
    """Part of a run within one block."""

    block: int  # its index in the run
    offset: int  # in the block
    length: int
    block_length: int  # of the whole block: shorter for the last of the run


def pieces(length: int, chunk_size: int) -> int:
    """Return for how many pieces a slice of so many bytes counts in a publication: it may be split at chunk borders."""
    return length // chunk_size + 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """A filesystem's sizes in bytes, its UUID and the format of new blocks."""

    uuid: UUID
    chunk_size: int
    block_size: int
    block_format: int

    def chunks(self, offset: int, length: int) -> Iterator[ChunkRange]:
        """Cut a file range at chunk borders."""
        while length > 0:
            index, within = divmod(offset, self.chunk_size)
            taken = min(length, self.chunk_size - within)
            yield ChunkRange(index, within, taken)
            offset += taken
            length -= taken

    def blocks(self, run_offset: int, length: int, run_size: int) -> Iterator[BlockRange]:
        """Cut a range of a stored run at block borders."""
        assert run_offset + length <= run_size, (run_offset, length, run_size)
        while length > 0:
            index, within = divmod(run_offset, self.block_size)
            block_length = min(self.block_size, run_size - index * self.block_size)
            taken = min(length, block_length - within)
            yield BlockRange(index, within, taken, block_length)
            run_offset += taken
            length -= taken
