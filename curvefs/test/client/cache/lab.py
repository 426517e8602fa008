"""Cache folders over a store in memory."""

from contextlib import contextmanager
from uuid import UUID

from curvefs.src.client.cache.cached_store import CachedStore
from curvefs.src.client.cache.disk_cache import CacheConfig, DiskCache
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices.names import block_name

UUID_ = UUID(int=7)


def name_of(number, index=0):
    return block_name(UUID_, 5 << 40 | number, 0, index)


class CountingStore(MemoryStore):
    """Counts what comes through to it."""

    def __init__(self):
        super().__init__()
        self.gets = []

    def get(self, key, start=0, size=None):
        self.gets.append((key, start, size))
        return super().get(key, start, size)


@contextmanager
def running(*folders, **config):
    """Run a cache over some folders."""
    cache = DiskCache(CacheConfig(folders, **({"free_space": 0.0} | config)), UUID_)
    cache.start()
    try:
        cache.settle()
        yield cache
    finally:
        cache.close()


@contextmanager
def stored(*folders, count=0, size=1000, **config):
    """Run a cache in front of a store with some objects."""
    with running(*folders, **config) as cache:
        store = CountingStore()
        for number in range(count):
            store.put(name_of(number), bytes([number % 256]) * size)
        yield CachedStore(store, cache), cache, store
