"""An MDS whose store is an older copy: found out, nothing made or removed, everything learned again, and over."""

import asyncio

import pytest

from curvefs.proto import common_pb2, schedule_pb2, topology_pb2
from curvefs.proto import mds_pb2 as pb
from curvefs.src.common import tokens
from curvefs.src.common.errors import InvalidArgument, NotFound, PermissionDenied, SessionEnded, Unavailable
from curvefs.test.mds.groups import orders, place
from curvefs.test.mds.lab import PATIENCE_S, MdsLab
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio


def beat_all(lab):
    """Have every metaserver report, in the end in full."""
    for _ in range(2):
        lab.beat_all()


async def find_out(lab, metaserver):
    """Have the MDS hear of a newer one, and begin its next term."""
    with pytest.raises(Unavailable, match="in recovery"):
        lab.beat(metaserver)
    async with asyncio.timeout(PATIENCE_S):
        await lab.candidacy.over()
    await lab.restart()
    return lab.mds


async def complete(lab):
    """Let the recovery go on for long enough to end, if it can."""
    beat_all(lab)
    await lab.mds.tick()
    lab.clock.advance(11)
    beat_all(lab)
    await lab.mds.tick()


async def complete_without(lab, *absent):
    present = [one for one in lab.metaservers if one not in absent]
    everybody, lab.metaservers = lab.metaservers, present
    try:
        await complete(lab)
    finally:
        lab.metaservers = everybody


async def restored(lab, copy, *, recover=False):
    await lab.restore(copy, recover=recover)
    if not recover:
        await find_out(lab, lab.metaservers[0])
    assert lab.mds.recovery.active


# --------------------------------------------------------------------------------------------- found out


async def test_an_epoch_that_no_mds_can_have_had_ends_no_term(lab, three):
    three[0].highest_epoch = 2**64 - 1
    with pytest.raises(InvalidArgument, match="18446744073709551615"):
        lab.beat(three[0])
    assert not lab.mds.recovery.active


async def test_a_higher_epoch_ends_the_term_and_the_next_is_obeyed_and_in_recovery(lab, three):
    three[1].highest_epoch = 99
    await find_out(lab, three[1])
    assert lab.mds.state.authority.epoch == 100
    assert "metaserver 2 obeyed epoch 99" in lab.mds.recovery.status().reason
    assert lab.beat(three[1]).recovering
    three[2].highest_epoch = 150  # it was away before
    await find_out(lab, three[2])
    assert lab.mds.state.authority.epoch == 151
    assert "metaserver 2 obeyed epoch 99" in lab.mds.recovery.status().reason


async def test_a_higher_epoch_counts_only_with_the_right_token(lab, three):
    with pytest.raises(PermissionDenied):
        lab.mds.heartbeats.beat(three[0].heartbeat(highest_epoch=99, token=b"x" * 16))
    stranger = FakeMetaserver()
    stranger.metaserver_id, stranger.token, stranger.address, stranger.highest_epoch = 9, b"x" * 16, "127.0.0.1:9", 99
    with pytest.raises(PermissionDenied):
        await lab.mds.registration.register(stranger.registration())
    assert not lab.mds.recovery.active


async def test_a_registration_that_tells_a_higher_epoch_is_enough(lab, three):
    three[0].highest_epoch = 99
    with pytest.raises(Unavailable, match="in recovery"):
        await lab.mds.registration.register(three[0].registration())
    async with asyncio.timeout(PATIENCE_S):
        await lab.candidacy.over()


async def test_from_then_on_nothing_is_made_in_the_same_term_either(lab, three):
    three[0].highest_epoch = 99
    with pytest.raises(Unavailable):
        lab.beat(three[0])
    with pytest.raises(Unavailable, match="in recovery"):
        await lab.create()


async def test_before_its_metaservers_are_heard_it_gives_no_number_away_and_ends_no_session(lab, three):
    await lab.restart()
    for metaserver in three:
        with pytest.raises(Unavailable, match="just begun"):
            await lab.mds.sessions.renew(b"s" * 16)
        with pytest.raises(Unavailable, match="just begun"):
            await lab.join()
        lab.beat(metaserver)
    assert (await lab.join()).metaserver_id == 4
    await lab.restart()
    lab.clock.advance(11)
    with pytest.raises(Unavailable, match="just begun"):
        await lab.mds.sessions.renew(b"s" * 16)
    lab.beat(three[0])
    with pytest.raises(SessionEnded):
        await lab.mds.sessions.renew(b"s" * 16)


async def test_a_mark_that_cannot_be_stored_is_tried_again(lab, three):
    lab.kv.plan("full", 1)
    three[0].highest_epoch = 99
    await find_out(lab, three[0])
    assert lab.mds.recovery.active


async def test_an_mds_that_another_one_has_replaced_marks_nothing(lab, three):
    await lab.depose()
    three[0].highest_epoch = 2
    with pytest.raises(Unavailable):
        lab.beat(three[0])
    async with asyncio.timeout(PATIENCE_S):
        await lab.candidacy.over()
    assert await lab.kv.get(b"cluster/recovery") is None


async def test_an_operator_may_say_so(lab, three):
    copy = await lab.copy_store()
    await restored(lab, copy, recover=True)
    assert "operator" in lab.mds.recovery.status().reason


# ------------------------------------------------------------------------------------------ held back


async def test_nothing_is_made_removed_or_ended_meanwhile(lab, three):
    made = await lab.create()
    session = await lab.open()
    await lab.create("going")
    copy = await lab.copy_store()
    await lab.mds.filesystems.delete("going")
    three[0].groups.add(77)
    three[0].members[77] = [common_pb2.Peer(metaserver_id=1)]
    for one in three:
        one.sessions = {session.session_id, b"s" * 16}
    await restored(lab, copy)
    for one in three:
        one.calls.clear()
    request = pb.CreateFilesystemRequest(name="new", object_store="file:///x")
    for refused in (
        lab.mds.filesystems.create(request),
        lab.mds.filesystems.delete("demo"),
        lab.open(),
        lab.mds.sessions.close(session.session_id),
        lab.join(),
    ):
        with pytest.raises(Unavailable, match="curvefs-tool recovery"):
            await refused
    for _ in range(30):
        lab.clock.advance(10)
        for one in three:
            assert list(lab.beat(one).orders) == []
        lab.mds.recovery._in_full.clear()  # as if somebody were still missing
        await lab.mds.tick()
    assert lab.mds.recovery.active
    assert [one.calls for one in three] == [[], [], []]
    assert lab.mds.sessions.of(made.fs_id)[0].ending is False
    await lab.mds.sessions.renew(session.session_id)


async def test_neither_topology_nor_duties_change_meanwhile(lab, three):
    await restored(lab, await lab.copy_store(), recover=True)
    before = await lab.keys()
    services = lab.mds.services
    file = b'{"pools": [{"name": "p", "replica_count": 1, "zones": [{"name": "z", "servers": [{"name": "s"}]}]}]}'
    duty = schedule_pb2.SetDutyRequest(metaserver_id=1, duty=topology_pb2.DRAINS)
    for reply in (
        await services["TopologyService"].ApplyTopology(topology_pb2.ApplyTopologyRequest(file=file), None),
        await services["ScheduleService"].SetDuty(duty, None),
    ):
        assert reply.failure.code == common_pb2.UNAVAILABLE, reply
        assert "curvefs-tool recovery" in reply.failure.message
    assert await lab.keys() == before


async def test_a_deletion_that_was_under_way_goes_on_afterwards(lab, three):
    made = await lab.create()
    for one in three:
        one.failing["DeletePartition"] = Unavailable("away")
    await lab.mds.filesystems.delete("demo")
    copy = await lab.copy_store()
    for one in three:
        one.failing.clear()
    await restored(lab, copy, recover=True)
    assert len(lab.mds.state.partitions) == 12
    await complete(lab)
    assert not lab.mds.recovery.active
    assert await lab.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    assert len(lab.mds.state.partitions) == 0


# ---------------------------------------------------------------------------------------------- learned


async def test_what_was_made_after_the_copy_is_known_again_and_its_numbers_are_not_used_twice(lab, three):
    await lab.create("old")
    copy = await lab.copy_store()
    fourth = await lab.join()
    await lab.mds.copysets.plan()
    for group_id, _ in list(lab.mds.state.copysets.items()):
        assert await lab.mds.copysets.creations.finished(group_id, PATIENCE_S)
    lab.beat_all()
    made = await lab.create("new", capacity_bytes=1 << 40)
    before = {one.group_id: list(one.peers) for one in lab.mds.views.copysets([])}
    places = [(one.partition_id, one.group_id) for one in lab.mds.views.partitions(made.fs_id)]
    assert len(before) == 4
    await restored(lab, copy)
    with pytest.raises(Unavailable):
        lab.mds.filesystems.get("new")
    with pytest.raises(PermissionDenied):
        lab.beat(fourth)
    await complete_without(lab, fourth)
    assert lab.mds.recovery.active
    assert "metaserver 4, a peer of copyset 4" in " ".join(lab.mds.recovery.status().unknown)
    assert (await lab.mds.registration.register(fourth.registration())).token == fourth.token
    await complete(lab)
    assert not lab.mds.recovery.active
    assert lab.mds.filesystems.get("new") == made
    assert {one.group_id: list(one.peers) for one in lab.mds.views.copysets([])} == before
    assert [(one.partition_id, one.group_id) for one in lab.mds.views.partitions(made.fs_id)] == places
    assert (await lab.create("newer")).fs_id == made.fs_id + 1
    assert (await lab.join()).metaserver_id == 5
    assert lab.mds.state.counters.get("copyset") >= 4


async def test_a_copyset_that_was_unused_when_the_copy_was_taken_is_never_made_empty_again(lab, three):
    copy = await lab.copy_store()
    await lab.create()
    await restored(lab, copy)
    await complete(lab)
    assert not lab.mds.recovery.active
    three[2].groups.clear()
    assert orders(lab.beat(three[2]), "create_copyset") == []


async def test_it_waits_for_every_metaserver_but_those_that_others_replaced(lab, three):
    place(three, 3, three[0], term=2)
    copy = await lab.copy_store()
    await restored(lab, copy, recover=True)
    await complete_without(lab, three[2])
    assert lab.mds.recovery.active
    assert list(lab.mds.recovery.status().silent_metaservers) == [3]
    lab.mds.state.metaservers.get(3).superseded_by = 1
    await complete_without(lab, three[2])
    assert not lab.mds.recovery.active


async def test_it_waits_for_a_leader_of_each_group(lab, three):
    await lab.create()
    copy = await lab.copy_store()
    three[0].following[1] = ""
    await restored(lab, copy)
    await complete(lab)
    assert list(lab.mds.recovery.status().unknown) == ["copyset 1 has no leader"]
    del three[0].following[1]
    await complete(lab)
    assert not lab.mds.recovery.active


async def test_a_filesystem_is_taken_up_only_when_all_its_partitions_are_there(lab, three):
    copy = await lab.copy_store()
    made = await lab.create()
    lost = next(place for place in three[1].partitions)
    three[1].partitions.discard(lost)
    await restored(lab, copy)
    await complete(lab)
    assert list(lab.mds.recovery.status().unknown) == ["filesystem 'demo' (1): 11 of 12 partitions are known"]
    with pytest.raises(Unavailable):
        lab.mds.filesystems.get("demo")
    three[1].partitions.add(lost)
    await complete(lab)
    assert lab.mds.filesystems.get("demo") == made


async def test_a_filesystem_that_was_just_being_made_stays_when_all_of_it_is_there(lab, three):
    made = await lab.create()
    being_made = type(made).FromString(made.SerializeToString())
    being_made.state = pb.CREATING
    await lab.mds.state.change(lambda change: change.put(lab.mds.state.filesystems, made.fs_id, being_made))
    copy = await lab.copy_store()
    await restored(lab, copy, recover=True)
    await complete(lab)
    assert lab.mds.filesystems.get("demo").state == pb.ACTIVE


async def test_of_two_filesystems_of_one_name_the_one_that_is_there_has_it(lab, three):
    first = await lab.create()
    copy = await lab.copy_store()
    await lab.mds.filesystems.delete("demo")
    assert await lab.mds.filesystems.removals.finished(first.fs_id, PATIENCE_S)
    second = await lab.create()
    await restored(lab, copy)
    await complete(lab)
    assert not lab.mds.recovery.active
    assert lab.mds.filesystems.get("demo") == second
    assert lab.mds.filesystems.get(f"demo-{first.fs_id}").uuid == first.uuid


# ----------------------------------------------------------------------------------------------- sessions


async def test_a_session_is_taken_up_by_its_token_also_an_expired_one_and_lives_on(lab, three):
    await lab.create()
    copy = await lab.copy_store()
    session, token = await lab.mds.sessions.open(
        pb.OpenSessionRequest(name="demo", host="h", pid=3, mountpoint="/m", version="1.2", exclusive=True)
    )
    for one in three:
        one.sessions = {session.session_id}
    lab.clock.advance(300)
    await restored(lab, copy)
    beat_all(lab)
    lab.clock.advance(20)
    beat_all(lab)
    await lab.mds.tick()
    assert lab.mds.recovery.status().unknown_sessions == 1
    with pytest.raises(Unavailable, match="in recovery"):
        await lab.mds.sessions.renew(session.session_id)
    with pytest.raises(Unavailable, match="not signed"):
        await lab.mds.sessions.renew(session.session_id, b"x" * 60, session)
    with pytest.raises(Unavailable, match="another session"):
        await lab.mds.sessions.renew(b"o" * 16, token, session)
    again, _ = await lab.mds.sessions.renew(session.session_id, token, session)
    secret = lab.mds.state.authority.cluster.secret
    assert tokens.verify(secret, again).session_id == session.session_id
    [shown] = lab.mds.sessions.of(None)
    assert (shown.host, shown.pid, shown.mountpoint, shown.version, shown.exclusive) == ("h", 3, "/m", "1.2", True)
    await lab.mds.tick()
    assert not lab.mds.recovery.active
    await lab.restart()
    await lab.mds.sessions.renew(session.session_id)


@pytest.mark.parametrize("said", [b"", b"o" * 16])
async def test_a_session_that_is_taken_up_has_the_identity_that_its_token_says(lab, three, said):
    await lab.create()
    copy = await lab.copy_store()
    session, token = await lab.mds.sessions.open(pb.OpenSessionRequest(name="demo", identity=b"i" * 16))
    for one in three:
        one.sessions = {session.session_id}
    await restored(lab, copy, recover=True)
    session.identity = said
    again, _ = await lab.mds.sessions.renew(session.session_id, token, session)
    assert tokens.verify(lab.mds.state.authority.cluster.secret, again).identity == b"i" * 16
    assert lab.mds.sessions.of(None)[0].identity == b"i" * 16


async def test_sessions_that_nobody_renews_are_waited_for_as_long_as_a_lease_and_then_ended(lab, three):
    await lab.create()
    copy = await lab.copy_store()
    for one in three:
        one.sessions = {b"s" * 16}
    await restored(lab, copy, recover=True)
    await complete(lab)
    assert lab.mds.recovery.active
    lab.clock.advance(50)
    beat_all(lab)
    await lab.mds.tick()
    assert not lab.mds.recovery.active
    with pytest.raises(SessionEnded):
        await lab.mds.sessions.renew(b"s" * 16)
    assert orders(lab.beat(three[0]), "end_session") == [1]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_the_identity_of_a_mount_that_is_away_is_retained_and_can_be_continued(lab, three, by_hand):
    """Else what it has staged could not be published under the ids that it has on its disk."""
    made = await lab.create()
    copy = await lab.copy_store()
    identity = b"i" * 16
    for one in three:
        one.sessions, one.identities = {identity}, {identity: made.fs_id}
    await restored(lab, copy, recover=True)
    await complete(lab)
    if by_hand:
        await lab.mds.recovery.end()
    lab.clock.advance(50)
    beat_all(lab)
    await lab.mds.tick()
    assert not lab.mds.recovery.active
    [kept] = lab.mds.sessions.of(None)
    assert (kept.identity, kept.fs_id, kept.retained_since_ns > 0) == (identity, made.fs_id, True)
    assert kept.session_id != identity
    lab.clock.advance(60)
    assert [orders(lab.beat(one), "end_session") for one in three] == [[], [], []]
    session = await lab.open(identity=identity, continues=True)
    assert [one.session_id for one in lab.mds.sessions.of(None)] == [session.session_id]


async def test_the_identity_of_a_mount_that_comes_back_is_not_retained_besides(lab, three):
    """Its retention would be over one day, and end what the mount still uses."""
    made = await lab.create()
    copy = await lab.copy_store()
    identity = b"i" * 16
    session, token = await lab.mds.sessions.open(pb.OpenSessionRequest(name="demo", identity=identity))
    for one in three:
        one.sessions, one.identities = {session.session_id, identity}, {identity: made.fs_id}
    await restored(lab, copy, recover=True)
    await complete(lab)
    assert [one.identity for one in lab.mds.sessions.of(None)] == [identity]
    await lab.mds.sessions.renew(session.session_id, token, session)
    await complete(lab)
    assert [one.session_id for one in lab.mds.sessions.of(None)] == [session.session_id]
    assert not lab.mds.recovery.active
    assert lab.mds.sessions.over_among([identity]) == set()


async def test_sessions_have_a_full_lease_when_it_ends(lab, three):
    await lab.create()
    session = await lab.open()
    copy = await lab.copy_store()
    await restored(lab, copy, recover=True)
    await complete_without(lab, three[0])
    for _ in range(5):
        lab.clock.advance(59)
        await lab.mds.tick()
    await complete(lab)
    assert not lab.mds.recovery.active
    lab.clock.advance(45)
    assert await lab.mds.sessions.expire() == 0
    await lab.mds.sessions.renew(session.session_id)


async def test_more_than_a_transaction_holds_is_learned_one_after_the_other(tmp_path):
    lab = MdsLab(tmp_path / "mds", partition_count=64, copysets_per_metaserver=10)
    await lab.start()
    try:
        [metaserver] = await lab.add_metaservers(1)
        old = await lab.create("old")
        await lab.settle_configurations()
        copy = await lab.copy_store()
        new = await lab.create("new")
        for number in range(100):
            identity = b"%016d" % number
            if number < 40:
                metaserver.groups.add(100 + number)
                metaserver.configurations[100 + number] = 1
                metaserver.members[100 + number] = [common_pb2.Peer(metaserver_id=1)]
            metaserver.sessions.add(identity)
            metaserver.identities[identity] = old.fs_id
        await lab.restore(copy, recover=True)
        await complete(lab)
        assert lab.mds.filesystems.get("new") == new
        assert len(lab.mds.sessions.of(None)) == 100
    finally:
        await lab.close()


# -------------------------------------------------------------------------------------------- ended by hand


async def test_an_operator_ends_it_and_replicas_that_may_be_elsewhere_are_not_made_empty(lab, three):
    copy = await lab.copy_store()
    await lab.create()
    await restored(lab, copy, recover=True)
    await lab.mds.recovery.end()
    assert not lab.mds.recovery.active
    assert [record.sealed for record in lab.mds.state.copysets.values()] == [True] * 3
    await lab.restart()
    assert not lab.mds.recovery.active
    with pytest.raises(NotFound):
        lab.mds.filesystems.get("demo")


async def test_what_the_store_knows_and_nobody_has_is_told_and_kept(lab, three):
    made = await lab.create()
    copy = await lab.copy_store()
    await lab.mds.filesystems.delete("demo")
    assert await lab.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    await restored(lab, copy, recover=True)
    beat_all(lab)
    assert list(lab.mds.recovery.status().missing) == ["filesystem 'demo' (1): nobody has 12 of its 12 partitions"]
    await complete(lab)
    assert lab.mds.filesystems.get("demo") == made
