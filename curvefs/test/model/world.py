"""Mounts, the group, the store and what works in the background, on one clock; and what must hold at any time."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar
from unittest.mock import patch

import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.reclaim import passing
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.worker import runs
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices import framing
from curvefs.src.slices.names import block_name
from curvefs.src.slices.overlay import overlay
from curvefs.test.client.data.lab import TrioClock

from . import disks
from .background import Background
from .faults import Faults, Store
from .mount import Kind, Mount
from .server import GEOMETRY, GRACE_S, Server

T = TypeVar("T")
STORE_DELAY_S = 0.01
LEASE_S = 60.0
DAY_S = 24 * 3600.0


class Objects(MemoryStore):
    """Holds rule 2: no name is ever put with two contents, not even after it was deleted."""

    def __init__(self) -> None:
        super().__init__()
        self._ever: dict[str, int] = {}

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        content = bytes(data)
        assert self._ever.setdefault(key, hash(content)) == hash(content), f"{key} gets another content"
        super().put(key, content)

    def has(self, key: str) -> bool:
        return key in self._objects

    def names(self) -> list[str]:
        return sorted(self._objects)


class World:
    """See the module."""

    def __init__(self, nursery: trio.Nursery, kinds: list[Kind], folder: Path) -> None:
        self.nursery = nursery
        self.clock = TrioClock()
        self.objects = Objects()
        self.identities = itertools.count(1)
        self.server = Server(self.clock)
        self.mounts = [Mount(self, number, kind, folder) for number, kind in enumerate(kinds)]
        self.faults = Faults()  # of the worker
        self.store = Store(self.objects, self.faults)
        self.background = Background(self.server, self.store, self.clock)
        self._doomed: list[tuple[float, bytes]] = []  # sessions of mounts that died

    @property
    def all_faults(self) -> list[Faults]:
        return [self.faults, *(one.faults for one in self.mounts)]

    async def kill(self, mount: Mount, *, arrives: bool) -> None:
        """Kill a mount. arrives: what it has sent is applied yet."""
        session_id = mount.lane.session_id
        await mount.kill()
        if arrives:
            self.server.arrive(session_id)
        else:
            self.server.end(session_id)
        self._doomed.append((trio.current_time() + LEASE_S, session_id))

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await trio.sleep(seconds)
        now = trio.current_time()
        for due, session_id in self._doomed:
            if due <= now:
                self.server.end(session_id)
        self._doomed = [one for one in self._doomed if one[0] > now]
        for mount in self.mounts:
            if mount.alive and mount.cache is not None:
                disks.tick(mount.cache, trio.current_time)

    # ------------------------------------------------------------------------------------------- looking

    def check(self) -> None:
        """What must hold at any time."""
        missing = [name for name in self.server.objects_in_use() if not self.objects.has(name)]
        assert not missing, f"slices are visible whose objects are missing: {missing}"
        for mount in self.mounts:
            if mount.alive:
                gone = [name for name in mount.listed_objects() if not self.objects.has(name)]
                assert not gone, f"mount {mount.number} still reads by lists of which objects are gone: {gone}"
                dirty, cached, limit = mount.data.memory
                assert dirty + cached <= limit, f"mount {mount.number} takes more memory than it may"

    def content(self, inode_id: int) -> bytes:
        """Return what is published of a file, straight from state and store."""
        found = bytearray()
        length = self.server.read(pb.Read(get_attr=pb.GetAttr(inode_id=inode_id))).inode.length
        chunks = -(-length // GEOMETRY.chunk_size)
        request = pb.GetSlices(inode_id=inode_id, first_chunk=0, count=max(chunks, 1))
        slices = self.server.read(pb.Read(get_slices=request)).slices
        for part in GEOMETRY.chunks(0, length):
            of_chunk = [one for one in slices if one.chunk_index == part.chunk_index]
            for extent in overlay(of_chunk, part.offset, part.offset + part.length):
                one = extent.slice
                if one is None:
                    found += bytes(extent.length)
                    continue
                for block in GEOMETRY.blocks(extent.run_offset, extent.length, one.size):
                    stored = self.objects.get(block_name(GEOMETRY.uuid, one.chunk_id, one.compaction, block.block))
                    data = b"".join(framing.decode(stored, block.block_length))
                    found += data[block.offset : block.offset + block.length]
        return bytes(found)

    async def reclaim_everything(self) -> None:
        """Let all graces pass, with nobody left: then the store is empty, and so is the delete queue."""
        for _, session_id in self._doomed:
            self.server.end(session_id)
        self.background.elect()  # closes what compaction had leased
        for seconds in (GRACE_S + 1, GRACE_S + 1, DAY_S + GRACE_S, DAY_S + GRACE_S):
            await trio.sleep(seconds)
            self.background.rounds()
        assert not self.objects.names(), f"objects stay for ever: {self.objects.names()}"
        assert not self.server.count(keys.DELETE), "the delete queue does not get empty"


@asynccontextmanager
async def world(kinds: list[Kind], folder: Path, store_delay_s: float = STORE_DELAY_S) -> AsyncIterator[World]:
    """Have a world whose mounts run. Calls in threads are made in the event loop, and take a little of its time."""

    async def in_trio(call: Callable[..., T], *arguments, limiter=None, abandon_on_cancel=False) -> T:
        async with limiter or trio.CapacityLimiter(1):
            await trio.sleep(store_delay_s)
            return call(*arguments)

    async def in_asyncio(call: Callable[..., T], /, *arguments, **named) -> T:
        return partial(call, *arguments, **named)()

    async with trio.open_nursery() as nursery:
        with ExitStack() as patches:
            patches.enter_context(patch("random.random", Random(0).random))
            made = World(nursery, kinds, folder)
            for change in (
                patch("trio.to_thread.run_sync", in_trio),
                patch("asyncio.to_thread", in_asyncio),
                patch.object(passing, "OBJECTS_PER_S", 1e12),
                patch.object(runs, "_PAUSES_S", (0.0, 0.0, 0.0)),
                disks.misbehaving([one.disk for one in made.mounts if one.disk is not None]),
            ):
                patches.enter_context(change)
            try:
                for mount in made.mounts:
                    await mount.start()
                yield made
            finally:
                for mount in made.mounts:
                    if mount.alive:
                        await mount.kill()
                made.background.close()
        nursery.cancel_scope.cancel()
