"""Tokens expire by the MDS's time: a clock of its own that is off must not have all of them refused."""

from types import SimpleNamespace

import pytest

from curvefs.proto import heartbeat_pb2, mds_pb2
from curvefs.src.metaserver.epochs import Epochs
from curvefs.src.metaserver.heartbeat import MdsLink
from curvefs.src.metaserver.session_stream import SessionStream
from curvefs.src.process.data_folder import METASERVER, DataFolder
from curvefs.test.mds.clock import FakeClock

pytestmark = pytest.mark.asyncio
HOUR_NS = 3600 * 10**9


class Mds:
    """Answers heartbeats with its time, or with none."""

    time_ns = 0

    async def call(self, *_, **__):
        return heartbeat_pb2.HeartbeatReply(epoch=1, mds_time_ns=self.time_ns)


@pytest.fixture
def made(tmp_path):
    folder, clock, mds = DataFolder(tmp_path, METASERVER), FakeClock(), Mds()
    copysets = SimpleNamespace(all=list, damaged=(), allow_leading=lambda **_: None)
    link = MdsLink(
        mds,
        folder,
        copysets,
        Epochs(folder),
        None,
        clock=clock,
        instance=b"i",
        server="",
        peer_clocks=lambda: [0, 0],
        know=lambda *_: None,
        interval_ms=1,
        deadline_s=1.0,
    )
    yield link, mds, clock
    folder.close()


@pytest.mark.parametrize("behind_ns", [HOUR_NS, -HOUR_NS])
async def test_a_token_expires_by_the_time_that_the_mds_last_told(made, behind_ns):
    link, mds, clock = made
    stream = SessionStream(None, None, secret=bytes, mds_time_ns=link.mds_time_ns, metrics=None, transact=None)
    assert link.mds_time_ns() == clock.time_ns()
    mds.time_ns = clock.time_ns() - behind_ns
    await link.beat()
    token = mds_pb2.SessionToken(expires_ns=mds.time_ns + 60 * 10**9)
    clock.advance(59)
    assert not stream._has_expired(token)
    mds.time_ns = 0  # of an MDS that does not tell it
    await link.beat()
    assert not stream._has_expired(token)
    clock.advance(2)
    assert stream._has_expired(token)
