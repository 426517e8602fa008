"""Majorities, joint and not, against counting every subset."""

from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.raft.configuration import Configuration, Tally

IDS = st.lists(st.integers(1, 7), unique=True, min_size=1, max_size=5).map(sorted).map(tuple)
OUTGOING = st.one_of(st.just(()), IDS)
VALUES = st.dictionaries(st.integers(1, 9), st.integers(0, 6))
VOTES = st.dictionaries(st.integers(1, 9), st.booleans())


def subsets(servers):
    return chain.from_iterable(combinations(servers, size) for size in range(len(servers) + 1))


def decides(configuration, servers):
    """Say whether these servers are a majority of each half."""
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return all(2 * len(set(half) & set(servers)) > len(half) for half in halves)


@settings(deadline=None)
@given(IDS, OUTGOING, VALUES)
def test_reached_is_the_highest_value_that_a_deciding_set_has(voters, outgoing, values):
    configuration = Configuration(voters, outgoing)
    everybody = {*voters, *outgoing}
    best = max(
        min(values.get(one, 0) for one in some) for some in subsets(everybody) if some and decides(configuration, some)
    )
    assert configuration.reached(values) == best


@settings(deadline=None)
@given(IDS, OUTGOING, VOTES)
def test_an_election_is_won_by_a_deciding_set_and_lost_when_none_is_left(voters, outgoing, votes):
    configuration = Configuration(voters, outgoing)
    everybody = {*voters, *outgoing}
    granted = {one for one in everybody if votes.get(one)}
    possible = {one for one in everybody if votes.get(one, True)}
    expected = Tally.OPEN
    if decides(configuration, granted):
        expected = Tally.WON
    elif not decides(configuration, possible):
        expected = Tally.LOST
    assert configuration.tally(votes) is expected


@settings(deadline=None)
@given(IDS, IDS)
def test_a_majority_during_a_change_shares_a_server_with_every_one_before_and_after(before, after):
    joint = Configuration(before).changed_to(after, ())
    for some in subsets({*before, *after}):
        if decides(joint, some):
            rest = {*before, *after} - set(some)
            assert not decides(Configuration(before), rest)
            assert not decides(joint.left(), rest)


@pytest.mark.parametrize("votes", [{}, {1: False}, {9: True}])
def test_nobody_elects_in_a_group_without_voters(votes):
    assert Configuration().tally(votes) is not Tally.WON
    assert Configuration().reached({9: 5}) == 0


def test_a_learner_decides_nothing():
    configuration = Configuration((1, 2, 3), (), (4,))
    assert configuration.members == (1, 2, 3, 4)
    assert not configuration.is_voter(4)
    assert configuration.tally({1: True, 4: True}) is Tally.OPEN


def test_a_change_of_learners_alone_is_not_joint():
    changed = Configuration((1, 2)).changed_to((2, 1), (3,))
    assert changed == Configuration((1, 2), (), (3,))
    assert not changed.is_joint


def test_who_leaves_is_a_member_and_a_voter_until_the_change_is_over():
    joint = Configuration((1, 2)).changed_to((2, 3), (), ((1, "a"), (2, "b"), (3, "c")))
    assert joint.members == (1, 2, 3)
    assert joint.is_voter(1)
    assert joint.left() == Configuration((2, 3), (), (), ((2, "b"), (3, "c")))


def test_a_change_begins_only_when_none_is_under_way():
    with pytest.raises(AssertionError):
        Configuration((1,), (2,)).changed_to((3,), ())
