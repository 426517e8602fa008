"""How long work that failed is left alone: longer with each failure. Pure but for the clock it is given."""

from collections.abc import Callable, Hashable

_FIRST_S, _LONGEST_S = 1.0, 60.0
_KEPT_MAX = 10_000


class Pauses:
    """now_s: a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._pauses: dict[Hashable, tuple[float, float]] = {}  # how long, until when

    def is_over(self, key: Hashable) -> bool:
        """Say whether it may be tried."""
        return key not in self._pauses or self._now_s() >= self._pauses[key][1]

    def failed(self, key: Hashable) -> float:
        """Note a failure; returns how long the pause is."""
        long_s = min(2 * self._pauses[key][0], _LONGEST_S) if key in self._pauses else _FIRST_S
        while len(self._pauses) >= _KEPT_MAX:
            self._pauses.pop(next(iter(self._pauses)))
        self._pauses[key] = long_s, self._now_s() + long_s
        return long_s

    def went_well(self, key: Hashable) -> None:
        """Forget earlier failures."""
        self._pauses.pop(key, None)
