"""Pauses grow, differ, and stay within their bounds."""

import pytest

from curvefs.src.rpc.backoff import PAUSE_S_FIRST, PAUSE_S_MAX, pause_s


@pytest.mark.parametrize("failures", [0, 1, 2, 5, 50, 5000])
@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_pauses_stay_within_their_bounds(failures, draw):
    assert PAUSE_S_FIRST <= pause_s(failures, lambda: draw) <= PAUSE_S_MAX


def test_the_longest_pause_doubles_with_each_failure():
    longest = [pause_s(failures, lambda: 1.0) for failures in range(7)]
    assert longest == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5])


def test_other_bounds_may_be_given():
    assert pause_s(3, lambda: 1.0, first_s=0.001, max_s=0.05) == pytest.approx(0.008)
    assert pause_s(30, lambda: 1.0, first_s=0.001, max_s=0.05) == pytest.approx(0.05)
