"""The log against a list, and its edges one by one."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from curvefs.src.raft.codec import encode_configuration
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.log import Base, Log
from curvefs.src.raft.messages import Entry, EntryKind

FIRST = Configuration((1, 2, 3))
CONFIGURATIONS = [Configuration((1, 2)), Configuration((1, 4), (1, 2)), Configuration((5,), (), (6,))]


def entry(index, term, choice=None):
    if choice is None:
        return Entry(index, term, EntryKind.NORMAL, b"%d.%d" % (index, term))
    return Entry(index, term, EntryKind.CONFIGURATION, encode_configuration(CONFIGURATIONS[choice]))


def log_of(*terms, base=Base(), **kwargs):  # noqa: B008 -- it is a value
    entries = [entry(i, term) for i, term in enumerate(terms, base.index + 1)]
    return Log(base, FIRST, entries, **{"committed": base.index, "applied": base.index, **kwargs})


CHOICES = st.lists(st.sampled_from([None, None, 0, 1, 2]), max_size=4)


class LogMachine(RuleBasedStateMachine):
    """self.all: every entry from 1 on, compacted or not. Entries are made by terms that rise, as leaders make them."""

    @initialize()
    def begin(self):
        self.log = log_of()
        self.all = []
        self.base = self.committed = self.durable = self.applied = 0
        self.term = 1
        self.writes = []
        self.disk = []
        self.snapshot = {0: FIRST}

    def made(self, first, choices):
        return [entry(i, self.term, choice) for i, choice in enumerate(choices, first)]

    @rule(choices=CHOICES)
    def append(self, choices):
        for one in self.made(len(self.all) + 1, choices):
            self.log.append(one)
            self.all.append(one)

    @rule(back=st.integers(0, 6), keep=st.integers(0, 6), choices=CHOICES)
    def accept(self, back, keep, choices):
        """A later leader's entries: first some that are here, then its own."""
        last = len(self.all)
        agreed = max(last - back, self.committed)
        same = self.all[max(agreed - keep, self.base) : agreed]
        if choices:
            self.term += 1
            new = self.made(agreed + 1, choices)
            self.durable = min(self.durable, agreed)
            self.all[agreed:] = new
        else:
            new = []
        self.log.accept(same + new)

    @rule(back=st.integers(0, 4), count=st.integers(0, 4))
    def accept_what_is_here(self, back, count):
        first = max(len(self.all) - back, self.base)
        self.log.accept(self.all[first : first + count])

    @rule(index=st.integers(0, 30))
    def commit(self, index):
        rises = min(index, len(self.all)) > self.committed
        assert self.log.commit(index) is rises
        self.committed = max(self.committed, min(index, len(self.all)))

    @precondition(lambda self: not self.writes)
    @rule()
    def take_unwritten(self):
        taken = self.log.take_unwritten()
        kept = len(self.all) - len(taken)
        assert taken == self.all[kept:]
        assert self.all[:kept] == self.disk[:kept], "nothing is left out"
        assert not self.log.has_unwritten
        self.writes.append((self.log.last_taken, list(self.all)))

    @precondition(lambda self: self.writes)
    @rule()
    def written(self):
        (index, term), on_disk = self.writes.pop()
        self.log.written(index, term)
        if on_disk:
            self.disk = on_disk
        if on_disk[index - 1 : index] == self.all[index - 1 : index]:
            self.durable = max(self.durable, index if on_disk else 0)

    @precondition(lambda self: self.writes)
    @rule()
    def not_written(self):
        self.writes.pop()
        self.log.not_written()
        assert self.log.has_unwritten is (self.durable < len(self.all))

    @precondition(lambda self: not self.writes and self.committed <= self.durable)
    @rule()
    def drop_unwritten(self):
        assert self.log.drop_unwritten() == len(self.all) - self.durable
        del self.all[self.durable :]

    @rule()
    def apply(self):
        end = max(self.applied, min(self.committed, self.durable))
        assert self.log.take_committed() == self.all[self.applied : end]
        self.applied = end

    @rule(index=st.integers(0, 30))
    def compact(self, index):
        index = min(index, self.applied)
        self.log.compact(index)
        self.base = max(self.base, index)

    @rule(more=st.integers(1, 3))
    def reset(self, more):
        """A snapshot is installed: what comes before is somebody else's, and only its end is known."""
        self.term += 1
        index = self.committed + more
        self.all = [entry(i, self.term) for i in range(1, index + 1)]
        self.disk = list(self.all)
        self.writes = [(last, []) for last, _ in self.writes]  # on disk it lies before the log's new beginning
        self.snapshot = {index: CONFIGURATIONS[0]}
        self.log.reset(Base(index, self.term), CONFIGURATIONS[0])
        self.base = self.committed = self.durable = self.applied = index

    @invariant()
    def is_the_list(self):
        log = self.log
        assert log.base.index == self.base
        assert log.last_index == len(self.all)
        assert log.entries(self.base + 1, 1 << 20) == tuple(self.all[self.base :])
        assert log.size_bytes == sum(len(one.data) for one in self.all[self.base :])
        assert log.unwritten_bytes == sum(len(one.data) for one in self.all[self.durable :])
        terms = {index: log.term_of(index) for index in range(len(self.all) + 2)}
        for index, term in terms.items():
            known = max(self.base, 1) <= index <= len(self.all)
            assert term == (self.all[index - 1].term if known else 0 if index == self.base == 0 else None)

    @invariant()
    def is_as_durable_and_committed(self):
        log = self.log
        assert (log.committed, log.durable, log.applied) == (self.committed, self.durable, self.applied)
        assert self.all[: self.durable] == self.disk[: self.durable]
        assert self.base <= self.applied <= min(self.committed, self.durable)

    @invariant()
    def has_the_latest_configuration(self):
        at, latest = next(iter(self.snapshot.items()))
        for index in range(max(self.base, at), len(self.all) + 1):
            for one in self.all[at:index]:
                if one.kind is EntryKind.CONFIGURATION:
                    latest = next(value for value in CONFIGURATIONS if encode_configuration(value) == one.data)
            assert self.log.configuration_at(index) == latest
        assert self.log.configuration == latest


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLogIsAList = LogMachine.TestCase


def test_committed_entries_are_never_replaced():
    log = log_of(1, 1, 2)
    log.commit(2)
    with pytest.raises(AssertionError):
        log.accept([entry(2, 3)])


def test_an_old_message_truncates_nothing():
    log = log_of(1, 1, 1)
    log.accept([entry(2, 1)])
    assert log.last_index == 3


def test_entries_that_were_compacted_are_passed_over():
    log = log_of(2, 2, base=Base(5, 2))
    log.accept([entry(i, 2) for i in range(4, 9)])
    assert log.last_index == 8


def test_one_entry_is_sent_however_big_it_is():
    log = log_of(1, 1, 1)
    assert [one.index for one in log.entries(2, 0)] == [2]
    assert [one.index for one in log.entries(2, 6)] == [2, 3]
    assert log.entries(4, 100) == ()


@pytest.mark.parametrize(
    ("terms", "index", "term", "expected"),
    [
        ((1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3), 10, 6, (10, 3)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), 10, 3, (3, 1)),
        ((1, 1), 7, 5, (2, 1)),
        ((4, 4), 2, 3, (0, 0)),
    ],
)
def test_agreement_skips_whole_terms(terms, index, term, expected):
    assert log_of(*terms).agreement(index, term) == expected


def test_agreement_ends_at_the_base():
    assert log_of(4, 4, base=Base(5, 3)).agreement(7, 2) == (5, 3)


@pytest.mark.parametrize(
    ("last_index", "last_term", "expected"), [(2, 3, True), (9, 2, True), (3, 2, True), (2, 2, False), (9, 1, False)]
)
def test_up_to_date_is_by_term_then_by_length(last_index, last_term, expected):
    assert log_of(1, 1, 2).is_up_to_date(last_index, last_term) is expected


def test_a_write_says_nothing_of_entries_that_took_its_place():
    log = log_of()
    log.append(entry(1, 1))
    log.take_unwritten()
    log.accept([entry(1, 2)])
    log.written(1, 1)
    assert log.durable == 0
    assert [one.term for one in log.take_unwritten()] == [2]


def test_recovery_does_not_commit_past_what_it_found():
    assert log_of(1, 1, committed=9).committed == 2
    assert log_of(1, 1, committed=0, applied=1).committed == 1
