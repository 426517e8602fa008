"""An object store that fails on purpose, around any other: for tests and for rehearsing outages.

Nothing here is random: what fails, how often and how is said by Faults and by go_down(). A fault without an error
(``error=None``) lets the call through, so that one that only blocks or delays can be said.

Shared between threads: the faults and the counts, under one lock, which is never held during a call of ``inner``.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .protocol import ObjectInfo, ObjectStore, StoreUnavailable

Operation = Literal["put", "get", "delete", "list"]

# A test that forgets to open the gate fails, instead of hanging.
BLOCK_S_MAX = 120.0


@dataclass(slots=True)
class Fault:
    """One planned misbehaviour of one operation. The parts happen in this order, each where it is given.

    times: how often (None: until forgotten). matches: which keys; of a delete, any of its keys; of a list, its prefix.
    block: wait for this event. delay: called, to pass time as the test sees it. error: raised instead of doing it
    (None: it is done). lost_reply: raised after doing it. damage: applied to what get returns, which is then done.
    """

    operation: Operation
    times: int | None = 1
    matches: Callable[[str], bool] = lambda _: True
    error: Callable[[], Exception] | None = lambda: StoreUnavailable("injected")
    lost_reply: bool = False
    block: threading.Event | None = None
    damage: Callable[[bytes], bytes] | None = None
    delay: Callable[[], None] | None = None


@dataclass(slots=True)
class FaultStore:
    """Passes calls on to ``inner``, except where a fault or an outage says otherwise. Counts all calls."""

    inner: ObjectStore
    counts: dict[str, int] = field(default_factory=dict, init=False)
    _faults: list[Fault] = field(default_factory=list, init=False)
    _down: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def plan(self, fault: Fault) -> None:
        """Add a fault; the first that matches applies, and only that one."""
        assert fault.times is None or fault.times > 0, fault.times
        with self._lock:
            self._faults.append(fault)

    def forget_faults(self) -> None:
        """Remove all faults. Calls that one of them blocks stay blocked."""
        with self._lock:
            self._faults.clear()

    def go_down(self) -> None:
        """Let every call fail with StoreUnavailable from now on."""
        self._down = True

    def come_up(self) -> None:
        """Answer again."""
        self._down = False

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object, unless planned otherwise."""
        fault = self._begin("put", [key])
        self.inner.put(key, data)
        _lose_reply(fault)

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object, unless planned otherwise."""
        fault = self._begin("get", [key])
        data = self.inner.get(key, start, size)
        _lose_reply(fault)
        return fault.damage(data) if fault is not None and fault.damage is not None else data

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, unless planned otherwise."""
        fault = self._begin("delete", keys)
        self.inner.delete(keys)
        _lose_reply(fault)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order, unless planned otherwise."""
        fault = self._begin("list", [prefix])
        found = self.inner.list(prefix, after, limit)
        _lose_reply(fault)
        return found

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()

    def _begin(self, operation: Operation, keys: Sequence[str]) -> Fault | None:
        """Count the call, find its fault, and raise what is to be raised instead of doing it."""
        with self._lock:
            self.counts[operation] = self.counts.get(operation, 0) + 1
            if self._down:
                raise StoreUnavailable("down")
            fault = next(
                (one for one in self._faults if one.operation == operation and any(map(one.matches, keys))), None
            )
            if fault is None:
                return None
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
        if fault.block is not None and not fault.block.wait(BLOCK_S_MAX):
            raise StoreUnavailable("blocked, and nobody opened the gate")
        if fault.delay is not None:
            fault.delay()
        if fault.error is not None and not fault.lost_reply and fault.damage is None:
            raise fault.error()
        return fault


def _lose_reply(fault: Fault | None) -> None:
    if fault is not None and fault.lost_reply and fault.error is not None:
        raise fault.error()
