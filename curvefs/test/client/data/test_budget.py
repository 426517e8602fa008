"""The memory budget."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from curvefs.src.client.data.budget import REQUEST_SIZE_MAX, MemoryBudget
from curvefs.src.common.errors import IOFailure


def test_nothing_is_taken_beyond_the_limit():
    budget = MemoryBudget(100)
    assert budget.take_dirty(60)
    assert not budget.take_dirty(41)
    assert not budget.take_cached(41)
    assert budget.take_cached(40)
    assert budget.used == 100


def test_cached_blocks_give_way_to_dirty_data():
    budget = MemoryBudget(100)
    budget.take_cached(90)

    def evict(wanted: int) -> int:
        budget.give_cached(90)
        return 90

    budget.evict = evict
    assert budget.take_dirty(50)
    assert (budget.dirty, budget.cached) == (50, 0)


@pytest.mark.trio
async def test_all_writers_that_wait_are_served_in_order(autojump_clock):
    budget = MemoryBudget(100)
    budget.take_dirty(100)
    served: list[int] = []

    async def writer(number: int, size: int) -> None:
        await budget.wait_dirty(size, 60)
        served.append(number)

    async with trio.open_nursery() as nursery:
        for number, size in enumerate((80, 10, 10)):
            nursery.start_soon(writer, number, size)
            await wait_all_tasks_blocked()
        budget.give_dirty(50)
        await wait_all_tasks_blocked()
        assert served == []
        budget.give_dirty(50)
    assert served == [0, 1, 2]
    assert budget.dirty == 100


@pytest.mark.trio
async def test_nobody_overtakes_a_writer_that_waits(autojump_clock):
    budget = MemoryBudget(100)
    budget.take_dirty(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.wait_dirty, 50, 60)
        await wait_all_tasks_blocked()
        assert budget.waiting
        assert not budget.take_dirty(1)
        assert not budget.take_cached(1)
        budget.give_dirty(60)
    assert budget.take_dirty(1)


@pytest.mark.trio
async def test_a_writer_that_waits_asks_for_a_flush_and_gives_up_at_last(autojump_clock):
    budget = MemoryBudget(100)
    budget.take_dirty(100)
    with pytest.raises(IOFailure, match="no memory became free"):
        await budget.wait_dirty(1, 30)
    assert trio.current_time() >= 30
    assert budget.pressure.is_set()
    assert not budget.waiting
    assert budget.dirty == 100


def test_room_for_a_request_of_each_file_that_is_written_is_left_free():
    limit = 100 * REQUEST_SIZE_MAX
    budget = MemoryBudget(limit)
    for writer in (1, 2, 2, 3):
        budget.writes(writer, dirty=True)
    assert budget.allowed == limit - 6 * REQUEST_SIZE_MAX, "each is held twice"
    assert budget.take_dirty(limit - 6 * REQUEST_SIZE_MAX)
    assert not budget.take_dirty(1)
    assert not budget.take_cached(1)
    budget.writes(2, dirty=False)
    assert budget.take_dirty(2 * REQUEST_SIZE_MAX)
    assert not budget.take_dirty(1)


def test_requests_never_take_more_than_half_and_one_write_always_fits():
    budget = MemoryBudget(10 * REQUEST_SIZE_MAX)
    for writer in range(100):
        budget.writes(writer, dirty=True)
    assert budget.allowed == 5 * REQUEST_SIZE_MAX
    assert budget.take_dirty(6 * REQUEST_SIZE_MAX), "larger than what is left, and nothing else is there"
    assert not budget.take_dirty(1)


def test_what_is_larger_than_the_limit_never_fits():
    budget = MemoryBudget(8 * REQUEST_SIZE_MAX)
    assert not budget.take_cached(8 * REQUEST_SIZE_MAX + 1)
    assert budget.take_cached(8 * REQUEST_SIZE_MAX)
