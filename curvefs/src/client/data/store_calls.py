"""The object store from trio: its blocking calls in threads, so many at once, tried again until a deadline.

What may pass is tried again with growing pauses and jitter: a store that does not answer, is full, or refuses (wrong
credentials can be mended while the mount lives). An outage is logged when it begins and when it ends, not per try.
A thread is held during a call only, not during the pauses: what fails leaves its place to others.
Once the filesystem is gone, no call is made any more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
import trio

from ...common.errors import FilesystemGone, IOFailure
from ...object.protocol import ObjectStore, StoreFull, StoreRefused, StoreUnavailable
from ...slices.codec import BlockCodec

log = structlog.get_logger()

T = TypeVar("T")
_RETRIED = (StoreUnavailable, StoreFull, StoreRefused)
_PAUSE_S_FIRST, _PAUSE_S_MAX = 0.1, 5.0


@dataclass(slots=True)
class StoreCounts:
    """Since the mount began; bytes are those of the data, before it is encoded."""

    puts: int = 0
    put_bytes: int = 0
    gets: int = 0
    get_bytes: int = 0
    failures: int = 0  # that were tried again


class StoreCalls:
    """Puts and gets of blocks. ``random_s``: a number in [0, 1) for the jitter of a pause."""

    def __init__(
        self,
        store: ObjectStore,
        codec: BlockCodec,
        *,
        uploads_max: int,
        downloads_max: int,
        random_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._codec = codec
        self._uploads = trio.CapacityLimiter(uploads_max)
        self._downloads = trio.CapacityLimiter(downloads_max)
        self._random = random_s
        self._failing = False
        self._ended = trio.Event()
        self.counts = StoreCounts()

    def end(self) -> None:
        """The filesystem is gone: all calls raise FilesystemGone from now on."""
        self._ended.set()

    async def put(self, name: str, block: bytes | bytearray, block_format: int, deadline: float) -> None:
        """Store a block, which must not change meanwhile. Raises IOFailure after the deadline (trio time)."""
        await self._retried(partial(self._put, name, block, block_format), self._uploads, deadline)
        self.counts.puts += 1
        self.counts.put_bytes += len(block)

    async def put_object(self, name: str, load: Callable[[], bytes], deadline: float) -> None:
        """Store an object that is encoded already. load() runs in a thread. Raises what that raises, IOFailure."""

        def put() -> int:
            data = load()
            self._store.put(name, data)
            return len(data)

        size = await self._retried(put, self._uploads, deadline)
        self.counts.puts += 1
        self.counts.put_bytes += size

    def renamed(self, old: str, new: str, block_length: int, block_format: int) -> bytes | bytearray:
        """Return the object of a block that will have another name. Blocks, and is tried once. Raises CorruptData."""

        def fetch(start: int, size: int | None) -> bytes:
            return self._store.get(old, start, size)

        segments = self._codec.read(block_format, old, 0, block_length, block_length, fetch=fetch)
        return self._codec.encode(block_format, new, segments)

    async def fetch_object(self, name: str, take: Callable[[bytes], T], deadline: float) -> T:
        """Have an object as it is; take() is called with it in a thread. Raises ObjectNotFound, IOFailure."""
        return await self._retried(lambda: take(self._store.get(name)), self._downloads, deadline)

    def encode(self, name: str, block: bytes | bytearray, block_format: int) -> bytes | bytearray:
        """Return the object of a block, which will have this name."""
        return self._codec.encode(block_format, name, [block])

    async def get(
        self, name: str, start: int, size: int, block_length: int, *, block_format: int, deadline: float
    ) -> list[memoryview]:
        """Return data bytes [start, start + size) of a block, verified, in segments of 64 KiB (the last is shorter).

        ``start`` is at a segment; ``size`` ends at one, or at the end of the block. Raises ObjectNotFound, CorruptData,
        IOFailure after the deadline.
        """
        call = partial(
            self._codec.read, block_format, name, start, size, block_length, fetch=partial(self._store.get, name)
        )
        segments = await self._retried(call, self._downloads, deadline)
        self.counts.gets += 1
        self.counts.get_bytes += size
        return segments

    def _put(self, name: str, block: bytes | bytearray, block_format: int) -> None:
        self._store.put(name, self.encode(name, block, block_format))

    async def _retried(self, call: Callable[[], T], limiter: trio.CapacityLimiter, deadline: float) -> T:
        """Have a call made until it succeeds; the last try is made at the deadline."""
        pause_s = _PAUSE_S_FIRST
        while True:
            try:
                result = await trio.to_thread.run_sync(partial(self._lean, call), limiter=limiter)
            except _RETRIED as error:
                self._failed(error)
                reason = str(error)
            else:
                if self._failing:
                    self._failing = False
                    log.info("the object store answers again")
                return result
            now = trio.current_time()
            if now >= deadline:
                raise IOFailure(reason)
            with trio.move_on_at(min(now + pause_s * (0.5 + self._random()), deadline)):
                await self._ended.wait()
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    def _failed(self, error: Exception) -> None:
        self.counts.failures += 1
        if not self._failing:
            self._failing = True
            log.warning("the object store fails; trying again", reason=str(error), kind=type(error).__name__)

    def _lean(self, call: Callable[[], T]) -> T:
        """Make a call; an error that may pass comes without its traces, which would hold the object in memory.

        Many calls pause while the store is away, and an idle thread keeps the outcome of its last call.
        """
        if self._ended.is_set():
            raise FilesystemGone
        try:
            return call()
        except _RETRIED as error:
            failed = type(error)(str(error))
        raise failed
