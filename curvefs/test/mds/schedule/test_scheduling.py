"""Schedulers in an MDS: what it stores and hears becomes orders, and what replicas report ends them."""

import pytest
import pytest_asyncio

from curvefs.proto import heartbeat_pb2
from curvefs.src.mds.schedule.operators import Scheduler, Step
from curvefs.test.mds.groups import move, orders, place
from curvefs.test.mds.lab import MdsLab

pytestmark = pytest.mark.asyncio
OFFLINE_S = 60.0


@pytest_asyncio.fixture
async def four(tmp_path):
    """An MDS with four metaservers that lead a copyset each, settled; nothing runs by itself."""
    lab = MdsLab(tmp_path / "mds", replica_count=3, offline_after_s=OFFLINE_S, leader_cooling_s=0.0)
    await lab.start()
    await lab.add_metaservers(4)
    await lab.settle_configurations()
    for scheduler in (Scheduler.COPYSET_BALANCE, Scheduler.LEADER_BALANCE):
        lab.mds.scheduling.controller.switch(scheduler, on=False)
    yield lab
    await lab.close()


def running(lab):
    return [one.operator for one in lab.mds.scheduling.controller.running()]


async def lose(lab, gone):
    """Have a metaserver be away until it counts as offline; the others go on, and elect."""
    rest = [one for one in lab.metaservers if one is not gone]
    for group_id in sorted(gone.groups):
        place(lab.metaservers, group_id, next(one for one in rest if group_id in one.groups), term=5)
    lab.metaservers.remove(gone)
    await gone.stop()
    for _ in range(8):
        lab.clock.advance(OFFLINE_S / 6)
        lab.beat_all()
    await lab.mds.scheduling.look()


async def test_a_settled_fleet_is_left_alone(four):
    four.clock.advance(20)
    four.beat_all()
    await four.mds.scheduling.look()
    assert running(four) == []


async def test_a_replica_on_a_metaserver_that_is_gone_is_replaced_by_order(four):
    gone = four.metaservers[0]
    id_of = {one.metaserver_id: one for one in four.metaservers}
    await lose(four, gone)
    operators = running(four)
    assert {one.group_id for one in operators} == gone.groups
    operator = operators[0]
    assert operator.source == gone.metaserver_id
    target, leader = id_of[operator.target], id_of[operator.leader]
    assert orders(four.beat(leader), "change_peers") == []
    create = next(one for one in four.beat(target).orders if one.group_id == operator.group_id)
    assert create.create_copyset.term > 0, "that of the leader, as it reported"
    target.groups.add(operator.group_id)
    target.following[operator.group_id] = leader.address
    target.members[operator.group_id] = []
    four.beat(target)
    [order] = [one for one in four.beat(leader).orders if one.group_id == operator.group_id]
    assert [peer.address for peer in order.change_peers.peers] == [id_of[one].address for one in operator.goal]
    assert order.configuration_index == operator.configuration_index
    others = [id_of[one] for one in operator.goal if one != leader.metaserver_id]
    await move(four, operator.group_id, [leader, *others], index=9)
    await four.mds.scheduling.look()
    assert operator.group_id not in {one.group_id for one in running(four)}
    assert orders(four.beat(leader), "change_peers") == []


def beat_damaged(lab, hurt):
    """Have a metaserver report all its replicas as one does that has begun with damaged ones."""
    request = hurt.heartbeat()
    del request.copysets[:]
    request.copysets.extend(heartbeat_pb2.CopysetReport(group_id=one, damaged=True) for one in sorted(hurt.groups))
    lab.mds.heartbeats.beat(request)


async def damage(lab, hurt):
    """Have a metaserver's replicas be damaged; others lead, and everybody says so."""
    rest = [one for one in lab.metaservers if one is not hurt]
    for group_id in sorted(hurt.groups):
        place(lab.metaservers, group_id, next(one for one in rest if group_id in one.groups), term=5)
    lab.clock.advance(20)
    for one in rest:
        lab.beat(one)
    beat_damaged(lab, hurt)


async def test_no_leadership_goes_to_a_damaged_replica(four):
    hurt = four.metaservers[3]
    await damage(four, hurt)
    four.mds.scheduling.controller.switch(Scheduler.RECOVER, on=False)
    for scheduler in (Scheduler.LEADER_BALANCE, Scheduler.RAPID_LEADER):
        four.mds.scheduling.controller.switch(scheduler, on=True)
        await four.mds.scheduling.look()
        assert [one for one in running(four) if one.target == hurt.metaserver_id] == []


async def test_a_damaged_replica_is_replaced_and_one_that_is_well_again_is_not(four):
    hurt = four.metaservers[3]
    view = four.mds.scheduling._view
    await damage(four, hurt)
    assert {group_id for group_id, one in view.snapshots()[0].copysets.items() if one.lost} == hurt.groups
    four.beat(hurt)
    await four.mds.scheduling.look()
    assert running(four) == []
    beat_damaged(four, hurt)
    await four.mds.scheduling.look()
    assert {(one.group_id, one.step, one.source) for one in running(four)} == {
        (group_id, Step.REPLACE_PEER, hurt.metaserver_id) for group_id in hurt.groups
    }


async def test_a_replica_that_is_not_there_is_replaced_after_minutes_and_one_that_is_reported_again_is_not(four):
    made = await four.create()
    group_id = four.mds.state.partitions_of(made.fs_id)[0].group_id
    [gone, *rest] = [one for one in four.metaservers if group_id in one.groups]
    place(four.metaservers, group_id, rest[0], term=5)

    async def seconds_until_replaced(among):
        for seconds in range(0, 1000, 5):
            four.clock.advance(5)
            four.beat_all()
            await four.mds.scheduling.look()
            if running(four):
                return seconds
            if seconds == among:
                return None
        return None

    gone.groups.discard(group_id)
    assert await seconds_until_replaced(290) is None
    gone.groups.add(group_id)
    assert await seconds_until_replaced(5) is None
    gone.groups.discard(group_id)
    assert await seconds_until_replaced(1000) == 300
    [one] = running(four)
    assert (one.group_id, one.step, one.source) == (group_id, Step.REPLACE_PEER, gone.metaserver_id)


async def test_a_metaserver_that_only_registers_has_lost_nothing(four):
    await four.create()
    for _ in range(100):
        four.clock.advance(5)
        for one in four.metaservers[1:]:
            four.beat(one)
        await four.mds.registration.register(four.metaservers[0].registration())
        await four.mds.scheduling.look()
    assert running(four) == []


async def test_an_empty_replica_that_nobody_waits_for_any_more_is_ordered_away(four):
    gone = four.metaservers[0]
    await lose(four, gone)
    operator = running(four)[0]
    [target] = [one for one in four.metaservers if one.metaserver_id == operator.target]
    target.groups.add(operator.group_id)
    target.following[operator.group_id] = ""
    target.members[operator.group_id] = []
    four.clock.advance(11)
    four.beat_all()
    assert orders(four.beat(target), "remove_copyset") == []
    four.mds.scheduling.controller.cancel(operator.group_id)
    for _ in range(4):
        four.clock.advance(5)
        four.beat_all()
    assert orders(four.beat(target), "remove_copyset") == [operator.group_id]


async def test_an_mds_that_has_just_begun_schedules_nothing(four):
    await lose(four, four.metaservers[0])
    assert running(four)
    await four.restart()
    four.beat_all()
    await four.mds.scheduling.look()
    assert running(four) == []


async def test_a_leader_that_reports_another_configuration_is_left_alone(four):
    four.clock.advance(20)
    [first] = four.metaservers[:1]
    group_id = next(iter(first.groups))
    for one in four.metaservers:
        one.configurations[group_id] = 7
    first.committed = 6
    four.beat_all()
    snapshot = four.mds.scheduling._view.snapshots()[0]
    assert snapshot.copysets[group_id].changing
    assert not any(copyset.changing for id_, copyset in snapshot.copysets.items() if id_ != group_id)


async def test_what_is_known_of_a_copyset_is_used_again_while_nothing_changes(four):
    view = four.mds.scheduling._view
    before, after = view.snapshots()[0], view.snapshots()[0]
    assert all(after.copysets[id_] is copyset for id_, copyset in before.copysets.items())


async def test_replicas_are_not_taken_away_by_an_mds_that_is_told_a_smaller_count(four, tmp_path):
    four.config = four.config.model_copy(update={"replica_count": 1})
    await four.restart()
    four.beat_all()
    assert four.mds.scheduling._view.snapshots()[0].replica_count == 3
