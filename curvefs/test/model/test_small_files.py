"""A small file is fetched while the kernel hears that it is open."""

import os

import pytest
import trio

from curvefs.src.client.data.file_data import EXPECTED_MAX

from ..client.data.lab import pattern
from .mount import Kind
from .test_orders_of_events import written
from .world import world

pytestmark = pytest.mark.trio


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


@pytest.mark.parametrize(("size", "flags"), [(700, os.O_RDWR), (EXPECTED_MAX + 1, os.O_RDONLY), (0, os.O_RDONLY)])
async def test_others_are_fetched_when_they_are_read(size, flags, autojump_clock, tmp_path):
    async with world([Kind(), Kind()], tmp_path) as this:
        writer, reader = this.mounts
        inode = await written(writer, b"f", pattern(size))
        await reader.vfs.open(inode, flags)
        await trio.sleep(1.0)
        assert gets(reader) == 0
