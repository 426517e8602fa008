"""What the binding tells the kernel: for how long it may trust it, and what counts as told."""

import stat
from types import SimpleNamespace

import pytest
import trio

from curvefs.proto import mds_pb2
from curvefs.src.client.fuse import binding
from curvefs.src.client.vfs.filesystem import Vfs
from curvefs.src.client.vfs.kernel_pages import KernelPages
from curvefs.src.client.vfs.kernel_view import KernelView

from ..metadata.lab import ROOT, running

pytestmark = pytest.mark.trio

FILE = stat.S_IFREG | 0o644
ME = SimpleNamespace(uid=0, gid=0, umask=0)


def bound(lab):
    view = KernelView()
    vfs = Vfs(mds_pb2.Filesystem(), lab.metadata, SimpleNamespace(file=lambda _: None), view, KernelPages())
    metrics = SimpleNamespace(operation=lambda *_: None)
    return binding.Binding(vfs, metrics, negative_timeout_s=0.0), view


async def test_what_is_told_late_is_trusted_for_the_rest_of_its_time(autojump_clock):
    async with running() as lab:
        this, _ = bound(lab)
        lab.servers.namespace.make(ROOT, b"x", FILE)
        told = await this.lookup(ROOT, b"x", ME)
        assert (told.entry_timeout, told.attr_timeout) == (1, 1)
        await trio.sleep(0.75)
        told = await this.lookup(ROOT, b"x", ME)
        assert (told.entry_timeout, told.attr_timeout) == (0.25, 0.25)
        assert (await this.getattr(told.st_ino, ME)).attr_timeout == 0.25
        await trio.sleep(0.25)
        assert (await this.lookup(ROOT, b"x", ME)).entry_timeout == 1


async def test_of_a_listing_only_what_fits_into_the_reply_is_told(autojump_clock, monkeypatch):
    async with running() as lab:
        this, view = bound(lab)
        made = {b"%d" % number: lab.servers.namespace.make(ROOT, b"%d" % number, FILE) for number in range(3)}
        listed, asked = [], []

        def reply(token, name, entry, cursor):
            asked.append(name)
            if len(listed) == token:
                return False
            listed.append((name, entry))
            return True

        monkeypatch.setattr(binding.pyfuse3, "readdir_reply", reply)
        handle = await this.opendir(ROOT, ME)
        await this.readdir(handle, 0, 4)  # '.', '..' and two names
        (left_out,) = asked[4:]
        assert {name for name, inode_id in made.items() if view.opened(inode_id, 1).stale} == {left_out}
        assert view.opened(ROOT, lab.cache.newest_change(ROOT)).stale, "of '.' the kernel takes no attributes"
        assert [entry.entry_timeout for _, entry in listed] == [0, 0, 1, 1]
