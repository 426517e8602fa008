"""A follower, message by message, where no honest network leads to it easily."""

import pytest

from curvefs.src.raft import messages as m
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.core import Raft, Start
from curvefs.src.raft.messages import Entry, EntryKind, HardState
from curvefs.src.raft.progress import WINDOW_BYTES
from curvefs.src.raft.state import Settings


def entries(*terms, first=1):
    return tuple(Entry(i, term, EntryKind.NORMAL, b"%d" % term) for i, term in enumerate(terms, first))


def follower(*terms, committed=0):
    start = Start(HardState(2, 0, committed), configuration=Configuration((1, 2, 3)), entries=entries(*terms))
    return Raft(1, Settings(), start, now=0.0, jitter=lambda: 0.0)


def append(previous, new, committed, term=2):
    index, previous_term = previous
    return m.Append(2, 1, term, index, previous_term, new, committed, token=1)


def answers(raft):
    while raft.take_write() is not None:
        raft.written(0.0)
    return raft.ready(0.0).messages


def test_it_commits_no_further_than_what_matched():
    raft = follower(1, 1, 1, 1)
    raft.step(append((1, 1), entries(1, first=2), committed=4), 0.0)
    assert raft.log.committed == 2


def test_a_heartbeat_commits_what_it_says_and_has():
    raft = follower(2, 2)
    raft.step(m.Heartbeat(2, 1, 2, 1, 1), 0.0)
    assert raft.log.committed == 1


def test_entries_past_a_gap_are_rejected():
    raft = follower(1, 1)
    raft.step(append((5, 2), entries(2, first=6), committed=0), 0.0)
    assert raft.log.last_index == 2
    assert [one.rejected for one in answers(raft) if isinstance(one, m.AppendReply)] == [True]


def test_what_is_before_the_commit_index_is_not_compared():
    raft = follower(1, 1, 2, committed=3)
    raft.step(append((1, 1), entries(1, 2, first=2), committed=3), 0.0)
    assert [(one.index, one.rejected) for one in answers(raft) if isinstance(one, m.AppendReply)] == [(3, False)]


@pytest.mark.parametrize("kind", [m.Append, m.Heartbeat, m.SnapshotChunk, m.TimeoutNow])
def test_a_leader_of_an_old_term_learns_the_present_one(kind):
    raft = follower(1)
    old = {
        m.Append: append((1, 1), (), 0, term=1),
        m.Heartbeat: m.Heartbeat(2, 1, 1, 0, 1),
        m.SnapshotChunk: m.SnapshotChunk(2, 1, 1, 9, 1, Configuration((1, 2)), 0, b"", last=True, token=1),
        m.TimeoutNow: m.TimeoutNow(2, 1, 1),
    }
    raft.step(old[kind], 5.0)
    assert raft.leader == 0
    assert [(one.term, one.rejected) for one in answers(raft) if isinstance(one, m.AppendReply)] == [(2, True)]


def test_an_old_vote_is_not_answered_and_an_old_prevote_is_refused():
    raft = follower(1)
    raft.step(m.Vote(2, 1, 1, 9, 9, pre=False), 5.0)
    assert answers(raft) == []
    raft.step(m.Vote(2, 1, 1, 9, 9, pre=True), 5.0)
    assert answers(raft) == [m.VoteReply(1, 2, 2, pre=True, granted=False)]


class Full:
    """A leader whose followers are asked by hand; the third cannot write for a while."""

    def __init__(self):
        configuration = Configuration((1, 2, 3))
        self.now = 0.0
        self.servers = {
            id_: Raft(id_, Settings(), Start(configuration=configuration), now=0.0, jitter=lambda id_=id_: id_ / 10)
            for id_ in (1, 2, 3)
        }
        self.full = False
        while not self.servers[1].is_established:
            self.pass_time()

    def pass_time(self):
        self.now += 0.1
        for server in self.servers.values():
            server.tick(self.now)
        while any(self.settle(id_, server) for id_, server in self.servers.items()):
            pass

    def settle(self, id_, server):
        busy = False
        if server.take_write() is not None:
            if id_ == 3 and self.full:
                server.not_written()
            else:
                server.written(self.now)
                busy = True
        for message in server.ready(self.now).messages:
            busy = True
            self.servers[message.to].step(message, self.now)
        return busy


def test_a_follower_that_cannot_write_takes_so_much_into_memory_and_catches_up_by_itself():
    group, data = Full(), bytes(1 << 20)
    leader, follower = group.servers[1], group.servers[3]
    group.full = True
    for _ in range(100):
        leader.propose([data], group.now)
        group.pass_time()
    assert leader.log.committed == leader.log.last_index
    assert 2 * WINDOW_BYTES < follower.log.size_bytes < 2 * WINDOW_BYTES + 2 * len(data)
    assert len(follower._state._held) < 5
    group.full = False
    for _ in range(10):
        group.pass_time()
    assert follower.log.durable == follower.log.committed == leader.log.last_index


def test_a_follower_that_can_write_again_takes_what_it_dropped_though_nothing_new_is_said():
    group, data = Full(), bytes(1 << 20)
    leader, follower = group.servers[1], group.servers[3]
    group.full = True
    leader.propose([data] * 100, group.now)
    for _ in range(300):
        group.pass_time()
    assert follower.log.size_bytes < 2 * WINDOW_BYTES + 2 * len(data)
    group.full = False
    for _ in range(10):
        group.pass_time()
    assert follower.log.durable == follower.log.committed == leader.log.last_index


def test_a_follower_that_cannot_write_still_gives_up_what_another_leader_has_replaced():
    raft, data = follower(), bytes(1 << 20)
    first = tuple(Entry(i, 2, EntryKind.NORMAL, data) for i in range(1, 41))
    raft.step(append((0, 0), first, committed=0), 0.0)
    raft.step(append((40, 2), entries(2, first=41), committed=0), 0.0)
    assert raft.log.last_index == 40, "it is dropped"
    raft.step(append((50, 3), entries(3, first=51), committed=0, term=3), 0.0)
    assert [one.rejected for one in raft.ready(0.0).messages if isinstance(one, m.AppendReply)] == [True]
    raft.step(append((1, 2), entries(3, first=2), committed=0, term=3), 0.0)
    assert (raft.log.last_index, raft.log.last_term) == (2, 3)
