"""The slices of one file that are staged and not published yet, in order.

They are read over the published ones, and published in the background.
They lie between the two other kinds: every one is newer than what is published, and older than what is dirty. Where a
slice for the end of the file lies is known when it is published; until then it is read where this mount assumes it.

Shared across awaits: the entries. They are added at the end by whoever flushes, and taken away by whoever has the
turn, in the same step in which the slice lists change.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ....proto import staging_pb2
from ...common.errors import (
    AlreadyDone,
    ClusterError,
    CorruptData,
    CurveFSError,
    FilesystemError,
    IdRefused,
    IOFailure,
    NoSpace,
    NotFound,
    QuotaExceeded,
    SessionEnded,
)
from ...object.protocol import ObjectNotFound, ObjectStoreError
from ...slices.geometry import Geometry
from ..cache.staging import StagedBlockDamaged
from .growth import Growth
from .interfaces import SliceMetadata
from .outcomes import TRIED_BY_ANOTHER_MOUNT, Before, Outcome, find, trying
from .slice_lists import SliceLists
from .turns import Turns
from .write_back import WriteBack

log = structlog.get_logger()

SLICES_PER_PUBLICATION = 64  # none is longer than a chunk: at most 128 pieces
SESSIONS_TRIED = 3
_KEPT = (IOFailure, SessionEnded, NoSpace, QuotaExceeded, ClusterError)


@dataclass(slots=True, eq=False)
class _Entry:
    number: int
    record: staging_pb2.StagedSlice
    start: int  # in the file, as far as is known
    pieces: list[pb.Slice]  # as they are read
    before: Before | None  # its publication was tried

    @property
    def end(self) -> int:
        return self.start + self.record.slice.length


class StagedSlices:
    """See the module.

    ``lost``: told of an error that no try would cure. ``shifted``: an append lies elsewhere. ``trim``: give up what is
    reserved of quotas and not needed any more.
    """

    def __init__(
        self,
        inode_id: int,
        lists: SliceLists,
        growth: Growth,
        *,
        geometry: Geometry,
        metadata: SliceMetadata,
        write_back: WriteBack,
        lost: Callable[[CurveFSError], None],
        shifted: Callable[[int], None],
        trim: Callable[[], None],
    ) -> None:
        self._inode_id = inode_id
        self._lists = lists
        self._growth = growth
        self._geometry = geometry
        self._metadata = metadata
        self._write_back = write_back
        self._lost = lost
        self._shifted = shifted
        self._trim = trim
        self._entries: list[_Entry] = []
        self._turns = Turns()
        self._failing = False

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def busy(self) -> bool:
        """True while somebody publishes."""
        return self._turns.taken

    @property
    def last_in_doubt(self) -> int:
        """Return the number of the last append tried before the file became as it is known now; 0: none."""
        doubted = (
            one.number
            for one in self._entries
            if one.record.at_end
            and one.before not in (None, TRIED_BY_ANOTHER_MOUNT)
            and one.before.change < self._lists.change
        )
        return max(doubted, default=0)

    @property
    def end(self) -> int:
        """Return the highest end of any; 0 without."""
        return max((one.end for one in self._entries), default=0)

    def of_chunk(self, chunk_index: int) -> list[pb.Slice]:
        """Return what is to be read over the published slices of a chunk, older first."""
        return [piece for one in self._entries for piece in one.pieces if piece.chunk_index == chunk_index]

    def adopt(self, number: int, record: staging_pb2.StagedSlice) -> None:
        """Take a slice that a mount before this one has left."""
        self.add(number, record, max(self._lists.length, self.end), TRIED_BY_ANOTHER_MOUNT)

    def add(self, number: int, record: staging_pb2.StagedSlice, start: int, before: Before | None) -> None:
        """Take a slice whose record is durable. start: where it is assumed to lie. before: its publication was tried.

        The record does not say so: the next mount takes all that it finds for tried.
        """
        if not record.at_end:
            start = record.slice.chunk_index * self._geometry.chunk_size + record.slice.offset
        self._entries.append(_Entry(number, record, start, self._placed(record.slice, start), before))

    def place_appends(self) -> bool:
        """Assume anew where slices for the end of the file will lie: one before them lies elsewhere than assumed.

        True if one moved.

        One whose publication was tried stays where it is if the file has grown to its end: it was probably done.
        """
        end, moved = self._lists.length, False
        for one in self._entries:
            tried_here = one.before not in (None, TRIED_BY_ANOTHER_MOUNT)
            if one.record.at_end and not (tried_here and end >= one.end):
                moved = moved or one.start != end
                one.start = end
                one.pieces = self._placed(one.record.slice, end)
            end = max(end, one.end)
        return moved

    def _placed(self, one: pb.Slice, start: int) -> list[pb.Slice]:
        pieces = []
        done = 0
        for part in self._geometry.chunks(start, one.length):
            piece = pb.Slice()
            piece.CopyFrom(one)
            piece.chunk_index, piece.offset, piece.length = part
            piece.object.offset = one.object.offset + done
            done += part.length
            pieces.append(piece)
        return pieces

    # ------------------------------------------------------------------------------------------ publish

    async def publish(self, deadline: float, upto: int | None = None) -> None:
        """Store and publish what is staged now, up to a number. Raises IOFailure, NoSpace, ...: it is staged still."""
        async with self._turns.take(deadline):
            last = upto or (self._entries[-1].number if self._entries else 0)
            while self._entries and self._entries[0].number <= last:
                try:
                    await self._publish_some(deadline)
                except CurveFSError as error:
                    self._note_failure(error)
                    raise
                self._failing = False

    async def discard(self) -> None:
        """Drop everything: nobody can reach the file any more."""
        async with self._turns.take(math.inf):
            await self._finish(list(self._entries), published=False)

    async def lose_all(self, error: CurveFSError) -> None:
        """Nothing can be published any more. It stays on the disk: an MDS that knows less than it should may say so."""
        async with self._turns.take(math.inf):
            for entry in list(self._entries):
                await self._lose(entry, error, aside=True)

    async def _publish_some(self, deadline: float) -> None:
        batch = self._next_batch()
        failures: list[CurveFSError] = []

        async def store(entry: _Entry) -> None:
            try:
                await self._write_back.upload(entry.record, deadline)
            except StagedBlockDamaged as error:
                await self._lose(entry, error, aside=True)
            except ObjectStoreError as error:
                failures.append(IOFailure(str(error)))
            except CurveFSError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for entry in batch:
                nursery.start_soon(store, entry)
        if failures:
            raise failures[0]
        batch = [entry for entry in batch if entry in self._entries]
        if not batch:
            return
        try:
            await self._append(batch)
        except IdRefused:
            # Some were published together by a mount that died, or by a call whose answer was lost.
            for entry in batch:
                await self._append_alone(entry, deadline)

    def _next_batch(self) -> list[_Entry]:
        batch: list[_Entry] = []
        for entry in self._entries[:SLICES_PER_PUBLICATION]:
            if batch and entry.record.at_end:
                break
            batch.append(entry)
            if entry.record.at_end:
                break
        return batch

    async def _append(self, batch: list[_Entry]) -> None:
        """Publish slices by one operation. Raises what keeps them staged, and IdRefused."""
        first = batch[0].record
        length = max(entry.record.length for entry in batch)
        brought = self._growth.brought(self._longer_by(batch))
        try:
            inode, offset = await self._append_slices(batch, length, brought)
        except AlreadyDone:
            await self._take_as_published(batch)
            return
        except (IdRefused, *_KEPT):
            raise
        except FilesystemError as error:
            for entry in batch:
                await self._lose(entry, error)
            return
        self._growth.used(brought)
        self._growth.quotas = tuple(inode.quotas)
        if first.at_end:
            await self._appended(batch, inode, shifted=offset != batch[0].start)
            return
        slices = [entry.record.slice for entry in batch]
        self._lists.published(inode, slices, self._geometry.chunk_size)
        await self._finish(batch, published=True)

    async def _appended(self, batch: list[_Entry], inode: pb.Inode, *, shifted: bool) -> None:
        """Take slices out whose place the metadata knows."""
        self._lists.drop()
        self._lists.revalidate(inode)
        self._entries = [entry for entry in self._entries if entry not in batch]
        if shifted:
            self._shifted(self._inode_id)
        await self._finish(batch, published=True)

    async def _append_slices(
        self, batch: list[_Entry], length: int, brought: pb.Reservation | None
    ) -> tuple[pb.Inode, int]:
        """Publish; a session that ends is no reason to fail: the ids are the identity's, and what was done says so."""
        for tries_left in range(SESSIONS_TRIED - 1, -1, -1):
            try:
                with trying(batch, self._lists):  # each by itself: the next must not clear the doubt
                    return await self._metadata.append_slices(
                        self._inode_id,
                        [entry.record.slice for entry in batch],
                        length,
                        max(entry.record.mtime_ns for entry in batch),
                        at_end=batch[0].record.at_end,
                        reserved=brought,
                    )
            except SessionEnded:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _longer_by(self, batch: list[_Entry]) -> int:
        """Return by how much a publication makes the file longer, as far as is known here."""
        length = max(entry.record.length for entry in batch)
        return length if batch[0].record.at_end else length - self._lists.length

    async def _append_alone(self, entry: _Entry, deadline: float) -> None:
        try:
            await self._append([entry])
        except IdRefused as error:
            one, at_end = entry.record.slice, entry.record.at_end
            outcome = await find(self._metadata, self._geometry, self._inode_id, one, entry.before, at_end=at_end)
            if outcome is Outcome.DONE:
                await self._take_as_published([entry])
            elif outcome is Outcome.UNKNOWN and at_end:
                await self._lose(entry, IOFailure("it was appended or not, and cannot be found any more"), aside=True)
            else:
                log.warning("a staged slice is staged again: its id is void", inode=self._inode_id, reason=str(error))
                await self._append_anew(entry, deadline)

    async def _append_anew(self, entry: _Entry, deadline: float) -> None:
        """Publish a slice under another id."""
        chunk_id = await self._metadata.take_chunk_id(self._inode_id)
        try:
            await self._write_back.rename(entry.number, entry.record, chunk_id)
        except (ObjectNotFound, CorruptData, StagedBlockDamaged) as missing:
            await self._lose(entry, missing, aside=True)
            return
        except ObjectStoreError as failed:
            raise IOFailure(str(failed)) from failed
        entry.pieces = self._placed(entry.record.slice, entry.start)
        entry.before = None
        await self._write_back.upload(entry.record, deadline)
        await self._append([entry])

    async def _take_as_published(self, batch: list[_Entry]) -> None:
        inode, _ = await self._metadata.read_slices(self._inode_id, 0, 1)
        self._growth.used(self._growth.brought(self._longer_by(batch)))
        await self._appended(batch, inode, shifted=batch[0].record.at_end)

    # ----------------------------------------------------------------------------------------- outcomes

    async def _finish(self, batch: list[_Entry], *, published: bool) -> None:
        self._entries = [entry for entry in self._entries if entry not in batch]
        self._trim()
        self._write_back.published += len(batch) if published else 0
        for entry in batch:
            await self._write_back.forget(entry.number, entry.record, published=published)

    async def _lose(self, entry: _Entry, error: CurveFSError, *, aside: bool = False) -> None:
        """It will never be published. aside: its record is kept for a person to look at."""
        self._write_back.lost += 1
        self._entries.remove(entry)
        self._trim()
        if isinstance(error, NotFound):
            log.info("a file is gone before what was staged of it was published", inode=self._inode_id)
        else:
            where = (entry.start, entry.end)
            log.error("staged data is lost", inode=self._inode_id, range=where, reason=str(error), record=entry.number)
            self._lost(error if isinstance(error, FilesystemError) else IOFailure(str(error)))
        if aside:
            await self._write_back.put_aside(entry.number)
        else:
            await self._write_back.forget(entry.number, entry.record, published=False)

    def _note_failure(self, error: CurveFSError) -> None:
        if not self._failing:
            self._failing = True
            log.warning(
                "staged data cannot be published for now; it is kept, and tried again",
                inode=self._inode_id,
                reason=str(error),
            )
