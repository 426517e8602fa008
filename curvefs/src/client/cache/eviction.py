"""Which block goes when room is needed: S3-FIFO, counted in bytes. Pure.

After Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
Most blocks that are read once are never read again. So a new one waits in a small queue, a tenth of the room; only who
is asked for again while it is there, or soon after it left (it is remembered by name), comes into the main queue. There
the oldest goes, unless it was asked for since: then it goes round again. A scan passes through the small queue and
leaves the main one alone, and a hit changes a counter and moves nothing. `tools/bench/eviction.py` compares it.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SMALL_SHARE = 10  # per cent of the bytes
ASKED_MAX = 3
_BITS = 2  # of an entry: how often it was asked for; the rest is its size


class Eviction(Generic[K]):
    """What is kept, with its sizes. The owner says when something has to go."""

    def __init__(self) -> None:
        self._small: OrderedDict[K, int] = OrderedDict()
        self._main: OrderedDict[K, int] = OrderedDict()
        self._left: OrderedDict[K, None] = OrderedDict()  # what went from the small queue, oldest first
        self._small_bytes = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, key: K) -> bool:
        return key in self._small or key in self._main

    def __iter__(self) -> Iterator[K]:
        yield from list(self._small)
        yield from list(self._main)

    def asked(self, key: K) -> bool:
        """Note that somebody wants a key; says whether it is kept."""
        for queue in (self._main, self._small):
            entry = queue.get(key)
            if entry is not None:
                if entry & ASKED_MAX < ASKED_MAX:
                    queue[key] = entry + 1
                return True
        return False

    def add(self, key: K, size: int, *, known: bool = False) -> None:
        """Take a key that is not kept yet. known: it has shown its worth before, e.g. before a restart."""
        assert key not in self, "kept already"
        if known or key in self._left:
            self._left.pop(key, None)
            self._main[key] = size << _BITS
        else:
            self._small[key] = size << _BITS
            self._small_bytes += size
        self.bytes += size

    def remove(self, key: K) -> bool:
        """Forget a key; says whether it was kept."""
        entry = self._small.pop(key, None)
        if entry is not None:
            self._small_bytes -= entry >> _BITS
        else:
            entry = self._main.pop(key, None)
        if entry is None:
            return False
        self.bytes -= entry >> _BITS
        return True

    def evict(self) -> K | None:
        """Choose what goes, and forget it; None when nothing is kept."""
        while self._small or self._main:
            if self._small and (self._small_bytes * 100 >= self.bytes * SMALL_SHARE or not self._main):
                key, entry = self._small.popitem(last=False)
                self._small_bytes -= entry >> _BITS
                if entry & ASKED_MAX:
                    self._main[key] = entry & ~ASKED_MAX
                    continue
                self._remember(key)
            else:
                key, entry = self._main.popitem(last=False)
                if entry & ASKED_MAX:
                    self._main[key] = entry - 1
                    continue
            self.bytes -= entry >> _BITS
            return key
        return None

    def _remember(self, key: K) -> None:
        """Keep the names of as many as the main queue holds."""
        self._left[key] = None
        while len(self._left) > max(len(self._main), len(self._small)):
            self._left.popitem(last=False)
