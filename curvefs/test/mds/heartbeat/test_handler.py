"""Heartbeats are noted and answered."""

import pytest

from curvefs.proto import heartbeat_pb2
from curvefs.src.mds.heartbeat.reports import Reports

pytestmark = pytest.mark.asyncio


async def test_reply_has_time_and_interval(mds, metaserver):
    reply = mds.beat(metaserver)
    assert (reply.mds_time_ns, reply.next_heartbeat_ms) == (mds.clock.time_ns(), 2000)


async def test_offset_of_the_clock_is_noted(mds, metaserver):
    mds.mds.heartbeats.beat(metaserver.heartbeat(time_ns=mds.clock.time_ns() - 3_000_000_000))
    report = mds.mds.reports.get(metaserver.metaserver_id)
    assert report is not None
    assert report.clock_offset_ns == -3_000_000_000


async def test_session_lists_are_not_kept(mds, metaserver):
    metaserver.sessions = {b"s" * 16}
    mds.beat(metaserver)
    report = mds.mds.reports.get(metaserver.metaserver_id)
    assert report is not None
    assert len(report.copysets[1].sessions) == 0


async def test_leader_is_who_says_so_with_the_highest_term():
    reports = Reports(0.0)
    assert reports.leader_of(5) == 0
    for metaserver_id, leading, term in [(1, True, 3), (2, True, 4), (3, False, 9)]:
        copyset = heartbeat_pb2.CopysetReport(group_id=5, leading=leading, term=term)
        request = heartbeat_pb2.HeartbeatRequest(metaserver_id=metaserver_id, copysets=[copyset])
        reports.heard(request, 1.0, 1)
    assert reports.leader_of(5) == 2
    reports.heard(heartbeat_pb2.HeartbeatRequest(metaserver_id=2), 2.0, 2)
    assert reports.leader_of(5) == 1
    assert reports.leader_of(6) == 0
