"""When pages may be put into the kernel's cache, and who waits for whom."""

import os
from functools import partial

import pytest
import trio

from curvefs.src.client.data.readahead import ReadAhead
from curvefs.src.client.vfs.files import FileHandle
from curvefs.src.client.vfs.kernel_pages import PUTS_MAX, WANTED_MAX, KernelPages

pytestmark = pytest.mark.trio


class Kernel:
    """Takes pages when it is let; keeps what was put and dropped, in order."""

    def __init__(self):
        self.gate = trio.Event()
        self.seen = []

    async def put(self, inode_id, offset, data):
        await self.gate.wait()
        self.seen.append(("put", inode_id, offset, data))

    async def drop(self, inode_id):
        self.seen.append(("drop", inode_id))


def pages_of(kernel):
    pages = KernelPages()
    pages.put, pages.drop = kernel.put, kernel.drop
    return pages


def something():
    return 4096, b"bytes"


async def test_what_is_taken_is_put(autojump_clock):
    kernel = Kernel()
    kernel.gate.set()
    pages = pages_of(kernel)
    await pages.put_from(7, something)
    await pages.put_from(7, lambda: None)
    assert kernel.seen == [("put", 7, 4096, b"bytes")]


async def test_nothing_is_taken_while_somebody_may_change_the_file(autojump_clock):
    kernel = Kernel()
    kernel.gate.set()
    pages = pages_of(kernel)
    pages.bar(7)
    with pages.barred(7):
        assert not pages.may_put(7)
        assert pages.may_put(8)
    assert not pages.may_put(7)  # the other bar
    await pages.put_from(7, lambda: pytest.fail("was taken"))
    pages.unbar(7)
    await pages.put_from(7, something)
    assert len(kernel.seen) == 1


async def test_one_who_bars_waits_for_who_is_at_it_and_a_drop_too(autojump_clock):
    kernel = Kernel()
    pages = pages_of(kernel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.put_from, 7, something)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as waiting:
            await pages.quiet(7)
        assert waiting.cancelled_caught
        await pages.quiet(8)
        nursery.start_soon(pages.drop_inode, 7)
        await trio.testing.wait_all_tasks_blocked()
        assert kernel.seen == []
        kernel.gate.set()
    assert [what for what, *_ in kernel.seen] == ["put", "drop"]
    await pages.quiet(7)


@pytest.mark.parametrize("inodes", [range(PUTS_MAX + 3), [7, 7, 7], [7, 7, 8, 8, 9, 9]])
async def test_only_so_many_put_at_once_and_one_of_an_inode(autojump_clock, inodes):
    kernel = Kernel()
    pages = pages_of(kernel)
    taken = []

    def take(inode_id):
        taken.append(inode_id)
        return something()

    async with trio.open_nursery() as nursery:
        for inode_id in inodes:
            nursery.start_soon(pages.put_from, inode_id, partial(take, inode_id))
        await trio.testing.wait_all_tasks_blocked()
        assert len(taken) == min(PUTS_MAX, len(set(inodes))) == len(set(taken))
        kernel.gate.set()
    assert sorted(taken) == sorted(inodes), "the others had their turn"


async def test_who_waits_for_a_turn_takes_nothing_once_somebody_may_change_the_file(autojump_clock):
    kernel = Kernel()
    pages = pages_of(kernel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.put_from, 7, something)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pages.put_from, 7, lambda: pytest.fail("was taken"))
        await trio.testing.wait_all_tasks_blocked()
        pages.bar(7)
        kernel.gate.set()
    assert len(kernel.seen) == 1


class File:
    """A file of one region whose block is about to arrive."""

    def __init__(self):
        self.comes = trio.Event()

    def region_at(self, offset):
        return offset // 100

    def take_coming(self):
        return [100, 300]

    def arrival(self, offset):
        return self.comes

    def region_in_memory(self, offset):
        return 0, b"bytes"


def random_handle(flags=os.O_RDONLY):
    reader = ReadAhead()
    reader.seen(1 << 20, 10)
    return FileHandle(7, flags, File(), reader, 0)


async def test_a_block_that_arrives_is_put_once(autojump_clock):
    kernel = Kernel()
    kernel.gate.set()
    pages, handle = pages_of(kernel), random_handle()
    async with trio.open_nursery() as nursery:
        arrivals = handle.arrivals_of_pages(5)
        assert [at for at, _ in arrivals] == [5, 100, 300], "where it was read, and what comes besides"
        arrival = arrivals[0][1]
        assert pages.want(7, 0)
        nursery.start_soon(handle.give_pages, pages, 5, arrival)
        await trio.testing.wait_all_tasks_blocked()
        assert not pages.want(7, 0), "somebody waits for it"
        assert kernel.seen == []
        arrival.set()
    assert kernel.seen == [("put", 7, 0, b"bytes")]
    assert [at for at, _ in handle.arrivals_of_pages(6)] == [100, 300]
    assert pages.want(7, 0)


async def test_only_so_many_are_wanted_and_none_where_the_file_may_change():
    pages = pages_of(Kernel())
    assert sum(pages.want(7, region) for region in range(2 * WANTED_MAX)) == WANTED_MAX
    pages.unwant(7, 3)
    assert not pages.want(7, 4)
    assert pages.want(8, 3)
    pages.unwant(8, 3)
    pages.bar(8)
    assert not pages.want(8, 3)


async def test_what_arrives_after_the_close_is_not_put(autojump_clock):
    kernel = Kernel()
    kernel.gate.set()
    handle = random_handle()
    handle.closed = True
    handle.file.comes.set()
    await handle.give_pages(pages_of(kernel), 5, handle.file.comes)
    assert kernel.seen == []


async def test_direct_readers_leave_the_kernel_without_pages():
    assert len(random_handle().arrivals_of_pages(5)) == 3
    assert random_handle(os.O_DIRECT).arrivals_of_pages(5) == []


async def test_a_kernel_that_takes_nothing_does_no_harm(autojump_clock):
    async def refuse(inode_id, offset, data):
        raise OSError(2, "no such inode")

    pages = KernelPages()
    assert not pages.may_put(7)  # not mounted yet
    pages.put = refuse
    await pages.put_from(7, something)
    assert pages.may_put(7)
    await pages.quiet(7)
