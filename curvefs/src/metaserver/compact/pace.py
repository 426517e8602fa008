"""Bytes per second: whoever wants to move some waits until what was moved before has had its time. Pure but for clocks.

A large job may begin at once and is paid for by the next: so the mean is kept, and nothing has to be cut.
"""

from collections.abc import Awaitable, Callable


class Pace:
    """bytes_per_s: the mean. now_s: a clock that never goes back."""

    def __init__(
        self, bytes_per_s: float, now_s: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._now_s = now_s
        self._sleep = sleep
        self._free_at_s = now_s()

    async def take(self, size: int) -> None:
        """Wait for the turn of so many bytes."""
        now_s = self._now_s()
        turn_s = max(self._free_at_s, now_s)
        self._free_at_s = turn_s + size / self._bytes_per_s
        if turn_s > now_s:
            await self._sleep(turn_s - now_s)
