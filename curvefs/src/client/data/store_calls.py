"""The object store from trio: its blocking calls in threads, so many at once, tried again until a deadline.

What may pass is tried again with growing pauses and jitter: a store that does not answer, is full, or refuses (wrong
credentials can be mended while the mount lives). An outage is logged when it begins and when it ends, not per try.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import structlog
import trio

from ...common.errors import IOFailure
from ...object.protocol import ObjectStore, StoreFull, StoreRefused, StoreUnavailable
from ...slices import framing

log = structlog.get_logger()

T = TypeVar("T")
_RETRIED = (StoreUnavailable, StoreFull, StoreRefused)
_PAUSE_S_FIRST, _PAUSE_S_MAX = 0.1, 5.0


class StoreCalls:
    """Puts and gets of framed blocks."""

    def __init__(
        self, store: ObjectStore, *, uploads_max: int, downloads_max: int, random_s: Callable[[], float]
    ) -> None:
        self._store = store
        self._uploads = trio.CapacityLimiter(uploads_max)
        self._downloads = trio.CapacityLimiter(downloads_max)
        self._random = random_s
        self._failing = False

    async def put(self, name: str, parts: Iterable[bytes | bytearray | memoryview], deadline: float) -> None:
        """Store a block given as consecutive pieces. Raises IOFailure after the deadline (trio time)."""
        pieces = list(parts)
        await self._retried(partial(self._put, name, pieces), self._uploads, deadline)

    async def get(self, name: str, start: int, size: int, block_length: int, deadline: float) -> list[memoryview]:
        """Return the verified bytes of whole segments: data bytes [start, start + size) of a block.

        Raises ObjectNotFound, CorruptData, IOFailure after the deadline.
        """
        call = partial(self._get, name, start, size, block_length)
        return await self._retried(call, self._downloads, deadline)

    def _put(self, name: str, pieces: list[bytes | bytearray | memoryview]) -> None:
        self._store.put(name, framing.encode(pieces))

    def _get(self, name: str, start: int, size: int, block_length: int) -> list[memoryview]:
        at, framed = framing.framed_range(start, size, block_length)
        return framing.decode(self._store.get(name, at, framed), size)

    async def _retried(self, call: Callable[[], T], limiter: trio.CapacityLimiter, deadline: float) -> T:
        pause_s = _PAUSE_S_FIRST
        while True:
            try:
                result = await trio.to_thread.run_sync(call, limiter=limiter)
            except _RETRIED as error:
                self._failed(error)
                if trio.current_time() + pause_s >= deadline:
                    raise IOFailure(str(error)) from error
                await trio.sleep(pause_s * (0.5 + self._random()))
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            else:
                if self._failing:
                    self._failing = False
                    log.info("the object store answers again")
                return result

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("the object store fails; trying again", reason=str(error), kind=type(error).__name__)
