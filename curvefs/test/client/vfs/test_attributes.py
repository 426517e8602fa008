"""Attributes: what the server says, with what this mount has written and not published on top."""

import pytest
import trio

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.cache import MetadataCache
from curvefs.src.client.vfs.filesystem import Vfs
from curvefs.src.client.vfs.kernel_pages import KernelPages
from curvefs.src.client.vfs.kernel_view import KernelView

from ..data.lab import lab

pytestmark = pytest.mark.trio

FILE = 2


class Server:
    """Answers with the attributes of a lab's file; an older answer may be put in."""

    def __init__(self, this):
        self.reads = self
        self.cache = MetadataCache(100, attr_timeout_s=1.0, entry_timeout_s=1.0, negative_timeout_s=0.0)
        self.old: pb.Inode | None = None
        self._this = this

    async def get_attr(self, inode_id):
        return self.old or self._this.metadata.inode(inode_id)


def mounted(this):
    server = Server(this)
    return Vfs(mds_pb2.Filesystem(), server, this.data, KernelView(), KernelPages()), server


async def length_of(vfs):
    return (await vfs.getattr(FILE)).length


async def test_a_stat_sees_what_another_mount_published_beside_what_is_not_published_here(autojump_clock):
    async with lab() as this, lab(objects=this.objects, metadata=this.metadata) as there:
        vfs, _ = mounted(this)
        file, other = this.open(), there.open()
        await file.write(0, b"a" * 100)
        await file.flush()
        await other.write(100, b"b" * 900)
        await other.flush()
        assert await length_of(vfs) == 1000
        await file.write(0, b"c")
        assert await length_of(vfs) == 1000
        assert await file.read(0, 2000) == b"c" + b"a" * 99 + b"b" * 900
        await file.write(1000, b"d")
        assert await length_of(vfs) == 1001
        await other.truncate(50)
        assert await length_of(vfs) == 1001
        await file.flush()
        assert await length_of(vfs) == 1001


async def test_attributes_that_are_older_than_what_is_known_change_nothing(autojump_clock):
    async with lab() as this:
        vfs, server = mounted(this)
        file = this.open()
        server.old = this.metadata.inode(FILE)
        await file.write(0, b"a" * 100)
        await file.flush()
        await file.write(0, b"b")
        assert await length_of(vfs) == 100
        assert file.length == 100


async def test_appends_lie_behind_what_a_stat_tells_of_and_the_kernel_drops_their_pages(autojump_clock):
    async with lab() as this, lab(objects=this.objects, metadata=this.metadata) as there:
        vfs, _ = mounted(this)
        file, other = this.open(), there.open()
        dropped = []

        async def drop(inode_id):
            dropped.append(inode_id)

        this.data.drop_inode = drop
        await file.append(b"mine")
        assert await length_of(vfs) == 4
        await trio.sleep(1)
        assert dropped == []
        await other.append(b"theirs")
        await other.flush()
        assert await length_of(vfs) == 10
        await trio.sleep(1)
        assert dropped == [FILE]
        assert await file.read(0, 20) == b"theirsmine"
        await file.flush()
        assert this.metadata.content() == b"theirsmine"


async def test_attributes_that_an_own_operation_has_overtaken_are_not_told(autojump_clock):
    async with lab() as this:
        vfs, server = mounted(this)
        this.open()
        server.old = this.metadata.inode(FILE)
        newer = this.metadata.inode(FILE)
        newer.length, newer.change = 70, newer.change + 1
        server.cache.learn_attributes(newer, -100.0)
        assert await length_of(vfs) == 70, "however old"


async def test_times_of_what_is_not_published_are_those_of_the_last_write_and_never_go_back(autojump_clock):
    async with lab() as this:
        vfs, server = mounted(this)
        file = this.open()
        await file.write(0, b"a")
        server.old = this.metadata.inode(FILE)
        server.old.mtime_ns = server.old.ctime_ns = 1 << 62
        now = await vfs.getattr(FILE)
        assert now.mtime_ns == file.mtime_ns < now.ctime_ns == 1 << 62
