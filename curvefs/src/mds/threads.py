"""Blocking calls in threads, with deadlines.

A thread cannot be stopped: when its call takes longer than the deadline, the caller goes on and the thread keeps its
slot until the call ends. Threads are daemons, so that one that hangs does not keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """At most ``count`` blocking calls at a time."""

    def __init__(self, count: int) -> None:
        self._slots = asyncio.Semaphore(count)

    async def run(self, work: Callable[[], T], deadline_s: float) -> T:
        """Return what ``work`` returns or raise what it raises. Raises TimeoutError after ``deadline_s`` seconds."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: BaseException | None) -> None:
            self._slots.release()
            if result.done():
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type] # T when there is no error

        def body() -> None:
            value, caught = None, None
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 -- it is raised in the caller's task
                caught = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
                loop.call_soon_threadsafe(settle, value, caught)

        async with asyncio.timeout(deadline_s):
            await self._slots.acquire()
            threading.Thread(target=body, daemon=True, name="blocking").start()
            return await result
