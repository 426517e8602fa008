"""Blocks and pieces in memory."""

import gc
import tracemalloc
from contextlib import contextmanager
from functools import partial

import pytest
import trio

from curvefs.src.client.data.budget import MemoryBudget
from curvefs.src.client.data.read_cache import BLOCK_OVERHEAD, REQUEST_OVERHEAD, ReadCache
from curvefs.src.client.data.store_calls import StoreCalls
from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices import framing
from curvefs.src.slices.codec import BlockCodec

from .lab import KIB, MIB, pattern, without_threads

pytestmark = pytest.mark.trio

BLOCK = MIB + 100
DATA = pattern(BLOCK)
KEPT = BLOCK + BLOCK_OVERHEAD
ON_ITS_WAY = BLOCK + REQUEST_OVERHEAD


@pytest.fixture
def in_the_loop():
    with without_threads(0.01):
        yield


class Cache:
    """A cache over a store that has blocks a, b, c."""

    def __init__(self, limit: int) -> None:
        self.store = FaultStore(MemoryStore())
        for name in "abc":
            self.store.inner.put(name, framing.encode([DATA]))
        self.dropped = []
        self.budget = MemoryBudget(limit)
        calls = StoreCalls(self.store, BlockCodec(b"", bytes), uploads_max=2, downloads_max=8, random_s=lambda: 0.5)
        self.cache = ReadCache(self.budget, calls, self.dropped.append, trio.lowlevel.spawn_system_task)

    async def read(self, name: str, offset: int, size: int, *, whole: bool = False) -> bytes:
        deadline = trio.current_time() + 10
        parts = await self.cache.read(name, offset, size, BLOCK, deadline, block_format=framing.FORMAT, whole=whole)
        return b"".join(parts)

    def has_whole(self, name: str) -> bool:
        arrival = self.cache.arrival(name)
        return arrival is not None and arrival.is_set()


async def test_every_range_reads_right_from_pieces_and_from_whole_blocks():
    ranges = [(0, 1), (0, BLOCK), (128 * KIB - 1, 2), (100 * KIB, 300 * KIB), (BLOCK - 101, 101), (BLOCK - 1, 1)]
    for whole in (False, True):
        for again in ranges:
            this = Cache(10 * MIB)
            for offset, size in (*ranges, again):
                assert await this.read("a", offset, size, whole=whole) == DATA[offset : offset + size]
            assert this.budget.cached == KEPT


async def test_neighbouring_pieces_read_together_without_a_request():
    this = Cache(10 * MIB)
    await this.read("a", 0, 256 * KIB)
    this.store.counts.clear()
    assert await this.read("a", 1000, 200 * KIB) == DATA[1000 : 1000 + 200 * KIB]
    assert this.store.counts == {}
    assert this.budget.cached == 256 * KIB + BLOCK_OVERHEAD


async def test_a_block_of_which_a_piece_is_here_follows_whole(autojump_clock, in_the_loop):
    this = Cache(10 * MIB)
    for piece in range(2):
        await trio.sleep(1)
        assert not this.has_whole("a")
        await this.read("a", piece * 256 * KIB, 10)
    assert not this.has_whole("a"), "the reader does not wait for all of it"
    await trio.sleep(1)
    assert this.has_whole("a")
    assert this.store.counts == {"get": 3}
    assert this.budget.cached == KEPT


async def test_who_waits_for_a_block_is_told_of_its_arrival(autojump_clock, in_the_loop):
    this = Cache(10 * MIB)
    await this.read("b", 0, 10)
    assert this.cache.arrival("a") is this.cache.arrival("b") is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(this.read, "a", 0, 10, whole=True))
        await trio.testing.wait_all_tasks_blocked()
        arrival = this.cache.arrival("a")
        assert not arrival.is_set()
    assert arrival.is_set()
    assert this.has_whole("a")


async def test_few_blocks_follow_at_a_time(autojump_clock, in_the_loop, monkeypatch):
    monkeypatch.setattr("curvefs.src.client.data.read_cache.BEHIND_MAX", 1)
    this = Cache(10 * MIB)

    async def read_all(offset: int) -> int:
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(this.read, name, offset, 10)
        await trio.sleep(1)
        return sum(map(this.has_whole, "abc"))

    assert [await read_all(piece * 256 * KIB) for piece in range(4)] == [0, 1, 2, 3]


async def test_a_piece_stays_when_there_is_no_room_for_the_whole(autojump_clock, in_the_loop):
    this = Cache(BLOCK)
    this.budget.take_dirty(BLOCK - 300 * KIB)
    for piece in (0, 2, 0, 2):
        await this.read("a", piece * 128 * KIB, 10)
        await trio.sleep(1)
    assert this.store.counts == {"get": 2}


async def test_who_waits_for_a_request_that_has_less_time_asks_again(autojump_clock, in_the_loop):
    this = Cache(10 * MIB)
    this.store.plan(Fault("get"))
    request = this.cache.plan("a", BLOCK, framing.FORMAT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.cache.fetch_ahead, request, trio.current_time())  # one try
        for _ in range(3):
            nursery.start_soon(this.read, "a", 5, 10)
    assert this.store.counts == {"get": 2}


async def test_the_least_recently_used_block_goes_first():
    this = Cache(KEPT + ON_ITS_WAY)
    for name in ("a", "b", "a", "c"):
        await this.read(name, 0, 10, whole=True)
    this.store.counts.clear()
    await this.read("a", 0, 10)
    await this.read("c", 0, 10)
    assert this.store.counts == {}
    await this.read("b", 0, 10)
    assert this.store.counts == {"get": 1}
    assert this.budget.cached <= this.budget.limit


class TinyBlocks:
    """Has a block of any name, in place of calls of the store."""

    async def get(self, _name: str, _start: int, size: int, *_: object, **__: object) -> list[memoryview]:
        return framing.decode(framing.encode([bytes(size)]), size)


@contextmanager
def memory_traced():
    """Give a function that returns how much memory was taken since."""

    def taken() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield taken
    finally:
        tracemalloc.stop()


def tiny_name(number: int) -> str:
    return f"01234567-89ab-cdef-0123-456789abcdef/7/{number}/{7 << 40 | number}_0_0"


@pytest.mark.parametrize("start", [0, 128 * KIB])
async def test_tiny_blocks_take_no_more_memory_than_is_counted(start):
    budget = MemoryBudget(MIB)
    cache = ReadCache(budget, TinyBlocks(), lambda _: None, lambda *_: None)
    with memory_traced() as used:
        for number in range(2000):
            await cache.read(tiny_name(number), start, 9, start + 9, 9.0, block_format=framing.FORMAT, whole=not start)
        assert MIB / 2 < used() <= budget.cached <= MIB


async def test_requests_under_way_take_no_more_memory_than_is_counted(autojump_clock, in_the_loop):
    this = Cache(MIB)
    with memory_traced() as used:
        async with trio.open_nursery() as nursery:
            for number in range(2000):
                request = this.cache.plan(tiny_name(number), 9, framing.FORMAT)
                if request is not None:
                    nursery.start_soon(this.cache.fetch_ahead, request, 9.0)
            await trio.sleep(0.001)
            assert MIB / 2 < used() <= this.budget.cached <= MIB
    assert this.budget.cached == 0


async def test_without_room_a_reader_gets_its_pieces_and_nothing_is_kept():
    this = Cache(BLOCK)
    this.budget.take_dirty(BLOCK - 10)
    assert await this.read("a", 500, 100, whole=True) == DATA[500:600]
    assert this.budget.cached == 0
    assert this.cache.plan("a", BLOCK, framing.FORMAT) is None


async def test_a_block_that_is_planned_is_waited_for():
    this = Cache(10 * MIB)
    request = this.cache.plan("a", BLOCK, framing.FORMAT)
    assert request is not None
    assert this.cache.plan("a", BLOCK, framing.FORMAT) is None
    assert this.budget.cached == ON_ITS_WAY
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.cache.fetch_ahead, request, 10.0)
        assert await this.read("a", 5, 10) == DATA[5:15]
    assert this.store.counts == {"get": 1}


async def test_a_fetch_that_fails_gives_its_room_back(autojump_clock):
    this = Cache(10 * MIB)
    request = this.cache.plan("missing", BLOCK, framing.FORMAT)
    assert request is not None
    await this.cache.fetch_ahead(request, 10.0)
    assert this.budget.used == 0
