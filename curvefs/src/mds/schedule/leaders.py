"""Leaders are spread: leader balance bit by bit, rapid leader all at once, for after a restart of the whole cluster.

Each metaserver that leads more than others hands leaderships over to those voters that lead at least two fewer, the
fewest first. So the sum of squares falls with each, it ends, and nothing is handed back. What is left may differ by two
or three between metaservers that share no copyset; one that all copysets connect cannot differ by more.

The heap of what a metaserver can hand over is ordered by how much the takers lead; that only grows while it hands over,
so each entry is brought up to date when it comes first. One sweep looks at each copyset about once.
"""

import heapq
from collections.abc import Callable
from random import Random

from .operators import Limits, Operator, Scheduler, Slots, Step
from .snapshot import CopysetInfo, Snapshot

_SWEEPS_MAX = 20


def leader_balance(snapshot: Snapshot, limits: Limits, random: Random) -> list[Operator]:
    """Return the operators that may begin now. Who has been back only for a while gets no leaders yet."""
    slots = Slots(limits, snapshot.operators.values())
    takers = {one.metaserver_id for one in snapshot.usable() if not one.cooling}
    plan = _Plan(snapshot, takers, random, may_give=slots.may_give, may_take=slots.may_take)
    operators: list[Operator] = []

    def hand_over(copyset: CopysetInfo, source: int, target: int) -> None:
        operator = copyset.operator(Scheduler.LEADER_BALANCE, Step.TRANSFER_LEADER, source=source, target=target)
        slots.take(operator)
        operators.append(operator)

    plan.sweep(hand_over, once=True)
    return operators


def rapid_leader(snapshot: Snapshot, limits: Limits, random: Random) -> list[Operator]:
    """Return operators that spread all leaders, regardless of how many run at a time and who has just come back."""
    del limits
    takers = {one.metaserver_id for one in snapshot.usable()}
    plan = _Plan(snapshot, takers, random, may_give=lambda _: True, may_take=lambda _: True)
    changed: dict[int, int] = {}

    def hand_over(copyset: CopysetInfo, source: int, target: int) -> None:
        del source
        changed[copyset.group_id] = target

    for _ in range(_SWEEPS_MAX):
        if not plan.sweep(hand_over, once=False):
            break
    copysets = (snapshot.copysets[group_id] for group_id in changed)
    return [
        copyset.operator(
            Scheduler.RAPID_LEADER, Step.TRANSFER_LEADER, source=copyset.leader, target=changed[copyset.group_id]
        )
        for copyset in copysets
        if changed[copyset.group_id] != copyset.leader
    ]


class _Plan:
    """Who leads what, as planned so far."""

    def __init__(
        self,
        snapshot: Snapshot,
        takers: set[int],
        random: Random,
        *,
        may_give: Callable[[int], bool],
        may_take: Callable[[int], bool],
    ) -> None:
        self._takers = takers
        self._may_give = may_give
        self._may_take = may_take
        self._counts = snapshot.leader_counts()
        self._led: dict[int, list[CopysetInfo]] = {
            id_: [copyset for group_id in groups if snapshot.is_free(copyset := snapshot.copysets[group_id])]
            for id_, groups in snapshot.led_by.items()
        }
        for copysets in self._led.values():
            random.shuffle(copysets)

    def sweep(self, hand_over: Callable[[CopysetInfo, int, int], None], *, once: bool) -> bool:
        """Have each metaserver hand over what it leads too much, the one with the most first; return whether any did.

        once: no copyset is handed over twice.
        """
        fewest = min((self._counts[id_] for id_ in self._takers), default=0)
        found = False
        for id_ in sorted(self._led, key=lambda one: (-self._counts[one], one)):
            if self._counts[id_] - fewest < 2:
                continue  # nobody has few enough for it; others may have gained meanwhile
            found |= self._relieve(id_, hand_over, once=once)
        return found

    def _relieve(self, id_: int, hand_over: Callable[[CopysetInfo, int, int], None], *, once: bool) -> bool:
        counts = self._counts
        heap = []
        for place, copyset in enumerate(self._led[id_]):
            taker = self._taker(copyset, id_)
            if taker:
                heap.append((counts[taker], place))
        heapq.heapify(heap)
        given: set[int] = set()
        while heap and self._may_give(id_) and counts[id_] - heap[0][0] >= 2:
            before, place = heap[0]
            copyset = self._led[id_][place]
            taker = self._taker(copyset, id_)
            if not taker:
                heapq.heappop(heap)
            elif counts[taker] != before:
                heapq.heapreplace(heap, (counts[taker], place))
            else:
                heapq.heappop(heap)
                given.add(place)
                counts[id_] -= 1
                counts[taker] += 1
                if not once:
                    self._led[taker].append(copyset)
                hand_over(copyset, id_, taker)
        self._led[id_] = [copyset for place, copyset in enumerate(self._led[id_]) if place not in given]
        return bool(given)

    def _taker(self, copyset: CopysetInfo, leader: int) -> int:
        """Return the voter that leads the fewest; 0 if none may."""
        best, best_count = 0, 0
        for voter in copyset.voters:
            if voter != leader and voter in self._takers and voter not in copyset.lost and self._may_take(voter):
                count = self._counts[voter]
                if not best or count < best_count:
                    best, best_count = voter, count
        return best
