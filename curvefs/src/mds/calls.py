"""How every call is answered: errors as values, the epoch on each answer, counted, and run to its end.

A call that was accepted runs to its end even when its caller has gone away (gRPC cancels the handler then): a decision
that is being written must still reach memory. So its work is a task of ours, and the handler only waits for it.

Shared across awaits: the set of tasks under way, bounded by Overloaded.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import structlog

from ...proto import common_pb2
from ..common.errors import CurveFSError, InternalError, Overloaded, Unavailable
from ..common.status import failure_of
from .metrics import Metrics

_log = structlog.get_logger()
_CALLS_MAX = 4096
_RETRY_AFTER_MS = 500

Q = TypeVar("Q")
R = TypeVar("R")


class Calls:
    """Answers calls on behalf of the services."""

    def __init__(self, epoch: int, metrics: Metrics) -> None:
        self._epoch = epoch
        self._metrics = metrics
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def answer(self, method: str, reply: type[R], work: Callable[[], Awaitable[R]]) -> R:
        """Return what ``work`` returns, or a ``reply`` with the failure it raised; never raises."""
        began = time.monotonic()
        task = asyncio.create_task(self._guarded(method, reply, work), name=method)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answer: Any = await asyncio.shield(task)
        answer.epoch = self._epoch
        code = common_pb2.StatusCode.Name(answer.failure.code)
        self._metrics.answered(method, code, time.monotonic() - began)
        result: R = answer
        return result

    async def finish(self, deadline_s: float) -> None:
        """Take no more calls and let those under way end; after the deadline cancel what is left."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _guarded(self, method: str, reply: Callable[..., R], work: Callable[[], Awaitable[R]]) -> R:
        try:
            if self._stopping:
                raise Unavailable("this MDS is stopping")
            if len(self._tasks) > _CALLS_MAX:
                raise Overloaded("too many calls at a time", retry_after_ms=_RETRY_AFTER_MS)
            return await work()
        except CurveFSError as error:
            failure = failure_of(error)
            if failure.code == common_pb2.INTERNAL:
                _log.error("a call failed in an unexpected way", method=method, error=repr(error))
            return reply(failure=failure)
        except Exception:  # noqa: BLE001 -- a bug of ours must not look like a lost connection
            _log.exception("a call failed by a bug", method=method)
            return reply(failure=failure_of(InternalError("a bug in the MDS; its log says more")))


class Answering(Protocol):
    """A gRPC service whose methods are marked with ``answers``."""

    calls: Calls


def answers(
    reply: type[R],
) -> Callable[[Callable[[Any, Q], Awaitable[R]]], Callable[[Answering, Q, Any], Coroutine[Any, Any, R]]]:
    """Make a gRPC method of ``async def Method(self, request) -> Reply`` that raises our errors."""

    def decorate(method: Callable[[Any, Q], Awaitable[R]]) -> Callable[[Answering, Q, Any], Coroutine[Any, Any, R]]:
        name = getattr(method, "__name__", "")

        @functools.wraps(method)
        async def handler(self: Answering, request: Q, _context: Any) -> R:
            return await self.calls.answer(name, reply, lambda: method(self, request))

        return handler

    return decorate
