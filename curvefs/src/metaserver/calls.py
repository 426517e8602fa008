"""How a unary call is answered: our errors become the failure in the reply, bugs too."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from ...proto import common_pb2
from ..common.errors import CurveFSError, InternalError, Unavailable
from ..common.status import error_of, failure_of
from .metastore.applied import Applied

_log = structlog.get_logger()
CALL_DEADLINE_S = 10.0

R = TypeVar("R")


async def answer(method: str, reply: Callable[..., R], work: Callable[[], Awaitable[R | None]]) -> R:
    """Return what ``work`` returns, an empty reply for None, or one with the failure it raised."""
    try:
        return await work() or reply()
    except CurveFSError as error:
        return reply(failure=failure_of(error))
    except OSError as error:
        _log.error("a call failed on the disk", method=method, reason=str(error))
        return reply(failure=failure_of(Unavailable(f"the disk below the metaserver: {error.strerror}")))
    except Exception:  # noqa: BLE001  # a bug of ours must not look like a lost connection
        _log.exception("a call failed by a bug", method=method)
        return reply(failure=failure_of(InternalError("a bug in the metaserver; its log says more")))


def check(applied: Applied) -> None:
    """Raise what an entry as a whole was refused for."""
    if applied.failure is not None and applied.failure.code != common_pb2.OK:
        raise error_of(applied.failure)
