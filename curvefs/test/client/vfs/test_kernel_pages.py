"""When pages may be put into the kernel's cache, and who waits for whom."""

import pytest
import trio

from curvefs.src.client.vfs.kernel_pages import PUTS_MAX, KernelPages

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
        assert not pages.may_put(7)
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


async def test_only_so_many_put_at_once(autojump_clock):
    kernel = Kernel()
    pages = pages_of(kernel)
    async with trio.open_nursery() as nursery:
        for inode_id in range(PUTS_MAX + 3):
            nursery.start_soon(pages.put_from, inode_id, something)
        await trio.testing.wait_all_tasks_blocked()
        kernel.gate.set()
    assert len(kernel.seen) == PUTS_MAX


async def test_a_kernel_that_takes_nothing_does_no_harm(autojump_clock):
    async def refuse(inode_id, offset, data):
        raise OSError(2, "no such inode")

    pages = KernelPages()
    assert not pages.may_put(7)  # not mounted yet
    pages.put = refuse
    await pages.put_from(7, something)
    assert pages.may_put(7)
    await pages.quiet(7)
