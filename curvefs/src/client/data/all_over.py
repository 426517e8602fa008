"""Which blocks of a file come whole once it is read here and there all over. Pure.

Reads here and there bring pieces, until there were so many that all of the file is likely to be asked for. From then on
each block comes whole at its first read, and a few that nobody has read yet come with it, from the beginning on: how
long it takes until everything is here depends on the store then, and not on where the reader happens to look. Each
block comes once like that; who needs it again has lost it, and may lose it again. A file of much more than memory holds
never counts as read all over.
"""

SCATTERED_MIN = 16  # reads of pieces after which a file counts as read all over
MEMORIES_MAX = 4  # a file of more memory budgets than this never does
READS_PER_OTHER = 8  # after so many reads more, one more unread block comes at a time,
OTHERS_MAX = 3  # up to so many


class ReadAllOver:
    """See the module. block_size and memory (the budget) in bytes, as are all offsets and lengths."""

    def __init__(self, block_size: int, memory: int) -> None:
        self._block_size = block_size
        self._length_max = MEMORIES_MAX * memory
        self._reads = 0
        self._brought: set[int] = set()
        self._next = 0

    def seen(self, offset: int, length: int) -> bool:
        """Count a read of what is not here, in a file of a length; say whether its block is to come whole."""
        self._reads += 1
        if self._reads <= SCATTERED_MIN or length > self._length_max:
            return False
        return self._bring(offset // self._block_size)

    @property
    def others(self) -> int:
        """Return how many blocks that nobody has read may be on their way at a time."""
        return min((self._reads - SCATTERED_MIN) // READS_PER_OTHER, OTHERS_MAX)

    def next_other(self, length: int) -> int | None:
        """Return where the next of them begins; None after the last."""
        while self._next * self._block_size < length:
            self._next += 1
            if self._bring(self._next - 1):
                return (self._next - 1) * self._block_size
        return None

    def _bring(self, number: int) -> bool:
        first = number not in self._brought
        self._brought.add(number)
        return first
