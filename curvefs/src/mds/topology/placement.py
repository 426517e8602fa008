"""Where copysets and partitions go: pure functions of a snapshot; equal snapshots give equal answers.

A copyset's peers are the metaservers with the fewest replicas, all distinct; the first of them stands for election at
once, and each metaserver is the first of about equally many. Among equally loaded ones the next in the ring of ids is
taken, so that not always the same metaservers meet.
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


@dataclass(frozen=True, slots=True)
class MetaserverLoad:
    """A metaserver as placement sees it. first_count: copysets that it is the first peer of."""

    metaserver_id: int
    replica_count: int
    first_count: int
    online: bool = True


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


def plan_copysets(
    metaservers: Iterable[MetaserverLoad],
    *,
    known_count: int,
    copyset_count: int,
    replica_count: int,
    per_metaserver: int,
    limit: int,
) -> list[tuple[int, ...]]:
    """Return the peers of copysets that are to be made now, at most ``limit``; the one that shall lead comes first.

    Each online metaserver becomes the first of ``per_metaserver`` copysets, but there are never more copysets than
    that for each of the ``known_count`` metaservers: one whose copysets were moved away gets no new ones for it.
    None are made while fewer than ``replica_count`` metaservers are online.
    """
    online = {one.metaserver_id: one for one in metaservers if one.online}
    if len(online) < replica_count:
        return []
    ring = sorted(online)
    replicas = {one: load.replica_count for one, load in online.items()}
    firsts = {one: load.first_count for one, load in online.items()}
    planned: list[tuple[int, ...]] = []
    missing_count = per_metaserver * known_count - copyset_count
    while len(planned) < min(limit, missing_count):
        first = min(ring, key=lambda one: (firsts[one], one))
        if firsts[first] >= per_metaserver:
            break
        start = ring.index(first)
        others = ring[start + 1 :] + ring[:start]
        # By what each will have once it leads its share; sorting is stable, so that the ring breaks ties.
        fewest = sorted(others, key=lambda one: replicas[one] + max(0, per_metaserver - firsts[one]))
        peers = (first, *sorted(fewest[: replica_count - 1], key=others.index))
        firsts[first] += 1
        for one in peers:
            replicas[one] += 1
        planned.append(peers)
    return planned


def _is_usable(group: GroupLoad) -> bool:
    needed = group.peer_count if group.fresh else group.peer_count // 2 + 1
    return 0 < needed <= group.online_count


def _preference(group: GroupLoad) -> tuple[int, int, int]:
    return group.peer_count - group.online_count, -group.disk_free_bytes, group.group_id
