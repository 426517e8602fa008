"""What one handle reads with: its own idea of whether it reads sequentially, and what to fetch ahead."""

from ...slices.geometry import SMALL_FILE_MAX
from .readahead import ReadAhead
from .reading import FileReads


class Reader:
    """See the module."""

    def __init__(self, reads: FileReads) -> None:
        self._reads = reads
        self._ahead = ReadAhead()

    @property
    def jumped(self) -> bool:
        """True when the last read was a small one somewhere else than after the one before."""
        return self._ahead.jumped

    def expect(self) -> None:
        """Begin to fetch a small file: whoever opens it reads it, as a rule, and all of it."""
        if self._reads.published_length <= SMALL_FILE_MAX:
            self._reads.prefetch(0, self._reads.published_length)

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file. Raises IOFailure, CorruptData."""
        start, end = self._ahead.seen(offset, size)
        if end > start:
            self._reads.prefetch(start, end)
        whole = self._ahead.sequential or (offset == 0 and self._reads.in_one_block)
        return await self._reads.read(offset, size, whole_blocks=whole)
