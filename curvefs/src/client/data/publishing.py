"""Storing the dirty runs of a file and publishing them in order (rules 2, 3 and 13).

A run is published only when all its blocks are in the object store, and only together with or after every older run.
What fails for now keeps its bytes and is tried again; what fails for good loses them, and says so once per handle.
When the session ended in between, the chunk ids are void: the bytes are stored again under new ones.

Shared across awaits: the file's runs. ``lock`` admits one drain (or truncate) of a file at a time; writes go on beside
it, into runs that are not sealed.
"""

from collections.abc import Callable

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import (
    AlreadyDone,
    CurveFSError,
    FilesystemError,
    IdRefused,
    IOFailure,
    NoSpace,
    SessionEnded,
)
from ...slices.geometry import Geometry
from ...slices.names import block_name
from .budget import MemoryBudget
from .dirty import DirtyRuns, Run
from .interfaces import SliceMetadata
from .slice_lists import SliceLists
from .store_calls import StoreCalls

log = structlog.get_logger()

RUNS_PER_PUBLICATION = 256
NEW_SESSIONS_MAX = 3

Shifted = Callable[[int], None]


class Publisher:
    """Of one file. ``mtime_ns``: asked for at each publication. ``shifted``: an append lies elsewhere than assumed."""

    def __init__(
        self,
        inode_id: int,
        dirty: DirtyRuns,
        lists: SliceLists,
        *,
        geometry: Geometry,
        metadata: SliceMetadata,
        calls: StoreCalls,
        budget: MemoryBudget,
        mtime_ns: Callable[[], int],
        shifted: Shifted,
    ) -> None:
        self.lock = trio.Lock()
        self.error_count = 0
        self.last_error: CurveFSError | None = None
        self._inode_id = inode_id
        self._dirty = dirty
        self._lists = lists
        self._geometry = geometry
        self._metadata = metadata
        self._calls = calls
        self._budget = budget
        self._mtime_ns = mtime_ns
        self._shifted = shifted
        self._uploading: dict[tuple[int, int], trio.Event] = {}

    # -------------------------------------------------------------------------------------------- drain

    async def drain(self, upto: int, deadline: float) -> None:
        """Store and publish all runs up to a number. Raises IOFailure, NoSpace: what is left stays dirty."""
        async with self.lock:
            await self.drain_locked(upto, deadline)

    async def drain_locked(self, upto: int, deadline: float) -> None:
        """Do the same, holding the lock."""
        while batch := self._next_batch(upto):
            for run in batch:
                run.sealed = True
            await self._publish(batch, deadline)

    def _next_batch(self, upto: int) -> list[Run]:
        """Return the oldest runs that can be published by one operation."""
        batch: list[Run] = []
        for run in self._dirty.runs:
            if run.number > upto or len(batch) == RUNS_PER_PUBLICATION or (batch and run.at_end):
                break
            batch.append(run)
            if run.at_end:
                break
        return batch

    # ------------------------------------------------------------------------------------------- store

    def next_full_block(self, run: Run) -> int | None:
        """Return a block that is complete and not handed to an upload yet, and freeze it."""
        index = run.frozen // self._geometry.block_size
        if index not in run.full_blocks():
            return None
        run.frozen = (index + 1) * self._geometry.block_size
        return index

    async def upload(self, run: Run, index: int, deadline: float) -> None:
        """Store one block of a run, unless that is done or under way; then wait for it."""
        while index not in run.stored:
            under_way = self._uploading.get((run.number, index))
            if under_way is not None:
                await under_way.wait()
                continue
            done = self._uploading[run.number, index] = trio.Event()
            run.frozen = max(run.frozen, min(run.length, (index + 1) * self._geometry.block_size))
            try:
                if not run.chunk_id:
                    chunk_id = await self._metadata.take_chunk_id(self._inode_id)
                    run.chunk_id = run.chunk_id or chunk_id
                chunk_id = run.chunk_id
                name = block_name(self._geometry.uuid, chunk_id, 0, index)
                await self._calls.put(name, [run.blocks[index]], deadline)
                if run.chunk_id == chunk_id:  # else the session ended meanwhile
                    run.stored.add(index)
            finally:
                del self._uploading[run.number, index]
                done.set()

    async def _store(self, batch: list[Run], deadline: float) -> None:
        missing = [(run, index) for run in batch for index in run.all_blocks() if index not in run.stored]
        if len(missing) == 1:
            await self.upload(*missing[0], deadline)
            return
        failures: list[CurveFSError] = []

        async def one(run: Run, index: int) -> None:
            try:
                await self.upload(run, index, deadline)
            except CurveFSError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for run, index in missing:
                nursery.start_soon(one, run, index)
        if failures:
            raise failures[0]

    # ------------------------------------------------------------------------------------------ publish

    async def _publish(self, batch: list[Run], deadline: float) -> None:
        for attempt in range(NEW_SESSIONS_MAX + 1):
            await self._store(batch, deadline)
            slices = [self._slice(run) for run in batch]
            at_end = batch[0].at_end
            length = batch[0].length if at_end else max(run.end for run in batch)
            try:
                inode, offset = await self._metadata.append_slices(
                    self._inode_id, slices, length, self._mtime_ns(), at_end=at_end
                )
            except AlreadyDone:
                inode, _ = await self._metadata.read_slices(self._inode_id, 0, 1)
                self._lists.drop()
                self._lists.revalidate(inode)
                self._forget(batch)
                return
            except (SessionEnded, IdRefused) as error:
                if attempt == NEW_SESSIONS_MAX:
                    raise IOFailure(f"could not publish: {error}") from error
                for run in batch:
                    run.chunk_id = 0
                    run.stored.clear()
                continue
            except (IOFailure, NoSpace):
                raise
            except FilesystemError as error:
                self._lose(batch, error)
                return
            if at_end:
                self._lists.drop()
                self._lists.revalidate(inode)
                if offset != batch[0].start:
                    self._shifted(self._inode_id)
            else:
                self._lists.published(inode, slices)
            self._forget(batch)
            return

    def _slice(self, run: Run) -> pb.Slice:
        chunk_index, offset = (0, 0) if run.at_end else divmod(run.start, self._geometry.chunk_size)
        return pb.Slice(
            chunk_id=run.chunk_id,
            chunk_index=chunk_index,
            offset=offset,
            length=run.length,
            size=run.length,
            object=pb.ObjectLocation(block_format=self._geometry.block_format),
        )

    def _forget(self, batch: list[Run]) -> None:
        self._budget.give_dirty(self._dirty.remove(batch))

    def _lose(self, batch: list[Run], error: CurveFSError) -> None:
        """The server's answer is final: the bytes are lost, and every open handle will be told once (rule 13)."""
        log.error(
            "written data is lost",
            inode=self._inode_id,
            ranges=[(run.start, run.end) for run in batch[:10]],
            reason=str(error),
        )
        self._forget(batch)
        self.error_count += 1
        self.last_error = error
