"""What heartbeats lack is ordered, what is left over is ordered away, and what was lost is never made anew."""

import pytest
from structlog.testing import capture_logs

from curvefs.proto import common_pb2, heartbeat_pb2, topology_pb2
from curvefs.src.mds.schedule.operators import Operator, Scheduler, Step
from curvefs.test.mds.groups import move, orders, place
from curvefs.test.mds.lab import PATIENCE_S

pytestmark = pytest.mark.asyncio


async def test_a_lost_replica_of_a_group_in_use_is_told_and_never_made_anew(lab, three):
    await lab.create()
    three[2].groups.clear()
    place(three, 3, three[0], term=2)
    for one in three:
        one.calls.clear()
    assert list(lab.beat(three[2]).orders) == []
    await lab.mds.registration.register(three[2].registration())
    await lab.create("other")
    assert three[2].asked("CreateCopyset") == []
    lab.beat(three[2])
    assert [one.heard for one in lab.mds.views.copysets([1])[0].replicas] == [True, True, False]
    with capture_logs() as told:
        for _ in range(4):
            lab.clock.advance(5)
            lab.beat(three[2])
    assert [one["what"] for one in told if one["log_level"] == "error"] == [
        f"it has lost its replica of copyset {group_id}" for group_id in (1, 2, 3)
    ]


async def test_a_lost_replica_stays_lost_after_the_last_filesystem_is_gone(lab, three):
    made = await lab.create()
    await lab.mds.filesystems.delete("demo")
    assert await lab.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    three[2].groups.clear()
    assert list(lab.beat(three[2]).orders) == []
    await lab.restart()
    assert list(lab.beat(three[2]).orders) == []


async def test_a_lost_replica_of_a_group_whose_peers_changed_is_not_made_anew(lab, three):
    fourth = await lab.join()
    await move(lab, 1, [three[0], three[1], fourth], index=20)
    fourth.groups.discard(1)
    assert orders(lab.beat(fourth), "create_copyset") == []


async def test_a_lost_replica_of_an_unused_group_is_ordered(lab, three):
    three[2].groups.discard(1)
    assert orders(lab.beat(three[2]), "create_copyset") == [1]


async def test_a_replica_that_was_left_behind_is_ordered_away_after_a_while(lab, three):
    three[2].configurations[1] = 1
    await move(lab, 1, [three[0], three[1]], index=20)
    lab.clock.advance(11)
    lab.beat_all()
    lab.clock.advance(9)
    lab.beat_all()
    assert orders(lab.beat(three[2]), "remove_copyset") == []
    lab.clock.advance(2)
    [order] = lab.beat(three[2]).orders
    assert (order.group_id, order.WhichOneof("order"), order.configuration_index) == (1, "remove_copyset", 20)
    three[2].groups.discard(1)
    assert list(lab.beat(three[2]).orders) == []


async def test_a_damaged_replica_that_was_left_behind_is_ordered_away_also_to_let_an_empty_one_join(lab, three):
    controller = lab.mds.scheduling.controller
    await move(lab, 1, [three[0], three[1]], index=20)
    hurt = three[2]

    def beat():
        request = hurt.heartbeat()
        del request.copysets[:]
        request.copysets.extend(heartbeat_pb2.CopysetReport(group_id=one, damaged=True) for one in sorted(hurt.groups))
        return lab.mds.heartbeats.beat(request)

    async def ordered_after_a_while():
        for _ in range(4):
            lab.clock.advance(5)
            lab.beat(three[0])
            lab.beat(three[1])
            reply = beat()
        return orders(reply, "remove_copyset")

    for group_id in (2, 3):  # the others still have theirs
        place(three, group_id, three[1], term=5)
    assert await ordered_after_a_while() == [1]
    controller.add(Operator(1, Scheduler.PERSON, Step.ADD_PEER, 20, (1, 2), 1, target=3), lab.clock.boottime_s())
    assert await ordered_after_a_while() == [1]
    hurt.groups.discard(1)
    assert orders(beat(), "create_copyset") == [1]


async def test_a_replica_is_not_ordered_away_while_its_group_has_no_leader_that_says_so(lab, three):
    three[2].configurations[1] = 1
    await move(lab, 1, [three[0], three[1]], index=20)
    lab.clock.advance(30)
    for _ in range(3):
        lab.clock.advance(11)
        assert orders(lab.beat(three[2]), "remove_copyset") == []


async def test_a_replica_that_waits_to_join_is_left_alone(lab, three):
    fourth = await lab.join()
    fourth.groups.add(1)
    fourth.following[1] = ""
    await move(lab, 1, three, index=20)
    for _ in range(4):
        lab.clock.advance(9)
        lab.beat_all()
        assert list(lab.beat(fourth).orders) == []


@pytest.mark.parametrize(("duty", "after_s"), [(topology_pb2.SERVES, 1800), (topology_pb2.RETIRES, 10)])
async def test_a_replica_that_was_to_join_before_the_mds_began_is_ordered_away(lab, three, duty, after_s):
    fourth = await lab.join()
    await move(lab, 1, three, index=20)
    await lab.restart()
    fourth.groups.add(1)
    fourth.following[1] = ""
    lab.beat_all()
    await lab.mds.duties.assign(fourth.metaserver_id, duty)
    ordered_s = []
    for second in range(0, 1900, 5):
        lab.beat_all()
        if orders(lab.beat(fourth), "remove_copyset") == [1]:
            ordered_s.append(second)
        lab.clock.advance(5)
    assert ordered_s[0] == after_s


async def test_an_mds_that_has_just_begun_orders_nothing_away(lab, three):
    three[2].configurations[1] = 1
    await move(lab, 1, [three[0], three[1]], index=20)
    await lab.restart()
    for _ in range(2):
        lab.beat_all()
        lab.clock.advance(4.9)
    assert list(lab.beat(three[2]).orders) == []
    lab.beat_all()
    lab.clock.advance(5)
    assert orders(lab.beat(three[2]), "remove_copyset") == [1]


async def test_a_group_that_the_mds_does_not_know_is_left_alone(lab, three):
    three[0].groups.add(77)
    three[0].members[77] = [common_pb2.Peer(metaserver_id=9)]
    for _ in range(4):
        lab.clock.advance(9)
        lab.beat_all()
        assert list(lab.beat(three[0]).orders) == []


async def test_only_leaders_are_ordered_to_end_sessions(lab, three):
    lab.clock.advance(11)
    for metaserver in three:
        metaserver.sessions = {b"s" * 16}
    replies = [lab.beat(metaserver) for metaserver in three]
    assert [orders(reply, "end_session") for reply in replies] == [[1], [2], [3]]
    three[0].terms[1] = 1
    three[1].following.pop(1)
    three[1].terms[1] = 2
    lab.beat(three[1])
    assert orders(lab.beat(three[0]), "end_session") == []  # deposed, and does not know it yet


async def test_a_damaged_replica_is_shown(lab, three):
    request = three[1].heartbeat()
    request.copysets[0].damaged = True
    lab.mds.heartbeats.beat(request)
    assert [one.damaged for one in lab.mds.views.copysets([1])[0].replicas] == [False, True, False]


async def test_a_replica_that_loads_is_shown(lab, three):
    request = three[1].heartbeat()
    request.copysets[0].CopyFrom(heartbeat_pb2.CopysetReport(group_id=1, loading=True))
    lab.mds.heartbeats.beat(request)
    assert [one.loading for one in lab.mds.views.copysets([1])[0].replicas] == [False, True, False]
