"""Orders of events on the real data path that drawn scripts reach too seldom: each was wrong once."""

import os

import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import IOFailure

from ..client.data.lab import pattern
from .mount import ROOT, Kind
from .world import world

pytestmark = pytest.mark.trio
OLD, NEW = pattern(8000), pattern(8000, seed=2)


async def written(mount, name, data):
    inode = await mount.create(name)
    number = await mount.open(inode)
    await mount.vfs.write(number, 0, data)
    await mount.close(inode)
    return inode


class Kernel:
    def __init__(self):
        self.gate, self.puts = trio.Event(), []

    async def put(self, inode, offset, data):
        await self.gate.wait()
        self.puts.append((trio.current_time(), offset, data))


async def with_kernel(mount):
    """Return (the mount's operations, a written file, a kernel that takes pages when it is let)."""
    kernel = Kernel()
    mount.vfs.pages.put = kernel.put
    return mount.vfs, await written(mount, b"f", OLD), kernel


async def open_and_read(vfs, inode):
    number, _ = await vfs.open(inode, os.O_RDONLY)
    await vfs.read(number, 0, 8000)
    return number


async def test_an_open_that_truncates_waits_for_pages_that_are_being_put(autojump_clock, tmp_path):
    async with world([Kind()], tmp_path) as this:
        vfs, inode, kernel = await with_kernel(this.mounts[0])
        await open_and_read(vfs, inode)
        this.mounts[0].data.start(vfs.pages.put_from, inode, lambda: (0, OLD[:1024]))
        await trio.sleep(0.1)
        assert inode in vfs.pages._putting  # the old bytes are on their way
        with trio.move_on_after(10) as waiting:
            await vfs.open(inode, os.O_RDONLY | os.O_TRUNC)
        kernel.gate.set()
        assert waiting.cancelled_caught, "open(O_TRUNC) is answered, and old bytes are put after that"


async def test_nothing_is_taken_for_the_kernel_during_an_open_that_truncates(autojump_clock, tmp_path):
    async with world([Kind()], tmp_path) as this:
        vfs, inode, _ = await with_kernel(this.mounts[0])
        await open_and_read(vfs, inode)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vfs.open, inode, os.O_RDONLY | os.O_TRUNC)
            await trio.sleep(0.0025)  # its attributes came; the length is being set
            assert not vfs.pages.may_put(inode)


@pytest.mark.parametrize("begins", [0.0005, 0.0015])
@pytest.mark.parametrize("size", [3000, 8000])
async def test_a_cut_by_path_reaches_a_file_that_is_opened_meanwhile(autojump_clock, tmp_path, begins, size):
    async with world([Kind()], tmp_path) as this:
        vfs = this.mounts[0].vfs
        inode = await written(this.mounts[0], b"f", OLD[:size])
        await trio.sleep(10)
        numbers = []

        async def open_():
            number, _ = await vfs.open(inode, os.O_RDWR)
            numbers.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_)
            await trio.sleep(begins)
            nursery.start_soon(vfs.setattr, pb.SetAttr(inode_id=inode, length=1000))
        assert (await vfs.getattr(inode)).length == 1000
        await vfs.write(numbers[0], 0, b"x")
        assert (await vfs.getattr(inode)).length == 1000, "own truncate is forgotten by the next write"
        assert await vfs.read(numbers[0], 1000, 100) == b"", "bytes that were cut off come back"


async def test_a_cut_that_waits_for_pages_reaches_a_file_that_is_opened_meanwhile(autojump_clock, tmp_path):
    async with world([Kind()], tmp_path) as this:
        vfs, inode, kernel = await with_kernel(this.mounts[0])
        number = await open_and_read(vfs, inode)
        this.mounts[0].data.start(vfs.pages.put_from, inode, lambda: (0, OLD[:1024]))
        await trio.sleep(0.1)
        await vfs.release(number)  # the reader is gone, its pages are on their way
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vfs.setattr, pb.SetAttr(inode_id=inode, length=1000))
            await trio.sleep(1)
            number, _ = await vfs.open(inode, os.O_RDONLY)
            kernel.gate.set()
        assert await vfs.read(number, 0, 8000) == OLD[:1000]


@pytest.mark.parametrize("kind", [Kind(), Kind(disk=True, write_back=True)])
async def test_an_open_whose_attributes_come_late_reads_what_was_published_meanwhile(autojump_clock, tmp_path, kind):
    async with world([kind], tmp_path) as this:
        mount, vfs = this.mounts[0], this.mounts[0].vfs
        inode = await written(mount, b"f", OLD[:1000])
        await mount.publish(inode)
        await trio.sleep(10)
        number = await mount.open(inode)
        await vfs.write(number, 0, NEW[:1000])  # returned: from now on every read of this mount has it
        read_many, numbers = mount.lane.read_many, []

        async def late(partition, requests):
            results = await read_many(partition, requests)
            await trio.sleep(5 if requests[0].get_attr.slices_max else 0)
            return results

        async def open_():
            with_reader, _ = await vfs.open(inode, os.O_RDONLY)
            numbers.append(with_reader)

        mount.lane.read_many = late
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_)
            await trio.sleep(0.1)
            await mount.close(inode)
            await mount.publish(inode)
            await trio.sleep(1)
            assert mount.data.file(inode) is None  # forgotten: all of it is published
        assert await vfs.read(numbers[0], 0, 8000) == NEW[:1000]


@pytest.mark.parametrize("kind", [Kind(), Kind(disk=True, write_back=True)])
async def test_an_append_is_not_read_over_what_another_mount_has_closed_before_the_open(autojump_clock, tmp_path, kind):
    async with world([kind, Kind()], tmp_path) as this:
        first, second = this.mounts
        inode = await written(first, b"f", b"a" * 100)
        await first.publish(inode)
        number = await first.open(inode, append=True)
        await first.vfs.write(number, 0, b"xyz")  # not synced yet
        other = await second.open(inode)
        await second.vfs.write(other, 100, b"b" * 900)
        await second.close(inode)
        reader, _ = await first.vfs.open(inode, os.O_RDONLY)
        expected = b"a" * 100 + b"b" * 900 + b"xyz"
        assert await first.vfs.read(reader, 0, 9000) == expected


async def test_an_append_during_a_truncating_open_is_read_at_the_new_end(autojump_clock, tmp_path):
    async with world([Kind()], tmp_path) as this:
        mount, vfs = this.mounts[0], this.mounts[0].vfs
        inode = await written(mount, b"f", b"a" * 100)
        number = await mount.open(inode, append=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vfs.open, inode, os.O_WRONLY | os.O_TRUNC)
            await trio.sleep(0.0025)
            await vfs.write(number, 0, b"xyz")
        assert await vfs.read(number, 0, 9000) == b"xyz"


async def test_an_open_that_fails_lets_go_of_what_lost_its_name_meanwhile(autojump_clock, tmp_path):
    async with world([Kind()], tmp_path) as this:
        mount, vfs = this.mounts[0], this.mounts[0].vfs
        inode = await written(mount, b"f", OLD)
        released = []
        release = vfs._metadata.release

        async def note(inode_id):
            released.append(inode_id)
            await release(inode_id)

        vfs._metadata.release = note
        drop = trio.Event()

        async def refuse(_):
            await drop.wait()
            raise IOFailure("injected")

        vfs.pages.drop = refuse

        async def open_():
            with pytest.raises(IOFailure):
                await vfs.open(inode, os.O_RDONLY)

        async with trio.open_nursery() as nursery:
            vfs.view.forget(inode)
            nursery.start_soon(open_)
            await trio.sleep(1)
            await vfs.unlink(ROOT, b"f")
            drop.set()
        assert released == [inode]
