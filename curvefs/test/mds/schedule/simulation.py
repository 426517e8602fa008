"""A fleet that is only numbers, driven by the real controller through real orders, and checked at every change.

Members join, fail, are drained and come back as the caller says; time passes in steps of a few seconds. A replica that
joins takes some steps, and meanwhile leaders may change or metaservers fail. After each change of members the zones are
looked at, after each pass the limits.

How few moves would do: whatever lies on metaservers that are gone or retire must be placed anew, and what is above the
mean elsewhere must leave; or, where that is more, what is below the mean must come (`moves_min`).
"""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from curvefs.proto import heartbeat_pb2 as pb
from curvefs.proto import topology_pb2
from curvefs.src.mds.schedule.controller import Controller
from curvefs.src.mds.schedule.create import create
from curvefs.src.mds.schedule.operators import Limits, Step
from curvefs.src.mds.schedule.progress import End
from curvefs.src.mds.schedule.snapshot import CopysetInfo, MetaserverInfo, Snapshot

STEP_S = 5.0
OFFLINE_AFTER_S = 60.0


def make_pass(controller, snapshots, now_s):
    """Make a whole pass at once; returns the operators that began, and what ended."""
    steps = controller.steps(snapshots, now_s)
    try:
        work = next(steps)
        while True:
            work = steps.send(work())
    except StopIteration as done:
        return done.value


@dataclass
class Measured:
    """What happened since the last look. moves: replicas that have come somewhere."""

    passes: int = 0
    moves: int = 0
    transfers: int = 0
    longest_pass_s: float = 0.0
    all_passes_s: float = 0.0
    longest_snapshot_s: float = 0.0
    ends: Counter[End] = field(default_factory=Counter)


class Fleet:
    """Metaservers 1, 2, ... over the zones in turn."""

    def __init__(
        self,
        metaserver_count: int,
        zone_count: int,
        *,
        replica_count: int,
        limits: Limits,
        seed: int,
        join_steps: int = 2,
    ) -> None:
        self.random = Random(seed)
        self.limits = limits
        self.replica_count = replica_count
        self.controller = Controller(limits, self.random)
        self.metaservers: dict[int, MetaserverInfo] = {}
        self.copysets: dict[int, CopysetInfo] = {}
        self.now_s = 0.0
        self.measured = Measured()
        self._join_steps = join_steps
        self._empty: set[tuple[int, int]] = set()  # (metaserver, group): waits to be brought in
        self._joining: dict[int, int] = {}  # group -> steps until the learner has caught up
        self._failed: dict[int, float] = {}
        for number in range(metaserver_count):
            self.join(number % zone_count)

    # -------------------------------------------------------------------------------------- what happens

    def join(self, zone_id: int, **fields: object) -> int:
        """Have an empty metaserver come."""
        id_ = max(self.metaservers, default=0) + 1
        self.metaservers[id_] = MetaserverInfo(id_, zone_id, **fields)  # type: ignore[arg-type]
        return id_

    def make_copysets(self, count: int) -> float:
        """Make copysets as the MDS does; return the seconds it took."""
        began = time.perf_counter()
        known = len(self.metaservers)
        made = create(self.snapshot(), self.limits, self.random, wanted=count, known_count=known, count_max=count)
        took = time.perf_counter() - began
        for group_id, peers in enumerate(made, len(self.copysets) + 1):
            self.copysets[group_id] = CopysetInfo(group_id, peers, peers[0], 1)
        assert len(self.copysets) == count, (len(self.copysets), count)
        return took

    def fail(self, id_: int) -> None:
        """Have a metaserver fail; it counts as offline after a while, and its groups elect others."""
        self.metaservers[id_] = replace(self.metaservers[id_], health=topology_pb2.UNSTABLE)
        self._failed[id_] = self.now_s
        self._elect(id_)

    def come_back(self, id_: int) -> None:
        """Have a failed one come back as it was."""
        del self._failed[id_]
        self.metaservers[id_] = replace(self.metaservers[id_], health=topology_pb2.ONLINE)
        for copyset in list(self.copysets.values()):
            if not copyset.leader:
                self._choose_leader(copyset)

    def drain(self, id_: int) -> None:
        """Have a metaserver be emptied."""
        self.metaservers[id_] = replace(self.metaservers[id_], retiring=True)

    def restart_all(self) -> None:
        """Have every group elect whomever."""
        for copyset in list(self.copysets.values()):
            self._choose_leader(copyset)

    def _elect(self, gone: int) -> None:
        for copyset in list(self.copysets.values()):
            if copyset.leader == gone:
                self._choose_leader(copyset)

    def _choose_leader(self, copyset: CopysetInfo) -> None:
        there = [voter for voter in copyset.voters if voter not in self._failed]
        majority = 2 * len(there) > len(copyset.voters)
        leader = self.random.choice(there) if majority else 0
        # A leader opens its term with an entry that repeats the configuration.
        index = copyset.configuration_index + 1
        self.copysets[copyset.group_id] = replace(copyset, leader=leader, configuration_index=index)

    # --------------------------------------------------------------------------------------- time passes

    def snapshot(self) -> Snapshot:
        """Return the fleet as the MDS sees it."""
        return Snapshot.of(self.metaservers.values(), self.copysets.values(), replica_count=self.replica_count)

    def step(self) -> int:
        """Let a few seconds pass; return how many operators began or still run."""
        self.now_s += STEP_S
        for id_, since_s in self._failed.items():
            if self.now_s - since_s >= OFFLINE_AFTER_S:
                self.metaservers[id_] = replace(self.metaservers[id_], health=topology_pb2.OFFLINE)
        began = time.perf_counter()
        snapshot = self.snapshot()
        there = time.perf_counter()
        begun, ended = make_pass(self.controller, [snapshot], self.now_s)
        now = time.perf_counter()
        self._measure(there - began, now - there)
        self.measured.ends.update(one.end for one in ended)
        assert all(snapshot.is_free(snapshot.copysets[one.group_id]) for one in begun), "a copyset was busy"
        self._check_limits()
        self._carry_out()
        return len(self.controller.running())

    def settle(self, steps_max: int = 2000) -> None:
        """Let time pass until nothing moves any more."""
        waiting = 0
        for _ in range(steps_max):
            waiting = 0 if self.step() else waiting + 1
            if waiting > OFFLINE_AFTER_S / STEP_S + 1:
                return
        raise AssertionError(f"it does not converge: {len(self.controller.running())} operators run")

    def _measure(self, snapshot_s: float, pass_s: float) -> None:
        measured = self.measured
        measured.passes += 1
        measured.longest_snapshot_s = max(measured.longest_snapshot_s, snapshot_s)
        measured.longest_pass_s = max(measured.longest_pass_s, snapshot_s + pass_s)
        measured.all_passes_s += snapshot_s + pass_s

    def _carry_out(self) -> None:
        """Have each metaserver that is concerned send a heartbeat, and do what it is told."""
        requests: dict[int, pb.HeartbeatRequest] = {}
        for running in self.controller.running():
            operator = running.operator
            copyset = self.copysets[operator.group_id]
            for id_ in {copyset.leader, operator.target} - {0}:
                request = requests.setdefault(id_, pb.HeartbeatRequest(metaserver_id=id_))
                if id_ != operator.target or self._has_replica(id_, operator.group_id):
                    request.copysets.add(
                        group_id=operator.group_id,
                        leading=copyset.leader == id_,
                        configuration_index=copyset.configuration_index,
                    )
        for id_, request in requests.items():
            if id_ not in self._failed:
                orders = list(
                    self.controller.orders(
                        request, has_replica=self._has_replica, address=lambda one: f"host:{one}", term=lambda _: 7
                    )
                )
                for order in orders:
                    self._obey(id_, order)

    def _has_replica(self, id_: int, group_id: int) -> bool:
        copyset = self.copysets[group_id]
        return id_ in copyset.voters or id_ in copyset.learners or (id_, group_id) in self._empty

    def _obey(self, id_: int, order: pb.Order) -> None:
        copyset = self.copysets[order.group_id]
        if order.WhichOneof("order") == "create_copyset":
            self._empty.add((id_, order.group_id))
            return
        assert order.configuration_index == copyset.configuration_index, "computed from what is no longer so"
        assert copyset.leader == id_
        if order.WhichOneof("order") == "transfer_leader":
            to = order.transfer_leader.metaserver_id
            assert to in copyset.voters
            if to not in self._failed:
                index = copyset.configuration_index + 1
                self.copysets[order.group_id] = replace(copyset, leader=to, configuration_index=index)
                self.measured.transfers += 1
            return
        self._change(copyset, tuple(peer.metaserver_id for peer in order.change_peers.peers))

    def _change(self, copyset: CopysetInfo, goal: tuple[int, ...]) -> None:
        joining = tuple(set(goal) - set(copyset.voters))
        assert len(joining) <= 1
        assert len(set(copyset.voters) - set(goal)) <= 1
        if joining and joining[0] in self._failed:
            return
        group_id, index = copyset.group_id, copyset.configuration_index
        if joining and copyset.learners != joining:
            self.copysets[group_id] = replace(copyset, learners=joining, configuration_index=index + 1)
            self._joining[group_id] = self._join_steps
            return
        if joining and self._joining[group_id] > 0:
            self._joining[group_id] -= 1
            return
        assert copyset.leader in goal, "the leader would have left"
        self.copysets[group_id] = replace(copyset, voters=goal, learners=(), configuration_index=index + 2)
        self.measured.moves += len(joining)
        for one in joining:
            self._empty.discard((one, group_id))
        self._check_zones(copyset, self.copysets[group_id])

    # -------------------------------------------------------------------------------------------- checks

    def _check_zones(self, before: CopysetInfo, after: CopysetInfo) -> None:
        def distinct(copyset: CopysetInfo) -> int:
            return len({self.metaservers[voter].zone_id for voter in copyset.voters})

        zones = len({one.zone_id for one in self.metaservers.values() if one.usable})
        gone = len(set(before.voters) - set(after.voters))
        assert distinct(after) >= min(zones, len(after.voters), distinct(before) - gone + 1), (before, after)

    def _check_limits(self) -> None:
        running = [one.operator for one in self.controller.running()]
        joins = Counter(one.target for one in running if one.joins)
        sends = Counter(one.leader for one in running if one.joins)
        transfers = [one for one in running if one.step is Step.TRANSFER_LEADER]
        assert max(joins.values(), default=0) <= self.limits.joins_per_metaserver
        # Who leads may change while a replica is on its way: then another one sends it.
        assert sum(sends.values()) <= self.limits.changes
        assert len(running) - len(transfers) <= self.limits.changes
        assert len({one.group_id for one in running}) == len(running)

    def replica_counts(self) -> dict[int, int]:
        """Return usable metaserver -> replicas."""
        counts = Counter(voter for copyset in self.copysets.values() for voter in copyset.voters)
        return {id_: counts[id_] for id_, one in self.metaservers.items() if one.usable}

    def leader_counts(self) -> dict[int, int]:
        """Return usable metaserver -> copysets it leads."""
        counts = Counter(copyset.leader for copyset in self.copysets.values())
        return {id_: counts[id_] for id_, one in self.metaservers.items() if one.usable}

    def moves_min(self) -> int:
        """Return how few moves would do now, zones aside. What has failed counts as gone."""
        counts = Counter(voter for copyset in self.copysets.values() for voter in copyset.voters)
        staying = [id_ for id_, one in self.metaservers.items() if not one.retiring and id_ not in self._failed]
        lost = sum(count for id_, count in counts.items() if id_ not in set(staying))
        missing = sum(self.replica_count - len(copyset.voters) for copyset in self.copysets.values())
        mean, rest = divmod(len(self.copysets) * self.replica_count, len(staying))
        over = sum(max(0, counts[id_] - mean - (rest > 0)) for id_ in staying)
        under = sum(max(0, mean - counts[id_]) for id_ in staying)
        return max(lost + missing + over, under)

    def check_whole(self) -> None:
        """Assert that every copyset has its replicas, in distinct zones if there are enough, all on usable ones."""
        zones = len({one.zone_id for one in self.metaservers.values() if one.usable})
        for copyset in self.copysets.values():
            assert len(set(copyset.voters)) == self.replica_count, copyset
            assert not copyset.learners, copyset
            assert all(self.metaservers[voter].usable for voter in copyset.voters), copyset
            distinct = len({self.metaservers[voter].zone_id for voter in copyset.voters})
            assert distinct >= min(zones, self.replica_count), copyset
