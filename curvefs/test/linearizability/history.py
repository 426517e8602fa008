"""What clients asked of a shared object, when, and what they were told.

A history is any collection of calls. ``a`` comes before ``b`` in real time if a.ended < b.began; with equal times they
overlap, so that a coarse clock can only forgive. ``client`` and ``id`` are for the reader of a report: a client may
have several calls open at a time, and the checker orders them by their times alone. Operations are hashable, and equal
ones ask the same.

A call whose outcome is unknown (the client gave up, or died) has ``ended`` None: it may have taken effect at any time
after ``began``, also long after everything else, or never. Its answer is UNKNOWN. A call that surely did nothing and
told nobody anything is best left out.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Call:
    """One call. See the module."""

    client: Hashable
    id: Hashable
    operation: Any
    began: float
    ended: float | None = None
    answer: Any = UNKNOWN

    def __post_init__(self) -> None:
        assert (self.ended is None) == (self.answer is UNKNOWN), f"{self}: an answer has a time, and a time an answer"
        assert self.ended is None or self.began <= self.ended, f"{self}: it ended before it began"

    def __str__(self) -> str:
        ended = "?" if self.ended is None else f"{self.ended:g}"
        when = f"call {self.id} of client {self.client} [{self.began:g}, {ended}]"
        return f"{when}: {self.operation} -> {_shown(self.answer)}"


def _shown(answer: Any) -> str:
    """Return an answer with sets in an order that is the same in every process."""
    if isinstance(answer, frozenset):
        return f"{{{', '.join(sorted(map(repr, answer)))}}}"
    return f"({', '.join(map(_shown, answer))})" if isinstance(answer, tuple) else repr(answer)
