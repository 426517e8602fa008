"""An object store with the disk cache in front of it, and before that what is staged and not in the store yet.

Whole objects are kept: those that are read as a whole, and those that this mount has put. Pieces are not, since a file
with holes would need to know which are there: random readers get them from memory or the store. But a block of which
pieces are asked for again and again is fetched as a whole the next time, and then it is here. Nobody has verified them
by then: whoever finds one damaged drops it.

Shared between threads: how often pieces of a block were asked for, under the lock.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import structlog

from ...object.protocol import ObjectInfo, ObjectStore, ObjectStoreError
from .disk_cache import DiskCache
from .staging import Staging

log = structlog.get_logger()

PIECES_MAX = 4  # of a block, before it is fetched as a whole
BLOCKS_WATCHED_MAX = 4096


class CachedStore:
    """See the module."""

    def __init__(self, store: ObjectStore, cache: DiskCache, staging: Staging | None = None) -> None:
        self._store = store
        self._cache = cache
        self._staging = staging
        self._pieces: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object, and keep it."""
        self._store.put(key, data)
        if self._staging is None or not self._staging.has(key):  # else its file is taken over
            self._cache.keep(key, data)

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return bytes [start, start + size) of an object; without a size, to its end."""
        if self._staging is not None and self._staging.has(key):
            try:
                return self._staging.get(key, start, size)
            except ObjectStoreError as error:
                if self._staging.has(key):
                    log.error("what is staged cannot be read", object=key, reason=str(error))
        found = self._cache.get(key, start, size)
        if found is not None:
            return found
        if size is not None and not self._is_popular(key):
            return self._store.get(key, start, size)
        whole = self._store.get(key) if size is not None or start == 0 else None
        if whole is None:
            return self._store.get(key, start)
        self._cache.keep(key, whole)
        return whole if size is None else whole[start : start + size]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects here and there."""
        for key in keys:
            self._cache.drop(key)
        self._store.delete(keys)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return what is in the store."""
        return self._store.list(prefix, after, limit)

    def close(self) -> None:
        """Release the store's connections; the cache has an owner of its own."""
        self._store.close()

    def _is_popular(self, key: str) -> bool:
        """Note that a piece of a block is asked for; says whether all of it is worth having."""
        with self._lock:
            pieces = self._pieces.pop(key, 0) + 1
            if pieces > PIECES_MAX:
                return True
            self._pieces[key] = pieces
            if len(self._pieces) > BLOCKS_WATCHED_MAX:
                self._pieces.popitem(last=False)
        return False
