"""Placement is pure: it spreads copysets over metaservers and partitions over copysets, the same way each time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.mds.topology.placement import GroupLoad, MetaserverLoad, choose_groups, plan_copysets

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


# ---------------------------------------------------------------------------------------------- copysets


def plan(*loads, replicas, per=1, known=None, copysets=0, limit=1000):
    return plan_copysets(
        loads,
        known_count=len(loads) if known is None else known,
        copyset_count=copysets,
        replica_count=replicas,
        per_metaserver=per,
        limit=limit,
    )


def fresh(count):
    return [MetaserverLoad(n, 0, 0) for n in range(1, count + 1)]


def test_with_one_replica_each_metaserver_has_a_copyset_of_its_own():
    assert plan(*fresh(3), replicas=1) == [(1,), (2,), (3,)]


def test_three_metaservers_lead_one_copyset_of_three_replicas_each():
    assert plan(*fresh(3), replicas=3) == [(1, 2, 3), (2, 3, 1), (3, 1, 2)]


def test_too_few_metaservers_get_none():
    assert plan(*fresh(2), replicas=3) == []
    assert plan(*fresh(2), MetaserverLoad(3, 0, 0, online=False), replicas=3) == []


def test_a_metaserver_that_joins_later_leads_a_new_copyset_and_nothing_moves():
    there = [MetaserverLoad(n, 3, 1) for n in (1, 2, 3)]
    assert plan(*there, replicas=3, copysets=3) == []
    assert plan(*there, MetaserverLoad(4, 0, 0), replicas=3, copysets=3) == [(4, 1, 2)]


def test_peers_are_those_with_the_fewest_replicas():
    loads = [MetaserverLoad(1, 9, 0), MetaserverLoad(2, 5, 1), MetaserverLoad(3, 7, 1), MetaserverLoad(4, 5, 1)]
    assert plan(*loads, replicas=3, copysets=3) == [(1, 2, 4)]


def test_a_metaserver_whose_copysets_were_moved_away_gets_no_new_ones():
    loads = [MetaserverLoad(1, 4, 2), *(MetaserverLoad(n, 4, 1) for n in (2, 4)), MetaserverLoad(3, 0, 0)]
    assert plan(*loads, replicas=3, copysets=4) == []


def test_a_metaserver_that_is_away_is_made_up_for_by_nobody():
    away = MetaserverLoad(2, 0, 0, online=False)
    assert plan(MetaserverLoad(1, 1, 1), away, replicas=1, copysets=1) == []


def test_a_plan_is_made_in_bounded_steps():
    assert plan(*fresh(5), replicas=3, limit=2) == plan(*fresh(5), replicas=3)[:2]


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 3))
def test_replicas_and_first_leaders_are_spread_evenly(count, replicas, per):
    planned = plan(*reversed(fresh(count)), replicas=replicas, per=per)
    if count < replicas:
        assert planned == []
        return
    assert Counter(peers[0] for peers in planned) == dict.fromkeys(range(1, count + 1), per)
    assert all(len(set(peers)) == replicas for peers in planned)
    spread = Counter(peer for peers in planned for peer in peers)
    assert max(spread.values()) - min(spread.values()) <= 1
