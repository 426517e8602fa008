"""Histories of concurrent calls on a replicated cluster under faults. `make chaos` makes more of them."""

from ..chaos import histories

HISTORIES = 20


def test_histories_under_faults_are_linearizable(cluster, tmp_path):
    report = histories.run(cluster, HISTORIES, 1, tmp_path, at_a_time=5)
    assert not report.violations, str(report)
    assert not report.differing, str(report)
    assert not report.logged, str(report)
    assert report.histories == HISTORIES
    assert report.hurt  # else it says nothing
