"""Who gets the next replica: of the zones where it crowds least, the metaserver with the fewest replicas.

One heap of loads per zone, brought up to date when looked at: to choose costs a look at each zone. Equals are chosen
among at random, so that the copysets of a metaserver have their other replicas on many others, and many help when it
fails. Lives within one pass.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from random import Random

from ....proto import topology_pb2 as pb
from .operators import Limits, Slots
from .snapshot import MetaserverInfo, Snapshot

Head = tuple[int, float, int]  # load, random, metaserver


class Targets:
    """Candidates for replicas. loads: metaserver -> replicas it has; kept up to date by what is chosen."""

    def __init__(
        self, candidates: Iterable[MetaserverInfo], loads: dict[int, int], limits: Limits, slots: Slots, random: Random
    ) -> None:
        self.loads = loads
        self._slots = slots
        self._random = random
        self._heaps: dict[int, list[Head]] = {}
        for one in candidates:
            if one.usable and one.disk_use < limits.disk_use_max and slots.may_join(one.metaserver_id):
                entry = (loads[one.metaserver_id], random.random(), one.metaserver_id)
                self._heaps.setdefault(one.zone_id, []).append(entry)
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def pick(self, crowd: Mapping[int, int], excluded: Collection[int]) -> int:
        """Return who shall get a replica; 0: nobody can.

        crowd: zone -> replicas of the copyset that stay in it. excluded: metaservers that have or had one.
        """
        best: tuple[int, Head] | None = None
        for zone in self._heaps:
            crowded = crowd.get(zone, 0)
            if best is not None and crowded > best[0]:
                continue
            head = self.head(zone, excluded)
            if head is not None and (best is None or (crowded, head) < best):
                best = crowded, head
        return best[1][2] if best is not None else 0

    def by_load(self) -> list[tuple[Head, int]]:
        """Return (least loaded metaserver, zone) of all zones, the least loaded first."""
        heads = [(head, zone) for zone in self._heaps if (head := self.head(zone, ())) is not None]
        return sorted(heads)

    def head(self, zone: int, excluded: Collection[int]) -> Head | None:
        """Return the least loaded metaserver of a zone that may still get a replica."""
        heap = self._heaps[zone]
        aside: list[Head] = []
        found: Head | None = None
        while heap and found is None:
            load, _, id_ = heap[0]
            if not self._slots.may_join(id_):
                heapq.heappop(heap)  # nothing comes free within a pass
            elif load != self.loads[id_]:
                # With another random number: else the same ones would meet in every round.
                heapq.heapreplace(heap, (self.loads[id_], self._random.random(), id_))
            elif id_ in excluded:
                aside.append(heapq.heappop(heap))
            else:
                found = heap[0]
        for entry in aside:
            heapq.heappush(heap, entry)
        return found


def mean_to_be(snapshot: Snapshot, loads: Mapping[int, int]) -> float:
    """Return how many replicas each metaserver will have, on average, when recover has placed what it must.

    0: it has nothing to place.
    """
    servers = snapshot.metaservers.items()
    to_place = sum(loads[id_] for id_, one in servers if one.retiring or one.health == pb.OFFLINE)
    usable = [loads[id_] for id_, one in servers if one.usable]
    return (to_place + sum(usable)) / len(usable) if to_place and usable else 0.0
