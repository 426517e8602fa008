"""The controller: runs the schedulers over a snapshot, keeps the operators that run, and says what to order.

Orders ride on the answers to heartbeats. Who shall get a replica is ordered to make an empty one, which waits; when it
reports it, the leader is ordered to bring it in. An order is repeated with each heartbeat until the reports show that
it is done, so a lost one does no harm. It carries the configuration it was computed from (rule 25).

Pure: fed with snapshots, reports and the time. Invariants:
    at most one operator per copyset
    schedulers keep the limits, counting what runs; what a person asks for is not refused for them
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from ....proto import common_pb2
from ....proto import heartbeat_pb2 as pb
from ...common.errors import NotFound, ResourceBusy
from .copyset_balance import copyset_balance
from .leaders import leader_balance, rapid_leader
from .operators import Limits, Operator, Scheduler, Step
from .progress import End, advance
from .recover import recover
from .snapshot import Snapshot

_Schedule = Callable[[Snapshot, Limits, Random], list[Operator]]
# What restores redundancy goes first; leaders are spread last, over what there is.
_SCHEDULES: tuple[tuple[Scheduler, _Schedule], ...] = (
    (Scheduler.RECOVER, recover),
    (Scheduler.RAPID_LEADER, rapid_leader),
    (Scheduler.COPYSET_BALANCE, copyset_balance),
    (Scheduler.LEADER_BALANCE, leader_balance),
)
_GIVEN_UP_MAX = 10_000
SWITCHES = tuple(scheduler for scheduler, _ in _SCHEDULES)


@dataclass(slots=True)
class Running:
    """An operator under way. Seconds of the boot-time clock."""

    operator: Operator
    started_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An operator that is over, and why."""

    operator: Operator
    end: End


class Controller:
    """What runs, and what may. Rapid leader is off; switched on, it runs once and is off again."""

    def __init__(self, limits: Limits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._running: dict[int, Running] = {}
        self._to_join: dict[int, set[int]] = {}  # metaserver -> groups that it shall get a replica of
        self._given_up: dict[tuple[int, int], None] = {}  # (metaserver, group), the oldest first
        self._enabled = set(SWITCHES) - {Scheduler.RAPID_LEADER}

    # ------------------------------------------------------------------------------------ what people do

    def is_enabled(self, scheduler: Scheduler) -> bool:
        """Return whether a scheduler runs."""
        return scheduler in self._enabled

    def switch(self, scheduler: Scheduler, *, on: bool) -> None:
        """Have a scheduler run or not; what it began goes on."""
        assert scheduler in SWITCHES, scheduler
        if on:
            self._enabled.add(scheduler)
        else:
            self._enabled.discard(scheduler)

    def running(self) -> list[Running]:
        """Return what runs, by group; not to be modified."""
        return [one for _, one in sorted(self._running.items())]

    def add(self, operator: Operator, now_s: float) -> None:
        """Begin what a person asks for. Raises ResourceBusy when the copyset has an operator."""
        if operator.group_id in self._running:
            raise ResourceBusy(f"copyset {operator.group_id} is being changed already")
        self._begin(operator, now_s)

    def cancel(self, group_id: int) -> Ended:
        """Give up the operator of a copyset; an order that is on its way may be carried out. Raises NotFound."""
        if group_id not in self._running:
            raise NotFound(f"copyset {group_id} has no operator")
        return self._end(group_id, End.CANCELLED)

    # ----------------------------------------------------------------------------------------- one pass

    def steps(
        self, snapshots: Sequence[Snapshot], now_s: float
    ) -> Generator[Callable[[], list[Operator]], list[Operator], tuple[list[Operator], list[Ended]]]:
        """Look at what has come of the operators, and begin new ones; return what began and what ended.

        Yields what takes long: pure work, to be done anywhere; is sent what that returned. Meanwhile orders may be
        asked for, and people may begin operators and cancel some. snapshots: of the pools. Limits are for all of them
        together, so recover has its turn in each one first.
        """
        ended = list(self._settle(snapshots, now_s))
        begun: list[Operator] = []
        for scheduler, schedule in _SCHEDULES:
            if scheduler not in self._enabled:
                continue
            for snapshot in snapshots:
                running = [one.operator for one in self._running.values()]
                for operator in (yield partial(_think, schedule, snapshot, running, self._limits, self._random)):
                    if operator.group_id not in self._running:
                        self._begin(operator, now_s)
                        begun.append(operator)
            if scheduler is Scheduler.RAPID_LEADER:
                self._enabled.discard(scheduler)
        return begun, ended

    def _settle(self, snapshots: Sequence[Snapshot], now_s: float) -> Iterator[Ended]:
        for group_id, running in list(self._running.items()):
            of = next((one for one in snapshots if group_id in one.copysets), None)
            found = advance(running.operator, of.copysets[group_id], of.metaservers) if of else End.MOVED_ON
            if isinstance(found, Operator):
                running.operator = found
                if now_s >= running.deadline_s:
                    yield self._end(group_id, End.TIMED_OUT)
            else:
                yield self._end(group_id, found)

    def _begin(self, operator: Operator, now_s: float) -> None:
        assert operator.group_id not in self._running, operator
        self._running[operator.group_id] = Running(operator, now_s, now_s + self._limits.timeout_s(operator.step))
        if operator.joins:
            self._to_join.setdefault(operator.target, set()).add(operator.group_id)
            self._given_up.pop((operator.target, operator.group_id), None)

    def _end(self, group_id: int, end: End) -> Ended:
        operator = self._running.pop(group_id).operator
        if operator.joins:
            groups = self._to_join[operator.target]
            groups.discard(group_id)
            if not groups:
                del self._to_join[operator.target]
            if end is not End.DONE:
                self._given_up[operator.target, group_id] = None
                if len(self._given_up) > _GIVEN_UP_MAX:
                    del self._given_up[next(iter(self._given_up))]
        return Ended(operator, end)

    # ------------------------------------------------------------------------------------------- orders

    def expects(self, metaserver_id: int, group_id: int) -> bool:
        """Return whether a metaserver shall have a replica of a group that its group may not know of yet."""
        return group_id in self._to_join.get(metaserver_id, ())

    def gave_up(self, metaserver_id: int, group_id: int) -> bool:
        """Return whether a metaserver may have an empty replica that nobody waits for any more."""
        return (metaserver_id, group_id) in self._given_up

    def orders(
        self,
        request: pb.HeartbeatRequest,
        *,
        has_replica: Callable[[int, int], bool],
        address: Callable[[int], str],
        term: Callable[[int], int],
    ) -> Iterator[pb.Order]:
        """Yield what the metaserver that sent a heartbeat shall do.

        has_replica: whether (metaserver, group) was reported. address: of a metaserver. term: the highest that a
        group was said to be led in, so at least that of the leader who said that the metaserver is no member.
        """
        there = {copyset.group_id for copyset in request.copysets}
        for group_id in sorted(self._to_join.get(request.metaserver_id, set()) - there):
            yield pb.Order(group_id=group_id, create_copyset=pb.CreateCopysetOrder(term=term(group_id)))
        for copyset in request.copysets:
            running = self._running.get(copyset.group_id) if copyset.leading else None
            if running is None or copyset.configuration_index != running.operator.configuration_index:
                continue
            operator = running.operator
            if not operator.joins or has_replica(operator.target, operator.group_id):
                yield _order(operator, address)


def _think(
    schedule: _Schedule, snapshot: Snapshot, running: list[Operator], limits: Limits, random: Random
) -> list[Operator]:
    return schedule(snapshot.with_operators(running), limits, random)


def _order(operator: Operator, address: Callable[[int], str]) -> pb.Order:
    order = pb.Order(group_id=operator.group_id, configuration_index=operator.configuration_index)
    if operator.step is Step.TRANSFER_LEADER:
        order.transfer_leader.metaserver_id = operator.target
    else:
        peers = [common_pb2.Peer(metaserver_id=voter, address=address(voter)) for voter in operator.goal]
        order.change_peers.peers.extend(peers)
    return order
