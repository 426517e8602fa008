"""The renewal of a mount's lease: in time, and at once when a metaserver refused the token."""

import pytest
import trio

from curvefs.proto import mds_pb2
from curvefs.src.client.metadata.session import MountSession
from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import FilesystemGone, SessionEnded, Unavailable

pytestmark = pytest.mark.trio


class Renewed(MountSession):
    """Notes when it is renewed; ``failing`` is what the MDS answers."""

    def __init__(self):
        super().__init__(None, mds_pb2.OpenSessionRequest(), None, lease_s=40.0)
        self.times, self.failing = [], None

    async def renew(self):
        self.times.append(trio.current_time())
        if self.failing is not None:
            raise self.failing


@pytest.fixture
def session():
    return Renewed()


async def test_a_lease_is_renewed_four_times(session, nursery, autojump_clock):
    nursery.start_soon(session.renew_until_over)
    await trio.sleep(40.5)
    assert session.times == pytest.approx([10.0, 20.0, 30.0, 40.0])


async def test_a_refused_token_is_renewed_soon_and_once_for_many_refusals(session, nursery, autojump_clock):
    nursery.start_soon(session.renew_until_over)
    await trio.sleep(3.0)
    for _ in range(20):
        session.renew_soon()
        await trio.sleep(0.01)
    await trio.sleep(1.0)
    assert session.times == pytest.approx([3.25])


async def test_a_token_that_is_refused_for_ever_does_not_lead_to_a_storm(session, nursery, autojump_clock):
    nursery.start_soon(session.renew_until_over)
    for _ in range(1000):
        session.renew_soon()
        await trio.sleep(0.01)
    assert len(session.times) <= 41


async def test_an_mds_that_is_away_is_asked_every_second_until_it_says_that_the_session_is_over(
    session, autojump_clock
):
    session.failing = Unavailable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.renew_until_over)
        await trio.sleep(14.5)
        assert session.times == pytest.approx([10.0, 11.0, 12.0, 13.0, 14.0])
        session.failing = SessionEnded()
    assert len(session.times) == 6


class FakeMds:
    """Answers OpenSession as if ``uuid`` were the filesystem's, whatever is asked for."""

    def __init__(self, uuid):
        self.uuid, self.requests, self.failing = uuid, [], None

    def call(self, stub, method, request, **_):
        self.requests.append((method, type(request).FromString(request.SerializeToString())))
        if self.failing is not None:
            raise self.failing
        return mds_pb2.OpenSessionReply(
            session=mds_pb2.MountSession(session_id=b"%d" % len(self.requests), lease_ms=1000),
            filesystem=mds_pb2.Filesystem(fs_id=1, uuid=self.uuid),
        )


async def test_a_session_of_another_filesystem_is_none(autojump_clock):
    mds = FakeMds(b"a" * 16)
    session = MountSession(mds, mds_pb2.OpenSessionRequest(name="demo"), SystemClock())
    session.open_blocking()
    await session.open()
    mds.uuid = b"b" * 16
    with pytest.raises(FilesystemGone):
        await session.open()
    assert [request.uuid for _, request in mds.requests] == [b"", b"a" * 16, b"a" * 16]
    assert (session.filesystem.uuid, session.session_id) == (b"a" * 16, b"2")


async def test_the_tries_for_one_session_have_one_nonce_and_the_next_session_another(autojump_clock):
    mds = FakeMds(b"a" * 16)
    session = MountSession(mds, mds_pb2.OpenSessionRequest(name="demo"), SystemClock())
    session.open_blocking()
    mds.failing = Unavailable()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await session.open()
    mds.failing = None
    await session.open()
    first, *tries = [request.nonce for _, request in mds.requests]
    assert (len(tries), len(set(tries)), len(first), first in tries) == (3, 1, 16, False)
