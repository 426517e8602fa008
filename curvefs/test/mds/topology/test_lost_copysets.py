"""When every disk that had a group is gone, what was in it ends, and the cluster goes on without it."""

import pytest

from curvefs.proto import mds_pb2
from curvefs.src.common.errors import NotFound
from curvefs.src.mds.schedule.create import wanted_count
from curvefs.test.mds.groups import members, orders
from curvefs.test.mds.lab import PATIENCE_S
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio


async def wipe(lab, metaserver):
    """Have a metaserver lose its disk, and come back at its address as another one."""
    await metaserver.stop()
    lab.metaservers.remove(metaserver)
    lab.clock.advance(11)
    for one in lab.metaservers:
        lab.beat(one)
    wiped = FakeMetaserver()
    wiped.address = metaserver.address
    await wiped.start()
    lab.metaservers.append(wiped)
    wiped.registered(await lab.mds.registration.register(wiped.registration()))
    lab.beat(wiped)
    return wiped


async def find(lab, metaserver):
    """Have the disk of a wiped metaserver be found, and used at another address."""
    metaserver.address = "127.0.0.1:0"
    await metaserver.start()
    lab.metaservers.append(metaserver)
    metaserver.registered(await lab.mds.registration.register(metaserver.registration()))
    lab.beat(metaserver)


async def deleted(lab, filesystem):
    await lab.mds.filesystems.delete(filesystem.name)
    assert await lab.mds.filesystems.removals.finished(filesystem.fs_id, PATIENCE_S)
    assert filesystem.fs_id not in lab.mds.state.filesystems


async def test_a_filesystem_whose_only_replica_is_lost_can_be_deleted_and_a_new_one_made(mds, metaserver):
    made = await mds.create()
    session = await mds.open(identity=b"i" * 16)
    wiped = await wipe(mds, metaserver)
    assert sorted(members(mds).values()) == [[1], [2]]
    await mds.create("second")
    assert {group_id for group_id, _, _ in wiped.partitions} == wiped.groups != metaserver.groups
    await mds.mds.sessions.close(session.session_id, end_identity=True)
    assert await mds.mds.sessions.endings.finished(1, PATIENCE_S)
    assert mds.mds.sessions.of(None) == []
    await deleted(mds, made)
    with pytest.raises(NotFound):
        await mds.open("demo")


async def test_what_waited_for_a_group_ends_when_the_group_is_lost(mds, metaserver):
    made = await mds.create()
    session = await mds.open()
    await metaserver.stop()
    await mds.mds.sessions.close(session.session_id)
    await mds.mds.filesystems.delete("demo")
    assert not await mds.mds.sessions.endings.finished(1, 1.0)
    await wipe(mds, metaserver)
    mds.mds.sessions.endings.kick(1)
    assert await mds.mds.sessions.endings.finished(1, PATIENCE_S)
    mds.mds.filesystems.removals.kick(made.fs_id)
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)


async def test_a_lost_group_that_is_found_again_is_told_what_it_has_missed(mds, metaserver):
    await mds.create()
    session = await mds.open()
    await wipe(mds, metaserver)
    await mds.mds.sessions.close(session.session_id)
    assert await mds.mds.sessions.endings.finished(1, PATIENCE_S)
    metaserver.sessions.add(session.session_id)
    await find(mds, metaserver)
    assert not mds.mds.views.is_lost(1)
    assert orders(mds.beat(metaserver), "end_session") == [1]


async def test_a_group_is_not_lost_while_one_of_its_voters_is_only_away(lab, three):
    await lab.create()
    for one in three[:2]:
        await wipe(lab, one)
    await three[2].stop()
    lab.metaservers.remove(three[2])
    lab.clock.advance(10_000)
    lab.beat_all()
    assert lab.mds.views.lost_copysets() == set()
    assert {group_id for group_id, peers in members(lab).items() if set(peers) == {1, 2, 3}} >= {1, 2, 3}
    await lab.mds.filesystems.delete("demo")
    assert not await lab.mds.filesystems.removals.finished(1, 1.0)
    [state] = [one.state for one in lab.mds.filesystems.all()]
    assert state == mds_pb2.DELETING


async def test_lost_groups_are_made_up_for(lab, three):
    await lab.create()
    for one in three:
        await wipe(lab, one)
    await lab.mds.copysets.plan()
    assert lab.mds.views.lost_copysets() == {1, 2, 3}
    wanted = wanted_count(known_count=3, per_metaserver=1, partition_count=0, ahead_count=12, partitions_per_copyset=64)
    assert len(members(lab)) == 3 + wanted
    assert set(lab.mds.scheduling._view.snapshots()[0].copysets).isdisjoint({1, 2, 3})
