"""When a chunk has its turn again: what came while it was worked on counts, what a cut hid does not."""

import pytest

from curvefs.src.metaserver.compact import chunk as chunks
from curvefs.src.slices.compaction import LaterOn

from ..metastore.lab import FS
from .test_compactor import World


@pytest.fixture
def world():
    return World()


async def settle(world):
    for _ in range(50):
        if not world.listed():
            return
        world.clock.now_s += 1000
        await world.round()


@pytest.mark.asyncio
async def test_what_came_while_a_merge_ran_has_a_turn(world):
    """16 slices are merged; 45 more are published meanwhile, and none after."""
    world.write(0, 300_000)
    world.somewhere(15, 300_000)
    once = iter([True])
    world.worker.before = lambda: next(once, False) and world.somewhere(45, 300_000)
    await world.round()
    await settle(world)
    world.check()
    assert len(world.lab.slices(world.inode_id)) < 32


@pytest.mark.asyncio
async def test_what_came_while_nothing_was_found_worth_it_has_a_turn(world, monkeypatch):
    """As above, where the plan was to do nothing yet."""
    world.write(0, 300_000)
    world.somewhere(15, 300_000)
    plan = world.compactor._plan
    once = iter([True])

    async def late(group, key, *, thorough):
        chunk, found = await plan(group, key, thorough=thorough)
        if next(once, False):
            world.somewhere(45, 300_000)
            return chunk, LaterOn(len(chunk.slices) + 16)
        return chunk, found

    monkeypatch.setattr(world.compactor, "_plan", late)
    await world.round()
    await settle(world)
    world.check()
    assert len(world.lab.slices(world.inode_id)) < 32


@pytest.mark.asyncio
async def test_one_that_did_not_grow_leaves_the_list(world):
    for number in range(16):
        world.write(number * 65_536 + 10, 10)
    assert world.listed()
    await world.round()
    assert not world.listed()
    assert not await world.round()
    world.check()


@pytest.mark.asyncio
async def test_a_long_list_of_which_all_is_replaced_stays_on_the_list(world):
    """CompactCommit.look_again_at 0: the chunk stays on the list; also when nothing of it is left for a moment."""
    for number in range(390):
        if number == 2:
            world.lab.log(chunks.look_again(FS, world.inode_id, 0, 390))
        world.write((number % 3 * 2 + 1) * 65_536 - 450 + number // 3 * 3, 500)  # across the borders of regions
    assert world.listed()
    await world.round()
    assert len(world.lab.slices(world.inode_id)) == 3
    assert world.listed()
    await settle(world)
    assert not world.listed()
    for number in range(20):  # it is looked at again as any chunk of 3 slices is
        world.write(number * 13_000, 10)
    assert world.listed()


@pytest.mark.asyncio
async def test_what_a_cut_hides_does_not_count_when_it_is_gone(world):
    """An unfinished cut hides 600 slices while the chunk has its turn."""
    for number in range(600):
        world.write(number * 100, 10)
    world.lab.follow_up = False
    world.truncate(0)
    assert world.lab.waiting
    for number in range(5):
        world.write(number * 150_000, 10)
    await world.round()
    world.lab.follow_up = True
    world.lab.log(chunks.give_up(FS, []))  # the cut is finished
    assert not world.lab.waiting
    world.check()
    await settle(world)
    assert len(world.lab.slices(world.inode_id)) <= 5
    for number in range(60):
        world.write(number * 13_000, 10)
    assert world.listed()
