"""The identity of a write-back mount outlives its sessions, for a while, and has one session at a time."""

import pytest

from curvefs.proto import mds_pb2 as pb
from curvefs.src.common import tokens
from curvefs.src.common.errors import InvalidArgument, ResourceBusy, SessionEnded, Unavailable
from curvefs.src.mds.fleet import Fleet
from curvefs.src.mds.state import State

from .test_sessions import ended_everywhere

pytestmark = pytest.mark.asyncio
IDENTITY = b"i" * 16
WEEK_S = 7 * 86_400


def sessions(mds):
    return mds.mds.sessions.of(None)


async def test_the_token_says_the_identity(mds, metaserver):
    await mds.create()
    _, token = await mds.mds.sessions.open(pb.OpenSessionRequest(name="demo", identity=IDENTITY))
    assert tokens.verify(mds.mds.state.authority.cluster.secret, token).identity == IDENTITY


async def test_an_identity_has_the_size_of_a_session_id(mds, metaserver):
    await mds.create()
    with pytest.raises(InvalidArgument):
        await mds.open(identity=b"short")


async def test_a_session_that_is_over_is_retained_for_its_identity(mds, metaserver):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    assert await mds.pass_time(61) == 1
    await ended_everywhere(mds)
    assert metaserver.ended == {(1, session.session_id)}
    [kept] = sessions(mds)
    assert (kept.session_id, kept.ending) == (session.session_id, False)
    assert kept.retained_since_ns == mds.clock.time_ns()
    assert mds.mds.sessions.over_among([session.session_id])
    assert mds.mds.sessions.over_among([IDENTITY]) == set()
    with pytest.raises(SessionEnded):
        await mds.mds.sessions.renew(session.session_id)
    with pytest.raises(ResourceBusy, match="mounted at host:/mnt"):
        await mds.mds.filesystems.delete("demo")


async def test_a_retained_session_survives_a_restart_of_the_mds(mds, metaserver):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    await mds.restart()
    [kept] = sessions(mds)
    assert kept.retained_since_ns
    assert await mds.pass_time(100) == 0


async def test_a_new_session_continues_an_identity_and_ends_the_one_before(mds, metaserver):
    await mds.create()
    first = await mds.open(identity=IDENTITY)
    second = await mds.open(identity=IDENTITY, continues=True)  # the mount was killed
    await ended_everywhere(mds)
    assert [one.session_id for one in sessions(mds)] == [second.session_id]
    await mds.mds.sessions.close(second.session_id)
    await ended_everywhere(mds)
    third = await mds.open(identity=IDENTITY, continues=True)
    assert [one.session_id for one in sessions(mds)] == [third.session_id]
    assert {ended for _, ended in metaserver.ended} == {first.session_id, second.session_id}
    assert mds.mds.sessions.over_among([IDENTITY]) == set()


async def test_an_identity_ends_with_its_retention(mds, metaserver):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    mds.clock.advance(WEEK_S - 10)
    assert await mds.mds.sessions.expire() == 0
    mds.clock.advance(11)
    assert await mds.mds.sessions.expire() == 1
    with pytest.raises(SessionEnded, match="identity is over"):
        await mds.open(identity=IDENTITY, continues=True)
    await ended_everywhere(mds)
    assert sessions(mds) == []
    assert (1, IDENTITY) in metaserver.ended
    assert mds.mds.sessions.over_among([IDENTITY])
    with pytest.raises(SessionEnded, match="identity is over"):
        await mds.open(identity=IDENTITY, continues=True)


async def retained_session(mds):
    """Have a session be retained for its identity; return it."""
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    [kept] = sessions(mds)
    assert kept.retained_since_ns
    return kept


@pytest.mark.parametrize("heard_since", [False, True])
async def test_an_identity_does_not_end_by_a_wrong_clock_of_the_mds(mds, metaserver, heard_since):
    await retained_session(mds)
    mds.clock.ahead_s = 8 * 86_400
    if heard_since:
        mds.beat(metaserver)
    assert await mds.mds.sessions.expire() == 0
    assert mds.mds.sessions.over_among([IDENTITY]) == set()
    mds.clock.advance(WEEK_S + 1)
    assert await mds.mds.sessions.expire() == 1


async def test_no_identity_ends_before_a_metaserver_has_said_what_time_it_is(mds, metaserver):
    await retained_session(mds)
    await mds.stop()
    mds.clock.advance(WEEK_S + 1)
    await mds.start()
    assert await mds.mds.sessions.expire() == 0
    mds.beat(metaserver)
    assert await mds.mds.sessions.expire() == 1


async def test_a_retention_that_began_by_a_clock_that_was_behind_has_its_full_time(mds, metaserver):
    mds.clock.ahead_s = -8 * 86_400
    await retained_session(mds)
    mds.clock.ahead_s = 0
    assert await mds.mds.sessions.expire() == 0
    mds.clock.advance(WEEK_S + 1)
    assert await mds.mds.sessions.expire() == 1


@pytest.mark.parametrize("retained", [False, True])
async def test_a_mount_or_an_operator_ends_an_identity_at_once(mds, metaserver, retained):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    if retained:
        await mds.mds.sessions.close(session.session_id)
        await ended_everywhere(mds)
    await mds.mds.sessions.close(session.session_id, end_identity=True)
    await ended_everywhere(mds)
    assert sessions(mds) == []
    assert metaserver.ended == {(1, session.session_id), (1, IDENTITY)}


async def test_a_heartbeat_looks_at_all_sessions_once_however_many_identities_it_lists(mds, metaserver, monkeypatch):
    mds.clock.advance(11)
    sessions, identities = mds.mds.state.sessions, [b"%016d" % n for n in range(50)]
    for n, identity in enumerate(identities):
        session_id = b"s%015d" % n
        sessions.apply(session_id, pb.MountSession(session_id=session_id, identity=identity, fs_id=1))
    metaserver.sessions = {*identities, b"unknown" + bytes(9)}
    looks = []
    values = sessions.values
    monkeypatch.setattr(sessions, "values", lambda: looks.append(True) or values())
    ended = [order.end_session.session_id for order in mds.beat(metaserver).orders]
    assert (ended, len(looks)) == ([b"unknown" + bytes(9)], 1)


async def test_a_group_ends_a_session_before_its_identity(mds, metaserver, monkeypatch):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    fleet = mds.mds.sessions._fleet
    real, told = fleet.end_session, []

    async def end_session(addresses, group_id, session_id):
        told.append(session_id)
        await real(addresses, group_id, session_id)

    monkeypatch.setattr(fleet, "end_session", end_session)
    await mds.mds.sessions.close(session.session_id, end_identity=True)
    await ended_everywhere(mds)
    assert told == [session.session_id, IDENTITY]


async def test_a_retained_session_does_not_keep_its_own_mount_from_being_exclusive(mds, metaserver):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    with pytest.raises(ResourceBusy):
        await mds.open(exclusive=True)
    await mds.open(exclusive=True, identity=IDENTITY, continues=True)


@pytest.fixture
def away(monkeypatch):
    """Whether no group answers: while ``away[0]``."""
    real, away = Fleet.end_session, [True]

    async def end_session(self, *args):
        if away[0]:
            raise Unavailable("no leader just now")
        await real(self, *args)

    monkeypatch.setattr(Fleet, "end_session", end_session)
    return away


async def back(mds, away):
    away[0] = False
    for group_id, _ in list(mds.mds.state.copysets.items()):
        mds.mds.sessions.endings.kick(group_id)
    await ended_everywhere(mds)


async def test_a_session_that_is_ending_already_ends_with_its_identity(mds, metaserver, away):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    assert await mds.pass_time(61) == 1
    await mds.mds.sessions.close(session.session_id, end_identity=True)
    await back(mds, away)
    assert sessions(mds) == []
    assert (1, IDENTITY) in metaserver.ended


@pytest.mark.parametrize("restarted", [False, True])
async def test_no_session_is_retained_for_an_identity_that_its_heir_has_ended(mds, metaserver, away, restarted):
    await mds.create()
    heirs_first = set()
    while len(heirs_first) < 2:  # after a restart the order is that of the ids, which are random
        away[0] = True
        first = await mds.open(identity=IDENTITY)
        heir = await mds.open(identity=IDENTITY, continues=True)
        heirs_first.add(heir.session_id < first.session_id)
        await mds.mds.sessions.close(heir.session_id, end_identity=True)
        if restarted:
            await mds.restart()
        await back(mds, away)
        assert sessions(mds) == []
        with pytest.raises(SessionEnded, match="identity is over"):
            await mds.open(identity=IDENTITY, continues=True)


async def test_an_identity_that_an_open_session_has_does_not_end_with_the_one_before(mds, metaserver, away):
    await mds.create()
    first = await mds.open(identity=IDENTITY)
    heir = await mds.open(identity=IDENTITY, continues=True)
    await mds.mds.sessions.close(first.session_id, end_identity=True)
    await back(mds, away)
    assert (1, IDENTITY) not in metaserver.ended
    assert [one.session_id for one in sessions(mds)] == [heir.session_id]


async def test_an_end_of_the_identity_decided_while_a_group_is_told_is_told_too(mds, metaserver, monkeypatch):
    await mds.create()
    session = await mds.open(identity=IDENTITY)
    real = Fleet.end_session
    decided = []

    async def end_session(self, addresses, group_id, session_id):
        await real(self, addresses, group_id, session_id)
        if not decided:
            decided.append(True)
            monkeypatch.setattr(State, "change", slow_change)

    change = State.change

    async def slow_change(self, decide):
        monkeypatch.setattr(State, "change", change)
        await mds.mds.sessions.close(session.session_id, end_identity=True)
        return await change(self, decide)

    monkeypatch.setattr(Fleet, "end_session", end_session)
    await mds.mds.sessions.close(session.session_id)
    await ended_everywhere(mds)
    assert decided
    assert sessions(mds) == []
    assert (1, IDENTITY) in metaserver.ended
