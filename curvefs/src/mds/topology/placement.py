"""Where partitions go: a pure function of a snapshot; equal snapshots give equal answers.

Where copysets go is schedule/create.py's matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """A copyset as placement sees it.

    fresh: nothing was ever kept in it, so replicas that are missing are still to be made.
    disk_free_bytes: of the peer with the least.
    """

    group_id: int
    peer_count: int
    online_count: int
    partition_count: int
    disk_free_bytes: int
    fresh: bool = True


def choose_groups(groups: Iterable[GroupLoad], count: int) -> list[int]:
    """Return the groups that shall hold ``count`` new partitions, in their order; none if none can hold any.

    A group whose replicas are still to be made needs all its peers online, any other a majority. The one with the
    fewest partitions comes first, then one that misses no peer, then the most room, then the lowest id.
    """
    usable = [group for group in groups if _is_usable(group)]
    counts = {group.group_id: group.partition_count for group in usable}
    chosen: list[int] = []
    while usable and len(chosen) < count:
        best = min(usable, key=lambda group: (counts[group.group_id], *_preference(group)))
        counts[best.group_id] += 1
        chosen.append(best.group_id)
    return chosen


def _is_usable(group: GroupLoad) -> bool:
    needed = group.peer_count if group.fresh else group.peer_count // 2 + 1
    return 0 < needed <= group.online_count


def _preference(group: GroupLoad) -> tuple[int, int, int]:
    return group.peer_count - group.online_count, -group.disk_free_bytes, group.group_id
