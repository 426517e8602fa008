"""Whose clock is wrong: the metaservers decide by majority, else the MDS."""

import pytest

from curvefs.src.metaserver.clocks import is_off

NEAR, FAR = 1_900_000_000, 2_100_000_000


@pytest.mark.parametrize(
    ("mds", "peers", "off"),
    [
        (NEAR, [], False),
        (-FAR, [], True),
        (FAR, [0], True),  # two metaservers have no majority: the MDS decides
        (0, [FAR], False),
        (FAR, [NEAR, -NEAR], False),  # the clock of the MDS is off
        (FAR, [FAR, 0], False),  # two of three agree
        (0, [FAR, FAR], True),
        (0, [FAR, -FAR], True),  # nobody agrees with anybody
        (0, [0, FAR, FAR], True),  # two of four are no majority
        (0, [0, 0, FAR, FAR], False),
    ],
)
def test_the_majority_decides(mds, peers, off):
    assert is_off(mds, peers) is off
