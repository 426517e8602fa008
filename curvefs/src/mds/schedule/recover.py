"""Recover: a copyset gets back the replicas it should have, one step at a time.

Missing replicas are added, surplus ones removed, dead ones replaced, then lost and retiring ones; whose copysets miss
the most are served first. Where the leader itself is to leave, it hands over before. The target lies in a zone that
holds no other replica of the copyset, as long as there is one. A copyset without a leader cannot change, and waits.

No replica comes to a zone that it crowds only because those it should go to get others at the moment: it waits. What is
dead is replaced wherever else there is room, at once. What retires is still there: it waits also for a place on a
metaserver that has less than its share, so that it need not be moved again.
"""

import math
from random import Random

from ....proto import topology_pb2 as pb
from .operators import Limits, Operator, Scheduler, Slots, Step
from .snapshot import CopysetInfo, Snapshot
from .targets import Targets, mean_to_be


def recover(snapshot: Snapshot, limits: Limits, random: Random) -> list[Operator]:
    """Return the operators that may begin now."""
    return _Pass(snapshot, limits, random).run()


class _Pass:
    """The counts of one pass."""

    def __init__(self, snapshot: Snapshot, limits: Limits, random: Random) -> None:
        self._snapshot = snapshot
        self._slots = Slots(limits, snapshot.operators.values())
        servers = snapshot.metaservers
        self._dead = {id_ for id_, one in servers.items() if one.health == pb.OFFLINE}
        self._retiring = {id_ for id_, one in servers.items() if one.retiring}
        self._well = {id_ for id_, one in servers.items() if one.usable}
        loads = snapshot.replica_counts()
        self._targets = Targets(servers.values(), loads, limits, self._slots, random)
        self._places = Targets(servers.values(), loads, limits, Slots(limits, ()), random)  # also those to wait for
        self._share = math.floor(mean_to_be(snapshot, loads))
        self._leaders = snapshot.leader_counts()

    def run(self) -> list[Operator]:
        operators = []
        for _, _, copyset in sorted(self._in_need()):
            operator = self._step(copyset)
            if operator is not None and self._slots.admits(operator):
                self._slots.take(operator)
                self._count(operator)
                operators.append(operator)
        return operators

    def _in_need(self) -> list[tuple[int, int, CopysetInfo]]:
        """Return (replicas that are well, id, copyset) of all that are not as they should be."""
        found = []
        bad = self._dead | self._retiring
        servers = frozenset(self._snapshot.metaservers)
        for group_id, copyset in self._snapshot.copysets.items():
            voters = copyset.voters
            as_it_should_be = (
                len(voters) == self._snapshot.replica_count
                and not copyset.learners
                and not copyset.lost
                and bad.isdisjoint(voters)
                and servers.issuperset(voters)
            )
            if not as_it_should_be and self._snapshot.is_free(copyset):
                found.append((sum(self._is_there(copyset, voter) for voter in voters), group_id, copyset))
        return found

    def _is_there(self, copyset: CopysetInfo, voter: int) -> bool:
        known = voter in self._snapshot.metaservers
        return known and voter not in self._dead and voter not in copyset.lost

    def _step(self, copyset: CopysetInfo) -> Operator | None:
        there = [voter for voter in copyset.voters if self._is_there(copyset, voter)]
        if 2 * len(there) <= len(copyset.voters):
            return None  # nothing can be committed, whatever its last leader said
        if copyset.learners:
            # Left over from a change that was given up: it may be begun anew when it is gone.
            return copyset.operator(Scheduler.RECOVER, Step.REMOVE_PEER, source=copyset.learners[0])
        leaving = self._first_to_leave(copyset)
        count = len(copyset.voters) - self._snapshot.replica_count
        if count > 0:
            return self._leave(copyset, leaving or self._least_useful(copyset), Step.REMOVE_PEER)
        if count < 0:
            return self._join(copyset, 0, Step.ADD_PEER)
        if leaving and len(copyset.voters) == 1:
            return self._join(copyset, 0, Step.ADD_PEER)  # it leads: somebody must be there to hand over to
        return self._leave(copyset, leaving, Step.REPLACE_PEER) if leaving else None

    def _first_to_leave(self, copyset: CopysetInfo) -> int:
        """Return the voter whose replica is worth least; 0 if all are well."""
        bad = [voter for voter in copyset.voters if not self._is_there(copyset, voter)]
        retiring = [voter for voter in copyset.voters if voter in self._retiring]
        # Of those that retire the leader goes last.
        retiring.sort(key=lambda voter: voter == copyset.leader)
        return next(iter([*bad, *retiring]), 0)

    def _least_useful(self, copyset: CopysetInfo) -> int:
        """Return the voter that crowds a zone, else that is on the fullest metaserver."""
        zones = self._snapshot.zones_of(copyset.voters)
        loads = self._targets.loads
        return max(copyset.voters, key=lambda voter: (zones[self._snapshot.zone_of(voter)], loads[voter], voter))

    def _leave(self, copyset: CopysetInfo, source: int, step: Step) -> Operator | None:
        if source == copyset.leader:
            heirs = self._heirs(copyset, source)
            if not heirs:
                return None
            heir = min(heirs, key=lambda voter: (self._leaders[voter], voter))
            return copyset.operator(Scheduler.RECOVER, Step.TRANSFER_LEADER, source=source, target=heir)
        if step is Step.REMOVE_PEER:
            return copyset.operator(Scheduler.RECOVER, step, source=source)
        return self._join(copyset, source, step)

    def _heirs(self, copyset: CopysetInfo, source: int) -> list[int]:
        others = [voter for voter in copyset.voters if voter != source and voter not in copyset.lost]
        may_take = self._slots.may_take
        return [voter for voter in others if voter in self._well and may_take(voter)]

    def _join(self, copyset: CopysetInfo, source: int, step: Step) -> Operator | None:
        if not self._slots.may_change() or not self._slots.may_send(copyset.leader):
            return None
        stay = [voter for voter in copyset.voters if voter != source]
        crowd = self._snapshot.zones_of(stay)
        target = self._targets.pick(crowd, copyset.voters)
        if not target or self._waits(copyset, source, target, crowd):
            return None
        return copyset.operator(Scheduler.RECOVER, step, source=source, target=target)

    def _waits(self, copyset: CopysetInfo, source: int, target: int, crowd: dict[int, int]) -> bool:
        """Return whether a better place than ``target`` only has too much to do now."""
        better = self._places.pick(crowd, copyset.voters)
        zone_of, loads = self._snapshot.zone_of, self._targets.loads
        if crowd.get(zone_of(better), 0) < crowd.get(zone_of(target), 0):
            return True
        is_urgent = not source or not self._is_there(copyset, source)
        return not is_urgent and loads[better] < self._share <= loads[target]

    def _count(self, operator: Operator) -> None:
        if operator.step is Step.TRANSFER_LEADER:
            self._leaders[operator.source] -= 1
            self._leaders[operator.target] += 1
        if operator.joins:
            self._targets.loads[operator.target] += 1
