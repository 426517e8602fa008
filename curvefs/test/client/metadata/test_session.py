"""The renewal of a mount's lease: in time, and at once when a metaserver refused the token."""

import pytest
import trio

from curvefs.proto import mds_pb2
from curvefs.src.client.metadata.session import MountSession
from curvefs.src.common.errors import SessionEnded, Unavailable

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
