"""All open files of a mount, and the background work on them: flushing by age and under memory pressure.

A file stays in the table while a handle is open or something of it is not published; so a store that is away for
long loses nothing, and the background goes on trying, in growing intervals, after every handle is closed.

Shared across awaits: the table of files, changed between awaits only.
"""

import os
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ....proto import metaserver_pb2 as pb
from ....proto import staging_pb2
from ...common.clock import Clock, SystemClock
from ...common.errors import CurveFSError, FilesystemGone, InvalidArgument, NotFound, StaleHandle
from ...object.protocol import ObjectStore
from ...slices.codec import BlockCodec, object_size_max
from ...slices.geometry import SMALL_FILE_MAX, Geometry
from ...slices.names import block_name
from ..background import contained, kept
from ..cache.cached_store import CachedStore
from ..cache.disk_cache import DiskCache, DiskCacheCollector
from ..cache.staging import Staging
from .budget import MemoryBudget
from .file_data import WRITE_STEP, FileData, Services
from .interfaces import SliceMetadata
from .read_cache import ReadCache
from .store_calls import StoreCalls
from .warm_up import WarmUp
from .write_back import WriteBack, WriteBackCollector

log = structlog.get_logger()

FLUSH_AGE_S = 5.0
FLUSH_TICK_S = 1.0
HURRY_TICK_S = 0.01
BACKGROUND_FILES_MAX = 16  # drained at once
ADOPTED_AT_ONCE = 32  # files
PROGRESS_S, STAGED_TICK_S = 5.0, 0.05
RETRY_S_FIRST, RETRY_S_MAX = 1.0, 30.0  # between drains of a file that fail


@dataclass(frozen=True, slots=True)
class DataConfig:
    """memory_budget in bytes, at least 3 MiB; store_timeout_s: how long a flush or read keeps trying before EIO.

    data_key: of a filesystem that is encrypted.
    """

    memory_budget: int = 300 << 20
    store_timeout_s: float = 300.0
    uploads_max: int = 16
    downloads_max: int = 16
    data_key: bytes = field(default=b"", repr=False)
    write_back: bool = False


@dataclass(slots=True)
class _Work:
    """Of one kind, in the background, on one file."""

    retry_at: float = 0.0  # trio time; it is left alone until then
    retry_s: float = RETRY_S_FIRST
    under_way: bool = False  # or waiting to be

    def is_due(self, now: float) -> bool:
        return not self.under_way and self.retry_at <= now


@dataclass(slots=True)
class _Open:
    file: FileData
    handles: int = 0
    drain: _Work = field(default_factory=_Work)
    publication: _Work = field(default_factory=_Work)  # of what is staged: must not keep the rest from being staged


class DataPath:
    """See the module. ``drop_inode`` (set by the owner) makes the kernel forget an inode's pages."""

    def __init__(
        self,
        config: DataConfig,
        store: ObjectStore,
        metadata: SliceMetadata,
        geometry: Geometry,
        *,
        registry: CollectorRegistry,
        clock: Clock | None = None,
        disk: DiskCache | None = None,
        staging: Staging | None = None,
    ) -> None:
        """disk: the cache below; staging: with write-back, on one of its folders."""
        self._clock = clock or SystemClock()
        self._files: dict[int, _Open] = {}
        self._nursery: trio.Nursery | None = None
        self._memory_limit = config.memory_budget
        # An upload holds an encoded copy of its block: room for these is set aside, within reason for a small budget.
        copies = min(
            config.uploads_max * object_size_max(geometry.block_format, geometry.block_size), config.memory_budget // 4
        )
        if disk is not None:  # and for blocks on their way to the cache disk
            store = CachedStore(store, disk, staging)
            copies += disk.limit_memory(config.memory_budget // 8)
            registry.register(DiskCacheCollector(disk))
        self._budget = MemoryBudget(config.memory_budget - copies)
        if self._budget.limit < 2 * min(WRITE_STEP, geometry.chunk_size):
            raise InvalidArgument(f"a memory budget of {config.memory_budget} bytes is too small")
        calls = self._calls = StoreCalls(
            store,
            BlockCodec(config.data_key, os.urandom),
            uploads_max=config.uploads_max,
            downloads_max=config.downloads_max,
            random_s=random.random,
        )
        self._cache = ReadCache(self._budget, calls, disk.drop if disk else lambda _: None, self.start)
        self._write_back: WriteBack | None = None
        if disk is not None and staging is not None:
            now_s = self._clock.boottime_s
            self._write_back = WriteBack(
                staging,
                disk,
                calls,
                geometry,
                accepts=config.write_back,
                now_s=now_s,
                give_up_id=metadata.give_up_id,
            )
            registry.register(WriteBackCollector(self._write_back))
        self.warm_up: WarmUp | None = None
        if disk is not None:
            self.warm_up = WarmUp(metadata, geometry, disk, calls, self._budget, timeout_s=config.store_timeout_s)
        self._drains = trio.CapacityLimiter(BACKGROUND_FILES_MAX)
        self._publications = trio.CapacityLimiter(BACKGROUND_FILES_MAX)
        self.drop_inode: Callable[[int], Awaitable[None]] | None = None
        self._services = Services(
            geometry=geometry,
            metadata=metadata,
            calls=calls,
            cache=self._cache,
            budget=self._budget,
            clock=self._clock,
            start=self.start,
            shifted=self._shifted,
            store_timeout_s=config.store_timeout_s,
            write_back=self._write_back,
        )
        registry.register(_DataCollector(self._memory_limit, self._budget, self._cache, calls))

    # -------------------------------------------------------------------------------------------- files

    def open_file(self, inode: pb.Inode) -> FileData:
        """Return the file of an inode, for one more handle."""
        opened = self._files.get(inode.inode_id)
        if opened is None:
            opened = self._files[inode.inode_id] = _Open(FileData(inode, self._services))
        opened.handles += 1
        return opened.file

    def close_file(self, file: FileData) -> None:
        """Take back a handle."""
        self._files[file.inode_id].handles -= 1
        self._forget_if_done(file)

    def file(self, inode_id: int) -> FileData | None:
        """Return a file that is open, or has something unpublished."""
        opened = self._files.get(inode_id)
        return None if opened is None else opened.file

    def expect(self, one: pb.Slice) -> None:
        """Begin to fetch the only slice of a small file that is about to be read, as far as memory has room."""
        if one.size > min(SMALL_FILE_MAX, self._services.geometry.block_size):
            return  # more than a block, or the rest of something larger
        name = block_name(self._services.geometry.uuid, one.chunk_id, one.compaction, 0)
        request = self._cache.plan(name, one.size, one.object.block_format)
        if request is not None:
            self.start(self._cache.fetch_ahead, request, trio.current_time() + self._services.store_timeout_s)

    @property
    def memory(self) -> tuple[int, int, int]:
        """Return bytes of (dirty data, read cache and what is being fetched, the budget)."""
        return self._budget.dirty, self._budget.cached, self._memory_limit

    async def flush_all(self) -> None:
        """Have everything stored and published; what cannot be within the store's timeout is logged and stays dirty."""
        async with trio.open_nursery() as nursery:
            for opened in list(self._files.values()):
                if opened.file.dirty:
                    nursery.start_soon(contained, self._drain, opened)

    def give_up(self, error: FilesystemGone) -> None:
        """The filesystem is gone: store nothing any more. What is not published is lost; handles are told so."""
        self._calls.end()
        for opened in list(self._files.values()):
            opened.file.give_up(error)

    # --------------------------------------------------------------------------------------- write-back

    async def adopt_staged(self) -> None:
        """Take what a mount before this one has staged: it reads as written, and is published in the background.

        Raises StagingFailed, and what keeps the metadata from being read.
        """
        if self._write_back is None:
            return
        found = await self._write_back.look()
        if found:
            log.info("slices were staged by a mount before", slices=len(found), bytes=self._write_back.bytes_waiting)
        failures: list[CurveFSError] = []
        limit = trio.CapacityLimiter(ADOPTED_AT_ONCE)

        async def adopt(inode_id: int) -> None:
            async with limit:
                try:
                    await self._adopt(inode_id, by_inode[inode_id])
                except CurveFSError as error:
                    failures.append(error)

        by_inode: dict[int, list[tuple[int, staging_pb2.StagedSlice]]] = {}
        for number, record in found:
            by_inode.setdefault(record.inode_id, []).append((number, record))
        async with trio.open_nursery() as nursery:
            for inode_id in by_inode:
                nursery.start_soon(adopt, inode_id)
        if failures:
            raise failures[0]

    async def _adopt(self, inode_id: int, found: list[tuple[int, staging_pb2.StagedSlice]]) -> None:
        assert self._write_back is not None, "there is something staged"
        try:
            inode, _ = await self._services.metadata.read_slices(inode_id, 0, 1)
        except (NotFound, StaleHandle):
            log.info("a file is gone before what was staged of it was published", inode=inode_id)
            for number, record in found:
                await self._write_back.forget(number, record, published=False)
            return
        opened = self._files[inode_id] = _Open(FileData(inode, self._services))
        for number, record in found:
            opened.file.adopt(number, record)

    async def publish_staged(self, timeout_s: float) -> bool:
        """Wait until nothing is staged any more; False if something is after the timeout. Says how it goes on."""
        end = trio.current_time() + timeout_s
        said = trio.current_time()
        while left := [one for one in self._files.values() if one.file.unpublished]:
            now = trio.current_time()
            if now >= end:
                break
            if now >= said + PROGRESS_S:
                said = now
                waiting = self._write_back.bytes_waiting if self._write_back is not None else 0
                log.info("storing what is staged", files=len(left), bytes=waiting)
            await trio.sleep(STAGED_TICK_S)
        return not left

    @property
    def holds_staged(self) -> bool:
        """Say whether something is left on the staging disk that a later mount should find."""
        return self._write_back is not None and not self._write_back.is_empty

    # --------------------------------------------------------------------------------------- background

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do the background work until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            if self._write_back is not None:
                nursery.start_soon(kept, self._write_back.run)
            await kept(self._flush_along)

    async def _flush_along(self) -> None:
        """Flush by age every second, and by size whenever memory fills."""
        look_at = trio.current_time() + FLUSH_TICK_S
        while True:
            with trio.move_on_at(look_at):
                await self._budget.pressure.wait()
            if trio.current_time() >= look_at:  # however short memory is
                look_at = trio.current_time() + FLUSH_TICK_S
                self._look()
            if self._budget.pressure.is_set():
                self._flush_largest()
                self._budget.pressure = trio.Event()
                await trio.sleep(HURRY_TICK_S)
                if self._budget.waiting:
                    self._budget.pressure.set()

    def _look(self) -> None:
        """Drain what is old, publish what is staged still, and forget what is done."""
        now = trio.current_time()
        old_s = self._clock.boottime_s() - FLUSH_AGE_S
        for one in list(self._files.values()):
            self._forget_if_done(one.file)  # its last drain ended after its last handle
            if one.file.staged and one.publication.is_due(now):
                one.publication.under_way = True
                self.start(self._publish, one)
            if one.file.dirty and one.file.oldest_dirty_s <= old_s and one.drain.is_due(now):
                self._start_drain(one)

    def _flush_largest(self) -> None:
        """Drain the largest files, whatever their age."""
        now = trio.current_time()
        dirty = [one for one in self._files.values() if one.file.dirty and one.drain.is_due(now)]
        for one in sorted(dirty, key=lambda one: one.file.dirty_memory, reverse=True)[:BACKGROUND_FILES_MAX]:
            self._start_drain(one)

    def _start_drain(self, opened: _Open) -> None:
        opened.drain.under_way = True
        self.start(self._drain, opened)

    async def _publish(self, opened: _Open) -> None:
        await self._try(opened.publication, opened.file.publish_staged, self._publications)
        self._forget_if_done(opened.file)

    async def _drain(self, opened: _Open) -> None:
        await self._try(opened.drain, opened.file.flush, self._drains)
        self._forget_if_done(opened.file)

    async def _try(self, work: _Work, call: Callable[[], Awaitable[None]], limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            try:
                await call()
            except Exception as error:
                work.retry_at = trio.current_time() + work.retry_s
                work.retry_s = min(2 * work.retry_s, RETRY_S_MAX)
                if not isinstance(error, CurveFSError):  # those are logged where they are met
                    raise
            else:
                work.retry_at, work.retry_s = 0.0, RETRY_S_FIRST
            finally:
                work.under_way = False

    def _forget_if_done(self, file: FileData) -> None:
        opened = self._files.get(file.inode_id)
        if (
            opened is not None
            and opened.file is file
            and not opened.handles
            and not file.unpublished
            and not file.draining
        ):
            del self._files[file.inode_id]

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Run something in the background of the mount."""
        assert self._nursery is not None, "the data path runs"
        self._nursery.start_soon(contained, function, *arguments)

    def _shifted(self, inode_id: int) -> None:
        """An append lies elsewhere than assumed: what the kernel has of the file is wrong."""
        if self.drop_inode is not None:
            self.start(self.drop_inode, inode_id)


@dataclass(slots=True, eq=False)
class _DataCollector(Collector):
    """Memory and cache figures, read when scraped."""

    limit: int
    budget: MemoryBudget
    cache: ReadCache
    calls: StoreCalls

    def collect(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily("curvefs_client_memory_bytes", "Memory taken, by use", labels=["use"])
        memory.add_metric(["dirty"], self.budget.dirty)
        memory.add_metric(["cached"], self.budget.cached)
        yield memory
        yield GaugeMetricFamily("curvefs_client_memory_limit_bytes", "The memory budget", value=self.limit)
        reads = CounterMetricFamily("curvefs_client_read_cache", "Reads of blocks", labels=["outcome"])
        reads.add_metric(["hit"], self.cache.counts.hits)
        reads.add_metric(["miss"], self.cache.counts.misses)
        yield reads
        objects = CounterMetricFamily(
            "curvefs_client_objects", "Blocks put into and got from the store", labels=["way"]
        )
        objects.add_metric(["put"], self.calls.counts.puts)
        objects.add_metric(["get"], self.calls.counts.gets)
        yield objects
        moved = CounterMetricFamily("curvefs_client_object_bytes", "Bytes of data moved by them", labels=["way"])
        moved.add_metric(["put"], self.calls.counts.put_bytes)
        moved.add_metric(["get"], self.calls.counts.get_bytes)
        yield moved
        yield CounterMetricFamily(
            "curvefs_client_store_failures",
            "Calls to the store that failed and were tried again",
            value=self.calls.counts.failures,
        )
