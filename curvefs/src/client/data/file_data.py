"""One open file: what is written, flushed and cut. One per inode, shared by all its handles.

A write goes into the dirty runs and returns; it awaits only when memory is short or the file has very many runs.
What is complete is handed on at once: full blocks of 4 MiB to uploads, a run that reached the end of its chunk to
publication. The rest waits for flush(), age or memory pressure. Reading is reading.py, publishing publishing.py.

Shared across awaits: dirty runs and slice lists, changed between awaits only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ....proto import staging_pb2
from ...common.clock import Clock
from ...common.errors import ClusterError, CurveFSError, FilesystemGone, FileTooLarge, IOFailure, SessionEnded
from ...slices.geometry import LENGTH_MAX, Geometry
from .budget import MemoryBudget
from .dirty import DirtyRuns, Run
from .growth import Growth
from .interfaces import SliceMetadata
from .publishing import Publisher, Shifted
from .read_cache import ReadCache
from .reader import Reader
from .reading import FileReads
from .slice_lists import SliceLists
from .staged import StagedSlices
from .store_calls import StoreCalls
from .write_back import WriteBack

log = structlog.get_logger()

WRITE_STEP = 1 << 20  # more is taken in steps, so that room for it is found however large it is
RUNS_DRAINED = 128  # of one file: more are published in the background
RUNS_MAX = 1024  # of one file: a writer waits beyond
SESSIONS_TRIED = 3
REGION_MAX = 4 << 20  # that is put into the kernel's pages at a time; its copy is outside the memory budget


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
    write_back: WriteBack | None = None


@dataclass(frozen=True, slots=True)
class _Cut:
    """A truncate that was tried. past: what was written past it; change: of the file as it was known before."""

    length: int
    past: list[Run]
    change: int


class FileData:
    """See the module. ``mtime_ns`` is of the last write here."""

    def __init__(self, inode: pb.Inode, services: Services) -> None:
        self.inode_id = inode.inode_id
        self.mtime_ns = inode.mtime_ns
        self._services = services
        self._geometry = services.geometry
        self._region_size = min(services.geometry.block_size, REGION_MAX)
        self._budget = services.budget
        self._lists = SliceLists(inode, services.metadata, services.clock.boottime_s)
        self._runs = DirtyRuns(services.geometry.chunk_size, services.geometry.block_size)
        self._growth = Growth(inode, services.metadata)
        self._staged = self._staged_slices()
        self._unfinished: _Cut | None = None  # a truncate of unknown outcome
        self._publisher = Publisher(
            inode.inode_id,
            self._runs,
            self._lists,
            self._growth,
            geometry=services.geometry,
            metadata=services.metadata,
            calls=services.calls,
            budget=services.budget,
            mtime_ns=lambda: self.mtime_ns,
            shifted=self._shifted,
            trim=self._trim_growth,
            staged=self._staged,
            write_back=services.write_back,
        )
        self._reads = FileReads(
            inode.inode_id,
            self._runs,
            self._lists,
            geometry=services.geometry,
            cache=services.cache,
            budget=services.budget,
            start=services.start,
            store_timeout_s=services.store_timeout_s,
            in_doubt=self._is_in_doubt,
            decide=self._decide,
            staged=self._staged,
        )

    def _staged_slices(self) -> StagedSlices | None:
        services = self._services
        if services.write_back is None:
            return None
        return StagedSlices(
            self.inode_id,
            self._lists,
            self._growth,
            geometry=services.geometry,
            metadata=services.metadata,
            write_back=services.write_back,
            lost=self._latch,
            shifted=self._shifted,
            trim=self._trim_growth,
        )

    # -------------------------------------------------------------------------------------------- state

    @property
    def length(self) -> int:
        """Return the length as this mount sees it: published, and what it wrote beyond."""
        return max(self._lists.length, self._runs.end(), self._staged.end if self._staged is not None else 0)

    @property
    def dirty(self) -> bool:
        """True while something lies in memory only."""
        return bool(self._runs)

    @property
    def staged(self) -> bool:
        """True while something is staged, and nobody publishes it."""
        return self._staged is not None and bool(self._staged) and not self._staged.busy

    @property
    def unpublished(self) -> bool:
        """True while something is not published."""
        return bool(self._runs) or (self._staged is not None and (bool(self._staged) or self._staged.busy))

    @property
    def dirty_memory(self) -> int:
        """Return the bytes of memory that unpublished data takes."""
        return self._runs.memory

    @property
    def oldest_dirty_s(self) -> float:
        """Return when the oldest unpublished run was begun (boot-time clock)."""
        return self._runs.runs[0].began_s

    @property
    def draining(self) -> bool:
        """True while somebody stores and publishes."""
        return self._publisher.turns.taken

    @property
    def error_count(self) -> int:
        """Return how often written data was lost."""
        return self._publisher.error_count

    def error_since(self, seen: int) -> tuple[CurveFSError | None, int]:
        """Return the error a handle has not reported yet, if any, and the count it has reported then."""
        count = self._publisher.error_count
        return (self._publisher.last_error if count > seen else None), count

    def _latch(self, error: CurveFSError) -> None:
        self._publisher.latch(error)

    def _shifted(self, inode_id: int) -> None:
        """An append lies elsewhere than assumed, and so will those behind it."""
        self._place_appends()
        self._services.shifted(inode_id)

    def _place_appends(self) -> bool:
        """Assume anew where appends will lie. True if one moved."""
        moved = self._staged is not None and self._staged.place_appends()
        end = max(self._lists.length, self._staged.end if self._staged is not None else 0)
        return self._runs.place_appends(end) or moved

    def revalidate(self, inode: pb.Inode) -> None:
        """Take attributes: if somebody else changed the file, its slice lists are read again. Old ones say nothing."""
        if inode.change < self._lists.change:
            return
        self._lists.revalidate(inode)
        if self._place_appends():
            self._services.shifted(self.inode_id)
        self._growth.quotas = tuple(inode.quotas)

    def offer_slices(self, inode: pb.Inode, slices: list[pb.Slice]) -> None:
        """Take the slices of the first chunk, as they just were when these attributes were read."""
        self._lists.offer(inode, slices)

    # -------------------------------------------------------------------------------------------- write

    async def write(self, offset: int, data: bytes | memoryview) -> int:
        """Take bytes; returns how many. Waits only when memory is short. Raises IOFailure when it stays short.

        Room in the quotas is reserved for all of them first. Raises QuotaExceeded, NoSpace, and has taken nothing then.
        """
        if offset + len(data) > LENGTH_MAX:
            raise FileTooLarge
        view = memoryview(data)
        while view:
            step = min(len(view), WRITE_STEP, self._geometry.chunk_size - offset % self._geometry.chunk_size)
            room = self._runs.room_for(step)
            await self._admit(offset + len(view), room)
            before = self._runs.memory
            run = self._runs.write(offset, view[:step], self._services.clock.boottime_s())
            self._settle(room, before, run)
            view = view[step:]
            offset += step
        return len(data)

    async def append(self, data: bytes | memoryview, assumed: int | None = None) -> int:
        """Take bytes for the end of the file, wherever that is when they are published (rule 12).

        assumed: where the kernel takes the end to be. If it is elsewhere, its pages are not what was written.
        """
        if self.length + len(data) > LENGTH_MAX:
            raise FileTooLarge
        view = memoryview(data)
        while view:
            step = min(len(view), WRITE_STEP, self._geometry.chunk_size)
            room = self._runs.room_for(step)
            # What was tried may lie within the length, and need room beyond it after all.
            await self._admit(self.length + self._runs.tried_at_end + len(view), room)
            if assumed is not None and assumed != self.length:
                self._services.shifted(self.inode_id)
            assumed, before = None, self._runs.memory
            run = self._runs.append(self.length, view[:step], self._services.clock.boottime_s())
            self._settle(room, before, run)
            view = view[step:]
        return len(data)

    async def flush(self) -> None:
        """Have everything written so far stored and published. Raises IOFailure, NoSpace; the bytes stay dirty."""
        await self._flush(self._deadline())

    async def publish(self) -> None:
        """Have everything written so far published, also with write-back. Raises as flush()."""
        deadline = self._deadline()
        await self._flush(deadline)
        await self._publish_staged(deadline)

    async def publish_staged(self) -> None:
        """Have what is staged stored and published. Raises as flush(); it stays staged."""
        await self._publish_staged(self._deadline())

    async def _flush(self, deadline: float) -> None:
        if self._runs:
            await self._drain(self._runs.last_number, deadline)
            if self.staged:
                self._services.start(self._publish_quietly)

    async def _drain(self, upto: int, deadline: float) -> None:
        """Store and publish all runs up to a number. Raises what may pass, e.g. IOFailure; what is left stays dirty."""
        async with self._publisher.turns.take(deadline):
            await self._finish_cut()
            await self._publisher.drain(upto, deadline)

    async def _publish_staged(self, deadline: float) -> None:
        if self._staged is not None:
            await self._staged.publish(deadline)

    def adopt(self, number: int, record: staging_pb2.StagedSlice) -> None:
        """Take what a mount before this one has staged."""
        assert self._staged is not None, "with write-back"
        self._staged.adopt(number, record)
        self.mtime_ns = max(self.mtime_ns, record.mtime_ns)

    async def truncate(self, length: int) -> pb.Inode:
        """Set the length. What was written past it after everything before it is dropped, when the length is set."""
        if length > LENGTH_MAX:
            raise FileTooLarge
        deadline = self._deadline()
        async with self._publisher.turns.take(deadline):
            await self._finish_cut()
            upto = max((run.number for run in self._runs.runs if run.start < length), default=0)
            past = [run for run in self._runs.runs if run.number > upto]
            for run in past:
                run.sealed = True  # what is written from now on comes after the cut
            await self._publisher.drain(upto, deadline)
            await self._publish_staged(deadline)
            return await self._cut(length, past)

    async def _cut(self, length: int, past: list[Run]) -> pb.Inode:
        """Set the length, and drop what was written past it.

        With an unknown outcome, that can neither be published nor dropped: all of this is done again first.
        """
        self._unfinished = _Cut(length, past, self._lists.change) if past else None
        try:
            inode = await self._set_length(length)
        except (IOFailure, ClusterError):
            raise
        except CurveFSError:
            self._unfinished = None
            raise
        self._was_cut(inode, past)
        return inode

    def _was_cut(self, inode: pb.Inode, past: list[Run]) -> None:
        self._unfinished = None
        self._lists.revalidate(inode)
        self._drop(past)
        self._place_appends()
        self._trim_growth()
        self.mtime_ns = inode.mtime_ns

    async def _finish_cut(self) -> None:
        """Do a truncate of unknown outcome again, having a turn. Raises what leaves it unknown; a refusal ends it.

        What another mount has written since is not cut.
        """
        cut = self._unfinished
        if cut is None:
            return
        try:
            inode, _ = await self._services.metadata.read_slices(self.inode_id, 0, 1)
            if inode.change == cut.change:
                await self._cut(cut.length, cut.past)
            else:
                if inode.change != cut.change + 1 or inode.length != cut.length:
                    log.error("a file was cut or not, and others have written it since", inode=self.inode_id)
                    self._latch(IOFailure("it was cut or not, and others have written it since"))
                self._was_cut(inode, cut.past)
        except (IOFailure, ClusterError) as error:
            self._publisher.note_failure(error)
            raise
        except CurveFSError as error:
            self._unfinished = None
            log.info("a truncate of unknown outcome is refused", inode=self.inode_id, reason=str(error))
            return
        self._publisher.note_success()
        self._services.shifted(self.inode_id)  # the kernel, told of a failure, has kept its pages

    def _is_in_doubt(self) -> bool:
        """Say whether reads would guess: the file is cut or not, or has what was appended here already or not."""
        return (
            self._unfinished is not None
            or self._runs.last_in_doubt(self._lists.change) > 0
            or (self._staged is not None and self._staged.last_in_doubt > 0)
        )

    async def _decide(self) -> None:
        """Have what is in doubt done, or answered. Raises IOFailure, ... while nobody answers."""
        deadline = self._deadline()
        await self._drain(self._runs.last_in_doubt(self._lists.change), deadline)
        if self._staged is not None and (last := self._staged.last_in_doubt):
            await self._staged.publish(deadline, last)

    async def _set_length(self, length: int) -> pb.Inode:
        """Setting a length twice does no harm, so an outcome that a session's end hides is no reason to fail."""
        for _ in range(SESSIONS_TRIED - 1):
            try:
                return await self._services.metadata.set_length(self.inode_id, length)
            except SessionEnded:
                continue
        return await self._services.metadata.set_length(self.inode_id, length)

    def discard(self) -> None:
        """Drop what is not published: nobody can reach the file any more."""
        self._drop(self._runs.runs)
        self._unfinished = None
        self._growth.trim(0)
        if self._staged:
            self._services.start(self._staged.discard)

    def give_up(self, error: FilesystemGone) -> None:
        """Lose what is not published: its filesystem is gone."""
        self._publisher.lose_all(error)
        self._unfinished = None
        self._growth.trim(0)
        if self._staged:
            self._services.start(self._staged.lose_all, error)

    def _drop(self, gone: list[Run]) -> None:
        """Forget runs that nobody will publish."""
        self._budget.give_dirty(self._runs.remove(gone))
        self._budget.writes(self.inode_id, dirty=bool(self._runs))
        self._publisher.drop_staged(gone)

    async def _admit(self, end: int, room: int) -> None:
        """Take room in the quotas and in memory for a write. Raises QuotaExceeded, NoSpace, IOFailure."""
        await self._reserve(end)
        if len(self._runs.runs) < RUNS_DRAINED and self._budget.take_dirty(room):
            return
        try:
            await self._make_room(room)
        except BaseException:
            self._trim_growth()
            raise
        try:
            await self._reserve(end)  # what was reserved may have gone back with what was published meanwhile
        except BaseException:
            self._budget.give_dirty(room)
            raise

    def _trim_growth(self) -> None:
        """Give up what is reserved beyond the end of what is not published."""
        self._growth.trim(self.length - self._lists.length)

    async def _reserve(self, end: int) -> None:
        """Reserve what the file grows by, if it is to end there. Raises QuotaExceeded, NoSpace."""
        while not self._growth.suffices(end - self._lists.length):
            await self._growth.reserve(end - self._lists.length)

    async def _make_room(self, room: int) -> None:
        """Take memory for a write, after seeing to it that the file has not too many runs."""
        if len(self._runs.runs) >= RUNS_MAX:
            await self.flush()
        elif len(self._runs.runs) >= RUNS_DRAINED and not self.draining:
            self._services.start(self._drain_quietly, self._runs.last_number)
        if not self._budget.take_dirty(room):
            await self._budget.wait_dirty(room, self._services.store_timeout_s)

    def _settle(self, taken: int, before: int, run: Run) -> None:
        """After a write: give back room it did not need, hand what is complete to uploads, hurry if memory fills."""
        self._budget.give_dirty(taken - (self._runs.memory - before))
        self._budget.writes(self.inode_id, dirty=True)
        self.mtime_ns = self._services.clock.time_ns()
        if run.length - run.frozen >= self._geometry.block_size:
            while (index := self._publisher.next_full_block(run)) is not None:
                self._services.start(self._upload_quietly, run, index)
        if run.sealed:
            self._services.start(self._drain_quietly, run.number)
        if self._budget.dirty > self._budget.allowed // 2:
            self._budget.pressure.set()

    async def _upload_quietly(self, run: Run, index: int) -> None:
        try:
            await self._publisher.upload(run, index, self._deadline())
        except CurveFSError:
            return  # whoever drains the file tries again, and reports

    async def _publish_quietly(self) -> None:
        try:
            while self.staged:  # more may have been staged meanwhile
                await self.publish_staged()
        except CurveFSError:
            return  # it is logged; the background of the mount goes on

    async def _drain_quietly(self, upto: int) -> None:
        try:
            await self._drain(upto, self._deadline())
        except CurveFSError:
            return  # the publisher has logged it; the background of the mount goes on

    # --------------------------------------------------------------------------------------------- read

    def reader(self) -> Reader:
        """Return what one handle reads with."""
        return Reader(self._reads)

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file. Raises IOFailure, CorruptData."""
        return await self._reads.read(offset, size, whole_blocks=False)

    def region_at(self, offset: int) -> int:
        """Return the number of the region that an offset lies in."""
        return offset // self._region_size

    def arrival(self, offset: int) -> trio.Event | None:
        """Return what is set once the whole block that a byte lies in is in memory, if it is or comes."""
        return self._reads.arrival(offset)

    def take_coming(self) -> list[int]:
        """Return places whose blocks come, or are here, besides those that were read; each is returned once."""
        return self._reads.take_coming()

    def region_in_memory(self, offset: int) -> tuple[int, bytes] | None:
        """Return (where it begins, the bytes of) the region around an offset, if all of it is in memory."""
        start = self.region_at(offset) * self._region_size
        content = self._reads.from_memory(start, self._region_size)
        return (start, content) if content else None

    def _deadline(self) -> float:
        return trio.current_time() + self._services.store_timeout_s
