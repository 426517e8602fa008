"""Chunk ids for what compaction stores: ranges that the group leases to its leader for its term (rules 1 and 2).

An id that was taken is published by a commit, given up by an entry, or closed with its range by the next leader.

Shared across awaits: `_ranges`, per group, filesystem and partition; a range is one of the term in which it was leased.
"""

from collections import deque

from ....proto import common_pb2, state_pb2
from ...common.errors import Redirect
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group

ENTRY_DEADLINE_S = 5.0
_KEPT_MAX = 10_000


class Leases:
    """Of all groups led here."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[int, int, int], tuple[int, deque[int]]] = {}

    async def take(self, group: Group, fs_id: int, partition_id: int, count: int) -> list[int]:
        """Return ids that nobody ever used. Raises Redirect, Unavailable, what the group refuses it for."""
        key = group.group_id, fs_id, partition_id
        taken: list[int] = []
        while len(taken) < count:
            term, ids = self._ranges.get(key, (0, deque()))
            if term == group.term and ids:
                taken.append(ids.popleft())
            else:
                await self._lease(group, fs_id, partition_id)
        return taken

    async def hold(self, group: Group, fs_id: int, partition_id: int) -> bool:
        """See to it that there was a lease in this term, and say whether it is new. Raises as take does."""
        key = group.group_id, fs_id, partition_id
        if key in self._ranges and self._ranges[key][0] == group.term:
            return False
        await self._lease(group, fs_id, partition_id)
        return True

    async def _lease(self, group: Group, fs_id: int, partition_id: int) -> None:
        term = group.term
        command = state_pb2.CompactCommand(fs_id=fs_id, lease=state_pb2.CompactLease(partition_id=partition_id))
        applied = await awaiting.run(group, state_pb2.Entry(format=1, compact=command), ENTRY_DEADLINE_S)
        check(applied)
        if term != group.term:
            raise Redirect(f"group {group.group_id} had an election just now", leader="")
        self.add(group, fs_id, partition_id, list(applied.ranges or ()))

    def add(self, group: Group, fs_id: int, partition_id: int, ranges: list[common_pb2.IdRange]) -> None:
        """Keep ranges that were leased in the present term."""
        key = group.group_id, fs_id, partition_id
        term, ids = self._ranges.get(key, (0, deque[int]()))
        if term != group.term:
            while len(self._ranges) >= _KEPT_MAX:
                self._ranges.pop(next(iter(self._ranges)))
            ids = deque()
            self._ranges[key] = group.term, ids
        for one in ranges:
            ids.extend(range(one.first, one.end))
