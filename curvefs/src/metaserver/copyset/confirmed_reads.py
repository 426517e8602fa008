"""Reads that wait until this server is known to lead still (ReadIndex). Pure."""

from collections import deque
from collections.abc import Callable

from ...common.errors import CurveFSError

# Called once: with None when the state may be read, or with the error that ended the wait.
Confirmed = Callable[[CurveFSError | None], None]


class ConfirmedReads:
    """In the order they came: first until a majority has answered, then until the state is there."""

    def __init__(self) -> None:
        self._next_id = 1
        self._asked: deque[tuple[int, Confirmed]] = deque()
        self._confirmed: deque[tuple[int, Confirmed]] = deque()

    def __len__(self) -> int:
        return len(self._asked) + len(self._confirmed)

    def add(self, complete: Confirmed) -> int:
        """Note a read; returns its id."""
        read_id = self._next_id
        self._next_id += 1
        self._asked.append((read_id, complete))
        return read_id

    def confirmed(self, read_id: int, index: int) -> None:
        """A majority has answered: it may be answered when ``index`` is applied."""
        while self._asked and self._asked[0][0] <= read_id:
            self._confirmed.append((index, self._asked.popleft()[1]))

    def applied(self, index: int) -> None:
        """The state has everything up to ``index``."""
        while self._confirmed and self._confirmed[0][0] <= index:
            self._confirmed.popleft()[1](None)

    def fail(self, error: CurveFSError) -> None:
        """The leadership is over."""
        waiting = [*self._confirmed, *self._asked]
        self._confirmed.clear()
        self._asked.clear()
        for _, complete in waiting:
            complete(error)
