"""Turns of those who store and publish a file: one after another, in the order in which they came.

Who waits is not failed by others who are slow. But when his time is over and the one before him failed because nobody
answered, he fails too, in place of trying as well: so that many who wait learn it when the first does, not one by one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ...common.errors import ClusterError, IOFailure


class Turns:
    """Of one file."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._failure: str | None = None  # of the last turn

    @property
    def taken(self) -> bool:
        """True during somebody's turn."""
        return self._lock.locked()

    @asynccontextmanager
    async def take(self, deadline: float) -> AsyncIterator[None]:
        """Have a turn. Raises IOFailure after waiting until the deadline (trio time), if the last one failed."""
        waited = self.taken
        async with self._lock:
            if waited and self._failure is not None and trio.current_time() >= deadline:
                raise IOFailure(self._failure)
            try:
                yield
            except (IOFailure, ClusterError) as error:
                self._failure = str(error)
                raise
            self._failure = None
