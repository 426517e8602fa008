"""Write-back of a mount (rule 9): what is flushed is durable on the cache disk, and goes to the store afterwards.

A block is staged if there is room, else it is stored at once: so a writer that is faster than the store for long gets
as slow as the store, and what is staged stays bounded, in bytes and in slices. When the staging disk fails, blocks are
stored at once as well, and it is tried again later. No file is touched in the event loop.

Shared across awaits: when staging is tried again, and whether something was dropped; what is staged is the affair of
staging.py and its lock.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import structlog
import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ....proto import metaserver_pb2, staging_pb2
from ...slices.geometry import Geometry
from ...slices.names import block_name
from ..cache.disk_cache import DiskCache
from ..cache.staging import SLICES_MAX, Staging, StagingFailed, StagingFull
from .store_calls import StoreCalls

log = structlog.get_logger()
T = TypeVar("T")

THREADS_MAX = 8
PAUSE_S = 15.0  # after a failure


class WriteBack:
    """See the module."""

    def __init__(
        self,
        staging: Staging,
        cache: DiskCache,
        calls: StoreCalls,
        geometry: Geometry,
        *,
        accepts: bool,
        now_s: Callable[[], float],
        give_up_id: Callable[[int], None],
    ) -> None:
        """accepts: else only what is staged already is published. now_s: may be called from other threads.

        give_up_id: of chunk ids that nothing will be published under; the identity would keep them.
        """
        self._accepts = accepts
        self._staging = staging
        self._cache = cache
        self._calls = calls
        self._geometry = geometry
        self._now_s = now_s
        self._give_up_id = give_up_id
        self._threads = trio.CapacityLimiter(THREADS_MAX)
        self._failed_until: float | None = None
        self._dropped = trio.Event()
        self.staged_bytes = self.uploaded = self.uploaded_bytes = self.published = self.failures = self.lost = 0

    @property
    def is_staging(self) -> bool:
        """Say whether what is written is staged at present."""
        return self._accepts and (self._failed_until is None or self._now_s() >= self._failed_until)

    @property
    def bytes_waiting(self) -> int:
        """Return the bytes that are staged now."""
        return self._staging.bytes

    @property
    def slices_waiting(self) -> int:
        """Return the number of slices that are staged now."""
        return self._staging.slices

    @property
    def blocks_waiting(self) -> int:
        """Return the number of blocks that are staged now."""
        return self._staging.blocks

    async def put(self, name: str, block: bytearray, block_format: int, deadline: float) -> None:
        """Stage a block, or store it. Raises IOFailure after the deadline."""
        if self.is_staging:
            try:
                is_staged = await self._run(partial(self._put, name, block, block_format))
            except StagingFailed as error:
                self._failed(error)
            else:
                if is_staged:
                    self._works()
                    self.staged_bytes += len(block)
                    return
        await self._calls.put(name, block, block_format, deadline)

    def _put(self, name: str, block: bytearray, block_format: int) -> bool:
        """Stage a block if there is room."""
        size = len(block)
        if not self._staging.reserve(size):
            return False
        try:
            self._staging.put(name, self._calls.encode(name, block, block_format))
        finally:
            self._staging.release(size)
        return True

    def is_staged(self, name: str) -> bool:
        """Say whether a block is staged, and not stored yet."""
        return self._staging.has(name)

    async def commit(self, slices: list[staging_pb2.StagedSlice]) -> list[int]:
        """Make slices durable whose blocks are staged or stored. Raises StagingFailed."""
        if not self.is_staging:
            raise StagingFailed("the staging disk is set aside")
        for one in slices:
            one.identity = self._staging.identity
            one.blocks.extend(
                block
                for index, name in self.names(one.slice)
                if (block := self._staging.block(name, index)) is not None
            )
        try:
            numbers = await self._run(lambda: self._staging.commit(slices))
        except StagingFull:
            raise
        except StagingFailed as error:
            self._failed(error)
            raise
        self._works()
        return numbers

    async def upload(self, one: staging_pb2.StagedSlice, deadline: float) -> None:
        """Store the staged blocks of a slice, all at once. Raises IOFailure, StagingFailed, StagedBlockDamaged."""
        wanted = {block.index for block in one.blocks}
        names = [name for index, name in self.names(one.slice) if index in wanted]
        failures: list[Exception] = []

        async def store(name: str) -> None:
            try:
                await self._calls.put_object(name, lambda: self._staging.whole(name), deadline)
            except Exception as error:  # noqa: BLE001  # the first is raised by the owner
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(store, name)
        if failures:
            raise failures[0]
        self.uploaded += len(names)
        self.uploaded_bytes += one.slice.size

    async def rename(self, number: int, one: staging_pb2.StagedSlice, chunk_id: int) -> None:
        """Stage a slice again under a chunk id that is not refused.

        Raises StagingFailed, ObjectNotFound, CorruptData, ...: then it is staged as before.
        """
        again = staging_pb2.StagedSlice()
        again.CopyFrom(one)
        again.slice.chunk_id = chunk_id
        again.identity = self._staging.identity
        del again.blocks[:]
        before, after = self.names(one.slice), self.names(again.slice)
        try:
            for (index, old), (_, new) in zip(before, after, strict=True):
                await self._run(partial(self._copy, one.slice, index, old, new))
                block = self._staging.block(new, index)
                assert block is not None, "it was just staged"
                again.blocks.append(block)
            certain = await self._run(lambda: self._staging.replace(number, again))
        except BaseException:
            self.drop(again.slice)
            raise
        one.CopyFrom(again)
        if certain:  # else the disk may come back with the record before
            self.drop_blocks(before)

    def _copy(self, one: metaserver_pb2.Slice, index: int, old: str, new: str) -> None:
        """Stage a block under another name; an encrypted one is bound to its name."""
        length = min(self._geometry.block_size, one.size - index * self._geometry.block_size)
        self._staging.put(new, self._calls.renamed(old, new, length, one.object.block_format))

    async def forget(self, number: int, one: staging_pb2.StagedSlice, *, published: bool) -> None:
        """Remove a slice: it is published, or never will be."""
        names = [name for _, name in self.names(one.slice)]

        def remove() -> None:
            # The next mount must find a record that stays with its blocks, to see that it is published.
            self._staging.forget(number, names if published else ())
            for name in names:
                if published:
                    self._staging.remove(name, self._cache.adopt)
                else:
                    self._staging.remove(name)

        await self._run(remove)
        if not published:
            self._give_up_id(one.slice.chunk_id)

    async def run(self) -> None:
        """Remove what was dropped, and again what the staging disk did not remove, until cancelled."""
        while True:
            with trio.move_on_after(PAUSE_S):
                await self._dropped.wait()
            self._dropped = trio.Event()
            await self._run(self._staging.clean)

    def drop(self, one: metaserver_pb2.Slice) -> None:
        """Forget a slice that has no record, and never will be published."""
        if one.chunk_id:
            self.drop_blocks(self.names(one))
            self._give_up_id(one.chunk_id)

    def drop_blocks(self, names: list[tuple[int, str]]) -> list[int]:
        """Forget staged blocks of which there is no record, by (index, name); returns which were staged."""
        found = [(index, name) for index, name in names if self._staging.has(name)]
        for _, name in found:
            self._staging.drop(name)
        if found:
            self._dropped.set()
        return [index for index, _ in found]

    async def put_aside(self, number: int) -> None:
        """Keep a slice that cannot be published out of the way, for a person to look at."""
        await self._run(lambda: self._staging.put_aside(number))

    def names(self, one: metaserver_pb2.Slice) -> list[tuple[int, str]]:
        """Return (index, name) of the blocks of a slice."""
        count = -(-one.size // self._geometry.block_size)
        return [(n, block_name(self._geometry.uuid, one.chunk_id, one.compaction, n)) for n in range(count)]

    async def look(self) -> list[tuple[int, staging_pb2.StagedSlice]]:
        """Return what a mount before this one has left, in order. Raises StagingFailed."""
        return await self._run(lambda: self._staging.look(lambda one: self.names(one.slice)))

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is staged any more."""
        return self._staging.is_empty

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if self._failed_until is None:
            log.warning("staging fails; what is written is stored at once", reason=str(error))
        self._failed_until = self._now_s() + PAUSE_S

    def _works(self) -> None:
        if self._failed_until is not None:
            self._failed_until = None
            log.info("staging works again")


class WriteBackCollector(Collector):
    """Its figures, read when scraped."""

    def __init__(self, write_back: WriteBack) -> None:
        self._of = write_back

    def collect(self) -> Iterator[Metric]:
        """Yield the present values."""
        prefix = "curvefs_client_staging"
        yield GaugeMetricFamily(
            f"{prefix}_waiting_bytes", "Bytes staged and not published", value=self._of.bytes_waiting
        )
        text = f"Slices staged and not published, at most {SLICES_MAX}"
        yield GaugeMetricFamily(f"{prefix}_waiting_slices", text, value=self._of.slices_waiting)
        yield GaugeMetricFamily(f"{prefix}_waiting_blocks", "Blocks of them", value=self._of.blocks_waiting)
        text = "1, or 0 while what is written is stored at once: the disk is set aside, or the mount has no write-back"
        yield GaugeMetricFamily(f"{prefix}_in_use", text, value=float(self._of.is_staging))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"{prefix}_{name}", text, value=getattr(self._of, name))


_COUNTERS = {
    "staged_bytes": "Bytes of blocks staged",
    "uploaded": "Staged blocks stored",
    "uploaded_bytes": "Bytes of them",
    "published": "Staged slices published",
    "failures": "Calls of the staging disk that failed",
    "lost": "Staged slices that will never be published",
}
