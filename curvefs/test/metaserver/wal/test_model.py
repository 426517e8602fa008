"""The log against a model: whatever is done to it, and wherever it is interrupted."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.disk import OsDisk
from curvefs.test.metaserver.wal.driver import (
    APPEND,
    CRASH_IN,
    FORGET,
    FULL,
    SEGMENT_SIZES,
    STOP,
    TRIM,
    Driver,
    steps_of,
)
from curvefs.test.metaserver.wal.model import check_outline, replayed
from curvefs.test.sim.disk import SimDisk

SEEDS = 80
APPENDS = st.one_of(APPEND, APPEND, APPEND, TRIM, FORGET)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(APPENDS, APPENDS, FULL, STOP, CRASH_IN), min_size=5, max_size=60), SEGMENT_SIZES, st.integers(0)
)
def test_what_is_found_after_a_crash_is_all_that_was_durable_and_a_prefix_of_the_rest(steps, segment_size, seed):
    Driver(SimDisk(random.Random(seed)), segment_size).run(steps)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_long_lives_of_a_log(seed):
    rng = random.Random(seed)
    Driver(SimDisk(rng), rng.choice((1, 300, 1500, 6000))).run(steps_of(rng, 120))


@settings(deadline=None, max_examples=50)
@given(st.lists(APPENDS, min_size=5, max_size=40), SEGMENT_SIZES)
def test_a_folder_and_a_simulated_disk_hold_the_same(tmp_path_factory, steps, segment_size):
    outlines, found = [], []
    for disk in (OsDisk(tmp_path_factory.mktemp("wal")), SimDisk(random.Random(1))):
        driver = Driver(disk, segment_size)
        for step in steps:
            driver.step(*step)
        driver.files.close()
        outline = recovery.recover(disk)
        model = replayed(outline)
        check_outline(outline, model)
        driver.before = driver.model
        driver.accept(model)
        outlines.append(outline)
        found.append(list(recovery.replay(outline)))
    assert outlines[0] == outlines[1]
    assert found[0] == found[1]
