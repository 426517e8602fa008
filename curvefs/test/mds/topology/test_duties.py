"""Metaservers are drained and retired; what that needs is checked before, and what is done is removed."""

import pytest
import pytest_asyncio

from curvefs.proto import schedule_pb2, schedule_pb2_grpc, topology_pb2
from curvefs.src.common.errors import InvalidArgument, NotFound, ResourceBusy
from curvefs.src.mds.schedule.operators import Scheduler
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.test.mds.groups import members, move, orders, place
from curvefs.test.mds.lab import MdsLab
from curvefs.test.mds.topology.topologies import pool, text
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio
SCHEDULE = schedule_pb2_grpc.ScheduleServiceStub
SERVES, DRAINS, RETIRES = topology_pb2.SERVES, topology_pb2.DRAINS, topology_pb2.RETIRES


async def settle(lab):
    """Have every copyset report a configuration, so that it may be changed."""
    await lab.settle_configurations()
    lab.clock.advance(11)
    lab.beat_all()


async def look(lab):
    """Have the schedulers look, and the groups do at once what they begin; return whether that was anything."""
    at = {one.metaserver_id: one for one in lab.metaservers}
    await lab.mds.scheduling.look()
    running = [one.operator for one in lab.mds.scheduling.controller.running()]
    for n, operator in enumerate(running):
        if operator.goal == operator.voters:
            place(lab.metaservers, operator.group_id, at[operator.target], term=100 + n + int(lab.clock.boottime_s()))
        else:
            others = [at[one] for one in operator.goal if one != operator.leader and one in at]
            index = operator.configuration_index + 1
            await move(lab, operator.group_id, [at[operator.leader], *others], index=index)
    lab.clock.advance(6)
    lab.beat_all()
    return bool(running)


async def empty(lab, metaserver_id):
    for _ in range(50):
        await look(lab)
        if not any(metaserver_id in peers for peers in members(lab).values()):
            return
    raise AssertionError(members(lab))


async def shown(lab, metaserver_id):
    return next(one for one in lab.mds.views.metaservers() if one.metaserver_id == metaserver_id)


async def test_what_drains_loses_its_replicas_and_leaders_and_stays(lab):
    await lab.add_metaservers(4)
    await settle(lab)
    lab.mds.scheduling.controller.switch(Scheduler.COPYSET_BALANCE, on=False)
    await lab.mds.duties.assign(1, DRAINS)
    assert (await shown(lab, 1)).replica_count > 0
    await lab.restart()
    lab.mds.scheduling.controller.switch(Scheduler.COPYSET_BALANCE, on=False)
    lab.clock.advance(11)
    lab.beat_all()
    assert (await shown(lab, 1)).duty == DRAINS
    await empty(lab, 1)
    lab.metaservers[0].groups.clear()
    lab.beat_all()
    await lab.mds.tick()
    assert ((await shown(lab, 1)).replica_count, (await shown(lab, 1)).health) == (0, topology_pb2.ONLINE)
    # Nothing new comes to it.
    await lab.create()
    assert not any(1 in peers for peers in members(lab).values())
    await lab.mds.duties.assign(1, SERVES)
    assert (await shown(lab, 1)).duty == SERVES


async def test_what_retires_is_removed_once_it_holds_nothing(lab):
    four = await lab.add_metaservers(4)
    await settle(lab)
    lab.mds.scheduling.controller.switch(Scheduler.COPYSET_BALANCE, on=False)
    await lab.mds.duties.assign(2, RETIRES)
    await empty(lab, 2)
    await lab.mds.tick()
    assert (await shown(lab, 2)).duty == RETIRES  # it has not given up its replicas yet
    four[1].groups.clear()
    lab.beat(four[1])
    await lab.mds.tick()
    assert [one.metaserver_id for one in lab.mds.views.metaservers()] == [1, 3, 4]
    assert all(len(peers) == 3 for peers in members(lab).values())
    assert len([key for key in await lab.keys() if key.startswith(b"metaserver/")]) == 3


@pytest_asyncio.fixture
async def two(tmp_path):
    """An MDS whose copysets have one replica, with two metaservers that have one each; only recover runs."""
    lab = MdsLab(tmp_path / "mds", replica_count=1)
    await lab.start()
    await lab.add_metaservers(2)
    await settle(lab)
    only_recover(lab)
    yield lab
    await lab.close()


def only_recover(lab):
    for scheduler in (Scheduler.COPYSET_BALANCE, Scheduler.LEADER_BALANCE):
        lab.mds.scheduling.controller.switch(scheduler, on=False)


async def until_two_replicas(lab):
    for _ in range(10):
        await look(lab)
        if any(len(peers) == 2 for peers in members(lab).values()):
            return
    raise AssertionError(members(lab))


@pytest.mark.parametrize("restarted", [False, True])
async def test_one_of_two_metaservers_that_have_single_replicas_retires(two, restarted):
    await two.mds.duties.assign(1, RETIRES)
    await until_two_replicas(two)
    if restarted:
        await two.restart()
        only_recover(two)
        two.clock.advance(11)
        two.beat_all()
    await empty(two, 1)
    assert set(map(tuple, members(two).values())) == {(2,)}
    two.metaservers[0].groups.clear()
    two.beat_all()
    await two.mds.tick()
    assert [one.metaserver_id for one in two.mds.views.metaservers()] == [2]


async def test_a_drain_that_is_called_off_half_way_leaves_single_replicas(two):
    await two.mds.duties.assign(1, DRAINS)
    await until_two_replicas(two)
    await two.mds.duties.assign(1, SERVES)
    for _ in range(10):
        await look(two)
    assert {len(peers) for peers in members(two).values()} == {1}


async def test_what_has_nowhere_to_go_is_refused_before_anything_is_changed(lab, three):
    await settle(lab)
    before = await lab.keys()
    for duty in (DRAINS, RETIRES):
        with pytest.raises(
            ResourceBusy, match="metaserver 1 holds has nowhere to go: 2 others are online and have room"
        ):
            await lab.mds.duties.assign(1, duty)
    assert (await lab.keys(), (await shown(lab, 1)).duty) == (before, SERVES)
    with pytest.raises(NotFound, match="no metaserver 9"):
        await lab.mds.duties.assign(9, DRAINS)


async def test_the_last_metaserver_of_a_zone_is_not_drained_while_replicas_need_that_zone(lab):
    await lab.mds.places.apply(text(pool("p", {"zone1": ["a", "a2"], "zone2": ["b", "b2"], "zone3": ["c"]})))
    await lab.add_metaservers(5, ["a", "a2", "b", "b2", "c"])
    await settle(lab)
    with pytest.raises(ResourceBusy, match="lie in 2 zones, and 3 replicas need as many"):
        await lab.mds.duties.assign(5, DRAINS)
    await lab.mds.duties.assign(1, DRAINS)
    await empty(lab, 1)


async def test_one_that_holds_nothing_retires_at_once(lab, three):
    new = await lab.join()
    await lab.mds.duties.assign(new.metaserver_id, RETIRES)
    await lab.mds.tick()
    assert [one.metaserver_id for one in lab.mds.views.metaservers()] == [1, 2, 3]


async def test_what_was_lost_with_a_disk_is_made_up_for_and_the_old_identity_goes(lab):
    four = await lab.add_metaservers(4)
    await settle(lab)
    await lab.create()
    lab.mds.scheduling.controller.switch(Scheduler.COPYSET_BALANCE, on=False)
    old = four[0]
    await old.stop()
    held = {group_id for group_id, peers in members(lab).items() if 1 in peers}
    for group_id in held:
        place(lab.metaservers, group_id, next(one for one in four[1:] if group_id in one.groups), term=5)
    wiped = FakeMetaserver()
    wiped.address = old.address
    await wiped.start()
    lab.metaservers[0] = wiped
    lab.clock.advance(11)
    for one in four[1:]:
        lab.beat(one)
    wiped.registered(await lab.mds.registration.register(wiped.registration()))
    lab.beat(wiped)
    # At once, though nobody has been away for as long as an offline one.
    await lab.mds.scheduling.look()
    operators = [one.operator for one in lab.mds.scheduling.controller.running()]
    assert {one.source for one in operators if one.leaves} == {1}
    assert orders(lab.beat(wiped), "create_copyset") == sorted(one.group_id for one in operators if one.target == 5)
    for _ in range(50):
        await look(lab)
        await lab.mds.tick()
        if lab.mds.state.metaservers.get(1) is None:
            break
    assert [one.metaserver_id for one in lab.mds.views.metaservers()] == [2, 3, 4, 5]
    assert all(1 not in peers and len(peers) == 3 for peers in members(lab).values())


# ------------------------------------------------------------------------------------- over the wire


async def test_switches_and_operators_over_the_wire(lab):
    await lab.add_metaservers(4)
    await settle(lab)
    client = AsyncClient([await lab.listen()])

    async def switches():
        reply = await client.call(SCHEDULE, "GetSchedule", schedule_pb2.GetScheduleRequest())
        return {schedule_pb2.Scheduler.Name(one.scheduler): one.enabled for one in reply.switches}

    try:
        assert await switches() == {
            "RECOVER": True,
            "COPYSET_BALANCE": True,
            "LEADER_BALANCE": True,
            "RAPID_LEADER": False,
        }
        off = schedule_pb2.SetSchedulerRequest(scheduler="COPYSET_BALANCE", enabled=False)
        await client.call(SCHEDULE, "SetScheduler", off)
        await client.call(
            SCHEDULE, "SetScheduler", schedule_pb2.SetSchedulerRequest(scheduler="RAPID_LEADER", enabled=True)
        )
        assert await switches() | {"RAPID_LEADER": True, "COPYSET_BALANCE": False} == await switches()
        with pytest.raises(InvalidArgument):
            await client.call(SCHEDULE, "SetScheduler", schedule_pb2.SetSchedulerRequest(scheduler="PERSON"))
        await client.call(SCHEDULE, "SetDuty", schedule_pb2.SetDutyRequest(metaserver_id=1, duty=DRAINS))
        with pytest.raises(NotFound):
            await client.call(SCHEDULE, "SetDuty", schedule_pb2.SetDutyRequest(metaserver_id=9, duty=DRAINS))
        await lab.mds.scheduling.look()
        reply = await client.call(SCHEDULE, "GetSchedule", schedule_pb2.GetScheduleRequest())
        assert reply.running
        assert {one.source for one in reply.running if one.scheduler == schedule_pb2.RECOVER} == {1}
        now_ns = lab.clock.time_ns()
        assert all(one.started_ns == now_ns < one.deadline_ns for one in reply.running)
        lab.mds.scheduling.controller.cancel(reply.running[0].group_id)
        await look(lab)
        await lab.mds.scheduling.look()
        reply = await client.call(SCHEDULE, "GetSchedule", schedule_pb2.GetScheduleRequest())
        assert {one.end for one in reply.ended} == {"done"}
        assert all(one.ended_ns == lab.clock.time_ns() for one in reply.ended)
    finally:
        await client.close()
    await lab.restart()
    stored = {one.scheduler: one.enabled for one in lab.mds.switches.all()}
    assert stored == {0: True, 1: False, 2: True, 3: False}
