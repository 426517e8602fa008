"""A data path over a store that can fail and metadata in memory, on trio's clock.

Threads are replaced by calls in the event loop that take a little of trio's time: with the autojump clock a test is
deterministic and never waits.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

import trio
from prometheus_client import CollectorRegistry

from curvefs.src.client.cache.disk_cache import CacheConfig, DiskCache
from curvefs.src.client.cache.staging import Staging
from curvefs.src.client.data.data_path import DataConfig, DataPath
from curvefs.src.client.data.file_data import FileData
from curvefs.src.object.fault import FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices.codec import BlockCodec
from curvefs.src.slices.geometry import Geometry
from curvefs.test.support.fake_slice_metadata import FakeSliceMetadata

T = TypeVar("T")
KIB, MIB = 1 << 10, 1 << 20
TINY = Geometry(UUID(int=7), chunk_size=4096, block_size=1024, block_format=1)
MIDDLE = Geometry(UUID(int=7), chunk_size=2 * MIB, block_size=512 * KIB, block_format=1)


class TrioClock:
    """Both clocks follow trio's."""

    def time_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(trio.current_time() * 1e9)

    def boottime_s(self) -> float:
        return trio.current_time()


class OnceStore(MemoryStore):
    """Holds rule 2: no name is ever put with two contents."""

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object."""
        if key in self._objects:
            assert self._objects[key] == bytes(data), f"{key} gets another content"
        super().put(key, data)


@dataclass(slots=True)
class Lab:
    """What a test works with. ``store`` may fail; ``objects`` is what it holds."""

    data: DataPath
    store: FaultStore
    objects: MemoryStore
    metadata: FakeSliceMetadata
    registry: CollectorRegistry
    disk: DiskCache | None
    staging: Staging | None

    def open(self, inode_id: int = 2) -> FileData:
        """Open a file, as one handle; it is made if need be."""
        if inode_id not in self.metadata.inodes:
            self.metadata.create(inode_id)
        inode = self.metadata.inode(inode_id)
        file = self.data.open_file(inode)
        file.revalidate(inode)
        return file

    def object_names(self) -> list[str]:
        """Return the names of all objects."""
        return [info.key for info in self.objects.list("")]


@contextmanager
def without_threads(store_delay_s: float) -> Iterator[None]:
    """Have calls of the store made in the event loop, each after so much of trio's time."""

    async def run_sync(call: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
        async with limiter:
            await trio.sleep(store_delay_s)
            return call()

    with patch("curvefs.src.client.data.store_calls.trio.to_thread.run_sync", run_sync):
        yield


@asynccontextmanager
async def lab(
    geometry: Geometry = TINY,
    *,
    metadata_delay_s: float = 0.001,
    store_delay_s: float = 0.01,
    objects: OnceStore | None = None,
    metadata: FakeSliceMetadata | None = None,
    cache_dir: Path | None = None,
    **config: Any,
) -> AsyncIterator[Lab]:
    """Run a data path. config: of DataConfig. cache_dir: with a disk cache and staging there."""
    objects = objects or OnceStore()
    store = FaultStore(objects)
    codec = BlockCodec(config.get("data_key", b""), bytes)
    metadata = metadata or FakeSliceMetadata(geometry, objects, delay_s=metadata_delay_s, codec=codec)
    registry = CollectorRegistry()
    disk = staging = None
    if cache_dir is not None:
        disk = DiskCache(CacheConfig((cache_dir,), free_space=0.0), geometry.uuid)
        disk.start()
        disk.settle()
        path = disk.folders[0].path / "staging"
        staging = Staging(path, size_max=64 << 20, free_space=0.0, random_bytes=os.urandom)
    data = DataPath(
        DataConfig(**config),
        store,
        metadata,
        geometry,
        registry=registry,
        clock=TrioClock(),
        disk=disk,
        staging=staging,
    )

    with without_threads(store_delay_s):
        async with trio.open_nursery() as nursery:
            await nursery.start(data.run)
            try:
                yield Lab(data, store, objects, metadata, registry, disk, staging)
            finally:
                if disk is not None:
                    disk.close()
            nursery.cancel_scope.cancel()


def pattern(size: int, seed: int = 1) -> bytes:
    """Return bytes of which no two stretches look alike."""
    unit = b"".join((seed * 1_000_003 + n).to_bytes(4, "big") for n in range(-(-size // 4)))
    return unit[:size]


async def check(this: Lab, expected: bytes, inode_id: int = 2) -> None:
    """The other mounts, and this one with nothing in memory, read what is expected."""
    assert this.metadata.content(inode_id) == expected
    assert await this.data.open_file(this.metadata.inode(inode_id)).read(0, len(expected) + 10) == expected
