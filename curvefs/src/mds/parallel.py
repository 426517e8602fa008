"""Several calls at a time, as one: bounded, and ended by the first error."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def run_all(works: Iterable[Callable[[], Awaitable[None]]], *, limit: int) -> None:
    """Do all the works, at most ``limit`` at a time.

    After the first error no further one is begun, and those under way run to their end, so that none of them takes
    effect after what the caller does about the error; then that error is raised.
    """
    waiting = iter(works)
    errors: list[Exception] = []

    async def worker() -> None:
        for work in waiting:
            if errors:
                return
            try:
                await work()
            except Exception as error:  # noqa: BLE001 -- raised below, as it is
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(worker())
    if errors:
        raise errors[0]
