"""Reads of one file: the published slices, over them the dirty runs, oldest first, taken at one instant.

A run leaves the dirty runs in the same step in which its slice joins the lists (or the lists are dropped), so no read
of this mount ever misses its own bytes. It finds none twice either: when newer lists come while an append is being
published, or its outcome is unknown, they may have it already, elsewhere than assumed; reads wait until that is known.
What dirty runs cover is not asked of anybody.

Shared across awaits: dirty runs and slice lists. A read looks again after every await until it has the lists of all
its chunks, takes extents and dirty bytes without an await in between, and only then fetches.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import CorruptData, CurveFSError, IOFailure
from ...object.protocol import ObjectNotFound
from ...slices.geometry import BlockRange, Geometry
from ...slices.names import block_name
from ...slices.overlay import overlay
from .all_over import ReadAllOver
from .budget import MemoryBudget
from .dirty import DirtyRuns
from .read_cache import BEHIND_MAX, ReadCache, Segments
from .slice_lists import SliceLists
from .staged import StagedSlices

log = structlog.get_logger()

FETCH_TRIES = 100
PREFETCH_BLOCKS_MAX = 32
PARTS_LOOKED_AT = 8  # at a time, for what else is to come
PARTS_FROM_MEMORY_MAX = 64  # a region in more parts is not worth the time
_ZEROS = memoryview(bytes(1 << 20))


class Part(NamedTuple):
    """A run of the file's bytes that lies in one block, or a hole (slice is None)."""

    offset: int  # in the file
    length: int
    slice: pb.Slice | None
    block: BlockRange | None


class FileReads:
    """See the module.

    start: runs something in the background of the mount. in_doubt: whether lists and dirty runs do not fit together;
    decide: sees to it that they do, or raises.
    """

    def __init__(
        self,
        inode_id: int,
        runs: DirtyRuns,
        lists: SliceLists,
        *,
        geometry: Geometry,
        cache: ReadCache,
        budget: MemoryBudget,
        start: Callable[..., None],
        store_timeout_s: float,
        in_doubt: Callable[[], bool],
        decide: Callable[[], Awaitable[None]],
        staged: StagedSlices | None = None,
    ) -> None:
        self._inode_id = inode_id
        self._runs = runs
        self._lists = lists
        self._geometry = geometry
        self._cache = cache
        self._budget = budget
        self._start = start
        self._store_timeout_s = store_timeout_s
        self._in_doubt = in_doubt
        self._decide = decide
        self._staged = staged
        self._all_over = ReadAllOver(geometry.block_size, budget.limit)
        self._others_at = 0  # where the next block begins that may come besides
        self._came: list[int] = []  # where those begin of which nobody was told

    @property
    def published_length(self) -> int:
        """Return the length as far as it is published."""
        return self._lists.length

    @property
    def in_one_block(self) -> bool:
        """True for a file that a single request can bring."""
        return self._lists.length <= self._geometry.block_size

    async def read(self, offset: int, size: int, *, whole_blocks: bool) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file. Raises IOFailure, CorruptData."""
        lacked: list[Part] | None = None  # the parts that an object was missing from
        for _ in range(FETCH_TRIES):
            if self._in_doubt():
                await self._decide()
                continue
            staged_end = self._staged.end if self._staged is not None else 0
            length = min(size, max(self._lists.length, self._runs.end(), staged_end) - offset)
            if length <= 0:
                return b""
            own = self._runs.pieces(offset, offset + length)
            wanted = _uncovered(offset, length, own)
            if not wanted and len(own) == 1:
                return bytes(own[0][1])
            chunks = self._unknown(wanted)
            if chunks:
                del own  # a view of a dirty run keeps it from growing
                await self._lists.fetch(chunks[0], chunks[-1] - chunks[0] + 1)
                continue
            parts = [part for start, count in wanted for part in self._parts(start, count)]
            if parts == lacked:
                raise self._missing(offset, "its slice list still names it")
            mine = [(at, bytes(view)) for at, view in own]
            del own
            try:
                fetched = await self._fetch_all(parts, whole_blocks=whole_blocks)
            except ObjectNotFound:
                lacked = parts  # compaction may come more than once
                self._lists.drop()
                continue
            return _joined(offset, length, mine, parts, fetched)
        raise IOFailure("the file changes faster than its slice list can be read")

    def prefetch(self, start: int, end: int) -> None:
        """Begin to fetch whole blocks of a file range, as far as memory has room."""
        end = min(end, self._lists.length, start + self._budget.limit // 4)
        if start >= end:
            return
        chunks = self._unknown([(start, end - start)])
        if chunks:
            self._start(self._prefetch_later, start, end, chunks[0], chunks[-1] - chunks[0] + 1)
        else:
            self._prefetch_known(start, end)

    async def _prefetch_later(self, start: int, end: int, first_chunk: int, count: int) -> None:
        try:
            await self._lists.fetch(first_chunk, count)
        except CurveFSError:
            return  # the reader that needs them will say so
        end = min(end, self._lists.length)
        if start < end and not self._unknown([(start, end - start)]):
            self._prefetch_known(start, end)

    def _prefetch_known(self, start: int, end: int) -> None:
        started = 0
        deadline = self._deadline()
        for part in self._parts(start, end - start):
            if part.slice is None or part.block is None:
                continue
            name = self._name(part.slice, part.block)
            request = self._cache.plan(name, part.block.block_length, part.slice.object.block_format)
            if request is not None:
                self._start(self._cache.fetch_ahead, request, deadline)
                started += 1
                if started == PREFETCH_BLOCKS_MAX:
                    return

    def arrival(self, offset: int) -> trio.Event | None:
        """Return what is set once the whole block that a byte lies in is in memory, if it is or comes."""
        if offset >= self._lists.length or self._unknown([(offset, 1)]):
            return None
        (part,) = self._parts(offset, 1)
        if part.slice is None or part.block is None:
            return None
        return self._cache.arrival(self._name(part.slice, part.block))

    def from_memory(self, offset: int, size: int) -> bytes | None:
        """Return up to ``size`` published bytes, if all are in memory; None as well if some are not published yet."""
        size = min(size, self._lists.length - offset)
        if size <= 0 or self._in_doubt() or self._unknown([(offset, size)]) or self._runs.pieces(offset, offset + size):
            return None
        parts = self._parts(offset, size)
        if len(parts) > PARTS_FROM_MEMORY_MAX:
            return None
        found: list[Segments] = []
        for part in parts:
            if part.slice is None or part.block is None:
                found.append(_zeros(part.length))
                continue
            known = self._cache.peek(self._name(part.slice, part.block), part.block.offset, part.length)
            if known is None:
                return None
            found.append(known)
        return _joined(offset, size, [], parts, found)

    # ------------------------------------------------------------------------------------------- slices

    def _slices(self, chunk_index: int) -> list[pb.Slice]:
        published = [] if self._is_past_the_end(chunk_index) else self._lists.of_chunk(chunk_index)
        return published + self._staged.of_chunk(chunk_index) if self._staged else published

    def _is_past_the_end(self, chunk_index: int) -> bool:
        return chunk_index * self._geometry.chunk_size >= self._lists.length

    def _unknown(self, ranges: list[tuple[int, int]]) -> list[int]:
        """Return the chunks of some file ranges whose lists are not known, in order."""
        return [
            part.chunk_index
            for start, count in ranges
            for part in self._geometry.chunks(start, count)
            if not (self._is_past_the_end(part.chunk_index) or self._lists.is_known(part.chunk_index))
        ]

    def _parts(self, start: int, count: int) -> list[Part]:
        """Cut a file range, of which _unknown() has just said that all lists are known, by blocks and holes."""
        found: list[Part] = []
        for within in self._geometry.chunks(start, count):
            base = within.chunk_index * self._geometry.chunk_size
            for extent in overlay(self._slices(within.chunk_index), within.offset, within.offset + within.length):
                at = base + extent.offset
                if extent.slice is None:
                    found.append(Part(at, extent.length, None, None))
                    continue
                for block in self._geometry.blocks(extent.run_offset, extent.length, extent.slice.size):
                    found.append(Part(at, block.length, extent.slice, block))
                    at += block.length
        return found

    # -------------------------------------------------------------------------------------------- bytes

    async def _fetch_all(self, parts: list[Part], *, whole_blocks: bool) -> list[Segments]:
        """Return the bytes of each part; what is not in memory is fetched at the same time."""
        fetched: list[Segments] = []
        absent: list[int] = []
        for number, part in enumerate(parts):
            if part.slice is None or part.block is None:
                fetched.append(_zeros(part.length))
                continue
            known = self._cache.peek(self._name(part.slice, part.block), part.block.offset, part.length)
            if known is None:
                absent.append(number)
            fetched.append(known or [])
        deadline = self._deadline()
        failures: list[CurveFSError] = []

        async def one(number: int) -> None:
            try:
                fetched[number] = await self._read_block(parts[number], deadline, whole=whole_blocks)
            except CurveFSError as error:
                failures.append(error)

        if len(absent) == 1:
            await one(absent[0])
        elif absent:
            async with trio.open_nursery() as nursery:
                for number in absent:
                    nursery.start_soon(one, number)
        if failures:
            raise next((error for error in failures if isinstance(error, ObjectNotFound)), failures[0])
        return fetched

    async def _read_block(self, part: Part, deadline: float, *, whole: bool) -> Segments:
        if not whole and self._all_over.seen(self._lists.length):
            self._bring(part, BEHIND_MAX)
        segments = await self._read_verified(part, deadline, whole=whole)
        if not whole:
            self._bring_others()
        return segments

    async def _read_verified(self, part: Part, deadline: float, *, whole: bool) -> Segments:
        assert part.slice is not None, "no hole"
        assert part.block is not None, "no hole"
        name = self._name(part.slice, part.block)
        read = partial(
            self._cache.read,
            name,
            part.block.offset,
            part.length,
            part.block.block_length,
            deadline,
            block_format=part.slice.object.block_format,
            whole=whole,
        )
        try:
            return await read()
        except CorruptData:
            self._cache.drop(name)
        try:
            return await read()
        except CorruptData as error:
            log.error("a block is damaged", inode=self._inode_id, offset=part.offset, object=name, reason=str(error))
            raise CorruptData(f"inode {self._inode_id} at {part.offset}, object {name}: {error}") from error

    def _bring(self, part: Part, at_a_time: int) -> bool:
        """Have the block of a part come whole; says whether it comes or is here, or there is none."""
        if part.slice is None or part.block is None:
            return True
        return self._cache.bring(
            self._name(part.slice, part.block),
            part.block.block_length,
            self._deadline(),
            block_format=part.slice.object.block_format,
            at_a_time=at_a_time,
        )

    def _bring_others(self) -> None:
        """Have blocks come that come next in the file, as many as may be on their way and memory has room for."""
        at_a_time = self._all_over.others(self._lists.length)
        block_size = self._geometry.block_size
        for _ in range(PARTS_LOOKED_AT if at_a_time else 0):
            at = self._others_at
            if at >= self._lists.length or self._unknown([(at, 1)]):
                return
            part = self._parts(at, min(block_size - at % block_size, self._lists.length - at))[0]
            if not self._bring(part, at_a_time):
                return
            self._came.append(at)
            self._others_at = at + part.length

    def take_coming(self) -> list[int]:
        """Return places whose blocks come, or are here, besides those that were read; each is returned once."""
        came, self._came = self._came, []
        return came

    def _missing(self, offset: int, reason: str) -> IOFailure:
        """A published object is gone: nothing that waiting would cure (rule 5)."""
        log.error("a published object is missing", inode=self._inode_id, offset=offset, reason=reason)
        return IOFailure(f"inode {self._inode_id} at {offset}: a published object is missing: {reason}")

    def _name(self, one: pb.Slice, block: BlockRange) -> str:
        return block_name(self._geometry.uuid, one.chunk_id, one.compaction, block.block)

    def _deadline(self) -> float:
        return trio.current_time() + self._store_timeout_s


def _uncovered(offset: int, length: int, own: list[tuple[int, memoryview]]) -> list[tuple[int, int]]:
    """Return (offset, length) of what own pieces leave open of a file range."""
    found = []
    at = offset
    for start, view in sorted(own, key=lambda piece: piece[0]):
        if start > at:
            found.append((at, start - at))
        at = max(at, start + len(view))
    if at < offset + length:
        found.append((at, offset + length - at))
    return found


def _zeros(length: int) -> Segments:
    whole, rest = divmod(length, len(_ZEROS))
    return [_ZEROS] * whole + ([_ZEROS[:rest]] if rest else [])


def _joined(
    offset: int, length: int, own: list[tuple[int, bytes]], parts: list[Part], fetched: list[Segments]
) -> bytes:
    """Lay own pieces, older first, and fetched parts side by side."""
    if not own:
        result = b"".join([view for segments in fetched for view in segments])
        assert len(result) == length, "every byte comes from somewhere"
        return result
    laid = bytearray(length)
    for start, data in own:
        laid[start - offset : start - offset + len(data)] = data
    for part, segments in zip(parts, fetched, strict=True):
        laid[part.offset - offset : part.offset - offset + part.length] = b"".join(segments)
    assert len(laid) == length, "nothing lies beyond"
    return bytes(laid)
