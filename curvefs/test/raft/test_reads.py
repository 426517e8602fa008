"""Rounds of heartbeats, and the reads that wait for them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.raft.reads import ConfirmedRead, Rounds


def test_a_read_waits_for_a_round_that_begins_after_it():
    rounds = Rounds(0.0)
    assert rounds.begin(1.0) == 1
    rounds.ask(7, 40)
    assert rounds.reads_waiting
    rounds.answered(1)
    assert rounds.take_confirmed() == []
    assert rounds.begin(2.0) == 2
    assert not rounds.reads_waiting
    rounds.answered(2)
    assert rounds.take_confirmed() == [ConfirmedRead(7, 40)]
    assert rounds.take_confirmed() == []


def test_contact_is_when_the_round_was_sent_not_when_it_was_answered():
    rounds = Rounds(0.5)
    assert rounds.contact == 0.5
    for now in (1.0, 2.0, 3.0):
        rounds.begin(now)
    rounds.answered(2)
    assert rounds.contact == 2.0


def test_an_old_answer_takes_nothing_back():
    rounds = Rounds(0.0)
    rounds.begin(1.0)
    rounds.begin(2.0)
    rounds.answered(2)
    rounds.answered(1)
    assert (rounds.contact, rounds.reached) == (2.0, 2)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just("begin"), st.just("ask"), st.integers(0, 10))))
def test_reads_are_confirmed_once_in_order_and_never_early(steps):
    rounds = Rounds(0.0)
    asked = []
    confirmed = []
    sent = {0: 0.0}
    for now, step in enumerate(steps, 1):
        if step == "begin":
            sent[rounds.begin(float(now))] = float(now)
        elif step == "ask":
            rounds.ask(now, now * 10)
            asked.append((now, rounds.current))
        else:
            rounds.answered(min(int(step), rounds.current))
        confirmed += rounds.take_confirmed()
        assert confirmed == [ConfirmedRead(at, at * 10) for at, current in asked if current < rounds.reached]
        assert rounds.contact == sent[rounds.reached]
