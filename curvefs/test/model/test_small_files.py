"""A small file is fetched while the kernel hears that it is open; one that was looked up, while the open asks."""

import os

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.slices.geometry import SMALL_FILE_MAX

from ..client.data.lab import pattern
from .mount import ROOT, Kind
from .server import GEOMETRY
from .test_orders_of_events import written
from .world import world

pytestmark = pytest.mark.trio
BLOCK = GEOMETRY.block_size


def gets(mount):
    return mount.data._cache._calls.counts.gets


async def test_a_small_file_is_on_its_way_before_it_is_read_and_comes_once(autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        content = pattern(700)
        inode = await written(writer, b"f", content)
        number, keep = await reader.vfs.open(inode, os.O_RDONLY)
        assert not keep
        await trio.sleep(1.0)
        assert gets(reader) == 1
        assert await reader.vfs.read(number, 0, 9000) == content
        assert gets(reader) == 1
        await reader.vfs.release(number)
        reader.drop_caches()
        number, keep = await reader.vfs.open(inode, os.O_RDONLY)
        assert keep, "the kernel has its pages"
        await trio.sleep(1.0)
        assert gets(reader) == 1


@pytest.mark.parametrize(("size", "flags"), [(700, os.O_RDWR), (SMALL_FILE_MAX + 1, os.O_RDONLY), (0, os.O_RDONLY)])
async def test_others_are_fetched_when_they_are_read(size, flags, autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        inode = await written(writer, b"f", pattern(size))
        await reader.vfs.open(inode, flags)
        await trio.sleep(1.0)
        assert gets(reader) == 0


def late_attributes(mount):
    """Have what an open asks for answered late; returns when it was answered."""
    read_many, answered = mount.lane.read_many, []

    async def late(partition, requests):
        results = await read_many(partition, requests)
        if requests[0].get_attr.slices_max:
            await trio.sleep(5)
            answered.append(trio.current_time())
        return results

    mount.lane.read_many = late
    return answered


async def looked_up(mount, name):
    return (await mount.vfs.lookup(ROOT, name)).inode_id


async def listed(mount, name):
    number = await mount.vfs.opendir(ROOT, 0)
    entries = await mount.vfs.readdir(number, 2)
    await mount.vfs.releasedir(number)
    return next(entry.inode_id for entry in entries if entry.name == name)


@pytest.mark.parametrize("find", [looked_up, listed])
async def test_a_file_whose_name_was_told_is_fetched_beside_the_question_for_its_attributes(
    find, autojump_clock, tmp_path
):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        content = pattern(BLOCK)
        await written(writer, b"f", content)
        inode = await find(reader, b"f")
        assert gets(reader) == 0, "a name alone is no reason to fetch"
        answered = late_attributes(reader)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.vfs.open, inode, os.O_RDONLY)
            await trio.sleep(1.0)
            assert (gets(reader), answered) == (1, [])
        number = await reader.open(inode)
        assert await reader.vfs.read(number, 0, 9000) == content
        assert gets(reader) == 1


@pytest.mark.parametrize("find", [looked_up, listed])
@pytest.mark.parametrize("length", [300, 700, 2000])
async def test_what_was_told_with_a_name_is_no_more_than_a_hint(find, length, autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        await written(writer, b"f", pattern(700))
        inode = await find(reader, b"f")
        number = await writer.open(inode)
        content = pattern(length, seed=2)
        await writer.vfs.setattr(pb.SetAttr(inode_id=inode, length=0))
        await writer.vfs.write(number, 0, content)
        await writer.close(inode)
        number, _ = await reader.vfs.open(inode, os.O_RDONLY)
        assert await reader.vfs.read(number, 0, 9000) == content


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC])
async def test_who_opens_to_write_fetches_nothing(flags, autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        await written(writer, b"f", pattern(700))
        inode = await looked_up(reader, b"f")
        await reader.vfs.open(inode, flags)
        await trio.sleep(1.0)
        assert gets(reader) == 0


async def test_a_file_of_several_blocks_is_fetched_when_it_is_open(autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        content = pattern(BLOCK + 1)
        await written(writer, b"f", content)
        inode = await looked_up(reader, b"f")
        with capture_logs() as logs:
            number, _ = await reader.vfs.open(inode, os.O_RDONLY)
            assert await reader.vfs.read(number, 0, 9000) == content
        assert gets(reader) == 2
        assert logs == [], "no block was taken for a damaged one"


async def test_what_the_kernel_may_have_is_not_fetched_before_it_is_known_to_have_changed(autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        await written(writer, b"f", pattern(700))
        inode = await looked_up(reader, b"f")
        number, _ = await reader.vfs.open(inode, os.O_RDONLY)
        await reader.vfs.read(number, 0, 9000)
        await reader.vfs.release(number)
        reader.drop_caches()
        await trio.sleep(10)  # the name is asked for again
        assert await looked_up(reader, b"f") == inode
        await reader.vfs.open(inode, os.O_RDONLY)
        await trio.sleep(1)
        assert gets(reader) == 1


async def test_an_object_that_is_gone_since_its_name_was_told_harms_nobody(autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        await written(writer, b"f", pattern(700))
        inode = await looked_up(reader, b"f")
        old = this.objects.names()
        number = await writer.open(inode)
        await writer.vfs.write(number, 0, pattern(800, seed=2))
        await writer.close(inode)
        this.objects.delete(old)
        with capture_logs() as logs:
            number, _ = await reader.vfs.open(inode, os.O_RDONLY)
            await trio.sleep(1)
            assert await reader.vfs.read(number, 0, 9000) == pattern(800, seed=2)
        assert logs == []
