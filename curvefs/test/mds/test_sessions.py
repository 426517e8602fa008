"""Sessions live by their leases, end for good, and every group hears of the end."""

import asyncio
from typing import Any

import pytest

from curvefs.proto import mds_pb2 as pb
from curvefs.src.common import tokens
from curvefs.src.common.errors import (
    FilesystemGone,
    NoSpace,
    NotFound,
    Overloaded,
    ResourceBusy,
    SessionEnded,
    TokenRefused,
    Unavailable,
)
from curvefs.src.mds.retries import RetryQueue
from curvefs.test.mds.lab import MdsLab

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0


async def ended_everywhere(lab: MdsLab) -> None:
    for group_id, _ in list(lab.mds.state.copysets.items()):
        assert await lab.mds.sessions.endings.finished(group_id, PATIENCE_S)


# -------------------------------------------------------------------------------------------------- life


async def test_session_and_its_token_say_the_same(mds, metaserver):
    made = await mds.create()
    request = pb.OpenSessionRequest(name="demo", host="h", pid=3, mountpoint="/m", read_only=True, identity=b"i" * 16)
    session, token = await mds.mds.sessions.open(request)
    said = tokens.verify(mds.mds.state.authority.cluster.secret, token)
    assert (said.fs_id, said.session_id, said.read_only) == (made.fs_id, session.session_id, True)
    assert said.expires_ns == mds.clock.time_ns() + 60 * 10**9
    assert (session.host, session.pid, session.mountpoint, session.lease_ms) == ("h", 3, "/m", 60_000)
    assert (session.identity, len(session.session_id)) == (b"i" * 16, 16)


async def test_session_of_an_unknown_filesystem_is_refused(mds):
    with pytest.raises(NotFound, match="no filesystem 'demo'"):
        await mds.open()


async def test_session_of_a_deleted_filesystem_is_refused(mds, metaserver):
    await mds.create()
    await mds.mds.filesystems.delete("demo")
    with pytest.raises(NotFound):
        await mds.open()


async def test_renewed_session_lives_on(mds, metaserver):
    await mds.create()
    session = await mds.open()
    for _ in range(5):
        await mds.pass_time(59)
        token, lease_ms = await mds.mds.sessions.renew(session.session_id)
        await mds.mds.tick()
    assert lease_ms == 60_000
    said = tokens.verify(mds.mds.state.authority.cluster.secret, token)
    assert said.expires_ns == mds.clock.time_ns() + 60 * 10**9
    [listed] = mds.mds.sessions.of(None)
    assert (listed.ending, listed.renewed_ns) == (False, mds.clock.time_ns())


async def test_session_ends_with_its_lease_in_its_groups(mds, metaserver):
    await mds.create()
    session = await mds.open()
    assert await mds.pass_time(61) == 1
    await metaserver.until(lambda: bool(metaserver.ended))
    [request] = metaserver.asked("EndSession")
    assert (request.session_id, list(request.groups), request.mds_epoch) == (session.session_id, [1], 1)
    await ended_everywhere(mds)
    assert mds.mds.sessions.of(None) == []
    with pytest.raises(SessionEnded):
        await mds.mds.sessions.renew(session.session_id)


async def test_only_what_is_due_ends(mds, metaserver):
    await mds.create()
    old = await mds.open()
    await mds.pass_time(30)
    young = await mds.open()
    assert await mds.pass_time(31) == 1
    await ended_everywhere(mds)
    assert [session.session_id for session in mds.mds.sessions.of(None)] == [young.session_id]
    assert {ended for _, ended in metaserver.ended} == {old.session_id}


async def test_closed_session_ends_and_closing_again_is_fine(mds, metaserver):
    await mds.create()
    session = await mds.open()
    await mds.mds.sessions.close(session.session_id)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    assert metaserver.ended == {(1, session.session_id)}
    assert await mds.keys(b"session/") == []
    await mds.mds.sessions.close(session.session_id)
    await mds.mds.sessions.close(b"never was")


async def test_renewal_writes_nothing(mds, metaserver):
    await mds.create()
    session = await mds.open()
    before = (await mds.kv.txn([], [])).revision
    await mds.mds.sessions.renew(session.session_id)
    assert (await mds.kv.txn([], [])).revision == before


async def test_absence_of_the_mds_ends_no_session(mds, metaserver):
    await mds.create()
    session = await mds.open()
    await mds.pass_time(50)
    mds.clock.advance(3600)  # the machine slept
    assert await mds.mds.sessions.expire() == 0
    await mds.pass_time(9)
    await mds.mds.sessions.renew(session.session_id)
    assert await mds.pass_time(61) == 1


# ---------------------------------------------------------------------------------- ends that must arrive


async def test_end_waits_for_a_group_that_is_away(mds, metaserver):
    await mds.create()
    session = await mds.open()
    await metaserver.stop()
    await mds.mds.sessions.close(session.session_id)
    assert not await mds.mds.sessions.endings.finished(1, 0.7)
    [listed] = mds.mds.sessions.of(None)
    assert (listed.ending, list(listed.ending_groups)) == (True, [1])
    with pytest.raises(SessionEnded):
        await mds.mds.sessions.renew(session.session_id)
    await metaserver.start()
    mds.beat(metaserver)
    await ended_everywhere(mds)
    assert metaserver.ended == {(1, session.session_id)}
    assert mds.mds.sessions.of(None) == []


async def test_end_is_told_after_a_restart_too(mds, metaserver):
    await mds.create()
    session = await mds.open()
    metaserver.failing["EndSession"] = Unavailable("injected")
    await mds.mds.sessions.close(session.session_id)
    await metaserver.until(lambda: bool(metaserver.asked("EndSession")))
    await mds.stop()
    metaserver.failing.clear()
    await mds.start()
    await ended_everywhere(mds)
    assert metaserver.ended == {(1, session.session_id)}
    assert mds.mds.sessions.of(None) == []


async def test_full_disk_delays_the_end_and_renewals_go_on(mds, metaserver):
    await mds.create()
    session = await mds.open()
    mds.kv.plan("full", 1)
    with pytest.raises(NoSpace):
        await mds.mds.sessions.close(session.session_id)
    await mds.mds.sessions.renew(session.session_id)
    await mds.pass_time(59)
    mds.clock.advance(2)
    mds.kv.plan("full", 1)
    await mds.mds.tick()  # is logged, not raised
    assert mds.mds.sessions.of(None)[0].ending is False
    await mds.mds.tick()
    await ended_everywhere(mds)
    assert mds.mds.sessions.of(None) == []


async def test_metaserver_reporting_an_ended_session_is_ordered_to_end_it(mds, metaserver):
    await mds.create()
    live = await mds.open()
    metaserver.sessions = {live.session_id, b"forgotten session"}
    assert list(mds.beat(metaserver).orders) == []  # it has only just begun (rule 6)
    mds.clock.advance(11)
    await mds.mds.sessions.renew(live.session_id)
    [order] = mds.beat(metaserver).orders
    assert (order.group_id, order.end_session.session_id) == (1, b"forgotten session")


# ------------------------------------------------------------------------------------------------ restart


async def test_restart_keeps_sessions_and_gives_a_full_lease(mds, metaserver):
    await mds.create()
    session = await mds.open(metrics_address="127.0.0.1:1", version="1.2")
    await mds.pass_time(59)
    await mds.restart()
    await mds.pass_time(59)
    [listed] = mds.mds.sessions.of(None)
    assert (listed.session_id, listed.ending, listed.metrics_address) == (session.session_id, False, "127.0.0.1:1")
    assert listed.version == "1.2"
    token, _ = await mds.mds.sessions.renew(session.session_id)
    assert tokens.verify(mds.mds.state.authority.cluster.secret, token).fs_id == session.fs_id
    assert await mds.pass_time(61) == 1


async def test_token_from_before_a_restart_still_verifies(mds, metaserver):
    await mds.create()
    _, token = await mds.mds.sessions.open(pb.OpenSessionRequest(name="demo"))
    await mds.restart()
    tokens.verify(mds.mds.state.authority.cluster.secret, token)


# ---------------------------------------------------------------------------------------------- exclusive


async def test_exclusive_mount_refuses_a_second_session(mds, metaserver):
    await mds.create()
    first = await mds.open(exclusive=True)
    for exclusive in (False, True):
        with pytest.raises(ResourceBusy, match="host:/mnt"):
            await mds.open(exclusive=exclusive)
    await mds.mds.sessions.close(first.session_id)
    second = await mds.open()  # the end was told before close() returned
    with pytest.raises(ResourceBusy):
        await mds.open(exclusive=True)
    assert await mds.open() != second


async def test_exclusive_mount_waits_for_the_confirmed_end_of_the_last(mds, metaserver):
    await mds.create()
    await mds.open()
    metaserver.failing["EndSession"] = Unavailable("injected")
    await mds.pass_time(61)
    with pytest.raises(ResourceBusy, match="ending"):
        await mds.open(exclusive=True)
    metaserver.failing.clear()
    mds.beat(metaserver)
    await ended_everywhere(mds)
    assert (await mds.open(exclusive=True)).exclusive


async def test_of_racing_exclusive_mounts_one_succeeds(mds, metaserver):
    await mds.create()
    results = await asyncio.gather(*(mds.open(exclusive=True) for _ in range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["MountSession"] + ["ResourceBusy"] * 4


async def test_mount_races_with_deletion_and_one_wins(mds, metaserver):
    await mds.create()
    calls: list[Any] = [mds.open(), mds.mds.filesystems.delete("demo")]
    opened, deleted = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(opened, pb.MountSession) is isinstance(deleted, ResourceBusy)


@pytest.mark.parametrize("limit", [1, 3])
async def test_sessions_are_bounded(tmp_path, limit):
    lab = MdsLab(tmp_path, sessions_max=limit)
    await lab.start()
    await lab.add_metaserver()
    await lab.create()
    for _ in range(limit):
        await lab.open()
    with pytest.raises(Overloaded):
        await lab.open()
    await lab.close()


# ------------------------------------------------------------------------------------------------- tokens


async def test_every_changed_bit_of_a_token_is_noticed():
    token = tokens.sign(b"s" * 32, pb.SessionToken(fs_id=1, session_id=b"x" * 16, expires_ns=100))
    assert tokens.verify(b"s" * 32, token).session_id == b"x" * 16
    for bit in range(len(token) * 8):
        forged = bytearray(token)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TokenRefused):
            tokens.verify(b"s" * 32, bytes(forged))
    for bad in (b"", token[:-1], token + b"\0", token[:32]):
        with pytest.raises(TokenRefused):
            tokens.verify(b"s" * 32, bad)


async def test_token_needs_its_secret():
    token = tokens.sign(b"s" * 32, pb.SessionToken(fs_id=1, expires_ns=100))
    with pytest.raises(TokenRefused):
        tokens.verify(b"t" * 32, token)


# -------------------------------------------------------------------------------------------- retry queue


async def test_retry_queue_tries_until_it_succeeds_and_survives_bugs():
    tries: list[int] = []

    async def work(key: int) -> None:
        tries.append(key)
        if tries.count(key) < 3:
            raise Unavailable("away") if tries.count(key) == 1 else RuntimeError("a bug")

    queue: RetryQueue[int] = RetryQueue("test", work, random=lambda: 0.0, pause_s_min=0.001)
    queue.add(1)  # before it runs
    running = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    queue.add(2)
    assert await queue.finished(1, PATIENCE_S)
    assert await queue.finished(2, PATIENCE_S)
    assert sorted(tries) == [1, 1, 1, 2, 2, 2]
    assert len(queue) == 0
    running.cancel()
    await asyncio.wait([running])


async def test_key_added_while_its_work_runs_is_worked_again():
    begun, go_on = asyncio.Event(), asyncio.Event()
    count = 0

    async def work(_: str) -> None:
        nonlocal count
        count += 1
        begun.set()
        await go_on.wait()

    queue: RetryQueue[str] = RetryQueue("test", work, random=lambda: 0.0)
    running = asyncio.create_task(queue.run())
    queue.add("k")
    await begun.wait()
    queue.add("k")
    go_on.set()
    assert await queue.finished("k", PATIENCE_S)
    assert count == 2
    running.cancel()
    await asyncio.wait([running])


async def test_a_mount_of_a_deleted_filesystem_gets_no_session_whatever_has_its_name(mds, metaserver):
    made = await mds.create()
    session = await mds.open(uuid=made.uuid)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    await mds.mds.filesystems.delete("demo")
    with pytest.raises(FilesystemGone, match="deleted"):
        await mds.open(uuid=made.uuid)
    other = await mds.create()
    with pytest.raises(FilesystemGone):
        await mds.open(uuid=made.uuid)
    assert mds.mds.sessions.of(None) == []
    assert (await mds.open()).fs_id == other.fs_id != session.fs_id


async def test_to_end_many_sessions_is_no_absence(mds, metaserver, monkeypatch):
    await mds.create()
    for _ in range(20):
        await mds.open()
    await mds.pass_time(55)
    later = await mds.open()
    end = mds.mds.sessions._end

    async def slow(*arguments, **more):
        mds.clock.advance(1)
        return await end(*arguments, **more)

    monkeypatch.setattr(mds.mds.sessions, "_end", slow)
    assert await mds.pass_time(5) == 20
    monkeypatch.undo()
    assert await mds.pass_time(40) == 1, "its lease is over 60 s after it began: 25 have passed before"
    assert all(one.ending for one in mds.mds.sessions.of(None) if one.session_id == later.session_id)
