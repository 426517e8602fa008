"""Filling the disk cache with the blocks of a file, saying which share of them is there, and dropping them.

Blocks are those that a reader of the whole file needs now; what slices hide is left alone. It is background work: few
blocks at a time, in memory that nobody else wants.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import trio

from ...common.errors import CurveFSError, IOFailure
from ...object.protocol import ObjectNotFound
from ...slices.geometry import Geometry
from ...slices.names import block_name
from ...slices.overlay import overlay
from ..cache.disk_cache import DiskCache
from .budget import MemoryBudget
from .interfaces import SliceMetadata
from .store_calls import StoreCalls

BLOCKS_AT_ONCE = 4
CHUNKS_AT_ONCE = 16
ROOM_PAUSE_S = 0.1

What = Literal["warm", "check", "evict"]


@dataclass(slots=True)
class Share:
    """Of a file's blocks: how many there are, how many are cached afterwards, with the bytes of them."""

    blocks: int = 0
    cached: int = 0
    bytes: int = 0
    cached_bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return it as it goes over the wire."""
        return asdict(self)


class WarmUp:
    """See the module."""

    def __init__(
        self,
        metadata: SliceMetadata,
        geometry: Geometry,
        disk: DiskCache,
        calls: StoreCalls,
        budget: MemoryBudget,
        *,
        timeout_s: float,
    ) -> None:
        self._metadata = metadata
        self._geometry = geometry
        self._disk = disk
        self._calls = calls
        self._budget = budget
        self._timeout_s = timeout_s
        self._threads = trio.CapacityLimiter(1)
        self._limit = trio.CapacityLimiter(BLOCKS_AT_ONCE)

    async def file(self, inode_id: int, what: What) -> Share:
        """Do it for a file. Raises NotFound, IOFailure."""
        share = Share()
        chunk = length = 0
        while chunk == 0 or chunk * self._geometry.chunk_size < length:
            blocks, length = await self._blocks(inode_id, chunk)
            failures: list[CurveFSError] = []
            async with trio.open_nursery() as nursery:
                for name, size in blocks.items():
                    nursery.start_soon(self._block, name, size, what, share, failures)
            if failures:
                raise failures[0]
            chunk += CHUNKS_AT_ONCE
        return share

    async def _blocks(self, inode_id: int, first_chunk: int) -> tuple[dict[str, int], int]:
        """Return (name to size) of the blocks of some chunks, and the length of the file."""
        inode, slices = await self._metadata.read_slices(inode_id, first_chunk, CHUNKS_AT_ONCE)
        found: dict[str, int] = {}
        for chunk in range(first_chunk, first_chunk + CHUNKS_AT_ONCE):
            end = min(inode.length - chunk * self._geometry.chunk_size, self._geometry.chunk_size)
            for extent in overlay([one for one in slices if one.chunk_index == chunk], 0, end):
                one = extent.slice
                if one is None:
                    continue
                for block in self._geometry.blocks(extent.run_offset, extent.length, one.size):
                    name = block_name(self._geometry.uuid, one.chunk_id, one.compaction, block.block)
                    found[name] = block.block_length
        return found, inode.length

    async def _block(self, name: str, size: int, what: What, share: Share, failures: list[CurveFSError]) -> None:
        try:
            if what == "evict":
                await trio.to_thread.run_sync(self._disk.drop, name, limiter=self._threads)
            elif what == "warm" and not self._disk.has(name):
                async with self._limit:
                    await self._fetch(name, size)
        except ObjectNotFound as error:
            failures.append(IOFailure(f"it changed meanwhile, or an object is missing: {error}"))
        except CurveFSError as error:
            failures.append(error)
        is_cached = self._disk.has(name)
        share.blocks += 1
        share.bytes += size
        share.cached += is_cached
        share.cached_bytes += size if is_cached else 0

    async def _fetch(self, name: str, size: int) -> None:
        deadline = trio.current_time() + self._timeout_s
        while not self._budget.take_cached(size):
            if trio.current_time() >= deadline:
                raise IOFailure("no memory became free")
            await trio.sleep(ROOM_PAUSE_S)
        try:
            await self._calls.fetch_object(name, lambda data: self._disk.keep_now(name, data), deadline)
        finally:
            self._budget.give_cached(size)
