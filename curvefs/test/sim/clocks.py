"""A server's clocks: each with its own beginning and its own rate; the one that agrees with the world may be set.

The rates of two servers differ by less than 5 % (rule 20). The boot-time clock begins anew when the machine does.
"""

RATE_ERROR_MAX = 0.024
_EPOCH_NS = 10**18


class SimClock:
    """A Clock (common/clock.py). ahead_s: the process stood still for so long in the middle of the present event."""

    __slots__ = ("_events", "_origin", "ahead_s", "rate", "wall_offset_ns")

    def __init__(self, events, rate, wall_offset_ns):
        self._events = events
        self._origin = events.now
        self.rate = rate
        self.wall_offset_ns = wall_offset_ns
        self.ahead_s = 0.0

    def boottime_s(self):
        return 100.0 + (self._events.now + self.ahead_s - self._origin) * self.rate

    def time_ns(self):
        return _EPOCH_NS + self.wall_offset_ns + int((self._events.now + self.ahead_s) * self.rate * 1e9)

    def reboot(self):
        """The machine starts: its boot-time clock begins anew."""
        self._origin = self._events.now
