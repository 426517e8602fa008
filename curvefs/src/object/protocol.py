"""What an object store does, and how it fails.

Objects are immutable: a key is put once, with one content (rule 2), so every operation here may be repeated after
a failure of unknown outcome. All calls block, are safe from many threads, and end within the store's timeouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..common.errors import CurveFSError


class ObjectStoreError(CurveFSError):
    """The object store did not do what was asked."""


class ObjectNotFound(ObjectStoreError):
    """No such object."""


class StoreUnavailable(ObjectStoreError):
    """The object store does not answer, or not in time: try again later."""


class StoreRefused(ObjectStoreError):
    """The object store refuses: wrong credentials, no such bucket, no permission. Retrying is pointless for now."""


class StoreFull(ObjectStoreError):
    """No room left in the object store: try again when there is."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a listing. size in bytes; modified_ns since the epoch."""

    key: str
    size: int
    modified_ns: int


class ObjectStore(Protocol):
    """A flat map from keys (``a/b/c``, ASCII) to immutable bytes."""

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object durably; when this returns, every reader sees all of it. Idempotent."""
        ...

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return bytes [start, start + size) of an object; short only at its end. Raises ObjectNotFound."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; absent ones count as deleted."""
        ...

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return up to ``limit`` objects whose key begins with ``prefix`` and sorts after ``after``, in key order."""
        ...

    def close(self) -> None:
        """Release connections. No call may be under way or follow."""
        ...
