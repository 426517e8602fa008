"""Blocks from the store in memory: whole ones for sequential readers, pieces of 128 KiB for random ones.

A block of which a piece is here when another is fetched follows whole, behind the reader: somebody goes on asking for
it. Reads spread over much more than memory holds seldom find one.

128 KiB is two segments, and what the kernel asks for at a time by default. A read asks for all pieces it needs of a
block with one request; who finds a request under way that covers what it needs waits for that one. Room is taken from
the budget before a request is made. Without room nothing is fetched ahead, and readers get the pieces they need, which
are then not kept. The least recently used block goes first, all its pieces together. Blocks and requests count with
what they take besides their bytes: of tiny files that is most of it.

Shared across awaits: the table of blocks and of requests in flight; both change between awaits only.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import trio

from ...common.errors import CorruptData, CurveFSError, IOFailure
from ...slices.framing import SEGMENT_SIZE
from .budget import MemoryBudget
from .store_calls import StoreCalls

log = structlog.get_logger()

PIECE_SIZE = 128 << 10
BLOCK_OVERHEAD = 1024  # bytes of memory for a block besides its own; measured: 760 as a whole, 890 with a piece
REQUEST_OVERHEAD = 8192  # and for a request on its way, with the task that waits for it; measured: 7,600
BEHIND_MAX = 8  # blocks that follow their readers at a time
_SEGMENTS_PER_PIECE = PIECE_SIZE // SEGMENT_SIZE

Segments = list[memoryview]

_HERE = trio.Event()
_HERE.set()


@dataclass(slots=True)
class _Block:
    whole: Segments | None = None  # in place of the pieces
    pieces: dict[int, Segments] = field(default_factory=dict)
    memory: int = BLOCK_OVERHEAD


@dataclass(slots=True)
class Request:
    """Bytes [start, start + size) of a block on their way; segments or error are set when it is done.

    kept: room for them is taken, and they stay. whole: they are all of the block.
    """

    name: str
    start: int
    size: int
    block_format: int
    kept: bool
    whole: bool
    done: trio.Event = field(default_factory=trio.Event)
    segments: Segments | None = None
    error: CurveFSError | None = None

    @property
    def memory(self) -> int:
        """Return the room that it takes, until it is done."""
        return self.size + REQUEST_OVERHEAD

    def covers(self, offset: int, size: int) -> bool:
        """Return whether it brings bytes [offset, offset + size)."""
        return self.start <= offset and offset + size <= self.start + self.size


@dataclass(slots=True)
class ReadCounts:
    """Since the mount began."""

    hits: int = 0
    misses: int = 0


class ReadCache:
    """See the module."""

    def __init__(
        self,
        budget: MemoryBudget,
        calls: StoreCalls,
        drop_below: Callable[[str], object],
        start: Callable[..., object],
    ) -> None:
        """drop_below: forgets a block in what lies below. start: runs something in the background of the mount."""
        self._budget = budget
        self._calls = calls
        self._drop_below = drop_below
        self._start = start
        self._behind = 0
        self._blocks: OrderedDict[str, _Block] = OrderedDict()
        self._requests: dict[str, list[Request]] = {}
        self.counts = ReadCounts()
        budget.evict = self._evict

    def peek(self, name: str, offset: int, size: int) -> Segments | None:
        """Return bytes [offset, offset + size) of a block as consecutive pieces if all of them are here."""
        block = self._blocks.get(name)
        if block is None:
            return None
        if block.whole is not None:
            parts = _cut(block.whole, 0, offset, size)
        else:
            parts = []
            for piece in range(offset // PIECE_SIZE, (offset + size - 1) // PIECE_SIZE + 1):
                known = block.pieces.get(piece)
                if known is None:
                    return None
                at = piece * PIECE_SIZE
                low, high = max(offset, at), min(offset + size, at + PIECE_SIZE)
                parts += _cut(known, at, low, high - low)
        self._blocks.move_to_end(name)
        self.counts.hits += 1
        return parts

    def arrival(self, name: str) -> trio.Event | None:
        """Return what is set once all of a block is here, if it is or comes; it may be gone again soon."""
        block = self._blocks.get(name)
        if block is not None and block.whole is not None:
            return _HERE
        return next((one.done for one in self._requests.get(name, ()) if one.whole), None)

    async def read(
        self,
        name: str,
        offset: int,
        size: int,
        block_length: int,
        deadline: float,
        *,
        block_format: int,
        whole: bool,
    ) -> Segments:
        """Return bytes [offset, offset + size) of a block as consecutive pieces.

        whole: fetch all of it on a miss, in any case. Raises ObjectNotFound, CorruptData, IOFailure after the deadline.
        """
        parts = self.peek(name, offset, size)
        if parts is not None:
            return parts
        self.counts.misses += 1
        while (request := self._under_way(name, offset, size)) is not None:
            await request.done.wait()
            if request.segments is not None:
                return _cut(request.segments, request.start, offset, size)
            gave_up = isinstance(request.error, IOFailure) and trio.current_time() < deadline
            if request.error is not None and not gave_up:
                raise request.error
            # Whoever asked was cancelled, or had less time: one of those who waited asks again.
        block = self._blocks.get(name)
        again = block is not None and bool(block.pieces)
        if whole and self._take_room(block_length):
            request = self._request(name, 0, block_length, block_format, kept=True, whole=True)
            segments = await self._fetch(request, block_length, deadline)
            return _cut(segments, 0, offset, size)
        start = offset // PIECE_SIZE * PIECE_SIZE
        end = min(-(-(offset + size) // PIECE_SIZE) * PIECE_SIZE, block_length)
        kept = self._take_room(end - start)
        whole = end - start == block_length
        request = self._request(name, start, end - start, block_format, kept=kept, whole=whole)
        segments = await self._fetch(request, block_length, deadline)
        if again:
            self.bring(name, block_length, deadline, block_format=block_format, at_a_time=BEHIND_MAX)
        return _cut(segments, start, offset, size)

    def bring(self, name: str, block_length: int, deadline: float, *, block_format: int, at_a_time: int) -> bool:
        """Have a whole block come, and readers wait for it; says whether it comes or is here.

        at_a_time: how many may be on their way like this, of the whole mount; the others wait for the store, too.
        """
        if self.arrival(name) is not None:
            return True
        request = self.plan(name, block_length, block_format) if self._behind < at_a_time else None
        if request is None:
            return False
        self._behind += 1
        self._start(self._follow, request, deadline)
        return True

    async def _follow(self, request: Request, deadline: float) -> None:
        try:
            await self.fetch_ahead(request, deadline)
        finally:
            self._behind -= 1

    def plan(self, name: str, block_length: int, block_format: int) -> Request | None:
        """Plan to fetch a whole block ahead; None if it is here or on its way, or there is no room.

        Its room is taken and readers wait for it from now on: fetch_ahead() must follow.
        """
        block = self._blocks.get(name)
        if (block is not None and block.whole is not None) or self._under_way(name, 0, block_length) is not None:
            return None
        if not self._take_room(block_length):
            return None
        return self._request(name, 0, block_length, block_format, kept=True, whole=True)

    async def fetch_ahead(self, request: Request, deadline: float) -> None:
        """Have a planned block in memory, for a reader to come. Failures are the reader's to meet."""
        try:
            await self._fetch(request, request.size, deadline)
        except CurveFSError:
            return

    def drop(self, name: str) -> None:
        """Forget a block, e.g. one that read wrongly, here and on disk."""
        self._drop_below(name)
        block = self._blocks.pop(name, None)
        if block is not None:
            self._budget.give_cached(block.memory)

    def _take_room(self, size: int) -> bool:
        """Take room for a request for so many bytes, if there is any."""
        return self._budget.take_cached(size + REQUEST_OVERHEAD)

    def _under_way(self, name: str, offset: int, size: int) -> Request | None:
        return next((one for one in self._requests.get(name, ()) if one.covers(offset, size)), None)

    def _request(self, name: str, start: int, size: int, block_format: int, *, kept: bool, whole: bool) -> Request:
        request = Request(name, start, size, block_format, kept, whole)
        self._requests.setdefault(name, []).append(request)
        return request

    async def _fetch(self, request: Request, block_length: int, deadline: float) -> Segments:
        """Fetch and verify bytes of a block, for everybody who waits for them."""
        try:
            segments = await self._calls.get(
                request.name,
                request.start,
                request.size,
                block_length,
                block_format=request.block_format,
                deadline=deadline,
            )
        except CurveFSError as error:
            if isinstance(error, CorruptData):
                log.warning("a block did not match its checksums", object=request.name, reason=str(error))
                self._drop_below(request.name)  # it keeps what nobody has verified
            request.error = error
            raise
        else:
            request.segments = segments
        finally:
            mine = self._requests[request.name]
            mine.remove(request)
            if not mine:
                del self._requests[request.name]
            request.done.set()
            if request.kept and request.segments is None:
                self._budget.give_cached(request.memory)
        if request.kept:
            self._keep(request, segments, block_length)
        return segments

    def _keep(self, request: Request, segments: Segments, block_length: int) -> None:
        """Put what was fetched into the table; give back the room that it does not take."""
        before = self._blocks[request.name].memory if request.name in self._blocks else 0
        block = self._blocks.setdefault(request.name, _Block())
        if request.whole:
            block.whole, block.pieces, block.memory = segments, {}, BLOCK_OVERHEAD + block_length
        elif block.whole is None:
            for at in range(0, len(segments), _SEGMENTS_PER_PIECE):
                piece = (request.start // SEGMENT_SIZE + at) // _SEGMENTS_PER_PIECE
                if piece not in block.pieces:
                    block.pieces[piece] = segments[at : at + _SEGMENTS_PER_PIECE]
                    block.memory += sum(map(len, block.pieces[piece]))
        self._blocks.move_to_end(request.name)
        self._budget.give_cached(request.memory - (block.memory - before))

    def _evict(self, wanted: int) -> int:
        freed = 0
        while freed < wanted and self._blocks:
            _, block = self._blocks.popitem(last=False)
            freed += block.memory
            self._budget.give_cached(block.memory)
        return freed


def _cut(segments: Segments, at: int, offset: int, size: int) -> Segments:
    """Return bytes [offset, offset + size) of segments of 64 KiB that begin at offset ``at``."""
    parts = []
    index, within = divmod(offset - at, SEGMENT_SIZE)
    while size > 0:
        part = segments[index][within : within + size]
        parts.append(part)
        size -= len(part)
        index, within = index + 1, 0
    return parts
