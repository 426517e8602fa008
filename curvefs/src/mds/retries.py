"""Work that must be done in the end, however long the other side is away.

A RetryQueue pursues keys: for each one its work is tried until it succeeds, with exponential back-off and jitter.
What the keys mean is stored elsewhere, so after a restart they are added again from there; that also bounds them.

Shared across awaits: the pursuits, changed only between awaits.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from ..common.errors import CurveFSError

_log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)


class RetryQueue(Generic[K]):
    """Pursues keys until their work succeeded.

    work: done when it returns; a CurveFSError means later again, anything else is a bug, logged, and the same.
    parallel: works at a time. random: uniform in [0, 1).
    """

    def __init__(
        self,
        name: str,
        work: Callable[[K], Awaitable[None]],
        *,
        random: Callable[[], float],
        parallel: int = 16,
        pause_s_min: float = 0.25,
        pause_s_max: float = 30.0,
    ) -> None:
        self._name = name
        self._work = work
        self._random = random
        self._slots = asyncio.Semaphore(parallel)
        self._pause_s_min = pause_s_min
        self._pause_s_max = pause_s_max
        self._kicks: dict[K, asyncio.Event] = {}
        self._done: dict[K, asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._kicks)

    def add(self, key: K) -> None:
        """Pursue a key from now on; if it is pursued already, try again at once."""
        if key in self._kicks:
            self._kicks[key].set()
            return
        self._kicks[key] = asyncio.Event()
        self._done[key] = asyncio.Event()
        if self._group is not None:
            self._group.create_task(self._pursue(key), name=self._name)

    def kick(self, key: K) -> None:
        """Try a key again at once if it is pursued: the other side seems to be back."""
        if key in self._kicks:
            self._kicks[key].set()

    async def finished(self, key: K, deadline_s: float) -> bool:
        """Wait until a key is pursued no longer; False if that takes longer than the deadline."""
        if key not in self._done:
            return True
        try:
            async with asyncio.timeout(deadline_s):
                await self._done[key].wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Pursue until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for key in self._kicks:
                    group.create_task(self._pursue(key), name=self._name)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    async def _pursue(self, key: K) -> None:
        kick = self._kicks[key]
        failures = 0
        while True:
            kick.clear()
            if await self._tried(key, failures):
                failures = 0
                if not kick.is_set():
                    break
                continue
            failures += 1
            pause_s = min(self._pause_s_max, self._pause_s_min * 2 ** min(failures - 1, 20))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * (0.5 + self._random() / 2)):
                    await kick.wait()
        del self._kicks[key]
        self._done.pop(key).set()

    async def _tried(self, key: K, failures: int) -> bool:
        try:
            async with self._slots:
                await self._work(key)
        except CurveFSError as error:
            if failures == 0:  # once per outage, not once per try
                _log.warning("will be tried again", work=self._name, key=_told(key), reason=str(error))
            return False
        except Exception:  # noqa: BLE001 -- whatever it is, the work must still be done
            _log.exception("a bug; will be tried again", work=self._name, key=_told(key))
            return False
        if failures:
            _log.info("succeeded at last", work=self._name, key=_told(key), failures=failures)
        return True


def _told(key: Hashable) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)
