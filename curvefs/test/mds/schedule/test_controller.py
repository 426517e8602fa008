"""Operators run, are ordered, and end; each case on one copyset of three."""

from dataclasses import replace
from random import Random

import pytest

from curvefs.proto import heartbeat_pb2
from curvefs.proto import topology_pb2 as pb
from curvefs.src.common.errors import NotFound, ResourceBusy
from curvefs.src.mds.schedule.controller import SWITCHES, Controller
from curvefs.src.mds.schedule.operators import Limits, Scheduler, Step
from curvefs.src.mds.schedule.progress import End
from curvefs.src.mds.schedule.snapshot import CopysetInfo, MetaserverInfo, Snapshot
from curvefs.test.mds.schedule.simulation import make_pass

GROUP = CopysetInfo(5, (1, 2, 3), 1, 40)


class Lab:
    """Metaservers 1 to 4 in zones of their own, and one copyset; nothing is scheduled unless it is switched on."""

    def __init__(self) -> None:
        self.controller = Controller(Limits(), Random(1))
        for scheduler in SWITCHES:
            self.controller.switch(scheduler, on=False)
        self.servers = {id_: MetaserverInfo(id_, id_) for id_ in (1, 2, 3, 4)}
        self.group = GROUP
        self.now_s = 100.0

    def ask(self, step: Step, source: int = 0, target: int = 0) -> None:
        operator = self.group.operator(Scheduler.PERSON, step, source=source, target=target)
        self.controller.add(operator, self.now_s)

    def run(self, later_s: float = 0.0, **changed) -> list[End]:
        """Let time pass and the copyset change; return what ended."""
        self.now_s += later_s
        self.group = replace(self.group, **changed)
        snapshot = Snapshot.of(self.servers.values(), [self.group], replica_count=3)
        _, ended = make_pass(self.controller, [snapshot], self.now_s)
        return [one.end for one in ended]

    def orders(self, id_: int, *, leading: bool = False, has: bool = True, index: int = 0, target_has: bool = True):
        request = heartbeat_pb2.HeartbeatRequest(metaserver_id=id_)
        if has:
            index = index or self.group.configuration_index
            request.copysets.add(group_id=5, leading=leading, configuration_index=index)
        return list(
            self.controller.orders(
                request, has_replica=lambda *_: target_has, address=lambda one: f"host:{one}", term=lambda _: 7
            )
        )


@pytest.fixture
def lab() -> Lab:
    return Lab()


# -------------------------------------------------------------------------------------------------- orders


def test_the_target_makes_an_empty_replica_and_then_the_leader_brings_it_in(lab):
    lab.ask(Step.REPLACE_PEER, 3, 4)
    [order] = lab.orders(4, has=False)
    assert (order.group_id, order.WhichOneof("order"), len(order.create_copyset.peers)) == (5, "create_copyset", 0)
    assert order.create_copyset.term == 7, "as whoever leads it said"
    assert lab.controller.expects(4, 5)
    assert lab.orders(1, leading=True, target_has=False) == []
    assert lab.orders(4) == []
    [order] = lab.orders(1, leading=True)
    peers = [(peer.metaserver_id, peer.address) for peer in order.change_peers.peers]
    assert (order.configuration_index, peers) == (40, [(1, "host:1"), (2, "host:2"), (4, "host:4")])
    assert lab.orders(1, leading=True) == [order]  # until it is done


def test_only_who_leads_in_that_configuration_is_ordered(lab):
    lab.ask(Step.TRANSFER_LEADER, 1, 2)
    assert lab.orders(2) == []
    assert lab.orders(1, leading=True, index=41) == []
    [order] = lab.orders(1, leading=True)
    assert (order.configuration_index, order.transfer_leader.metaserver_id) == (40, 2)


def test_a_removal_needs_nobody_else(lab):
    lab.ask(Step.REMOVE_PEER, 3)
    [order] = lab.orders(1, leading=True, target_has=False)
    assert [peer.metaserver_id for peer in order.change_peers.peers] == [1, 2]


def test_nothing_is_ordered_any_more_when_it_is_over(lab):
    lab.ask(Step.ADD_PEER, 0, 4)
    lab.controller.cancel(5)
    assert lab.orders(1, leading=True) == lab.orders(4, has=False) == []
    assert not lab.controller.expects(4, 5)


# ---------------------------------------------------------------------------------------------------- ends


def test_a_replacement_goes_on_through_its_own_steps_and_ends_when_the_goal_is_reached(lab):
    lab.ask(Step.REPLACE_PEER, 3, 4)
    assert lab.run() == []
    assert lab.run(configuration_index=41, learners=(4,)) == []
    [order] = lab.orders(1, leading=True)
    assert order.configuration_index == 41
    assert lab.run(configuration_index=43, voters=(1, 2, 4), learners=(), changing=True) == []
    assert lab.run(changing=False) == [End.DONE]


def test_a_transfer_ends_when_the_target_leads(lab):
    lab.ask(Step.TRANSFER_LEADER, 1, 2)
    assert lab.run(leader=0) == []
    assert lab.run(leader=2, configuration_index=41) == [End.DONE]


@pytest.mark.parametrize(
    "changed",
    [
        {"configuration_index": 41},  # another leader's term began
        {"configuration_index": 41, "voters": (1, 2)},
        {"configuration_index": 41, "voters": (1, 2, 3, 7)},
        {"configuration_index": 41, "learners": (7,)},
        {"leader": 3},  # who is to leave leads now
    ],
)
def test_a_replacement_ends_when_the_copyset_has_moved_on(lab, changed):
    lab.ask(Step.REPLACE_PEER, 3, 4)
    assert lab.run(**changed) == [End.MOVED_ON]


@pytest.mark.parametrize("changed", [{"leader": 3}, {"configuration_index": 41}, {"voters": (1, 3)}])
def test_a_transfer_ends_when_the_copyset_has_moved_on(lab, changed):
    lab.ask(Step.TRANSFER_LEADER, 1, 2)
    assert lab.run(**changed) == [End.MOVED_ON]


def test_another_leader_goes_on_with_a_learner_that_is_there(lab):
    lab.ask(Step.REPLACE_PEER, 3, 4)
    assert lab.run(configuration_index=41, learners=(4,)) == []
    assert lab.run(configuration_index=42, leader=2) == []
    assert lab.orders(1, leading=False) == []
    [order] = lab.orders(2, leading=True)
    assert order.configuration_index == 42


@pytest.mark.parametrize("changed", [{"health": pb.OFFLINE}, {"retiring": True}])
def test_it_ends_when_the_target_is_lost(lab, changed):
    lab.ask(Step.ADD_PEER, 0, 4)
    lab.servers[4] = replace(lab.servers[4], health=pb.UNSTABLE)
    assert lab.run() == []
    lab.servers[4] = replace(lab.servers[4], **changed)
    assert lab.run() == [End.TARGET_LOST]


@pytest.mark.parametrize(
    ("step", "source", "target", "timeout_s"),
    [(Step.TRANSFER_LEADER, 1, 2, 60), (Step.REMOVE_PEER, 3, 0, 300), (Step.REPLACE_PEER, 3, 4, 1800)],
)
def test_it_ends_when_it_takes_too_long(lab, step, source, target, timeout_s):
    lab.ask(step, source, target)
    assert lab.run(timeout_s - 1) == []
    assert lab.run(1) == [End.TIMED_OUT]


def test_a_copyset_that_is_gone_ends_it(lab):
    lab.ask(Step.ADD_PEER, 0, 4)
    _, ended = make_pass(lab.controller, [Snapshot.of(lab.servers.values(), [], replica_count=3)], 100.0)
    assert [one.end for one in ended] == [End.MOVED_ON]


# -------------------------------------------------------------------------------------------------- people


def test_a_copyset_has_one_operator_at_a_time(lab):
    lab.ask(Step.TRANSFER_LEADER, 1, 2)
    with pytest.raises(ResourceBusy):
        lab.ask(Step.REMOVE_PEER, 3)
    assert lab.controller.cancel(5).end is End.CANCELLED
    lab.ask(Step.REMOVE_PEER, 3)
    [running] = lab.controller.running()
    assert (running.operator.step, running.deadline_s) == (Step.REMOVE_PEER, 400.0)


def test_what_does_not_run_cannot_be_cancelled(lab):
    with pytest.raises(NotFound):
        lab.controller.cancel(5)


def test_a_scheduler_that_is_switched_off_begins_nothing_and_what_runs_goes_on(lab):
    lab.servers[3] = replace(lab.servers[3], health=pb.OFFLINE)
    assert lab.run() == []
    assert lab.controller.running() == []
    lab.controller.switch(Scheduler.RECOVER, on=True)
    lab.run()
    [running] = lab.controller.running()
    assert (running.operator.source, running.operator.target) == (3, 4)
    lab.controller.switch(Scheduler.RECOVER, on=False)
    assert lab.run() == []
    assert len(lab.controller.running()) == 1


def test_rapid_leader_runs_once(lab):
    lab.controller.switch(Scheduler.RAPID_LEADER, on=True)
    lab.run()
    assert not lab.controller.is_enabled(Scheduler.RAPID_LEADER)


def test_what_a_person_begins_while_a_scheduler_thinks_is_kept(lab):
    lab.controller.switch(Scheduler.RECOVER, on=True)
    gone = replace(lab.servers[3], health=pb.OFFLINE)
    snapshot = Snapshot.of([lab.servers[1], lab.servers[2], gone, lab.servers[4]], [lab.group], replica_count=3)
    steps = lab.controller.steps([snapshot], lab.now_s)
    found = next(steps)()
    assert [(one.source, one.target) for one in found] == [(3, 4)]
    lab.ask(Step.TRANSFER_LEADER, 1, 2)
    with pytest.raises(StopIteration) as done:
        steps.send(found)
    assert done.value.value == ([], [])
    assert [one.operator.scheduler for one in lab.controller.running()] == [Scheduler.PERSON]
