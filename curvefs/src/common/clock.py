"""Time as an argument: what reads a clock takes a Clock, so that tests and simulations decide the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that agrees with the world, one that never jumps and counts suspended time."""

    def time_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...

    def boottime_s(self) -> float:
        """Return seconds since boot, suspend included: for leases."""
        ...


class SystemClock:
    """The machine's clocks."""

    def time_ns(self) -> int:
        """Return CLOCK_REALTIME."""
        return time.time_ns()

    def boottime_s(self) -> float:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
