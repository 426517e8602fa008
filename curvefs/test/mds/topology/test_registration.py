"""Metaservers join, come back, move, and prove who they are."""

import pytest
from pydantic import ValidationError

from curvefs.proto import topology_pb2 as pb
from curvefs.src.common.errors import AlreadyExists, InvalidArgument, PermissionDenied, Unavailable
from curvefs.test.mds.lab import MdsLab
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0


async def test_joining_metaserver_gets_an_identity_and_a_copyset(mds, metaserver):
    assert metaserver.metaserver_id == 1
    assert len(metaserver.token) == 16
    [request] = metaserver.asked("CreateCopyset")[:1]
    assert (request.group_id, request.mds_epoch) == (1, 1)
    assert [(peer.metaserver_id, peer.address) for peer in request.peers] == [(1, metaserver.address)]
    [listed] = mds.mds.views.metaservers()
    assert (listed.metaserver_id, listed.address, listed.pid) == (1, metaserver.address, 42)
    assert (listed.health, listed.leader_count, listed.copyset_count) == (pb.ONLINE, 1, 1)
    assert (listed.disk_total_bytes, listed.disk_used_bytes) == (1000, 400)
    [copyset] = mds.mds.views.copysets([])
    assert (copyset.group_id, copyset.leader_id, copyset.peers[0].address) == (1, 1, metaserver.address)


async def test_token_is_answered_to_its_metaserver_only(mds, metaserver):
    assert [record.token for record in mds.mds.views.metaservers()] == [b""]


async def test_known_metaserver_keeps_its_identity(mds, metaserver):
    record = await mds.mds.registration.register(metaserver.registration())
    assert (record.metaserver_id, record.token) == (metaserver.metaserver_id, metaserver.token)
    assert len(mds.mds.state.metaservers) == 1
    await mds.restart()
    record = await mds.mds.registration.register(metaserver.registration())
    assert record.metaserver_id == metaserver.metaserver_id
    assert len(mds.mds.state.copysets) == 1


async def test_new_address_of_a_known_metaserver_reaches_everything(mds, metaserver):
    made = await mds.create()
    await metaserver.stop()
    metaserver.address = "127.0.0.1:0"
    await metaserver.start()
    await mds.mds.registration.register(metaserver.registration())
    assert mds.mds.views.partitions(made.fs_id)[0].peers[0].address == metaserver.address
    assert mds.mds.views.copysets([1])[0].peers[0].address == metaserver.address
    assert (await mds.create("other")).name == "other"


async def test_wrong_token_is_refused(mds, metaserver):
    metaserver.token = b"x" * 16
    with pytest.raises(PermissionDenied):
        await mds.mds.registration.register(metaserver.registration())
    with pytest.raises(PermissionDenied):
        mds.beat(metaserver)


async def test_unknown_id_is_refused(mds, metaserver):
    metaserver.metaserver_id, metaserver.secret = 77, b"another"
    with pytest.raises(PermissionDenied):
        await mds.mds.registration.register(metaserver.registration())


async def test_metaserver_of_another_cluster_is_refused(mds, metaserver):
    metaserver.cluster_id = "another"
    with pytest.raises(PermissionDenied, match="cluster"):
        await mds.mds.registration.register(metaserver.registration())


def another_process(metaserver, address):
    """Return a process with the same folder, or a copy of it."""
    other = FakeMetaserver()
    other.registered(metaserver)
    other.secret, other.address = metaserver.secret, address
    return other


async def test_a_copy_of_a_metaserver_is_refused_while_the_other_is_heard_and_takes_its_place_when_it_is_silent(
    mds, metaserver
):
    register = mds.mds.registration.register
    copy = another_process(metaserver, "127.0.0.1:2")
    with pytest.raises(AlreadyExists, match="was heard 0 s ago"):
        await register(copy.registration())
    with pytest.raises(AlreadyExists, match="another process"):
        mds.beat(copy)
    mds.beat(metaserver)
    mds.clock.advance(11)
    await register(copy.registration())
    mds.beat(copy)
    with pytest.raises(AlreadyExists, match=r"another process is metaserver 1 now, at 127\.0\.0\.1:2"):
        mds.beat(metaserver)
    with pytest.raises(AlreadyExists, match="was heard"):
        await register(metaserver.registration())


async def test_a_metaserver_that_was_restarted_at_its_address_is_taken_at_once(mds, metaserver):
    again = another_process(metaserver, metaserver.address)
    await mds.mds.registration.register(again.registration())
    mds.beat(again)
    with pytest.raises(AlreadyExists, match="another process"):
        mds.beat(metaserver)


async def test_an_mds_that_has_just_begun_waits_whether_the_one_it_knows_is_there(mds, metaserver):
    await mds.restart()
    copy = another_process(metaserver, "127.0.0.1:2")
    with pytest.raises(Unavailable, match="may still be"):
        await mds.mds.registration.register(copy.registration())
    with pytest.raises(PermissionDenied, match="registered last"):
        mds.beat(copy)
    mds.beat(metaserver)
    metaserver.address = "127.0.0.1:3"  # it is the same process: nothing to wait for
    await mds.mds.registration.register(metaserver.registration())


@pytest.mark.parametrize("address", ["", "host", "127.0.0.1:0", "127.0.0.1:99999"])
async def test_address_must_be_one(mds, address):
    with pytest.raises(InvalidArgument):
        await mds.mds.registration.register(pb.RegisterMetaserverRequest(address=address))


async def test_first_registration_whose_answer_was_lost_leaves_no_ghost(mds):
    request = pb.RegisterMetaserverRequest(address="127.0.0.1:2")
    first = await mds.mds.registration.register(request)
    second = await mds.mds.registration.register(request)
    assert first.metaserver_id != second.metaserver_id
    assert [record.metaserver_id for record in mds.mds.views.metaservers()] == [second.metaserver_id]
    assert len(mds.mds.state.copysets) == 1


async def test_metaserver_that_holds_metadata_is_never_forgotten_for_its_address(mds, metaserver):
    await mds.create()
    mds.clock.advance(11)
    await mds.mds.registration.register(pb.RegisterMetaserverRequest(address=metaserver.address))
    assert [record.metaserver_id for record in mds.mds.views.metaservers()] == [1, 2]


async def test_copyset_is_made_when_its_metaserver_is_back(mds):
    metaserver = FakeMetaserver()
    mds.metaservers.append(metaserver)
    await metaserver.start()
    metaserver.failing["CreateCopyset"] = Unavailable("injected")
    metaserver.registered(await mds.mds.registration.register(metaserver.registration()))
    await metaserver.until(lambda: bool(metaserver.asked("CreateCopyset")))
    [order] = mds.beat(metaserver).orders
    assert (order.group_id, order.create_copyset.peers[0].address) == (1, metaserver.address)
    metaserver.failing.clear()
    mds.mds.copysets.creations.kick(1)
    assert await mds.mds.copysets.creations.finished(1, PATIENCE_S)
    assert metaserver.groups == {1}
    assert list(mds.beat(metaserver).orders) == []


async def test_copyset_with_metadata_is_never_made_anew(mds, metaserver):
    await mds.create()
    metaserver.groups.clear()  # its disk was lost
    assert list(mds.beat(metaserver).orders) == []
    await mds.mds.registration.register(metaserver.registration())
    assert await mds.mds.copysets.creations.finished(1, PATIENCE_S)
    assert metaserver.groups == set()
    assert not mds.mds.copysets.may_create(1)


async def test_health_follows_the_age_of_the_last_heartbeat(mds, metaserver):
    expected = [(0, pb.ONLINE), (29, pb.ONLINE), (1, pb.UNSTABLE), (1769, pb.UNSTABLE), (1, pb.OFFLINE)]
    for seconds, health in expected:
        mds.clock.advance(seconds)
        assert mds.mds.views.health(1) == health
    mds.beat(metaserver)
    assert mds.mds.views.health(1) == pb.ONLINE


async def test_when_a_metaserver_is_unstable_or_offline_can_be_configured(tmp_path):
    lab = MdsLab(tmp_path / "mds", unstable_after_s=3.0, offline_after_s=6.0)
    await lab.start()
    try:
        await lab.add_metaserver()
        for seconds, health in [(2.5, pb.ONLINE), (0.5, pb.UNSTABLE), (2.5, pb.UNSTABLE), (0.5, pb.OFFLINE)]:
            lab.clock.advance(seconds)
            assert [one.health for one in lab.mds.views.metaservers()] == [health]
    finally:
        await lab.close()
    with pytest.raises(ValidationError, match="offline_after_s is below unstable_after_s"):
        MdsLab(tmp_path / "mds", unstable_after_s=3.0, offline_after_s=2.0)


async def test_metaserver_not_heard_since_a_restart_is_unstable_not_online(mds, metaserver):
    await mds.restart()
    assert mds.mds.views.health(1) == pb.UNSTABLE
    mds.beat(metaserver)
    assert mds.mds.views.health(1) == pb.ONLINE
