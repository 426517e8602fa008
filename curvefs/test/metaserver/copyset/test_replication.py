"""Groups of three replicas: elections, crashes, cuts, snapshots, changes of members."""

import asyncio

import pytest
import pytest_asyncio

from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import CurveFSError, NoSpace, Redirect, StaleEpoch, Unavailable
from curvefs.src.metaserver.copyset import awaiting, snapshots
from curvefs.src.metaserver.copyset import group as group_module
from curvefs.src.metaserver.copyset.membership import Membership

from .cluster import ELECTION_S, Cluster
from .lab import GROUP, PATIENCE_S

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    await made.stop()


async def test_replicas_hold_the_same(cluster):
    await cluster.begin()
    for _ in range(20):
        await cluster.create(3)
    await cluster.equal()


async def test_the_first_peer_leads_at_once(cluster):
    await cluster.begin()
    assert await cluster.leader() == 1
    assert cluster.group(1).term == 1


async def test_another_replica_leads_when_the_leader_crashes_and_nothing_is_lost(cluster):
    await cluster.begin()
    for _ in range(6):
        await cluster.create(5)
        leader = await cluster.leader()
        await cluster.crash(leader)
        await cluster.create(5)
        cluster.start(leader)
        await cluster.equal()


async def test_a_follower_that_is_asked_names_the_leader(cluster):
    await cluster.begin()
    await cluster.create()
    await cluster.until(lambda: cluster.group(2).raft.leader == 1)
    with pytest.raises(Redirect) as caught:
        await cluster.create(at=2)
    assert caught.value.leader == "host:1"


async def test_a_minority_acknowledges_nothing_and_its_reads_fail(cluster):
    await cluster.begin()
    await cluster.create()
    old = await cluster.leader()
    others = [id_ for id_ in cluster.ids if id_ != old]
    cluster.cut = {pair for other in others for pair in ((old, other), (other, old))}
    with pytest.raises((Redirect, Unavailable, AssertionError)):
        await cluster.create(at=old)
    cluster.sequence -= 1
    with pytest.raises((Redirect, Unavailable)):
        await awaiting.read_barrier(cluster.group(old), PATIENCE_S)
    assert not cluster.group(old).may_answer()
    await cluster.leader(among=others)
    await cluster.create(2, at=await cluster.leader(among=others))
    cluster.cut.clear()
    await cluster.equal()


async def test_a_replica_that_lags_too_far_gets_a_snapshot(cluster, monkeypatch):
    monkeypatch.setattr(group_module, "LOG_ENTRIES_SOFT", 4)
    monkeypatch.setattr(group_module, "LOG_ENTRIES_HARD", 8)
    await cluster.begin()
    await cluster.crash(3)
    for _ in range(40):
        await cluster.create(2)
    cluster.start(3)
    await cluster.equal()
    assert cluster.group(3).checkpoints.newest_index > 0, "the snapshot is its durable base"
    await cluster.crash(3)
    cluster.start(3)
    await cluster.create()
    await cluster.equal()


async def test_of_a_snapshot_that_cannot_be_installed_nothing_stays_and_it_is_tried_again(cluster, monkeypatch):
    monkeypatch.setattr(group_module, "LOG_ENTRIES_SOFT", 4)
    monkeypatch.setattr(group_module, "LOG_ENTRIES_HARD", 8)
    monkeypatch.setitem(cluster.raft, "chunk_timeout_s", 0.1)
    left = []

    def no_room(path, state, **_):
        state.mkdir()
        left.extend([path, state])
        monkeypatch.setattr(snapshots, "load_snapshot", load_snapshot)
        raise NoSpace("full")

    load_snapshot = snapshots.load_snapshot
    await cluster.begin()
    await cluster.crash(3)
    for _ in range(40):
        await cluster.create(2)
    monkeypatch.setattr(snapshots, "load_snapshot", no_room)
    monkeypatch.setattr(snapshots, "_give_up", _give_up_when(lambda: not any(path.exists() for path in left)))
    cluster.start(3)
    await cluster.equal()
    assert len(left) == 2


def _give_up_when(clean, give_up=snapshots._give_up):
    def checked(group, works):
        assert clean()
        give_up(group, works)

    return checked


async def test_an_idle_group_is_quiet_and_wakes_when_its_leader_dies(cluster):
    await cluster.begin()
    await cluster.create()
    await cluster.until(lambda: not any(group.needs_ticks for group in cluster.groups().values()))
    await asyncio.sleep(3 * ELECTION_S)
    assert cluster.group(1).term == 1, "nobody missed a heartbeat"
    assert not cluster.group(1).may_answer(), "a quiet group has no lease"
    await awaiting.read_barrier(cluster.group(1), PATIENCE_S)
    await cluster.until(lambda: not any(group.needs_ticks for group in cluster.groups().values()))
    await cluster.crash(1)
    await cluster.leader(among=[2, 3])


async def test_a_quiet_leader_that_was_restarted_is_replaced_or_leads_again(cluster):
    await cluster.begin()
    await cluster.until(lambda: not any(group.needs_ticks for group in cluster.groups().values()))
    await cluster.crash(1)
    cluster.start(1)
    await cluster.create()
    await cluster.equal()


async def test_the_leadership_is_handed_over(cluster):
    await cluster.begin()
    await cluster.create()
    for to in (2, 3, 1):
        leader = cluster.group(await cluster.leader())
        await membership(cluster).transfer(leader, to, PATIENCE_S)
        assert await cluster.leader() == to
        await cluster.create()
    await cluster.equal()


async def test_a_server_whose_clock_is_off_hands_its_groups_to_others_and_stands_for_none(cluster):
    await cluster.begin()
    await cluster.until(lambda: not any(group.needs_ticks for group in cluster.groups().values()))
    cluster.group(1).allow_leading(allowed=False)
    leader = await cluster.leader(among=[2, 3])
    await cluster.crash(leader)
    assert await cluster.leader(among=[1, 2, 3]) not in (1, leader)
    cluster.start(leader)
    cluster.group(1).allow_leading(allowed=True)
    await cluster.create()
    await cluster.equal()


def membership(cluster):
    def know(peer_id, address):
        for links in cluster.links.values():
            links.know(peer_id, address)

    return Membership(SystemClock(), know, lambda _: "")


async def test_a_fourth_server_replaces_a_dead_one(tmp_path):
    cluster = Cluster(tmp_path, count=4)
    try:
        await cluster.begin(voters=(1, 2, 3))
        await cluster.create(10)
        await cluster.crash(3)
        await cluster.managers[4].create(GROUP, [])
        leader = cluster.group(await cluster.leader())
        index = await membership(cluster).change(leader, cluster.peers([1, 2, 4]), PATIENCE_S)
        assert leader.raft.log.configuration.voters == (1, 2, 4)
        assert leader.raft.log.configuration_index == index
        await cluster.create(5)
        await cluster.equal()
        with pytest.raises(StaleEpoch):
            membership(cluster).check(leader, index - 1)
        await cluster.crash(1 if leader.raft.id == 1 else leader.raft.id)
        await cluster.create(5)
    finally:
        await cluster.stop()


async def test_a_removal_that_waited_spares_a_replica_that_votes_again_by_then(tmp_path):
    cluster = Cluster(tmp_path, count=4)
    try:
        await cluster.begin(voters=(1, 2, 3))
        leader = cluster.group(await cluster.leader(among=[1]))
        cluster.cut |= {(1, 3), (2, 3)}  # it does not hear that it leaves
        await cluster.managers[4].create(GROUP, [])
        left_at = await membership(cluster).change(leader, cluster.peers([1, 2, 4]), PATIENCE_S)
        cluster.cut.clear()
        manager = cluster.managers[3]
        async with manager._changing:  # as during a checkpoint or a snapshot
            removal = asyncio.create_task(manager.remove(GROUP, damaged=True, made_for=left_at))
            await asyncio.sleep(0)
            await membership(cluster).change(leader, cluster.peers([1, 2, 3]), PATIENCE_S)
            await cluster.create(5)
        with pytest.raises(StaleEpoch):
            await removal
        await cluster.crash(2)
        await cluster.create()
    finally:
        await cluster.stop()


async def test_a_change_that_waited_for_who_joins_does_not_undo_another_one(tmp_path):
    cluster = Cluster(tmp_path, count=4)
    try:
        await cluster.begin(voters=(1, 2, 3))
        leader = cluster.group(await cluster.leader(among=[1]))
        cluster.cut.add((1, 4))
        await cluster.managers[4].create(GROUP, [])
        changes = [
            asyncio.create_task(membership(cluster).change(leader, cluster.peers([1, other, 4]), PATIENCE_S))
            for other in (2, 3)
        ]
        await cluster.until(lambda: leader.raft.log.configuration.learners == (4,))
        await asyncio.sleep(0.1)  # both wait for it
        cluster.cut.clear()
        done = await asyncio.gather(*changes, return_exceptions=True)
        assert sum(isinstance(one, StaleEpoch) for one in done) == 1, done
    finally:
        await cluster.stop()


async def test_replicas_that_another_process_may_be_take_no_part_until_they_may(cluster):
    await cluster.begin()
    await cluster.leader(among=[1])
    cluster.managers[3].take_part(allowed=False)
    had = cluster.group(3).raft.log.last_index
    await cluster.create(3)
    await cluster.crash(1)
    await asyncio.sleep(4 * ELECTION_S)
    assert not any(group.is_leader for group in cluster.groups().values())
    assert cluster.group(3).raft.log.last_index == had
    cluster.managers[3].take_part(allowed=True)
    await cluster.create()
    await cluster.equal()


async def test_a_leader_may_leave_its_group(cluster):
    await cluster.begin()
    await cluster.create()
    leader = cluster.group(1)
    # It leads no more before it can say so.
    with pytest.raises((Redirect, Unavailable)):
        await membership(cluster).change(leader, cluster.peers([2, 3]), PATIENCE_S)
    await cluster.leader(among=[2, 3])
    await cluster.create(3)
    await cluster.until(lambda: cluster.group(2).raft.log.configuration.members == (2, 3))
    await cluster.managers[1].remove(GROUP)
    await cluster.equal()


async def test_a_damaged_replica_is_rebuilt_from_its_peers(cluster):
    await cluster.begin()
    await cluster.create(10)
    await cluster.managers[3].checkpointing().make(cluster.group(3))
    await cluster.crash(3)
    for file in (cluster.folder / "3" / "groups" / str(GROUP) / "state").iterdir():
        file.unlink()
    for file in (cluster.folder / "3" / "wal").iterdir():
        file.unlink()
    cluster.start(3)
    assert GROUP in cluster.managers[3].damaged

    async def throw_away(_, left_at):
        await cluster.managers[3].remove(GROUP, damaged=True, made_for=left_at)
        await cluster.managers[3].create(GROUP, [])

    leader = cluster.group(await cluster.leader())
    await membership(cluster).rebuild(leader, 3, throw_away, PATIENCE_S)
    await cluster.create()
    await cluster.equal()
    assert not cluster.managers[3].damaged


async def test_all_crash_at_once_and_everything_acknowledged_is_there(cluster):
    await cluster.begin()
    for _ in range(10):
        await cluster.create(4)
    before = await cluster.equal()
    for id_ in list(cluster.managers):
        await cluster.crash(id_)
    for id_ in cluster.ids:
        cluster.start(id_)
    await cluster.leader()
    after = await cluster.equal()
    assert after[1] == before[1]


async def test_what_waits_at_a_leader_that_is_cut_off_is_told(cluster):
    await cluster.begin()
    cluster.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    with pytest.raises((CurveFSError, AssertionError)):
        await cluster.create(at=1)
    assert cluster.group(1).idle


async def test_a_follower_that_cannot_apply_keeps_so_much_in_memory_and_catches_up_by_itself(cluster, monkeypatch):
    monkeypatch.setattr(group_module, "WAITING_BYTES_MAX", 4000)
    await cluster.begin()
    leader = await cluster.leader()
    full = cluster.group(next(id_ for id_ in cluster.ids if id_ != leader))
    with monkeypatch.context() as until_there_is_room:
        until_there_is_room.setattr(full.environment, "write", _no_room)
        for _ in range(40):
            await cluster.create(10)
        assert 4000 < full.raft.log.size_bytes < 5000 < cluster.group(leader).raft.log.size_bytes
    await cluster.equal()


def _no_room():
    raise NoSpace("full")
