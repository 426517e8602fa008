"""Appends: where they land, where they are read until then, and that each is done once."""

from functools import partial

import pytest
import trio

from curvefs.src.common.errors import (
    IdRefused,
    IOFailure,
    SessionEnded,
    Unavailable,
)
from curvefs.src.slices.names import block_name
from curvefs.test.support.fake_slice_metadata import FakeSliceMetadata

from .lab import MIB, MIDDLE, TINY, Lab, check, lab, pattern

pytestmark = pytest.mark.trio


def drops_of(this):
    """Return the list in which inodes will be whose pages the kernel is told to drop."""
    dropped: list[int] = []

    async def drop(inode_id: int) -> None:
        dropped.append(inode_id)

    this.data.drop_inode = drop
    return dropped


async def test_appends_land_at_the_end_as_the_metadata_knows_it(autojump_clock):
    async with lab() as this:
        file, dropped = this.open(), drops_of(this)
        await file.append(b"mine")
        this.metadata.inodes[2].length = 100  # another mount was faster
        this.metadata.inodes[2].change += 1
        await file.flush()
        assert this.metadata.content() == bytes(100) + b"mine"
        assert await file.read(98, 10) == b"\0\0mine"
        await trio.sleep(0)
        assert dropped == [2]


async def test_pages_where_the_kernel_took_the_end_to_be_are_dropped_if_it_is_elsewhere(autojump_clock):
    async with lab() as this:
        file, dropped = this.open(), drops_of(this)
        await file.append(b"mine", 0)
        await file.append(b"more", 4)
        await trio.sleep(0.001)
        assert dropped == []
        await file.append(b"last", 3)
        await trio.sleep(0.001)
        assert dropped == [file.inode_id]


@pytest.mark.parametrize("answer", [None, SessionEnded])
async def test_own_appends_behind_one_that_lies_elsewhere_are_read_behind_it(autojump_clock, answer):
    async with lab() as this:
        file = this.open()
        await file.append(b"a" * 700)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.flush)
            await trio.sleep(0.005)  # the first is on its way
            await file.append(b"b" * 700)
            await file.append(b"c" * 4000)
            this.metadata.inodes[2].length = 100  # another mount was faster
            this.metadata.inodes[2].change += 1
            if answer is not None:
                this.metadata.fail("append_slices", answer(), applied=True)
        expected = bytes(100) + b"a" * 700 + b"b" * 700 + b"c" * 4000
        assert file.dirty
        assert file.length == len(expected)
        assert await file.read(0, 9999) == expected
        await file.flush()
        await check(this, expected)


async def test_own_appends_come_behind_what_another_mount_has_closed_before_the_open(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"xxxx")
        await file.flush()
        this.data.close_file(file)
        file = this.open()
        await file.append(b"aaaa", 4)
        async with lab(objects=this.objects, metadata=this.metadata) as other:
            theirs = other.open()
            await theirs.append(b"bbbb", 4)
            await theirs.flush()
        await file.read(0, 100)  # through a handle of before; it learns the length
        assert await this.open().read(0, 100) == b"xxxxbbbbaaaa"


async def appended_behind_another_mount(this: Lab):
    """Return a file of which this mount has appended "mine", while another one has published "them"."""
    file = this.open()
    await file.append(b"mine")
    async with lab(objects=this.objects, metadata=this.metadata) as other:
        theirs = other.open()
        await theirs.append(b"them")
        await theirs.flush()
    return file


async def test_reads_wait_while_an_append_is_on_its_way_and_may_be_in_the_newer_lists(autojump_clock, monkeypatch):
    async with lab() as this:
        file = await appended_behind_another_mount(this)
        real, answer, read = FakeSliceMetadata.append_slices, trio.Event(), []

        async def answered_later(*arguments, **more):
            result = await real(*arguments, **more)
            await answer.wait()
            return result

        async def read_all() -> None:
            read.append(await file.read(0, 100))

        monkeypatch.setattr(FakeSliceMetadata, "append_slices", answered_later)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.flush)
            await trio.sleep(1)
            assert await file.read(0, 100) == b"mine", "nothing newer is known"
            file.revalidate(this.metadata.inode(2))
            assert file.region_in_memory(0) is None
            nursery.start_soon(read_all)
            await trio.sleep(1)
            assert read == []
            answer.set()
        assert read == [b"themmine"]


@pytest.mark.parametrize("applied", [True, False])
async def test_an_append_of_unknown_outcome_is_decided_before_newer_lists_are_read(autojump_clock, applied):
    async with lab() as this:
        file = await appended_behind_another_mount(this)
        this.metadata.fail("append_slices", IOFailure("no answer"), applied=applied)
        this.metadata.fail("append_slices", IOFailure("no answer"))
        with pytest.raises(IOFailure):
            await file.flush()
        assert await file.read(0, 100) == b"mine", "nothing newer is known"
        file.revalidate(this.metadata.inode(2))
        with pytest.raises(IOFailure):
            await file.read(0, 100)
        assert await file.read(0, 100) == b"themmine"
        await file.flush()
        await check(this, b"themmine")


async def test_small_appends_become_one_slice(autojump_clock):
    async with lab() as this:
        file = this.open()
        for n in range(100):
            await file.append(bytes([n]) * 8)
        assert file.length == 800
        await file.flush()
        assert len(this.metadata.publications) == 1
        await check(this, b"".join(bytes([n]) * 8 for n in range(100)))


async def test_a_request_stays_together_whatever_another_mount_appends(autojump_clock):
    """What the kernel cuts into several requests need not: the file may be flushed between two of them."""
    async with lab(MIDDLE) as this, lab(MIDDLE, objects=this.objects, metadata=this.metadata) as that:
        mine, other = this.open(), that.open()
        parts = [pattern(MIB, seed) for seed in range(4)]
        await mine.append(b"begun before")
        await trio.sleep(4.9)
        for part in parts:
            await mine.append(part)
            await trio.sleep(1.5)
            await other.append(b"X" * 100)
            await other.flush()
        await mine.flush()
        content = this.metadata.content()
        assert all(part in content for part in parts)
        assert content.count(b"X" * 100) == len(parts)


@pytest.mark.parametrize("answer", [SessionEnded, Unavailable])
async def test_an_append_whose_answer_is_lost_is_not_appended_twice(autojump_clock, answer):
    async with lab() as this:
        file = this.open()
        await file.append(b"once")
        this.metadata.fail("append_slices", answer(), applied=True)
        if answer is SessionEnded:
            await file.flush()
        else:
            with pytest.raises(Unavailable):
                await file.flush()
            await file.flush()
        await check(this, b"once")


def compacted(this: Lab) -> None:
    """Put slices of other ids, with the same bytes, in the place of what is published."""
    for one in this.metadata.slices[2]:
        if one.chunk_id < 10**6:
            before = one.chunk_id
            one.chunk_id += 10**6
            for block in range(-(-one.size // TINY.block_size)):
                size = min(TINY.block_size, one.size - block * TINY.block_size)
                fetch = partial(this.objects.get, block_name(TINY.uuid, before, 0, block))
                data = this.metadata.codec.read(1, "", 0, size, size, fetch=fetch)
                name = block_name(TINY.uuid, one.chunk_id, 0, block)
                this.objects.put(name, this.metadata.codec.encode(1, name, data))


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("changed", [True, False])
async def test_an_append_that_cannot_be_found_any_more_is_not_done_twice_nor_lost_unsaid(
    autojump_clock, monkeypatch, applied, changed
):
    async with lab() as this:
        file = this.open()
        await file.append(b"first\n")
        await file.flush()
        real = this.metadata.read_slices

        async def read_slices(_, *arguments):
            compacted(this)
            if changed:
                this.metadata.inodes[2].change += 1
            return await real(*arguments)

        monkeypatch.setattr(type(this.metadata), "read_slices", read_slices)
        await file.append(b"second\n")
        this.metadata.fail("append_slices", SessionEnded(), applied=applied)
        seen = file.error_count
        await file.flush()
        told, _ = file.error_since(seen)
        done = applied or not changed
        assert this.metadata.content() == b"first\n" + b"second\n" * done
        assert isinstance(told, IOFailure) == (applied or changed)
        assert not file.dirty


async def test_an_append_whose_id_is_refused_at_the_first_try_is_done_under_another(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.append(b"late")
        await trio.sleep(0.5)
        this.metadata.fail("append_slices", IdRefused())
        this.metadata.inodes[2].change += 1
        await file.flush()
        assert file.error_count == 0
        await check(this, b"late")
