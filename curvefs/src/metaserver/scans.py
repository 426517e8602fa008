"""Reading at length beside the event loop. What reads all there is in a group is a scan: one at a time.

A scan whose call was cancelled ends soon; the next one waits for that.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from ..common.errors import Unavailable
from .copyset import awaiting
from .copyset.group import Group
from .storage.environment import Environment
from .storage.transaction import StateReader

READ_DEADLINE_S = 5.0
T = TypeVar("T")


class Scans:
    """Of one metaserver, on a thread of their own: the default ones are for what must not wait for minutes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scan")

    async def run(self, group: Group, look: Callable[[StateReader], T]) -> T:
        """Return what ``look`` makes of a view, when it is its turn; see beside()."""
        return await beside(group, look, self._thread)


async def beside(group: Group, look: Callable[[StateReader], T], executor: Executor | None = None) -> T:
    """Return what ``look`` makes of a view that has everything acknowledged so far.

    Raises Redirect at once where another leads, Unavailable, what ``look`` raises.
    """
    if not group.is_leader:
        raise group.redirect()
    await awaiting.read_barrier(group, READ_DEADLINE_S)
    given_up = threading.Event()

    def read() -> T:
        with group.environment.read_at_length() as view:
            return look(_Interruptible(view, group.environment, given_up))

    try:
        return await asyncio.get_running_loop().run_in_executor(executor, read)
    finally:
        given_up.set()


class _Interruptible:
    """A view that gives up when the state is being closed or replaced by a snapshot, or when nobody waits any more."""

    def __init__(self, view: StateReader, environment: Environment, given_up: threading.Event) -> None:
        self._view = view
        self._environment = environment
        self._given_up = given_up

    def get(self, key: bytes) -> bytes | None:
        return self._view.get(key)

    def scan(self, start: bytes, end: bytes, limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        for pair in self._view.scan(start, end, limit):
            if self._environment.is_closing:
                raise Unavailable("the state is being closed")
            if self._given_up.is_set():
                raise Unavailable("nobody waits for the answer")
            yield pair
