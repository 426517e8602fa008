"""Copysets of three replicas: planned, made, used and followed."""

import asyncio
from collections import Counter

import pytest

from curvefs.proto import mds_pb2 as pb
from curvefs.src.common.errors import NoSpace, Unavailable
from curvefs.test.mds.groups import members, move, orders, place
from curvefs.test.mds.lab import PATIENCE_S, MdsLab
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio


# ------------------------------------------------------------------------------------------- making them


async def test_three_metaservers_get_three_copysets_and_each_is_the_first_of_one(lab, three):
    assert members(lab) == {1: [1, 2, 3], 2: [2, 3, 1], 3: [3, 1, 2]}
    for metaserver in three:
        requests = {request.group_id: request for request in metaserver.asked("CreateCopyset")}
        assert {group: request.first_metaserver_id for group, request in requests.items()} == {1: 1, 2: 2, 3: 3}
        assert [peer.address for peer in requests[1].peers] == [one.address for one in three]
        assert metaserver.groups == {1, 2, 3}
    assert [one.leader_id for one in lab.mds.views.copysets([])] == [1, 2, 3]


async def test_the_first_peer_gets_its_replica_last_so_that_the_others_can_vote_for_it(lab, three):
    order = []
    for metaserver in three:
        answer = metaserver.answer

        def noted(method, *rest, one=metaserver, answer=answer):
            order.append(one.metaserver_id)
            return answer(method, *rest)

        metaserver.answer = noted
    await lab.mds.fleet.create_copyset(2, lab.mds.views.peers(2))
    assert (sorted(order), order[-1]) == ([1, 2, 3], 2)


async def test_nothing_is_made_before_there_are_enough(lab):
    lab.clock.advance(6)  # after which it no longer waits for metaservers that it knows
    for count in range(3):
        with pytest.raises(Unavailable) as refused:
            await lab.create()
        told = "no metaserver is online to hold the metadata" if count == 0 else f"{count} of 3 metaservers needed"
        assert told in str(refused.value)
        await lab.join()
    assert (await lab.create()).state == pb.ACTIVE


async def test_only_metaservers_that_know_who_they_are_share_copysets(lab):
    ghost = FakeMetaserver()
    await ghost.start()
    await lab.mds.registration.register(ghost.registration())  # the answer is lost
    await lab.add_metaservers(2)
    assert members(lab) == {}
    lab.metaservers.append(ghost)
    ghost.registered(await lab.mds.registration.register(ghost.registration()))
    lab.beat(ghost)
    await lab.mds.copysets.plan()
    assert members(lab) == {1: [2, 3, 4], 2: [3, 4, 2], 3: [4, 2, 3]}


async def test_a_metaserver_without_its_folder_is_not_taken_for_a_ghost(lab, three):
    await three[2].stop()
    wiped = FakeMetaserver()
    wiped.address = three[2].address
    await wiped.start()
    lab.metaservers.append(wiped)
    lab.clock.advance(11)
    wiped.registered(await lab.mds.registration.register(wiped.registration()))
    assert wiped.metaserver_id == 4
    assert members(lab)[1] == [1, 2, 3]
    assert len(lab.mds.state.metaservers) == 4


async def test_each_metaserver_leads_as_many_copysets_as_configured(tmp_path):
    lab = MdsLab(tmp_path / "mds", replica_count=3, copysets_per_metaserver=4)
    await lab.start()
    try:
        await lab.add_metaservers(4)
        assert Counter(peers[0] for peers in members(lab).values()) == {1: 4, 2: 4, 3: 4, 4: 4}
        assert len(members(lab)) == 16
    finally:
        await lab.close()


async def test_copysets_are_planned_once_also_over_a_restart(lab, three):
    before = members(lab)
    await lab.restart()
    await lab.mds.copysets.plan()
    lab.beat_all()
    await lab.mds.copysets.plan()
    assert members(lab) == before


async def test_a_number_that_metaservers_already_know_is_not_given_again(lab):
    stranger = await lab.join()
    stranger.groups |= {1, 2}  # made by hand
    lab.beat(stranger)
    await lab.add_metaservers(2)
    assert sorted(members(lab)) == [3, 4, 5]


async def test_replicas_are_made_on_the_others_while_one_is_away_and_on_it_when_it_is_back(lab):
    first, second = await lab.join(), await lab.join()
    third = await lab.join()
    await third.stop()
    await lab.mds.copysets.plan()
    await first.until(lambda: len(first.groups) == 3)
    await second.until(lambda: len(second.groups) == 3)
    assert third.groups == set()
    await third.start()
    reply = lab.beat(third)
    assert orders(reply, "create_copyset") == [1, 2, 3]
    order = reply.orders[1].create_copyset
    assert ([peer.metaserver_id for peer in order.peers], order.first_metaserver_id) == ([2, 3, 1], 2)
    for group_id in (1, 2, 3):
        lab.mds.copysets.creations.kick(group_id)
        assert await lab.mds.copysets.creations.finished(group_id, PATIENCE_S)
    assert third.groups == {1, 2, 3}
    assert orders(lab.beat(third), "create_copyset") == []


# --------------------------------------------------------------------------------------------- using them


async def test_twelve_partitions_are_made_at_the_leaders_of_three_copysets(lab, three):
    made = await lab.create()
    assert [sorted(Counter(group for group, _, _ in one.partitions).items()) for one in three] == [
        [(1, 4)],
        [(2, 4)],
        [(3, 4)],
    ]
    lab.beat_all()
    partitions = lab.mds.views.partitions(made.fs_id)
    assert [one.partition_id for one in partitions] == list(range(12))
    assert [one.group_id for one in partitions] == [1, 2, 3] * 4
    assert [one.leader for one in partitions[:3]] == [one.address for one in three]
    assert all(len(one.peers) == 3 for one in partitions)
    assert [one.partition_count for one in lab.mds.views.copysets([])] == [4, 4, 4]


async def test_calls_follow_redirects_to_the_leader(lab, three):
    place(three, 1, three[2], term=5)  # the MDS was told that 1 leads
    await lab.create()
    assert Counter(group for group, _, _ in three[2].partitions) == {1: 4, 3: 4}
    assert three[0].partitions == set()


async def test_a_group_without_a_leader_is_waited_for(tmp_path):
    lab = MdsLab(tmp_path / "mds", replica_count=3, partition_count=12, metaserver_deadline_s=PATIENCE_S)
    await lab.start()
    try:
        three = await lab.add_metaservers(3)
        for metaserver in three:
            metaserver.following[1] = ""
        creating = asyncio.create_task(lab.create())
        # Each peer is asked, because any of them may be elected.
        for metaserver in three:
            await metaserver.until(lambda one=metaserver: _asked_for(one, 1))
        assert not creating.done()
        del three[1].following[1]
        assert (await creating).state == pb.ACTIVE
        assert Counter(group for group, _, _ in three[1].partitions) == {1: 4, 2: 4}
    finally:
        await lab.close()


def _asked_for(metaserver: FakeMetaserver, group_id: int) -> bool:
    return any(request.partition.group_id == group_id for request in metaserver.asked("CreatePartition"))


async def test_a_group_without_a_leader_until_the_deadline_leaves_nothing(lab, three):
    for metaserver in three:
        metaserver.following[2] = ""
    creating = asyncio.create_task(lab.create())
    await three[0].until(lambda: bool(three[0].asked("DeletePartition")))
    for metaserver in three:
        metaserver.following.pop(2)
    lab.mds.filesystems.removals.kick(1)
    with pytest.raises(Unavailable, match="no leader"):
        await creating
    assert await lab.mds.filesystems.removals.finished(1, PATIENCE_S)
    assert [one.partitions for one in three] == [set(), set(), set()]
    assert await lab.keys(b"partition/") == []


@pytest.mark.parametrize("method", ["CreatePartition", "CreateCopyset"])
async def test_creation_is_whole_or_not_at_all(lab, three, method):
    three[1].failing[method] = NoSpace("injected")
    with pytest.raises(NoSpace):
        await lab.create()
    assert lab.mds.filesystems.all() == []
    assert [one.partitions for one in three] == [set(), set(), set()]
    assert await lab.keys(b"partition/") == []
    three[1].failing.clear()
    assert (await lab.create()).state == pb.ACTIVE


async def test_deletion_reaches_every_partition_though_leaders_have_changed(lab, three):
    made = await lab.create()
    for group_id in (1, 2, 3):  # leadership moves on, and the state with it
        old, new = three[group_id - 1], three[group_id % 3]
        new.partitions |= {one for one in old.partitions if one[0] == group_id}
        old.partitions = {one for one in old.partitions if one[0] != group_id}
        place(three, group_id, new, term=2)
    await lab.mds.filesystems.delete("demo")
    assert await lab.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    assert [one.partitions for one in three] == [set(), set(), set()]


async def test_a_peer_that_lost_its_replica_does_not_speak_for_its_group(lab, three):
    made = await lab.create()
    place(three, 1, three[1], term=2)
    three[1].partitions |= {one for one in three[0].partitions if one[0] == 1}
    three[0].groups.clear()  # and is asked first, because it was the leader
    await lab.mds.filesystems.delete("demo")
    assert await lab.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    assert three[1].partitions == set()


async def test_a_group_with_a_majority_online_takes_more_filesystems(lab, three):
    await lab.create()
    lab.clock.advance(31)
    for metaserver in three[:2]:
        lab.beat(metaserver)
    place(three, 3, three[0], term=2)
    assert (await lab.create("other")).state == pb.ACTIVE
    lab.clock.advance(31)
    lab.beat(three[0])
    with pytest.raises(Unavailable, match="1 of 3 metaservers needed are online"):
        await lab.create("third")


async def test_ends_of_sessions_reach_every_group_at_its_leader(lab, three):
    await lab.create()
    session = await lab.open()
    assert {partition.group_id for partition in lab.mds.views.partitions(1)} == {1, 2, 3}
    place(three, 1, three[1], term=2)
    await lab.mds.sessions.close(session.session_id)
    for group_id in (1, 2, 3):
        assert await lab.mds.sessions.endings.finished(group_id, PATIENCE_S)
    assert [sorted(group for group, _ in one.ended) for one in three] == [[], [1, 2], [3]]


# ------------------------------------------------------------------------------------ what is said of them


async def test_the_leader_is_who_says_so_with_the_highest_term(lab, three):
    three[1].following.pop(1)  # thinks so, too, of a later term
    three[1].terms[1] = 2
    lab.beat_all()
    assert [one.leader_id for one in lab.mds.views.copysets([1])] == [2]


async def test_a_leader_that_fell_silent_is_no_hint_but_all_peers_are_given(lab, three):
    made = await lab.create()
    lab.clock.advance(11)
    for metaserver in three[1:]:
        lab.beat(metaserver)
    first = lab.mds.views.partitions(made.fs_id)[0]
    assert (first.leader, len(first.peers)) == ("", 3)
    assert [one.leader_id for one in lab.mds.views.copysets([])] == [0, 2, 3]
    assert lab.mds.views.addresses(1) == [one.address for one in three]


async def test_a_restarted_metaserver_leads_nothing_until_it_says_so(lab, three):
    await lab.mds.registration.register(three[0].registration())
    assert [one.leader_id for one in lab.mds.views.copysets([])] == [0, 2, 3]
    assert [one.heard for one in lab.mds.views.copysets([1])[0].replicas] == [False, True, True]
    lab.beat(three[0])
    assert [one.leader_id for one in lab.mds.views.copysets([])] == [1, 2, 3]


async def test_replicas_are_shown_as_last_reported(lab, three):
    three[0].terms[1] = 4
    three[1].committed = 70
    lab.beat_all()
    leader, follower, _ = lab.mds.views.copysets([1])[0].replicas
    assert (leader.metaserver_id, leader.heard, leader.leading, leader.term) == (1, True, True, 4)
    assert (leader.committed_index, leader.applied_index) == (100, 100)
    assert (follower.leading, follower.applied_index) == (False, 70)


# --------------------------------------------------------------------------------------- following changes


async def test_a_changed_membership_is_stored(lab, three):
    fourth = await lab.join()
    await move(lab, 1, [three[1], three[0], fourth], index=20)
    assert members(lab)[1] == [1, 2, 4]
    await lab.restart()
    [record] = lab.mds.views.copysets([1])
    assert ([peer.metaserver_id for peer in record.peers], record.configuration_index) == ([1, 2, 4], 20)


async def test_an_old_leaders_membership_is_not_taken_over(lab, three):
    await move(lab, 1, [three[1], three[2]], index=20)
    three[0].configurations[1], three[0].terms[1] = 30, 1  # of an earlier term, and never committed
    three[0].following.pop(1)
    lab.beat(three[0])
    assert await lab.mds.copysets.memberships.finished(1, PATIENCE_S)
    assert members(lab)[1] == [2, 3]


async def test_a_membership_that_cannot_be_stored_is_stored_later(lab, three):
    lab.kv.plan("full", 1)
    await move(lab, 1, [three[0], three[1]], index=20)
    assert members(lab)[1] == [1, 2]
    assert lab.mds.state.copysets.get(1).configuration_index == 20
