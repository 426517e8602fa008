"""An object store in memory: for tests, and for looking at what the others should do."""

import threading
from collections.abc import Sequence

from .keys import check_key
from .protocol import ObjectInfo, ObjectNotFound


class MemoryStore:
    """Objects in a dictionary. All were modified at the epoch: it has no clock."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object."""
        check_key(key)
        content = bytes(data)
        with self._lock:
            self._objects[key] = content

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        check_key(key)
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise ObjectNotFound(f"there is no object {key}")
        return data[start:] if size is None else data[start : start + size]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects."""
        checked = [check_key(key) for key in keys]
        with self._lock:
            for key in checked:
                self._objects.pop(key, None)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order."""
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)[:limit]
            return [ObjectInfo(key, len(self._objects[key]), 0) for key in keys]

    def close(self) -> None:
        """Nothing is held."""
