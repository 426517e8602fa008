"""``recovery show`` and ``recovery end``, and how status tells of it."""

import pytest

from curvefs.proto import mds_pb2
from curvefs.src.common.exits import ExitCode

from ..support.fake_cluster import FakeCluster
from .test_commands import healthy, run, run_json


@pytest.fixture
def cluster(monkeypatch):
    with FakeCluster() as made:
        monkeypatch.setenv("CURVEFS_MDS", made.address)
        healthy(made)
        yield made


def test_what_is_waited_for_is_shown_until_an_operator_ends_it(cluster):
    assert run("recovery", "show").stdout == "not in recovery\n"
    cluster.recovery = mds_pb2.RecoveryReply(
        recovering=True,
        reason="an older copy",
        since_ns=10**9,
        silent_metaservers=[3],
        unknown=["copyset 7 has no leader"],
        unknown_sessions=2,
        missing=["copyset 5 has no replica"],
    )
    assert run("recovery", "show").stdout.splitlines() == [
        "in recovery since 1970-01-01T00:00:01+00:00: an older copy",
        "waits for metaserver 3 to report",
        "not known yet: copyset 7 has no leader",
        "waits for 2 sessions to be renewed, at most for a lease",
        "lost since the copy, or not reported yet: copyset 5 has no replica",
    ]
    assert run_json("recovery", "show")["silent_metaservers"] == [3]
    refused = run("recovery", "end")
    assert (refused.exit_code, refused.stderr.count("\n")) == (ExitCode.USAGE, 1)
    assert run("recovery", "show").stdout.startswith("in recovery")
    assert run("recovery", "end", "--yes").stdout == "not in recovery\n"


def test_status_says_that_the_mds_is_in_recovery(cluster):
    cluster.status.recovery = "the MDS is in recovery (an older copy)"
    assert run("status").stdout.startswith("NOT HEALTHY: the MDS is in recovery (an older copy)")
