"""The session's ranges of inode numbers and chunk ids (rule 1). Pure.

A client chooses ids itself from ranges leased to its session, so that no operation waits for an id. Ids are taken
in ascending order; a range that was used up is dropped. Ranges belong to one session and end with it. One of which an
id was refused is dropped as well: the metaserver has closed it.
"""

from collections import deque
from dataclasses import dataclass, field

from ....proto import common_pb2
from ...common.ids import partition_of

RANGES_MAX = 64  # of one kind in one partition; the server grants fewer


@dataclass(slots=True)
class _Ranges:
    first: int = 0
    next: int = 0
    end: int = 0
    further: deque[tuple[int, int]] = field(default_factory=deque)


class IdRanges:
    """What is left of the ranges."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[int, int], _Ranges] = {}

    def add(self, granted: common_pb2.IdRange) -> None:
        """Take a fresh range."""
        assert granted.first < granted.end, "an empty range"
        mine = self._ranges.setdefault((granted.kind, partition_of(granted.first)), _Ranges())
        if len(mine.further) < RANGES_MAX:
            mine.further.append((granted.first, granted.end))

    def take(self, kind: int, partition_id: int) -> int:
        """Return the next id of a partition; 0 when there is none left."""
        mine = self._ranges.get((kind, partition_id))
        if mine is None:
            return 0
        if mine.next >= mine.end:
            if not mine.further:
                return 0
            mine.first, mine.end = mine.further.popleft()
            mine.next = mine.first
        mine.next += 1
        return mine.next - 1

    def left(self, kind: int, partition_id: int) -> bool:
        """True when take() would return an id."""
        mine = self._ranges.get((kind, partition_id))
        return mine is not None and (mine.next < mine.end or bool(mine.further))

    def refused(self, kind: int, id_: int) -> None:
        """Take no more ids of the range that one is in which was refused."""
        mine = self._ranges.get((kind, partition_of(id_)))
        if mine is None:
            return
        if mine.first <= id_ < mine.end:
            mine.next = mine.end
        mine.further = deque(one for one in mine.further if not one[0] <= id_ < one[1])

    def clear(self) -> None:
        """The session is over, and its ranges with it."""
        self._ranges.clear()
