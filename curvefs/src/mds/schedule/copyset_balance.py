"""Copyset balance: replicas go from metaservers that have many to those that have few, until they differ by one.

First, copysets are mended that have two replicas in a zone while another zone has none; then metaservers are relieved
whose disks are nearly full; then counts are levelled, always from the one with the most to the one with the fewest that
the zones allow.

A move for balance goes from n replicas to at most n - 2, so the sum of squares falls with each: it ends, and nothing is
moved back. A metaserver with n above the mean has to give, one below has to get; so no move is wasted while the zones
allow the ends to meet. While recover has replicas to place, only those give that have more than the mean will be: what
has few will get some anyway. Only copysets that are whole are moved.
"""

import heapq
import math
from random import Random

from .operators import Limits, Operator, Scheduler, Slots, Step
from .snapshot import CopysetInfo, MetaserverInfo, Snapshot
from .targets import Targets, mean_to_be


def copyset_balance(snapshot: Snapshot, limits: Limits, random: Random) -> list[Operator]:
    """Return the operators that may begin now."""
    return _Pass(snapshot, limits, random).run()


class _Pass:
    """The counts of one pass."""

    def __init__(self, snapshot: Snapshot, limits: Limits, random: Random) -> None:
        self.snapshot = snapshot
        self._limits = limits
        self.random = random
        self.slots = Slots(limits, snapshot.operators.values())
        self.targets = Targets(snapshot.metaservers.values(), snapshot.replica_counts(), limits, self.slots, random)
        self._leaders = snapshot.leader_counts()
        self.operators: dict[int, Operator] = {}

    def run(self) -> list[Operator]:
        """Return the operators."""
        self._mend_zones()
        usable = self.snapshot.usable()
        for one in usable:
            if one.disk_use >= self._limits.disk_use_shed:
                self._relieve(one)
        self._level(usable)
        return list(self.operators.values())

    # ------------------------------------------------------------------------------------------- zones

    def _mend_zones(self) -> None:
        zone_count = len({one.zone_id for one in self.snapshot.usable()})
        zone_of = {id_: one.zone_id for id_, one in self.snapshot.metaservers.items()}
        for copyset in self.snapshot.copysets.values():
            distinct = len({zone_of.get(voter) for voter in copyset.voters})
            if distinct < min(zone_count, len(copyset.voters)) and self.may_move(copyset):
                self._mend(copyset)

    def _mend(self, copyset: CopysetInfo) -> None:
        zones = self.snapshot.zones_of(copyset.voters)
        loads = self.targets.loads
        # The leader last: it would have to hand over first.
        order = sorted(
            (voter for voter in copyset.voters if zones[self.snapshot.zone_of(voter)] > 1),
            key=lambda voter: (voter == copyset.leader, -loads[voter]),
        )
        source = order[0]
        others = [voter for voter in copyset.voters if voter != source]
        crowd = self.snapshot.zones_of(others)
        target = self.targets.pick(crowd, copyset.voters)
        if target and crowd.get(self.snapshot.zone_of(target), 0) < crowd[self.snapshot.zone_of(source)]:
            self.move(copyset, source, target)

    # ------------------------------------------------------------------------------------------- disks

    def _relieve(self, one: MetaserverInfo) -> None:
        """Have one replica after another leave, a few at a time: what it frees is known only afterwards."""
        leaving = sum(
            operator.leaves and operator.source == one.metaserver_id for operator in self.snapshot.operators.values()
        )
        source = _Source(one.metaserver_id, self)
        while leaving < self._limits.joins_per_metaserver and source.give(at_most=None):
            leaving += 1

    # ------------------------------------------------------------------------------------------ counts

    def _level(self, usable: list[MetaserverInfo]) -> None:
        loads = self.targets.loads
        least = math.ceil(mean_to_be(self.snapshot, loads))
        order = [(-loads[one.metaserver_id], one.metaserver_id) for one in usable if loads[one.metaserver_id] > least]
        heapq.heapify(order)
        sources: dict[int, _Source] = {}
        while order and self.slots.may_change():
            load, id_ = heapq.heappop(order)
            heads = self.targets.by_load()
            if not heads or -load - heads[0][0][0] < 2 or -load <= least:
                return
            source = sources.setdefault(id_, _Source(id_, self))
            if source.give(at_most=-load - 2):
                heapq.heappush(order, (-loads[id_], id_))

    # ------------------------------------------------------------------------------------------- moves

    def may_move(self, copyset: CopysetInfo) -> bool:
        """Return whether a replica of a copyset may be moved: it is whole, and nothing is under way."""
        snapshot = self.snapshot
        return copyset.group_id not in self.operators and snapshot.is_free(copyset) and snapshot.is_well(copyset)

    def move(self, copyset: CopysetInfo, source: int, target: int) -> bool:
        """Begin to move a replica; where it leads, have it hand over, and move it another time."""
        operator = self._first_step(copyset, source, target)
        if operator is None or not self.slots.admits(operator):
            return False
        self.slots.take(operator)
        self.operators[copyset.group_id] = operator
        # Also where the leader has to hand over first: the move follows in a later pass.
        self.targets.loads[target] += 1
        self.targets.loads[source] -= 1
        return True

    def _first_step(self, copyset: CopysetInfo, source: int, target: int) -> Operator | None:
        kind = Scheduler.COPYSET_BALANCE
        if source != copyset.leader:
            return copyset.operator(kind, Step.REPLACE_PEER, source=source, target=target)
        heirs = [voter for voter in copyset.voters if voter != source and self.slots.may_take(voter)]
        if heirs:
            heir = min(heirs, key=lambda voter: (self._leaders[voter], voter))
            self._leaders[heir] += 1
            return copyset.operator(kind, Step.TRANSFER_LEADER, source=source, target=heir)
        if len(copyset.voters) == 1:
            return copyset.operator(kind, Step.ADD_PEER, target=target)
        return None


class _Source:
    """A metaserver that shall have fewer replicas: which of them can go to which zone."""

    def __init__(self, id_: int, pass_: _Pass) -> None:
        self._id = id_
        self._pass = pass_
        snapshot = pass_.snapshot
        self._zone = snapshot.zone_of(id_)
        mine = [snapshot.copysets[group_id] for group_id in snapshot.groups_of[id_]]
        self._movable = [copyset for copyset in mine if pass_.may_move(copyset)]
        pass_.random.shuffle(self._movable)
        # What is led here would have to be handed over first: it comes last.
        self._movable.sort(key=lambda copyset: copyset.leader == id_)
        self._by_zone: dict[int, list[CopysetInfo]] = {}

    def give(self, *, at_most: int | None) -> bool:
        """Begin to move one replica to a metaserver that has at most so many."""
        for (load, _, _), zone in self._pass.targets.by_load():
            if at_most is not None and load > at_most:
                return False
            if self._give_to(zone, at_most):
                return True
        return False

    def _give_to(self, zone: int, at_most: int | None) -> bool:
        candidates = self._for(zone)
        while candidates:
            copyset = candidates.pop()
            if copyset.group_id in self._pass.operators or not self._pass.slots.may_send(copyset.leader):
                continue
            head = self._pass.targets.head(zone, copyset.voters)
            if head is None or (at_most is not None and head[0] > at_most):
                continue  # the ones with few have a replica of this copyset; they may have none of the next
            if self._pass.move(copyset, self._id, head[2]):
                return True
        return False

    def _for(self, zone: int) -> list[CopysetInfo]:
        """Return the copysets whose replica here may go to a zone, the best last."""
        found = self._by_zone.get(zone)
        if found is None:
            found = [copyset for copyset in reversed(self._movable) if self._may_go(copyset, zone)]
            self._by_zone[zone] = found
        return found

    def _may_go(self, copyset: CopysetInfo, zone: int) -> bool:
        zones = self._pass.snapshot.zones_of(copyset.voters)
        return zone == self._zone or zones.get(zone, 0) <= zones[self._zone] - 1
