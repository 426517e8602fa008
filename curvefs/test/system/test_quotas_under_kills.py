"""Quotas under a random load with killed leaders. `make chaos` does more of it."""

from ..chaos import quotas

OPERATIONS, KILLS, SEED = 800, 2, 1


def test_the_counters_of_quotas_equal_a_full_count_after_kills_in_between(cluster):
    report = quotas.run(cluster, OPERATIONS, KILLS, SEED)
    assert not report.faults, str(report)
    assert report.kills == KILLS
    assert report.changes
    assert report.answers["EDQUOT"] + report.answers["ENOSPC"], str(report)
    assert report.answers["done"] > OPERATIONS // 4
