"""Create: copysets made ahead of need, so that a new partition finds one.

A copyset's peers lie in as many zones as there are; in each zone the metaserver with the fewest replicas is taken,
equals at random. The first peer stands for election at once, and each metaserver is the first of about equally many.
"""

import heapq
from random import Random

from .operators import Limits, Slots
from .snapshot import Snapshot
from .targets import Targets


def wanted_count(
    *, known_count: int, per_metaserver: int, partition_count: int, ahead_count: int, partitions_per_copyset: int
) -> int:
    """Return how many copysets there shall be: each metaserver's share, or what the partitions need.

    known_count: metaservers that are there to stay. ahead_count: partitions for which there shall be room at once.
    """
    needed = -(-(partition_count + ahead_count) // partitions_per_copyset)
    return max(per_metaserver * known_count, needed) if known_count else 0


def create(
    snapshot: Snapshot, limits: Limits, random: Random, *, wanted: int, known_count: int, count_max: int
) -> list[tuple[int, ...]]:
    """Return the peers of copysets to make now, at most ``count_max``; the one that shall lead comes first.

    wanted: copysets in all. No metaserver is the first of more than its share among all ``known_count``: what those
    that are away should lead is made when they are back, and nobody makes up for it. None are made while fewer than
    replica_count metaservers can get replicas, or in fewer zones than the replicas should lie in: they come to be, when
    a cluster is set up, one after the other.
    """
    candidates = [one for one in snapshot.usable() if one.disk_use < limits.disk_use_max]
    zones = {one.zone_id for one in candidates}
    if len(candidates) < snapshot.replica_count or len(zones) < snapshot.zone_count or not known_count:
        return []
    share = -(-wanted // known_count)
    firsts = dict.fromkeys(snapshot.metaservers, 0)
    for copyset in snapshot.copysets.values():
        if copyset.voters and copyset.voters[0] in firsts:
            firsts[copyset.voters[0]] += 1
    # What each has once it leads its share: so those that will lead get fewer others.
    counts = snapshot.replica_counts()
    loads = {id_: counts[id_] + max(0, share - firsts[id_]) for id_ in counts}
    targets = Targets(candidates, loads, limits, Slots(limits, ()), random)
    order = [(firsts[one.metaserver_id], one.metaserver_id) for one in candidates]
    heapq.heapify(order)
    made: list[tuple[int, ...]] = []
    while len(made) < min(count_max, wanted - len(snapshot.copysets)):
        led, first = order[0]
        if led >= share:
            break
        heapq.heapreplace(order, (led + 1, first))
        peers = [first]
        while len(peers) < snapshot.replica_count:
            peers.append(targets.pick(snapshot.zones_of(peers), peers))
            loads[peers[-1]] += 1
        others = sorted(peers[1:], key=lambda one: (one < first, one))
        made.append((first, *others))
    return made
