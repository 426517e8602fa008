"""Heartbeats are noted and answered."""

import pytest

from curvefs.proto import common_pb2, heartbeat_pb2
from curvefs.src.mds.heartbeat.reports import Reports

pytestmark = pytest.mark.asyncio


async def test_reply_has_time_and_interval(mds, metaserver):
    reply = mds.beat(metaserver)
    assert (reply.mds_time_ns, reply.next_heartbeat_ms) == (mds.clock.time_ns(), 2000)


@pytest.mark.parametrize(("said_s", "median_s"), [([5], 5), ([5, 9], 5), ([9, 1, 5], 5), ([0, 0], None)])
async def test_the_time_by_the_metaservers_is_the_median_and_goes_on(said_s, median_s):
    reports = Reports(0.0)
    for id_, time_s in enumerate(said_s, 1):
        reports.heard(heartbeat_pb2.HeartbeatRequest(metaserver_id=id_, time_ns=time_s * 10**9), 100.0)
    assert reports.time_ns(102.0) == (None if median_s is None else (median_s + 2) * 10**9)


async def test_one_late_heartbeat_is_no_wrong_clock_and_two_are(mds, metaserver, capsys):
    def beat(offset_s):
        mds.mds.heartbeats.beat(metaserver.heartbeat(time_ns=mds.clock.time_ns() + offset_s * 10**9))
        return capsys.readouterr().out.count("its clock differs")

    assert [beat(offset_s) for offset_s in (-3, 0, -3, -3, -3, 0, 5, 5)] == [0, 0, 0, 1, 0, 0, 0, 1]


async def test_peers_that_are_elsewhere_than_configurations_say_are_told(lab, three):
    assert list(lab.beat(three[0]).moved) == []
    three[0].members[1] = [
        common_pb2.Peer(metaserver_id=id_, address=address)
        for id_, address in ((1, "127.0.0.1:1"), (2, "127.0.0.1:2"), (3, three[2].address), (9, "127.0.0.1:9"))
    ]
    [moved] = lab.beat(three[0]).moved
    assert (moved.metaserver_id, moved.address) == (2, three[1].address)


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
        reports.heard(request, 1.0)
    assert reports.leader_of(5) == 2
    reports.heard(heartbeat_pb2.HeartbeatRequest(metaserver_id=2), 2.0)
    assert reports.leader_of(5) == 1
    assert reports.leader_of(6) == 0
