"""Whom to ask for a leader: the one that was named, then everybody, and nobody twice before a pause."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.metadata.leaders import LeaderSearch

PEERS = ["a", "b", "c"]


def search(told=""):
    made = LeaderSearch(list(PEERS))
    made.begin(told)
    return made


def test_who_was_named_is_asked_alone():
    assert search("b").next() == ["b"]


def test_without_a_name_all_peers_are_asked_at_once():
    assert search().next() == PEERS


def test_a_refusal_without_a_name_brings_in_the_others():
    one = search("b")
    one.next()
    assert one.refused("b", "")
    assert one.next() == ["a", "c"]


def test_a_redirect_is_followed_also_out_of_the_known_peers():
    one = search("b")
    one.next()
    assert one.refused("b", "d")
    assert one.next() == ["d"]


def test_nobody_is_asked_twice_before_a_pause():
    one = search()
    one.next()
    assert not one.refused("b", "a"), "asked already"
    assert one.next() == []
    one.paused()
    assert one.next() == PEERS


@given(st.lists(st.tuples(st.sampled_from(PEERS), st.sampled_from([*PEERS, "d", ""])), max_size=30))
def test_servers_that_name_one_another_are_each_asked_once(refusals):
    one = search("a")
    asked = one.next()
    for address, leader in refusals:
        if one.refused(address, leader):
            asked += one.next()
    assert len(asked) == len(set(asked)) <= 4
