"""An object store that fails on purpose, around any other: for tests and for rehearsing outages."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .protocol import ObjectInfo, ObjectStore, StoreUnavailable

Operation = Literal["put", "get", "delete", "list"]


@dataclass(slots=True)
class Fault:
    """One planned misbehaviour of one operation.

    times: how often (None: until removed). matches: which keys. lost_reply: do it, then fail. error: what to raise
    (None: nothing). block: wait for this event first. damage: applied to what get returns.
    """

    operation: Operation
    times: int | None = 1
    matches: Callable[[str], bool] = lambda _: True
    error: Callable[[], Exception] | None = lambda: StoreUnavailable("injected")
    lost_reply: bool = False
    block: threading.Event | None = None
    damage: Callable[[bytes], bytes] | None = None


@dataclass(slots=True)
class FaultStore:
    """Passes calls on to ``inner``, except where a fault or an outage says otherwise. Counts calls."""

    inner: ObjectStore
    counts: dict[str, int] = field(default_factory=dict)
    _faults: list[Fault] = field(default_factory=list)
    _down: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, fault: Fault) -> None:
        """Add a fault; the first that matches applies."""
        with self._lock:
            self._faults.append(fault)

    def forget_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def go_down(self) -> None:
        """Answer nothing any more."""
        self._down = True

    def come_up(self) -> None:
        """Answer again."""
        self._down = False

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object, unless planned otherwise."""
        fault = self._begin("put", key)
        if fault is None or fault.lost_reply or fault.error is None:
            self.inner.put(key, data)
        self._end(fault)

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object, unless planned otherwise."""
        fault = self._begin("get", key)
        self._end(fault)
        data = self.inner.get(key, start, size)
        return fault.damage(data) if fault is not None and fault.damage is not None else data

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, unless planned otherwise."""
        fault = self._begin("delete", keys[0] if keys else "")
        if fault is None or fault.lost_reply or fault.error is None:
            self.inner.delete(keys)
        self._end(fault)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order, unless planned otherwise."""
        self._end(self._begin("list", prefix))
        return self.inner.list(prefix, after, limit)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()

    def _begin(self, operation: Operation, key: str) -> Fault | None:
        with self._lock:
            self.counts[operation] = self.counts.get(operation, 0) + 1
            if self._down:
                raise StoreUnavailable("down")
            fault = next((f for f in self._faults if f.operation == operation and f.matches(key)), None)
            if fault is not None and fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
        if fault is not None and fault.block is not None:
            fault.block.wait()
        return fault

    @staticmethod
    def _end(fault: Fault | None) -> None:
        if fault is not None and fault.error is not None and fault.damage is None:
            raise fault.error()
