"""The event queue: simulated time goes from one event to the next.

Events at the same time happen in the order they were put in, so a run is a function of what was put in. Time is in
seconds and nobody's clock: what servers see is clocks.py.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Events:
    """See the module."""

    __slots__ = ("_count", "_heap", "now")

    def __init__(self):
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay_s, action, *args):
        """Have ``action`` called in ``delay_s`` seconds."""
        self._count = count = self._count + 1
        heappush(self._heap, (self.now + delay_s, count, action, args))

    def run(self, until, done):
        """Let events happen until a time, or until ``done()``, which is asked after each."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action, args = heappop(heap)
            action(*args)
            if done():
                return
        if not done():
            self.now = max(self.now, until)
