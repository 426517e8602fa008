"""Slots for answers that arrive by callback, and the one task that sleeps until all of them are there."""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Answers(Generic[T]):
    """``values`` in the order in which they were asked for; None until they arrive. Each is set at most once."""

    __slots__ = ("_task", "left", "values")

    def __init__(self, count: int = 1) -> None:
        self.values: list[T | None] = [None] * count
        self.left = count
        self._task: trio.lowlevel.Task | None = None

    def set(self, value: T, index: int = 0) -> None:
        """Take an answer."""
        assert self.values[index] is None, "one answer each"
        self.values[index] = value
        self.left -= 1
        if not self.left and self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Return when all answers are there."""
        if not self.left:
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
