"""Storing the dirty runs of a file and publishing them in order (rules 2, 3 and 13).

A run is published only when all its blocks are in the object store, and only together with or after every older run.
What fails for now keeps its bytes and is tried again; what fails for good loses them, and says so once per handle.
A publication of unknown outcome is tried again under the same ids and with nothing else in it: were it published anew,
under other ids, it would come back over what another mount wrote or cut since.
When the session ended in between, or lost the ids, they are void: the bytes are stored again under new ones, unless the
file tells that they are in it. An append that may have been done before is not done again: when the file does not tell,
it counts as lost.

With write-back a batch is staged on the cache disk instead and belongs to staged.py from then on; only when the disk
does not take it, it is stored and published here, behind what is staged of the file.

Shared across awaits: the file's runs. ``turns`` admit one drain (or truncate) of a file at a time; writes go on beside
it, into runs that are not sealed. discard() may take runs away at any await.
"""

from collections.abc import Callable

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ....proto import staging_pb2
from ...common.errors import (
    AlreadyDone,
    ClusterError,
    CurveFSError,
    FilesystemError,
    IdRefused,
    IOFailure,
    NoSpace,
    NotFound,
    SessionEnded,
)
from ...slices.geometry import PIECES_PER_PUBLICATION, Geometry, pieces
from ...slices.names import block_name
from ..cache.staging import StagingFailed
from .budget import MemoryBudget
from .dirty import DirtyRuns, Run
from .growth import Growth
from .interfaces import SliceMetadata
from .outcomes import Outcome, find, trying
from .slice_lists import SliceLists
from .staged import StagedSlices
from .store_calls import StoreCalls
from .turns import Turns
from .write_back import WriteBack

log = structlog.get_logger()

NEW_SESSIONS_MAX = 3

Shifted = Callable[[int], None]


class Publisher:
    """Of one file. ``mtime_ns``: asked for at each publication. ``shifted``: an append lay elsewhere than assumed.

    ``trim``: give up what is reserved of quotas and not needed any more.
    """

    def __init__(
        self,
        inode_id: int,
        dirty: DirtyRuns,
        lists: SliceLists,
        growth: Growth,
        *,
        geometry: Geometry,
        metadata: SliceMetadata,
        calls: StoreCalls,
        budget: MemoryBudget,
        mtime_ns: Callable[[], int],
        shifted: Shifted,
        trim: Callable[[], None],
        staged: StagedSlices | None = None,
        write_back: WriteBack | None = None,
    ) -> None:
        self.turns = Turns()
        self.error_count = 0
        self.last_error: CurveFSError | None = None
        self._inode_id = inode_id
        self._dirty = dirty
        self._lists = lists
        self._growth = growth
        self._geometry = geometry
        self._metadata = metadata
        self._calls = calls
        self._budget = budget
        self._mtime_ns = mtime_ns
        self._shifted = shifted
        self._trim = trim
        self._staged = staged
        self._write_back = write_back
        self._direct = write_back is None  # past the staging disk
        self._uploading: dict[tuple[int, int], trio.Event] = {}
        self._taking = trio.Lock()
        self._failing = False

    # -------------------------------------------------------------------------------------------- drain

    async def drain(self, upto: int, deadline: float) -> None:
        """Store and publish all runs up to a number, having a turn. Raises what may pass; what is left stays dirty."""
        while batch := self._next_batch(upto):
            for run in batch:
                run.sealed = True
            try:
                await self._store_and_publish(batch, deadline)
            except CurveFSError as error:
                self.note_failure(error)
                raise
            self.note_success()

    def _next_batch(self, upto: int) -> list[Run]:
        """Return the oldest runs that can be published by one operation.

        What was tried together is tried again by itself: so all of it was published before, or nothing.
        """
        batch: list[Run] = []
        room = PIECES_PER_PUBLICATION
        for run in self._dirty.runs:
            room -= pieces(run.length, self._geometry.chunk_size)
            if run.number > upto or room < 0:
                break
            if batch and (run.at_end or run.before is not batch[0].before):
                break
            batch.append(run)
            if run.at_end:
                break
        return batch

    async def _store_and_publish(self, batch: list[Run], deadline: float) -> None:
        """Get a batch out of the dirty runs: published, or lost for good. Raises what may pass."""
        for _ in range(NEW_SESSIONS_MAX):
            try:
                await self._store(batch, deadline)
                if self._write_back is None or not await self._stage(batch, self._write_back, deadline):
                    await self._publish(batch)
            except (SessionEnded, IdRefused) as error:
                if isinstance(error, SessionEnded) and self._write_back is not None:
                    continue  # the ids are the identity's, which goes on
                if await self._was_decided(batch):
                    return
                self._renounce_ids(batch)
            except AlreadyDone:
                await self._take_as_published(batch)
                return
            except (IOFailure, NoSpace, ClusterError):
                raise
            except FilesystemError as error:
                if self._staged:
                    raise  # it was met by what is staged of the file and comes first
                self._lose(batch, error)
                return
            else:
                return
        raise IOFailure("the session ended again and again")

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
                await self._upload(run, index, await self._chunk_id(run), deadline)
            finally:
                del self._uploading[run.number, index]
                done.set()

    async def _upload(self, run: Run, index: int, chunk_id: int, deadline: float) -> None:
        name = block_name(self._geometry.uuid, chunk_id, 0, index)
        put = self._calls.put if self._direct or run.direct or self._write_back is None else self._write_back.put
        try:
            await put(name, run.blocks[index], self._geometry.block_format, deadline)
            if run.chunk_id == chunk_id:  # else the session ended meanwhile
                run.stored.add(index)
        except FilesystemError as error:  # what a store answers is never the answer to what was written
            raise IOFailure(str(error)) from error
        finally:
            if self._write_back is not None and (run.chunk_id != chunk_id or run not in self._dirty.runs):
                self._write_back.drop(self._slice(run, chunk_id))

    async def _chunk_id(self, run: Run) -> int:
        """Return the run's id; the first upload of a block takes it, the others of the run wait for that."""
        if not run.chunk_id:
            async with self._taking:
                if not run.chunk_id:
                    run.chunk_id = await self._metadata.take_chunk_id(self._inode_id)
        return run.chunk_id

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

    # -------------------------------------------------------------------------------------------- stage

    async def _stage(self, batch: list[Run], write_back: WriteBack, deadline: float) -> bool:
        """Have a batch whose blocks are staged or stored survive this mount; False: it is stored, to be published."""
        assert self._staged is not None, "there with write-back"
        at_end = batch[0].at_end
        records = [
            staging_pb2.StagedSlice(
                inode_id=self._inode_id,
                slice=self._slice(run),
                length=run.length if at_end else run.end,
                mtime_ns=self._mtime_ns(),
                at_end=at_end,
            )
            for run in batch
        ]
        try:
            numbers = await write_back.commit(records)
        except StagingFailed:
            await self._store_directly(batch, write_back, deadline)
            await self._staged.publish(deadline)
            return False
        alive = [run in self._dirty.runs for run in batch]
        for is_alive, run, number, record in zip(alive, batch, numbers, records, strict=True):
            if is_alive:
                self._staged.add(number, record, run.start, run.before)
        self._forget(batch)
        for is_alive, number, record in zip(alive, numbers, records, strict=True):
            if not is_alive:  # discarded meanwhile
                await write_back.forget(number, record, published=False)
        return True

    async def _store_directly(self, batch: list[Run], write_back: WriteBack, deadline: float) -> None:
        """Have all blocks of a batch in the store, and none staged."""
        self._direct = True
        try:
            while True:
                await self._store(batch, deadline)
                staged = {run.number: write_back.drop_blocks(write_back.names(self._slice(run))) for run in batch}
                if not any(staged.values()):
                    return
                for run in batch:
                    run.stored.difference_update(staged[run.number])
                    run.direct = run.direct or bool(staged[run.number])
        finally:
            self._direct = False

    def drop_staged(self, gone: list[Run]) -> None:
        """Drop what is staged of runs that were taken away: no record will name it."""
        if self._write_back is not None:
            for run in gone:
                self._write_back.drop(self._slice(run))

    # ------------------------------------------------------------------------------------------ publish

    async def _publish(self, batch: list[Run]) -> None:
        """Publish runs whose blocks are stored. Raises as SliceMetadata.append_slices()."""
        slices = [self._slice(run) for run in batch]
        at_end = batch[0].at_end
        length = batch[0].length if at_end else max(run.end for run in batch)
        brought = self._growth.brought(self._longer_by(batch))
        with trying(batch, self._lists):
            inode, offset = await self._metadata.append_slices(
                self._inode_id, slices, length, self._mtime_ns(), at_end=at_end, reserved=brought
            )
        self._growth.used(brought)
        self._growth.quotas = tuple(inode.quotas)
        if not at_end:
            self._lists.published(inode, slices, self._geometry.chunk_size)
            self._forget(batch)
        else:
            self._appended(batch, inode, shifted=offset != batch[0].start)

    def _appended(self, batch: list[Run], inode: pb.Inode, *, shifted: bool) -> None:
        """Take runs out whose place the metadata knows."""
        self._lists.drop()
        self._lists.revalidate(inode)
        self._forget(batch)
        if shifted:
            self._shifted(self._inode_id)

    async def _take_as_published(self, batch: list[Run]) -> None:
        """The batch was published, by a call whose answer never came."""
        self._growth.used(self._growth.brought(self._longer_by(batch)))
        inode, _ = await self._metadata.read_slices(self._inode_id, 0, 1)
        self._appended(batch, inode, shifted=batch[0].at_end)

    def _longer_by(self, batch: list[Run]) -> int:
        """Return by how much a publication makes the file longer, as far as is known here."""
        return batch[0].length if batch[0].at_end else max(run.end for run in batch) - self._lists.length

    async def _was_decided(self, batch: list[Run]) -> bool:
        """See to it that what has ids that are void is not done twice; False: it is to be done under others."""
        run = batch[0]
        one = self._slice(run)
        try:
            outcome = await find(self._metadata, self._geometry, self._inode_id, one, run.before, at_end=run.at_end)
        except NotFound as gone:
            self._lose(batch, gone)
            return True
        if outcome is Outcome.DONE:
            await self._take_as_published(batch)
            return True
        if outcome is Outcome.UNKNOWN and run.at_end:
            self._lose(batch, IOFailure("it was appended or not, and cannot be found any more"))
            return True
        return False

    def _renounce_ids(self, batch: list[Run]) -> None:
        """Have runs stored again, under other ids."""
        self.drop_staged(batch)
        for run in batch:
            run.chunk_id = 0
            run.before = None
            run.direct = False
            run.stored.clear()

    def _slice(self, run: Run, chunk_id: int = 0) -> pb.Slice:
        """Return what is published of a run; chunk_id: an id that it had."""
        chunk_index, offset = (0, 0) if run.at_end else divmod(run.start, self._geometry.chunk_size)
        return pb.Slice(
            chunk_id=chunk_id or run.chunk_id,
            chunk_index=chunk_index,
            offset=offset,
            length=run.length,
            size=run.length,
            object=pb.ObjectLocation(block_format=self._geometry.block_format),
        )

    # ----------------------------------------------------------------------------------------- outcomes

    def _forget(self, batch: list[Run]) -> int:
        memory = self._dirty.remove(batch)
        self._budget.give_dirty(memory)
        self._budget.writes(self._inode_id, dirty=bool(self._dirty))
        self._trim()
        return memory

    def lose_all(self, error: CurveFSError) -> None:
        """Nothing can be published any more."""
        if self._dirty:
            self._lose(list(self._dirty.runs), error)

    def _lose(self, batch: list[Run], error: CurveFSError) -> None:
        """The answer is final: the bytes are lost, and every open handle will be told once (rule 13)."""
        self.drop_staged(batch)
        if not self._forget(batch):
            return  # discarded meanwhile: nobody wants them
        log.error(
            "written data is lost",
            inode=self._inode_id,
            ranges=[(run.start, run.end) for run in batch[:10]],
            runs=len(batch),
            reason=str(error),
        )
        self.latch(error)

    def latch(self, error: CurveFSError) -> None:
        """Have an error told once to every handle."""
        self.error_count += 1
        self.last_error = error

    def note_failure(self, error: CurveFSError) -> None:
        """Log an outage of this file once: it is met again at every try."""
        if not self._failing and self._dirty:
            self._failing = True
            log.error(
                "written data cannot be published for now; it is kept, and tried again",
                inode=self._inode_id,
                range=(min(run.start for run in self._dirty.runs), self._dirty.end()),
                reason=str(error),
            )

    def note_success(self) -> None:
        """Log the end of an outage of this file."""
        if self._failing:
            self._failing = False
            log.info("written data is published after all", inode=self._inode_id)
