"""Group commit: what all groups have to append goes to disk as one write and one sync.

One write is under way at a time, in a thread of its own. What becomes ready meanwhile is the next write; so the
slower the disk, the larger the batches. Sources are asked for their records only when a write begins: that is when
entries get their index, so a write that is refused leaves no gap.

Shared across awaits: `_ready` and `_writing`, touched on the event loop only. The files belong to the thread.
"""

import asyncio
import os
import queue
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import structlog

from ...common.errors import NoSpace
from ...common.exits import ExitCode
from .disk import Disk, disk_of
from .format import Record
from .recovery import Outline
from .segments import LogSettings, SegmentFiles

_log = structlog.get_logger()
T = TypeVar("T")


class LogSource(Protocol):
    """Somebody with records to append: a group. All calls come from the event loop.

    What one raises ends the process.
    """

    def take(self) -> list[Record]:
        """Return what to append now: a bounded amount. What is left is announced again by ready()."""
        ...

    def appended(self) -> None:
        """What take() returned is durable. Called before the next take(); only to take note."""
        ...

    def proceed(self) -> None:
        """Act upon what was appended. Called after the next write has begun."""
        ...

    def refused(self, error: NoSpace) -> None:
        """What take() returned was not appended. Called before the next take()."""
        ...


class LogObserver(Protocol):
    """Whom the log tells how it fares, on the event loop."""

    def synced(self, seconds: float) -> None:
        """Everything taken is durable; the sync took this long."""
        ...

    def not_logged(self) -> None:
        """Nothing taken was appended."""
        ...


@dataclass(frozen=True, slots=True)
class LogStatus:
    """What the log takes on disk, and which groups keep its oldest segment."""

    size_bytes: int
    segment_count: int
    oldest_needed_by: list[int]


def end_process(reason: str) -> NoReturn:
    """Say why and end at once: what is on disk now decides."""
    _log.critical("the metaserver ends: its log cannot be trusted to be durable", reason=reason)
    os._exit(ExitCode.FAILED)


class WriteAheadLog:
    """The log of one metaserver. Made on the event loop that uses it; close() it."""

    def __init__(
        self,
        folder: Path | Disk,
        outline: Outline,
        settings: LogSettings,
        *,
        observer: LogObserver,
        salt: Callable[[], int] = lambda: secrets.randbits(64),
        fatal: Callable[[str], NoReturn] = end_process,
    ) -> None:
        """Go on where ``outline`` (recovery.recover) ends; it stays as it is. Raises NoSpace, OSError."""
        self._files = SegmentFiles(disk_of(folder), outline, settings, salt=salt, fatal=fatal)
        self._fatal = fatal
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._ready: dict[LogSource, None] = {}
        self._writing: list[LogSource] = []
        self._scheduled = False
        # Bounded by its users: one write at a time, and jobs that are awaited.
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="wal", daemon=True)
        self._thread.start()

    def ready(self, source: LogSource) -> None:
        """Announce that ``source`` has something to append."""
        self._ready[source] = None
        if not self._writing and not self._scheduled:
            # Not at once: others may become ready in the same step of the event loop.
            self._scheduled = True
            self._loop.call_soon(self._turn, self._begin)

    def append_first(self, records: list[Record]) -> None:
        """Append before anything else is asked of the log; blocks. Raises NoSpace."""
        assert not self._ready, "the first"
        self._files.append(records)

    async def append(self, records: list[Record]) -> None:
        """Append rare records that belong to no source. Raises NoSpace."""
        await self._do(lambda: self._files.append(records))

    async def trim(self, bases: Mapping[int, int]) -> LogStatus:
        """Delete the segments that no group needs (see SegmentFiles.trim) and say what is left."""

        def job() -> LogStatus:
            self._files.trim(bases)
            return LogStatus(self._files.size_bytes, self._files.segment_count, self._files.oldest_needed_by(bases))

        return await self._do(job)

    async def forget(self, group_id: int) -> None:
        """The group is gone: its entries keep no segment."""
        await self._do(lambda: self._files.forget(group_id))

    async def close(self) -> None:
        """End the thread after the write under way; what is announced later is not appended."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._files.close()

    async def _do(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the thread and return what it returns."""
        done: asyncio.Future[T] = self._loop.create_future()

        def job() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  # handed to whom waits
                self._loop.call_soon_threadsafe(_fail, done, error)
            else:
                self._loop.call_soon_threadsafe(_succeed, done, result)

        self._jobs.put(job)
        return await done

    # ---------------------------------------------------------------------------------- on the event loop

    def _turn(self, step: Callable[[], None]) -> None:
        """Do the next step. A bug met there would leave groups to wait for ever, and to lead on meanwhile."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is said and ends the process
            _log.exception("a step of the log failed")
            self._fatal(f"a step of the log failed: {error!r}")

    def _begin(self) -> None:
        self._scheduled = False
        if self._writing:
            return
        sources, self._ready = self._ready, {}
        records: list[Record] = []
        for source in sources:
            taken = source.take()
            if taken:
                records += taken
                self._writing.append(source)
        if records:
            self._jobs.put(lambda: self._write(records))

    def _written(self, seconds: float) -> None:
        self._observer.synced(seconds)
        sources, self._writing = self._writing, []
        for source in sources:
            source.appended()
        # The disk works on the next write while this one is applied.
        self._begin()
        for source in sources:
            source.proceed()

    def _refused(self, error: NoSpace) -> None:
        self._observer.not_logged()
        sources, self._writing = self._writing, []
        for source in sources:
            source.refused(error)
        if self._ready:
            self._begin()

    # ---------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _write(self, records: list[Record]) -> None:
        try:
            seconds = self._files.append(records)
        except NoSpace as error:
            refusal = error
            self._loop.call_soon_threadsafe(self._turn, lambda: self._refused(refusal))
        except Exception as error:  # noqa: BLE001  # a bug; without the thread everybody would wait for ever
            self._fatal(f"cannot append: {error!r}")
        else:
            self._loop.call_soon_threadsafe(self._turn, lambda: self._written(seconds))


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
