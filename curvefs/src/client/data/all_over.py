"""How much comes of a file that is read here and there all over. Pure.

Reads here and there bring pieces, until there were so many that all of the file is likely to be asked for. Then other
blocks come behind the reader, from the beginning of the file on, the more the longer this goes on, and some time later
the reader's own come whole at once, which is one request instead of two. How soon everything is here depends on the
store then, not on where the reader happens to look, and who only looks here and there some times waits for pieces only.
That ends some time, lest a file that nothing keeps be fetched for ever; a file of much more than memory holds never
counts.
"""

OTHERS_AFTER = 16  # reads of pieces
WHOLE_AFTER = 32
MEMORIES_MAX = 4  # a file of more memory budgets than this never counts
READS_PER_OTHER = 8  # after so many reads more, one more other may be on its way,
OTHERS_MAX = 3  # up to so many


class ReadAllOver:
    """See the module. block_size and memory (the budget) in bytes, as are lengths."""

    def __init__(self, block_size: int, memory: int) -> None:
        self._block_size = block_size
        self._length_max = MEMORIES_MAX * memory
        self._reads = 0

    def seen(self, length: int) -> bool:
        """Count a read of what is not here, in a file of a length; say whether its block is to come whole."""
        self._reads += 1
        return self._counts(length) and self._reads > WHOLE_AFTER

    def others(self, length: int) -> int:
        """Return how many other blocks may be on their way."""
        more = self._reads - OTHERS_AFTER
        return min(more // READS_PER_OTHER + 1, OTHERS_MAX) if more > 0 and self._counts(length) else 0

    def _counts(self, length: int) -> bool:
        blocks = length // self._block_size + 1
        return length <= self._length_max and self._reads <= WHOLE_AFTER + 2 * blocks
