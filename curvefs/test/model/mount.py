"""One mount: the operations of POSIX down to the router, on a cache disk or without, with write-back or without.

It may be killed: whatever it had in memory and on the way is gone, its cache folder stays. Its session ends later.
"""

import os
from dataclasses import dataclass

import trio
from prometheus_client import CollectorRegistry

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.data.data_path import DataConfig, DataPath
from curvefs.src.client.metadata.cache import MetadataCache
from curvefs.src.client.metadata.client import MetadataClient
from curvefs.src.client.metadata.ids import IdRanges
from curvefs.src.client.metadata.slices import SliceCalls
from curvefs.src.client.vfs.filesystem import Vfs
from curvefs.src.client.vfs.kernel_pages import KernelPages
from curvefs.src.client.vfs.kernel_view import KernelView

from . import disks
from .faults import Faults, Store
from .lane import Lane
from .server import FS, GEOMETRY, objects_of

ROOT = 1
MEMORY = 64 << 10
STORE_TIMEOUT_S = 20.0
STAGING_SIZE = 24 << 10


@dataclass(frozen=True, slots=True)
class Kind:
    """What a mount is."""

    disk: bool = False
    write_back: bool = False


class Mount:
    """See the module. ``handles``: by inode, the one handle that is open."""

    def __init__(self, world, number: int, kind: Kind, folder) -> None:
        self.number = number
        self.kind = kind
        self.faults = Faults()
        self.store = Store(world.objects, self.faults)
        self.disk = disks.Disk(folder / str(number), self.faults) if kind.disk else None
        self.alive = False
        self.handles: dict[int, int] = {}
        self.clean_hits: dict[int, int] = {}  # by inode: the hits when all of it was known to be well
        self.hits_at_start = 0
        self._world = world
        self._scope: trio.CancelScope | None = None

    async def start(self) -> None:
        """Begin, and adopt what a mount before this one has staged."""
        world = self._world
        self.cache = staging = None
        if self.disk is not None:
            self.cache = disks.open_cache(self.disk, trio.current_time)
            if self.kind.write_back:
                staging = disks.open_staging(self.cache, STAGING_SIZE, world.identities)
        self.staging = staging
        self.lane = Lane(world.server, self.faults, staging.identity if staging is not None else b"")
        cache = MetadataCache(1000, attr_timeout_s=1.0, entry_timeout_s=1.0, negative_timeout_s=0.0)
        ids = IdRanges()
        view = KernelView()
        metadata = MetadataClient(self.lane, cache, ids, lambda inode: view.own_change(inode.inode_id, inode.change))

        def on_new_session() -> None:
            ids.clear()
            metadata.reservations.clear()

        self.lane.on_new_session = on_new_session
        self.lane.forget_ids = ids.clear
        self.data = DataPath(
            DataConfig(memory_budget=MEMORY, store_timeout_s=STORE_TIMEOUT_S, write_back=self.kind.write_back),
            self.store,
            SliceCalls(metadata),
            GEOMETRY,
            registry=CollectorRegistry(),
            clock=world.clock,
            disk=self.cache,
            staging=staging,
        )
        pages = KernelPages()
        pages.drop, self.data.drop_inode = _forget_pages, pages.drop_inode
        self.vfs = Vfs(mds_pb2.Filesystem(fs_id=FS), metadata, self.data, view, pages)
        self._given_up = metadata.given_up
        self.alive = True
        self.hits_at_start = self.faults.hits
        self._scope, self._over = await world.nursery.start(self._run)
        await self.data.adopt_staged()

    async def _run(self, task_status) -> None:
        over = trio.Event()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.data.run)
                nursery.start_soon(self._given_up.run)
                task_status.started((scope, over))
        over.set()

    async def kill(self) -> None:
        """End it as a process ends that is killed."""
        self.alive = False
        self._scope.cancel()
        await self._over.wait()
        if self.cache is not None:
            self.cache.close()
        self.handles.clear()
        self.clean_hits.clear()

    async def unmount(self) -> None:
        """End it as umount does; everything was published."""
        await self.vfs.close()
        assert await self.data.publish_staged(1000.0), "everything staged is published"
        await self.kill()
        self._world.server.end(self.lane.session_id)
        if self.staging is not None:
            self._world.server.end(self.staging.identity)

    # ------------------------------------------------------------------------------------------- files

    async def create(self, name: bytes) -> int:
        """Make a file and leave it open; returns its inode."""
        inode, number = await self.vfs.create(ROOT, name, 0o644, os.O_RDWR | os.O_EXCL, pb.Credential())
        await self.vfs.release(number)
        return inode.inode_id

    async def open(self, inode_id: int, *, append: bool = False) -> int:
        """Return the handle of a file; opened now, if it was not."""
        if inode_id not in self.handles:
            flags = os.O_RDWR | (os.O_APPEND if append else 0)
            self.handles[inode_id], _ = await self.vfs.open(inode_id, flags)
        return self.handles[inode_id]

    async def fsync(self, inode_id: int) -> None:
        if inode_id in self.handles:
            await self.vfs.fsync(self.handles[inode_id])
        else:
            file = self.data.file(inode_id)
            if file is not None:
                await file.flush()

    async def close(self, inode_id: int) -> None:
        """close(2): the last error of the flush is raised when the handle is gone."""
        number = self.handles.pop(inode_id, None)
        if number is None:
            return
        try:
            await self.vfs.flush(number)
        finally:
            await self.vfs.release(number)

    async def publish(self, inode_id: int) -> None:
        """Have everything of a file published. Raises as fsync()."""
        file = self.data.file(inode_id)
        if file is not None:
            await file.publish()

    def unpublished(self, inode_id: int) -> bool:
        file = self.data.file(inode_id)
        return file is not None and file.unpublished

    def listed_objects(self) -> list[str]:
        """Return the objects of all slice lists that are valid yet."""
        return [
            name
            for opened in self.data._files.values()
            for chunk in opened.file._lists._lists
            for one in (opened.file._lists.of_chunk(chunk) if opened.file._lists.is_known(chunk) else [])
            for name in objects_of(one)
        ]

    def drop_caches(self) -> None:
        """Forget blocks in memory, and on disk."""
        for name in self._world.server.objects_in_use():
            self.data._cache.drop(name)


async def _forget_pages(_: int) -> None:
    """There is no kernel here: every read comes through."""
