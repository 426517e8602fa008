"""Where a new partition goes: a pure function of a snapshot."""

from collections.abc import Iterable
from dataclasses import dataclass

from ....proto import topology_pb2 as pb


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """A copyset as placement sees it. health: of its worst peer."""

    group_id: int
    health: pb.Health
    partition_count: int
    disk_free_bytes: int


def choose_group(groups: Iterable[GroupLoad]) -> int | None:
    """Return the group that shall hold a new partition; None if none can.

    Only groups whose peers are all online count; of these the one with the fewest partitions, then the most room,
    then the lowest id, so that equal snapshots give equal answers.
    """
    online = [group for group in groups if group.health == pb.ONLINE]
    if not online:
        return None
    best = min(online, key=lambda group: (group.partition_count, -group.disk_free_bytes, group.group_id))
    return best.group_id
