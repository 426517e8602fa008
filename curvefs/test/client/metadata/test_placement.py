"""Where directories go: spread below the root, away from large partitions, else with their parent."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.metadata.placement import LARGE_INODES, partition_for_directory
from curvefs.src.common.ids import ROOT_INODE, make_id


def place(parent, counts, draw=0.0):
    return partition_for_directory(parent, counts, lambda: draw)


def test_a_directory_below_the_root_goes_to_the_least_loaded_partition():
    assert place(ROOT_INODE, {0: 10, 1: 7, 2: 3, 3: 9}) == 2


def test_ties_are_broken_by_the_draw():
    counts = {0: 1, 1: 0, 2: 0, 3: 0}
    assert [place(ROOT_INODE, counts, draw) for draw in (0.0, 0.34, 0.67, 0.999)] == [1, 2, 3, 3]


def test_a_directory_stays_with_its_parent():
    assert place(make_id(2, 17), {0: 0, 1: 0, 2: LARGE_INODES}) == 2


def test_a_large_partition_gives_its_directories_away():
    assert place(make_id(2, 17), {0: 50, 1: 20, 2: LARGE_INODES + 1}) == 1


def test_a_large_partition_keeps_them_when_all_are_about_as_large():
    assert place(make_id(2, 17), {0: LARGE_INODES, 1: LARGE_INODES, 2: LARGE_INODES + 10}) == 2


def test_nothing_known_of_the_partitions_leaves_it_with_the_parent():
    assert place(ROOT_INODE, {}) == 0
    assert place(make_id(5, 9), {0: 4}) == 5


@given(st.dictionaries(st.integers(0, 11), st.integers(0, 5), min_size=1), st.floats(0, 1, exclude_max=True))
def test_the_choice_below_the_root_is_always_a_least_loaded_one(counts, draw):
    assert counts[place(ROOT_INODE, counts, draw)] == min(counts.values())


def test_directories_that_are_counted_as_they_are_placed_spread_evenly():
    counts = dict.fromkeys(range(12), 0)
    placed = Counter()
    for number in range(120):
        target = place(ROOT_INODE, counts, (number * 0.37) % 1)
        counts[target] += 1
        placed[target] += 1
    assert set(placed.values()) == {10}
