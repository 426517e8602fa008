"""One memory budget for dirty data, cached blocks and what is being fetched.

Dirty data comes first: when it needs room, cached blocks are evicted; when that is not enough, the writer waits for
flushing, which is told to hurry. Nothing is ever taken beyond the limit.

Shared across awaits: the counters; every change is made without an await in between.
"""

from collections.abc import Callable

import trio

from ...common.errors import IOFailure


class MemoryBudget:
    """Sizes in bytes. ``evict``: asked to give up so many cached bytes, returns how many it gave."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dirty = 0
        self.cached = 0
        self.evict: Callable[[int], int] = lambda _: 0
        self.pressure = trio.Event()  # set when a writer waits
        self._freed = trio.Event()

    @property
    def used(self) -> int:
        """Return what is taken."""
        return self.dirty + self.cached

    def take_dirty(self, size: int) -> bool:
        """Take room for written bytes if there is any, evicting cached ones."""
        short = self.used + size - self.limit
        if short > 0 and self.evict(short) < short:
            return False
        self.dirty += size
        return True

    async def wait_dirty(self, size: int, timeout_s: float) -> None:
        """Take room for written bytes, waiting for it. Raises IOFailure after the timeout."""
        with trio.move_on_after(timeout_s):
            while not self.take_dirty(size):
                self.pressure.set()
                self._freed = trio.Event()
                await self._freed.wait()
            return
        raise IOFailure(
            f"no memory became free within {timeout_s:.0f} s: the object store does not take what is written"
        )

    def give_dirty(self, size: int) -> None:
        """Give back what written bytes took."""
        self.dirty -= size
        assert self.dirty >= 0, "given back twice"
        self._freed.set()

    def take_cached(self, size: int) -> bool:
        """Take room for bytes from the store if there is any; at most what dirty data leaves."""
        short = self.used + size - self.limit
        if short > 0 and self.evict(short) < short:
            return False
        self.cached += size
        return True

    def give_cached(self, size: int) -> None:
        """Give back what cached bytes took."""
        self.cached -= size
        assert self.cached >= 0, "given back twice"
        self._freed.set()
