"""A clock that a test sets."""


class FakeClock:
    """Both clocks of curvefs.src.common.clock.Clock, moved by hand together. ahead_s: how wrong the time of day is."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self.ahead_s = 0

    def time_ns(self) -> int:
        return self.true_ns() + self.ahead_s * 10**9

    def true_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(self._now_s * 1e9)

    def boottime_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
