"""Blocks from the store in memory: whole ones for sequential readers, pieces of 128 KiB for random ones.

128 KiB is two segments, and what the kernel asks for at a time by default. One request is in flight per piece or block,
however many readers wait for it. What readers are waiting for is handed to them even if the budget has no room to
keep it. The least recently used block goes first, all its pieces together.

Shared across awaits: the table of blocks and of requests in flight; both change between awaits only.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import trio

from ...common.errors import CurveFSError
from .budget import MemoryBudget
from .store_calls import StoreCalls

PIECE_SIZE = 128 << 10
_SEGMENT = 64 << 10
WHOLE = -1

Segments = list[memoryview]


@dataclass(slots=True)
class _Block:
    whole: Segments | None = None
    pieces: dict[int, Segments] = field(default_factory=dict)
    size: int = 0


@dataclass(slots=True)
class _Request:
    done: trio.Event = field(default_factory=trio.Event)
    segments: Segments | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class ReadCounts:
    """Since the mount began."""

    hits: int = 0
    misses: int = 0


class ReadCache:
    """See the module."""

    def __init__(self, budget: MemoryBudget, calls: StoreCalls) -> None:
        self._budget = budget
        self._calls = calls
        self._blocks: OrderedDict[str, _Block] = OrderedDict()
        self._requests: dict[tuple[str, int], _Request] = {}
        self.counts = ReadCounts()
        budget.evict = self._evict

    def has(self, name: str) -> bool:
        """True when the whole block is here or on its way."""
        block = self._blocks.get(name)
        return (block is not None and block.whole is not None) or (name, WHOLE) in self._requests

    async def read(
        self, name: str, offset: int, size: int, block_length: int, deadline: float, *, whole: bool
    ) -> list[memoryview]:
        """Return bytes [offset, offset + size) of a block as consecutive pieces.

        whole: fetch all of it on a miss. Raises ObjectNotFound, CorruptData, IOFailure.
        """
        block = self._blocks.get(name)
        if block is not None:
            self._blocks.move_to_end(name)
            if block.whole is not None:
                self.counts.hits += 1
                return _cut(block.whole, 0, offset, size)
        if whole or (name, WHOLE) in self._requests or block_length <= PIECE_SIZE:
            self.counts.misses += 1
            return _cut(await self._get(name, WHOLE, block_length, deadline), 0, offset, size)
        parts: list[memoryview] = []
        for piece in range(offset // PIECE_SIZE, (offset + size - 1) // PIECE_SIZE + 1):
            at = piece * PIECE_SIZE
            known = block.pieces.get(piece) if block is not None else None
            if known is None:
                self.counts.misses += 1
                known = await self._get(name, piece, block_length, deadline)
            else:
                self.counts.hits += 1
            low, high = max(offset, at), min(offset + size, at + PIECE_SIZE)
            parts += _cut(known, at, low, high - low)
        return parts

    async def fetch(self, name: str, block_length: int, deadline: float) -> None:
        """Have a whole block in memory, for a reader to come. Failures are the reader's to meet."""
        try:
            await self._get(name, WHOLE, block_length, deadline)
        except CurveFSError:
            return

    async def _get(self, name: str, piece: int, block_length: int, deadline: float) -> Segments:
        key = (name, piece)
        request = self._requests.get(key)
        if request is not None:
            await request.done.wait()
            if request.segments is not None:
                return request.segments
            if isinstance(request.error, CurveFSError):
                raise request.error
            # Whoever asked was cancelled: ask ourselves.
            return await self._get(name, piece, block_length, deadline)
        request = self._requests[key] = _Request()
        start = 0 if piece == WHOLE else piece * PIECE_SIZE
        size = block_length if piece == WHOLE else min(PIECE_SIZE, block_length - start)
        try:
            request.segments = await self._calls.get(name, start, size, block_length, deadline)
        except BaseException as error:
            request.error = error
            raise
        finally:
            del self._requests[key]
            request.done.set()
        self._keep(name, piece, request.segments, size)
        return request.segments

    def _keep(self, name: str, piece: int, segments: Segments, size: int) -> None:
        if not self._budget.take_cached(size):
            return
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = _Block()
        if piece == WHOLE:
            self._budget.give_cached(block.size)
            block.whole, block.pieces, block.size = segments, {}, size
        elif block.whole is not None or piece in block.pieces:
            self._budget.give_cached(size)
        else:
            block.pieces[piece] = segments
            block.size += size
        self._blocks.move_to_end(name)

    def drop(self, name: str) -> None:
        """Forget a block, e.g. one that read wrongly."""
        block = self._blocks.pop(name, None)
        if block is not None:
            self._budget.give_cached(block.size)

    def _evict(self, wanted: int) -> int:
        freed = 0
        while freed < wanted and self._blocks:
            _, block = self._blocks.popitem(last=False)
            freed += block.size
            self._budget.give_cached(block.size)
        return freed


def _cut(segments: Segments, at: int, offset: int, size: int) -> list[memoryview]:
    """Return bytes [offset, offset + size) of segments of 64 KiB that begin at offset ``at``."""
    parts = []
    position = offset - at
    while size > 0:
        index, within = divmod(position, _SEGMENT)
        part = segments[index][within : within + size]
        parts.append(part)
        position += len(part)
        size -= len(part)
    return parts
