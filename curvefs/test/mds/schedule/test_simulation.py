"""The controller on a simulated fleet: whatever happens, it ends with every copyset whole, in distinct zones, level."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.mds.schedule.controller import Controller
from curvefs.src.mds.schedule.operators import Limits, Scheduler
from curvefs.src.mds.schedule.progress import End
from curvefs.test.mds.schedule.simulation import Fleet, Measured, make_pass

ZONES = 6


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet(60, ZONES, replica_count=3, limits=Limits(), seed=1)
    made.make_copysets(2000)
    made.settle()
    made.measured = Measured()
    return made


def check_level(fleet: Fleet) -> None:
    fleet.check_whole()
    replicas, leaders = fleet.replica_counts().values(), fleet.leader_counts().values()
    assert max(replicas) - min(replicas) <= 1
    assert max(leaders) - min(leaders) <= 3
    begun, _ = make_pass(Controller(fleet.limits, fleet.random), [fleet.snapshot()], fleet.now_s)
    assert begun == []


def settle(fleet: Fleet) -> None:
    """Let it settle, with hardly more moves than there must be: zones may cost one here and there."""
    least = fleet.moves_min()
    fleet.settle()
    assert fleet.measured.moves <= 1.1 * least + 20
    check_level(fleet)


def test_a_metaserver_that_fails_is_made_up_for(fleet):
    fleet.fail(7)
    settle(fleet)
    assert fleet.measured.ends[End.TIMED_OUT] == 0


def test_a_zone_that_fails_in_part_is_made_up_for(fleet):
    for id_ in (1, 7, 13):  # three of one zone
        fleet.fail(id_)
    settle(fleet)


def test_who_joins_takes_a_share(fleet):
    for zone in (0, 0, 1):
        fleet.join(zone)
    settle(fleet)


def test_who_retires_is_emptied(fleet):
    fleet.drain(3)
    settle(fleet)
    assert not any(3 in copyset.voters for copyset in fleet.copysets.values())


def test_a_machine_is_exchanged_with_one_move_for_each_replica(fleet):
    held = sum(3 in copyset.voters for copyset in fleet.copysets.values())
    fleet.drain(3)
    fleet.join(fleet.metaservers[3].zone_id)
    settle(fleet)
    assert fleet.measured.moves <= held + 2


def test_leaders_are_spread_at_once_after_a_restart(fleet):
    fleet.restart_all()
    for scheduler in (Scheduler.LEADER_BALANCE, Scheduler.COPYSET_BALANCE, Scheduler.RECOVER):
        fleet.controller.switch(scheduler, on=False)
    fleet.controller.switch(Scheduler.RAPID_LEADER, on=True)
    fleet.step()
    fleet.step()
    assert fleet.controller.running() == []
    assert not fleet.controller.is_enabled(Scheduler.RAPID_LEADER)
    check_level(fleet)


def test_a_metaserver_that_is_away_for_a_while_loses_no_replicas(fleet):
    held = sum(7 in copyset.voters for copyset in fleet.copysets.values())
    fleet.fail(7)
    for _ in range(6):
        fleet.step()
    fleet.come_back(7)
    fleet.settle()
    assert sum(7 in copyset.voters for copyset in fleet.copysets.values()) == held
    assert fleet.measured.moves == 0
    check_level(fleet)


def test_who_fails_while_replicas_come_to_it_is_given_up(fleet):
    new = fleet.join(0)
    for _ in range(5):
        fleet.step()
    fleet.fail(new)
    fleet.settle()
    assert fleet.measured.ends[End.TARGET_LOST] > 0
    check_level(fleet)


def test_with_the_switches_off_nothing_moves(fleet):
    for scheduler in (Scheduler.LEADER_BALANCE, Scheduler.COPYSET_BALANCE, Scheduler.RECOVER):
        fleet.controller.switch(scheduler, on=False)
    fleet.fail(7)
    fleet.drain(8)
    fleet.join(0)
    fleet.settle()
    assert (fleet.measured.moves, fleet.measured.transfers) == (0, 0)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_after_anything_that_happens_all_is_whole_again(data):
    fleet = Fleet(12, 4, replica_count=3, limits=Limits(2, 2, 10, 2, 10), seed=data.draw(st.integers(0, 2**32)))
    fleet.make_copysets(100)
    failed: list[int] = []
    for _ in range(data.draw(st.integers(1, 8))):
        usable = [id_ for id_, one in fleet.metaservers.items() if one.usable]
        what = data.draw(st.sampled_from(["fail", "come back", "join", "drain", "restart"]))
        if what == "fail" and not failed and len(usable) > 8:
            failed.append(data.draw(st.sampled_from(usable)))
            fleet.fail(failed[0])
        elif what == "come back" and failed:
            fleet.come_back(failed.pop())
        elif what == "join":
            fleet.join(data.draw(st.integers(0, 3)))
        elif what == "drain" and len(usable) > 8:
            fleet.drain(data.draw(st.sampled_from(usable)))
        elif what == "restart":
            fleet.restart_all()
        for _ in range(data.draw(st.integers(0, 30))):
            fleet.step()
        if failed and data.draw(st.booleans()):
            fleet.settle()
            failed.clear()
    fleet.settle()
    fleet.check_whole()
    begun, _ = make_pass(Controller(fleet.limits, fleet.random), [fleet.snapshot()], fleet.now_s)
    assert begun == []
