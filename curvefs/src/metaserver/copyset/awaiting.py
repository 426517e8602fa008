"""Proposals and reads of a group for who awaits them: the group itself is synchronous and calls back."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ....proto import state_pb2
from ...common.errors import CurveFSError, Unavailable
from ..metastore.applied import Applied
from ..storage.environment import LmdbTransaction
from .group import Group

T = TypeVar("T")


async def run(group: Group, entry: state_pb2.Entry, deadline_s: float) -> Applied:
    """Propose and wait. Raises what propose() raises, Unavailable when the deadline passes; it may happen later."""
    future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()

    def complete(outcome: Applied | CurveFSError) -> None:
        if future.done():
            return
        if isinstance(outcome, CurveFSError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    group.propose(entry, complete)
    return await _within(future, deadline_s)


async def read(group: Group, look: Callable[[LmdbTransaction], T], deadline_s: float) -> T:
    """Return what ``look`` makes of a linearizable view. Raises Redirect, Unavailable, what ``look`` raises.

    What it raises is an answer too: of a view that may be old it counts as little as a result.
    """
    try:
        with group.view() as view:
            result = look(view)
    except Exception:
        if group.may_answer():
            raise
    else:
        if group.may_answer():
            return result
    await read_barrier(group, deadline_s)
    with group.view() as view:
        return look(view)


async def read_barrier(group: Group, deadline_s: float) -> None:
    """Wait until view() is linearizable. Raises Redirect, Unavailable."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def complete(error: CurveFSError | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(None)

    group.confirm_read(complete)
    group.act()
    await _within(future, deadline_s)


async def _within(future: asyncio.Future[T], deadline_s: float) -> T:
    try:
        async with asyncio.timeout(deadline_s):
            return await future
    except TimeoutError as error:
        raise Unavailable("the metaserver did not get it done in time") from error
