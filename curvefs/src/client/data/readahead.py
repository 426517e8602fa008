"""What a sequential reader will want next. Pure.

The kernel's own read-ahead sends a reader's requests slightly out of order, so a request near the last one counts as
sequential. The window doubles while reading goes on and closes at the first jump; a jump also ends fetching whole
blocks, so that random readers fetch only the pieces they need.
"""

from dataclasses import dataclass

NEAR = 2 << 20
WINDOW_FIRST = 4 << 20
WINDOW_MAX = 32 << 20
SMALL = 64 << 10  # who asks for so little has no read-ahead of the kernel


@dataclass(slots=True)
class ReadAhead:
    """Of one handle. Offsets in bytes."""

    last_end: int = 0
    run: int = 0  # bytes read sequentially
    window: int = 0
    asked_to: int = 0  # read-ahead was asked for up to here
    jumped: bool = False  # the last read was a small one somewhere else than after the one before
    previous_end: int = 0

    def seen(self, offset: int, size: int) -> tuple[int, int]:
        """Note a read; returns the file range [from, to) to fetch ahead, empty when there is none."""
        self.jumped = size <= SMALL and offset != self.previous_end
        self.previous_end = offset + size
        if self.last_end - NEAR <= offset <= self.last_end + NEAR:
            self.run += size
            self.last_end = max(self.last_end, offset + size)
        else:
            self.run, self.window, self.asked_to = 0, 0, 0
            self.last_end = offset + size
            return 0, 0
        if self.run <= size:
            return 0, 0  # the first read of a file is no pattern yet
        if not self.window:
            self.window = WINDOW_FIRST
        wanted = self.last_end + self.window
        if self.asked_to - self.last_end > self.window // 2:
            return 0, 0  # enough is on its way
        start, self.asked_to = max(self.asked_to, self.last_end), wanted
        self.window = min(2 * self.window, WINDOW_MAX)
        return start, wanted

    @property
    def sequential(self) -> bool:
        """True while whole blocks are worth fetching."""
        return self.window > 0
