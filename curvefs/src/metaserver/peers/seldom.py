"""How often the same thing is logged. Pure."""

from collections import OrderedDict
from collections.abc import Hashable

_KEYS_MAX = 1024


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
