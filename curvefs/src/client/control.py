"""What the owner of a mount asks its client, over a unix socket beside the record of the mount (runtime.py).

One request per line, as JSON: ``{"what": "warm" | "check" | "evict", "inode": N}``; one answer per line, in the order
of the requests: the share of the file's blocks that is cached, or ``{"error": "..."}``. Only the user of the client and
root may connect: the socket has mode 0600. Connections are few, and lines short.
"""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog
import trio

from ..common.errors import CurveFSError
from .data.warm_up import WarmUp

log = structlog.get_logger()

CONNECTIONS_MAX = 16
LINE_BYTES_MAX = 4096


async def serve(path: Path, warm_up: WarmUp) -> None:
    """Answer until cancelled. A socket that cannot be made is a warning: the mount does without."""
    try:
        listener = _listen(path)
    except OSError as error:
        log.warning("the mount cannot be warmed up: no socket", path=str(path), reason=error.strerror)
        return
    connections = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream, connections:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await _answer(stream, warm_up)

    try:
        await trio.serve_listeners(answer, [listener])
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _listen(path: Path) -> trio.SocketListener:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen(CONNECTIONS_MAX)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(made))


async def _answer(stream: trio.SocketStream, warm_up: WarmUp) -> None:
    waiting = b""
    async for received in stream:
        waiting += received
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            said = await _do(line, warm_up)
            await stream.send_all(json.dumps(said).encode() + b"\n")
        if len(waiting) > LINE_BYTES_MAX:
            return


async def _do(line: bytes, warm_up: WarmUp) -> Mapping[str, int | str]:
    try:
        request = json.loads(line)
        what, inode_id = request["what"], int(request["inode"])
        if what not in ("warm", "check", "evict") or not 0 < inode_id < 1 << 64:
            raise ValueError(what)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {"error": "no request that this client knows"}
    try:
        return (await warm_up.file(inode_id, what)).as_dict()
    except CurveFSError as error:
        return {"error": str(error) or type(error).__name__}
    except Exception as error:  # the mount goes on
        log.exception("a bug: a request of the owner failed unexpectedly", what=what)
        return {"error": type(error).__name__}
