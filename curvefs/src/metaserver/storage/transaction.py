"""What the state machine needs of a store: an ordered map of bytes inside one transaction."""

from collections.abc import Iterator
from typing import Protocol


class StateReader(Protocol):
    """A consistent view of the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with start <= key < end in key order, at most ``limit``."""
        ...


class StateTransaction(StateReader, Protocol):
    """A view that can be changed. Do not change the state while a scan is not exhausted: collect first."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...

    def delete(self, key: bytes) -> bool:
        """Remove a key; says whether it was there."""
        ...
