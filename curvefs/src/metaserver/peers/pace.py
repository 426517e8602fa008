"""How long to wait before the next attempt, and how often the same thing is logged. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

_KEYS_MAX = 1024


class Backoff:
    """Pauses that double from ``first_s`` to ``max_s``, each shortened by up to a half, by chance.

    jitter: returns a number in [0, 1), another one each time: metaservers that lost one at the same moment do not come
    back at the same moment.
    """

    def __init__(self, first_s: float, max_s: float, jitter: Callable[[], float]) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._jitter = jitter
        self._pause_s = first_s

    def next_s(self) -> float:
        """Return how long to wait now."""
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._max_s)
        return pause_s * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._pause_s = self._first_s


class Seldom:
    """Lets the same thing through once an interval. Remembers a bounded number of things, the latest."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last: OrderedDict[Hashable, float] = OrderedDict()

    def allows(self, key: Hashable, now: float) -> bool:
        """Return whether it is time again for this one."""
        last = self._last.get(key)
        if last is not None and now - last < self._interval_s:
            return False
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > _KEYS_MAX:
            self._last.popitem(last=False)
        return True
