"""Leaders of replicated groups killed under a metadata load on two mounts. `make chaos` kills more of them."""

from ..chaos import kills

KILLS = 3


def test_killed_leaders_lose_nothing_that_returned_and_no_operation_happens_twice(cluster):
    report = kills.run(cluster, KILLS)
    assert not report.faults, str(report)
    assert len(report.pauses) == KILLS
    # Whoever waits for a leader waits for one: the pauses are what the kills made.
    assert max(report.pauses) > report.typical
