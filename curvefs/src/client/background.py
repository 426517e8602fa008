"""Background work of a mount: a bug in a piece of it is logged and ends that piece, not the mount.

What other programs have written, and is not published yet, would be lost with the mount.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

log = structlog.get_logger()

AGAIN_S = 1.0


async def contained(function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Call it; what it fails with unexpectedly is logged."""
    try:
        await function(*arguments)
    except Exception:
        log.exception("a bug: background work failed unexpectedly", work=_name(function))


async def kept(function: Callable[[], Awaitable[None]]) -> None:
    """Call what goes on until it is cancelled; again when it fails unexpectedly."""
    while True:
        await contained(function)
        await trio.sleep(AGAIN_S)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
