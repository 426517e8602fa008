"""What waits for the disk, and when a vote may be told of."""

import pytest

from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.log import Base, Log
from curvefs.src.raft.messages import AppendReply, Entry, EntryKind, HardState, HeartbeatReply, TimeoutNow, Vote
from curvefs.src.raft.state import Settings, State

HELLO = TimeoutNow(1, 2, 3)
AGAIN = TimeoutNow(1, 2, 4)


def state_of(*, term=1, vote=0, joining=False, jitter=0.0, entries=()):
    log = Log(Base(), Configuration((1, 2, 3)), entries, committed=0, applied=0)
    return State(1, Settings(), log, lambda: jitter, term, vote, promised_until=0.0, joining=joining)


def append(state, term=1):
    state.log.append(Entry(state.log.last_index + 1, term, EntryKind.NORMAL, b""))


def take(state):
    return state.take_write(entries_too=True)


def test_what_promises_nothing_new_leaves_at_once():
    state = state_of()
    state.send_when_durable(HELLO)
    assert state.outbox == [HELLO]


@pytest.mark.parametrize(
    "change",
    [
        append,
        lambda state: state.enter_term(2),
        lambda state: setattr(state, "vote", 2),
        lambda state: setattr(state, "joining", True),
    ],
    ids=["an entry", "a term", "a vote", "joining"],
)
def test_a_promise_waits_for_the_write_that_covers_it(change):
    state = state_of()
    change(state)
    state.send_when_durable(HELLO)
    assert state.outbox == []
    assert take(state) is not None
    assert state.outbox == []
    assert state.written() == [HELLO]


def test_what_waits_while_nothing_can_be_written_stays_bounded():
    state = state_of()
    acknowledged = [AppendReply(1, 2, 101, index, token) for token in (7, 8) for index in range(1, 50)]
    for term in range(2, 102):
        state.enter_term(term)
        for to in (2, 3):
            state.send_when_durable(Vote(1, to, term, 0, 0, pre=False, forced=False))
        for round_ in range(5):
            state.send_when_durable(HeartbeatReply(1, 2, term, round_, quiet=False, joining=False))
        take(state)
        state.not_written()
    for one in acknowledged:
        state.send_when_durable(one)
    take(state)
    said = state.written()
    assert [one.term for one in said] == [101] * 5
    assert said[2].round == 4
    assert said[3:] == [acknowledged[48], acknowledged[97]], "the last word to each of two leaderships"


def test_a_promise_that_the_write_under_way_covers_leaves_with_it():
    state = state_of()
    append(state)
    take(state)
    state.send_when_durable(HELLO)
    assert state.written() == [HELLO]


def test_a_promise_that_came_too_late_waits_for_the_next_write():
    state = state_of()
    append(state)
    take(state)
    append(state)
    state.send_when_durable(HELLO)
    assert state.written() == []
    assert take(state) is not None
    assert state.written() == [HELLO]


def test_one_write_at_a_time():
    state = state_of()
    append(state)
    assert take(state) is not None
    append(state)
    assert take(state) is None
    assert not state.needs_write(entries_too=True)


def test_a_refused_write_is_handed_out_again_and_its_promises_wait_in_order():
    state = state_of()
    append(state)
    state.send_when_durable(HELLO)
    first = take(state)
    append(state)
    state.send_when_durable(AGAIN)
    state.not_written()
    assert state.outbox == []
    again = take(state)
    assert first is not None
    assert again is not None
    assert again.entries[: len(first.entries)] == first.entries
    assert state.written() == [HELLO, AGAIN]


def test_a_vote_counts_once_it_is_on_disk():
    state = state_of()
    state.enter_term(2, vote=1)
    assert not state.is_vote_durable
    write = take(state)
    assert write is not None
    assert write.hard_state == HardState(2, 1)
    assert not state.is_vote_durable
    state.written()
    assert state.is_vote_durable


def test_the_commit_index_alone_needs_no_write():
    state = state_of(entries=[Entry(1, 1, EntryKind.NORMAL, b"")])
    state.log.commit(1)
    assert not state.needs_write(entries_too=True)
    append(state)
    write = take(state)
    assert write is not None
    assert write.hard_state == HardState(1, 0, 1)


def test_without_entries_only_the_hard_state_is_written():
    state = state_of()
    append(state)
    assert not state.needs_write(entries_too=False)
    state.enter_term(2)
    write = state.take_write(entries_too=False)
    assert write is not None
    assert write.entries == []
    state.written()
    assert state.log.durable == 0


def test_a_vote_is_of_one_term():
    state = state_of(term=3, vote=2)
    state.enter_term(4)
    assert (state.vote, state.leader) == (0, 0)
    with pytest.raises(AssertionError):
        state.enter_term(4)


@pytest.mark.parametrize(("jitter", "due"), [(0.0, 6.0), (0.5, 6.5)])
def test_an_election_is_due_after_one_to_two_timeouts_and_never_before_the_promise_ends(jitter, due):
    state = state_of(jitter=jitter)
    state.follow(2, 5.0)
    assert state.leader == 2
    assert state.promised_until == 6.0
    assert state.election_due == due


def test_who_joined_votes_only_once_it_is_durably_caught_up():
    state = state_of(joining=True)
    assert not state.may_vote
    append(state)
    state.log.commit(1)
    state.remember()
    assert state.joining, "the entry is not on disk"
    take(state)
    state.written()
    state.remember()
    assert not state.joining
    assert not state.may_vote, "that it has caught up is not on disk"
    take(state)
    state.written()
    assert state.may_vote


def test_an_entry_of_an_earlier_term_does_not_make_a_full_member():
    state = state_of(term=2, joining=True, entries=[Entry(1, 1, EntryKind.NORMAL, b"")])
    state.log.commit(1)
    state.remember()
    assert state.joining
