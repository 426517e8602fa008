"""Placement is pure: it spreads partitions over copysets, the same way each time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.mds.topology.placement import GroupLoad, choose_groups

LOADS = st.lists(
    st.integers(1, 7).flatmap(
        lambda peers: st.builds(
            GroupLoad,
            st.integers(1, 50),
            st.just(peers),
            st.integers(0, peers),
            st.integers(0, 5),
            st.integers(0, 3),
            st.booleans(),
        )
    ),
    unique_by=lambda load: load.group_id,
)


def load(group_id, *, peers=1, online=None, partitions=0, free=0, fresh=True):
    return GroupLoad(group_id, peers, peers if online is None else online, partitions, free, fresh)


# -------------------------------------------------------------------------------------------- partitions


def test_group_with_the_fewest_partitions_is_chosen():
    assert choose_groups([load(1, partitions=2, free=9), load(2, partitions=1)], 1) == [2]


def test_completeness_then_room_then_id_break_ties():
    assert choose_groups([load(1, peers=3, online=2, free=9, fresh=False), load(2, peers=3)], 1) == [2]
    assert choose_groups([load(1, partitions=1, free=5), load(2, partitions=1, free=6)], 1) == [2]
    assert choose_groups([load(2, partitions=1, free=5), load(1, partitions=1, free=5)], 1) == [1]


def test_twelve_partitions_are_four_on_each_of_three_groups():
    chosen = choose_groups([load(1, free=1), load(2, free=3), load(3, free=2)], 12)
    assert chosen == [2, 3, 1] * 4


def test_the_emptier_groups_are_filled_up_first():
    assert Counter(choose_groups([load(1, partitions=5), load(2), load(3)], 12)) == {1: 1, 2: 6, 3: 5}


@pytest.mark.parametrize(
    ("peers", "online", "fresh", "usable"),
    [
        (3, 3, True, True),
        (3, 2, True, False),  # the third replica is still to be made
        (3, 2, False, True),
        (3, 1, False, False),
        (1, 0, False, False),
        (5, 3, False, True),
        (4, 2, False, False),
    ],
)
def test_a_group_needs_all_its_peers_to_begin_and_a_majority_afterwards(peers, online, fresh, usable):
    assert choose_groups([load(1, peers=peers, online=online, fresh=fresh)], 1) == ([1] if usable else [])


@given(LOADS, st.integers(1, 12))
def test_partitions_are_spread_evenly_over_what_is_usable_in_any_order(loads, count):
    chosen = choose_groups(loads, count)
    assert chosen == choose_groups(reversed(loads), count)
    usable = [one for one in loads if choose_groups([one], 1)]
    assert len(chosen) == (count if usable else 0)
    after = Counter(chosen) + Counter({one.group_id: one.partition_count for one in usable})
    for one in usable:
        if Counter(chosen)[one.group_id]:  # whoever got some has no more than one more than anybody else
            assert after[one.group_id] <= min(after[other.group_id] for other in usable) + 1
