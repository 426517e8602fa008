"""One open file: what is written, read, flushed and cut. One per inode, shared by all its handles.

A read puts three layers together at one instant: the published slices, over them the dirty runs, oldest first. A run
leaves the dirty runs in the same step in which its slice joins the lists (or the lists are dropped), so no read of
this mount ever misses its own bytes.

Shared across awaits: dirty runs and slice lists. A read looks again after every await until it has the lists of all
its chunks, takes extents and dirty bytes without an await in between, and only then fetches.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ...common.clock import Clock
from ...common.errors import CorruptData, CurveFSError, FileTooLarge, IOFailure
from ...object.protocol import ObjectNotFound
from ...slices.geometry import BlockRange, Geometry
from ...slices.names import block_name
from ...slices.overlay import Extent, overlay
from .budget import MemoryBudget
from .dirty import RUNS_MAX, DirtyRuns, Run
from .interfaces import SliceMetadata
from .publishing import Publisher, Shifted
from .read_cache import ReadCache
from .readahead import ReadAhead
from .slice_lists import SliceLists
from .store_calls import StoreCalls

log = structlog.get_logger()

LENGTH_MAX = (1 << 62) - 1
FETCH_TRIES = 100


@dataclass(frozen=True, slots=True)
class Services:
    """What all files of a mount share. ``start``: run something in the background of the mount."""

    geometry: Geometry
    metadata: SliceMetadata
    calls: StoreCalls
    cache: ReadCache
    budget: MemoryBudget
    clock: Clock
    start: Callable[..., None]
    shifted: Shifted
    store_timeout_s: float


class FileData:
    """See the module. ``mtime_ns`` is of the last write here."""

    def __init__(self, inode: pb.Inode, services: Services) -> None:
        self.inode_id = inode.inode_id
        self.mtime_ns = inode.mtime_ns
        self._services = services
        self._geometry = services.geometry
        self._budget = services.budget
        self._lists = SliceLists(inode, services.metadata, services.clock.boottime_s)
        self._runs = DirtyRuns(services.geometry.chunk_size, services.geometry.block_size)
        self._publisher = Publisher(
            inode.inode_id,
            self._runs,
            self._lists,
            geometry=services.geometry,
            metadata=services.metadata,
            calls=services.calls,
            budget=services.budget,
            mtime_ns=lambda: self.mtime_ns,
            shifted=services.shifted,
        )

    # -------------------------------------------------------------------------------------------- state

    @property
    def length(self) -> int:
        """Return the length as this mount sees it: published, and what it wrote beyond."""
        return max(self._lists.length, self._runs.end())

    @property
    def dirty(self) -> bool:
        """True while something is not published."""
        return bool(self._runs)

    @property
    def dirty_bytes(self) -> int:
        """Return how many bytes are not published."""
        return self._runs.bytes

    @property
    def oldest_dirty_s(self) -> float:
        """Return when the oldest unpublished run was begun (boot-time clock)."""
        return self._runs.runs[0].began_s

    @property
    def draining(self) -> bool:
        """True while somebody stores and publishes."""
        return self._publisher.lock.locked()

    @property
    def error_count(self) -> int:
        """Return how often written data was lost."""
        return self._publisher.error_count

    def error_since(self, seen: int) -> tuple[CurveFSError | None, int]:
        """Return the error a handle has not reported yet, if any, and the count it has reported then."""
        count = self._publisher.error_count
        return (self._publisher.last_error if count > seen else None), count

    def revalidate(self, inode: pb.Inode) -> None:
        """Take fresh attributes: if somebody else changed the file, its slice lists are read again."""
        self._lists.revalidate(inode)

    def reader(self) -> "Reader":
        """Return what one handle reads with."""
        return Reader(self)

    # -------------------------------------------------------------------------------------------- write

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Take bytes. Waits only when memory is short. Raises IOFailure when it stays short."""
        if offset + len(data) > LENGTH_MAX:
            raise FileTooLarge
        view = memoryview(data)
        at = 0
        for part in self._geometry.chunks(offset, len(view)):
            await self._make_room(part.length)
            before = self._runs.bytes
            piece = view[at : at + part.length]
            run = self._runs.write(offset + at, piece, self._services.clock.boottime_s())
            self._settle(part.length, before)
            self._upload_full_blocks(run)
            at += part.length

    async def append(self, data: bytes | memoryview) -> None:
        """Take bytes for the end of the file, wherever that is when they are published (rule 12)."""
        if self.length + len(data) > LENGTH_MAX:
            raise FileTooLarge
        await self._make_room(len(data))
        before = self._runs.bytes
        run = self._runs.append(self.length, data, self._services.clock.boottime_s())
        self._settle(len(data), before)
        self._upload_full_blocks(run)

    async def flush(self) -> None:
        """Have everything written so far stored and published. Raises IOFailure, NoSpace; the bytes stay dirty."""
        if self._runs:
            await self._publisher.drain(self._runs.last_number, self._deadline())

    async def truncate(self, length: int) -> pb.Inode:
        """Set the length. What was written past it and not handed to an upload is dropped unstored."""
        if length > LENGTH_MAX:
            raise FileTooLarge
        async with self._publisher.lock:
            self._budget.give_dirty(self._runs.trim(length))
            if self._runs:
                await self._publisher.drain_locked(self._runs.last_number, self._deadline())
            inode = await self._services.metadata.set_length(self.inode_id, length)
            self._lists.revalidate(inode)
            self.mtime_ns = inode.mtime_ns
            return inode

    def discard(self) -> None:
        """Drop what is not published: nobody can reach the file any more."""
        self._budget.give_dirty(self._runs.remove(self._runs.runs))

    async def _make_room(self, size: int) -> None:
        if len(self._runs.runs) >= RUNS_MAX:
            await self.flush()
        if not self._budget.take_dirty(size):
            await self._budget.wait_dirty(size, self._services.store_timeout_s)

    def _settle(self, taken: int, before: int) -> None:
        """Give back what an overwrite did not need; note the time; hurry when memory fills."""
        grown = self._runs.bytes - before
        if grown < taken:
            self._budget.give_dirty(taken - grown)
        self.mtime_ns = self._services.clock.time_ns()
        if self._budget.dirty > self._budget.limit // 2:
            self._budget.pressure.set()

    def _upload_full_blocks(self, run: Run) -> None:
        while (index := self._publisher.next_full_block(run)) is not None:
            self._services.start(self._upload_quietly, run, index)

    async def _upload_quietly(self, run: Run, index: int) -> None:
        try:
            await self._publisher.upload(run, index, self._deadline())
        except CurveFSError:
            return  # whoever drains the file tries again, and reports

    # --------------------------------------------------------------------------------------------- read

    async def read(self, offset: int, size: int, *, whole_blocks: bool) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file."""
        refetched = False
        while True:
            size_now = min(size, self.length - offset)
            if size_now <= 0:
                return b""
            await self._have_lists(offset, size_now)
            extents = self._extents(offset, size_now)
            own = [(at, bytes(view)) for at, view in self._runs.pieces(offset, offset + size_now)]
            try:
                return await self._assemble(offset, size_now, extents, own, whole_blocks=whole_blocks)
            except ObjectNotFound as error:
                before = [one.slice for _, one in extents if one.slice is not None]
                self._lists.drop()
                await self._have_lists(offset, size_now)
                after = [one.slice for _, one in self._extents(offset, size_now) if one.slice is not None]
                if refetched or before == after:
                    log.error("a published object is missing", inode=self.inode_id, reason=str(error))
                    raise IOFailure(f"inode {self.inode_id} at {offset}: {error}") from error
                refetched = True

    async def _have_lists(self, offset: int, size: int) -> None:
        """Return without an await after the moment in which every chunk's list is known."""
        for _ in range(FETCH_TRIES):
            missing = [
                part.chunk_index
                for part in self._geometry.chunks(offset, size)
                if self._slices(part.chunk_index) is None
            ]
            if not missing:
                return
            await self._lists.fetch(missing[0], missing[-1] - missing[0] + 1)
        raise IOFailure("the file changes faster than its slice list can be read")

    def _slices(self, chunk_index: int) -> list[pb.Slice] | None:
        if chunk_index * self._geometry.chunk_size >= self._lists.length:
            return []  # past what is published
        return self._lists.known(chunk_index)

    def _extents(self, offset: int, size: int) -> list[tuple[int, Extent]]:
        """Return (offset in the file, extent) for a file range, from the published slices."""
        found: list[tuple[int, Extent]] = []
        for part in self._geometry.chunks(offset, size):
            base = part.chunk_index * self._geometry.chunk_size
            slices = self._slices(part.chunk_index)
            assert slices is not None, "the caller has all lists"
            found += [(base + one.offset, one) for one in overlay(slices, part.offset, part.offset + part.length)]
        return found

    async def _assemble(
        self,
        offset: int,
        size: int,
        extents: list[tuple[int, Extent]],
        own: list[tuple[int, bytes]],
        *,
        whole_blocks: bool,
    ) -> bytes:
        """Fetch the extents and lay the own bytes over them."""
        covered = len(own) == 1 and own[0][0] == offset and len(own[0][1]) == size
        if covered:
            return own[0][1]
        parts: list[bytes | memoryview] = []
        for _, extent in extents:
            if extent.slice is None:
                parts.append(bytes(extent.length))
                continue
            for block in self._geometry.blocks(extent.run_offset, extent.length, extent.slice.size):
                parts += await self._read_block(extent.slice, block, whole=whole_blocks)
        if not own:
            return b"".join(parts)
        result = bytearray().join(parts)
        for at, data in own:
            result[at - offset : at - offset + len(data)] = data
        return bytes(result)

    async def _read_block(self, one: pb.Slice, block: BlockRange, *, whole: bool) -> list[memoryview]:
        name = block_name(self._geometry.uuid, one.chunk_id, one.compaction, block.block)
        deadline = self._deadline()
        read = self._services.cache.read
        try:
            return await read(name, block.offset, block.length, block.block_length, deadline, whole=whole)
        except CorruptData as error:
            log.warning("a block did not match its checksums; reading it again", object=name, reason=str(error))
            self._services.cache.drop(name)
        try:
            return await read(name, block.offset, block.length, block.block_length, deadline, whole=whole)
        except CorruptData as error:
            log.error("a block is damaged", object=name, inode=self.inode_id, chunk=one.chunk_index)  # noqa: TRY400
            raise CorruptData(f"inode {self.inode_id}, chunk {one.chunk_index}, object {name}: {error}") from error

    def prefetch(self, start: int, end: int) -> None:
        """Begin to fetch whole blocks of a file range; only where the slice lists are known."""
        end = min(end, self._lists.length, start + self._budget.limit // 4)
        if start >= end:
            return
        for part in self._geometry.chunks(start, end - start):
            slices = self._slices(part.chunk_index)
            if slices is None:
                self._services.start(self._fetch_lists_quietly, part.chunk_index)
                return
            for extent in overlay(slices, part.offset, part.offset + part.length):
                if extent.slice is None:
                    continue
                for block in self._geometry.blocks(extent.run_offset, extent.length, extent.slice.size):
                    name = block_name(self._geometry.uuid, extent.slice.chunk_id, extent.slice.compaction, block.block)
                    if not self._services.cache.has(name):
                        fetch = self._services.cache.fetch
                        self._services.start(fetch, name, block.block_length, self._deadline())

    async def _fetch_lists_quietly(self, chunk_index: int) -> None:
        try:
            await self._lists.fetch(chunk_index, 4)
        except CurveFSError:
            return  # the reader that needs them will say so

    def _deadline(self) -> float:
        return trio.current_time() + self._services.store_timeout_s


class Reader:
    """What one handle reads with: its own idea of whether it reads sequentially."""

    def __init__(self, file: FileData) -> None:
        self._file = file
        self._ahead = ReadAhead()

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file."""
        start, end = self._ahead.seen(offset, size)
        if end > start:
            self._file.prefetch(start, end)
        return await self._file.read(offset, size, whole_blocks=self._ahead.sequential)
