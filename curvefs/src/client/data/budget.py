"""One memory budget for dirty data, cached blocks and what is being fetched.

Dirty data comes first: when it needs room, cached blocks are evicted; when that is not enough, the writer waits for
flushing, which is told to hurry. Room for the framed copies of blocks on their way to the store is set aside by the
owner of the budget. Writers that wait are served in their order, and nobody overtakes them: however
small the others' wishes are, each gets its turn. Nothing is ever taken beyond the limit.

A write that waits is in memory already, twice: in the buffer it was received in, and as what the filesystem was given.
It cannot be kept out; so room for one such request of each file that is being written is left free.

Shared across awaits: the counters; every change is made without an await in between.
"""

from collections.abc import Callable

import trio

from ...common.errors import IOFailure

REQUEST_SIZE_MAX = 1 << 20  # the most the kernel writes at a time
_COPIES = 2


class MemoryBudget:
    """Sizes in bytes. ``evict``: asked to give up so many cached bytes, returns how many it gave."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dirty = 0
        self.cached = 0
        self.evict: Callable[[int], int] = lambda _: 0
        self.pressure = trio.Event()  # set when a writer waits
        self._writers: set[int] = set()
        self._turn = trio.StrictFIFOLock()  # held by the writer that waits longest
        self._parked = trio.lowlevel.ParkingLot()  # the holder, until something changes

    @property
    def used(self) -> int:
        """Return what is taken."""
        return self.dirty + self.cached

    @property
    def waiting(self) -> bool:
        """True while a writer waits for room."""
        return self._turn.locked()

    @property
    def allowed(self) -> int:
        """Return how much may be taken: the limit without the room for requests, which is at most half of it."""
        return self.limit - min(_COPIES * REQUEST_SIZE_MAX * len(self._writers), self.limit // 2)

    def writes(self, writer: int, *, dirty: bool) -> None:
        """Note whether a file (its inode number) has dirty data."""
        if dirty:
            self._writers.add(writer)
        else:
            self._writers.discard(writer)

    def take_dirty(self, size: int) -> bool:
        """Take room for written bytes if there is any and nobody waits for it, evicting cached ones."""
        return not self._turn.locked() and self._take_dirty(size)

    async def wait_dirty(self, size: int, timeout_s: float) -> None:
        """Take room for written bytes, waiting for it. Raises IOFailure after the timeout."""
        with trio.move_on_after(timeout_s):
            async with self._turn:
                while not self._take_dirty(size):
                    self.pressure.set()
                    await self._parked.park()
            return
        raise IOFailure(
            f"no memory became free within {timeout_s:.0f} s: the object store does not take what is written"
        )

    def give_dirty(self, size: int) -> None:
        """Give back what written bytes took."""
        self.dirty -= size
        assert self.dirty >= 0, "given back twice"
        self.changed()

    def take_cached(self, size: int) -> bool:
        """Take room for bytes from the store if there is any that no writer waits for."""
        if self._turn.locked() or not self._fits(size):
            return False
        self.cached += size
        return True

    def give_cached(self, size: int) -> None:
        """Give back what cached bytes took."""
        self.cached -= size
        assert self.cached >= 0, "given back twice"
        self.changed()

    def changed(self) -> None:
        """Let the waiting writer look again: there is more room, or more that can be evicted."""
        if self._parked:
            self._parked.unpark_all()

    def _take_dirty(self, size: int) -> bool:
        if not self._fits(size):
            return False
        self.dirty += size
        return True

    def _fits(self, size: int) -> bool:
        short = self.dirty + self.cached + size - max(self.allowed, min(size, self.limit))
        # Nothing is evicted in vain.
        return short <= 0 or (short <= self.cached and self.evict(short) >= short)
