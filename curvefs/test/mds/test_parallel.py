"""Several calls at a time: bounded, and nothing takes effect after the error that ended them."""

import asyncio

import pytest

from curvefs.src.common.errors import NoSpace
from curvefs.src.mds.parallel import run_all

pytestmark = pytest.mark.asyncio


async def test_works_are_done_a_few_at_a_time_and_all_of_them():
    under_way, most, done = 0, 0, []

    async def work(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        done.append(number)

    await run_all((lambda number=number: work(number) for number in range(10)), limit=3)
    assert (most, sorted(done)) == (3, list(range(10)))


async def test_after_an_error_nothing_is_begun_and_what_is_under_way_ends_first():
    begun, go_on, ended = [], asyncio.Event(), []

    async def work(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        if number == 0:
            raise NoSpace("injected")
        await go_on.wait()
        ended.append(number)

    task = asyncio.create_task(run_all((lambda number=number: work(number) for number in range(5)), limit=2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(NoSpace):
        await task
    assert (begun, ended) == ([0, 1], [1])
