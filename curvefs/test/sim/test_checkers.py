"""Every checker lets through what may be, and raises on what must not be."""

import pytest

from curvefs.proto import common_pb2
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.log import Base, Log
from curvefs.src.raft.messages import Entry, EntryKind
from curvefs.test.sim.checkers import Checkers, Violation
from curvefs.test.sim.history import History, check_generally


def log_of(*terms, committed=0):
    entries = [Entry(index, term, EntryKind.NORMAL, b"%d" % term) for index, term in enumerate(terms, 1)]
    return Log(Base(), Configuration((1, 2, 3)), entries, committed=committed, applied=0)


def record(index, term, payload=b"x"):
    return Record(RecordType.ENTRY, 7, term, index, payload)


def violates(invariant):
    return pytest.raises(Violation, match=invariant)


def test_one_server_leads_in_a_term():
    checkers = Checkers()
    checkers.election_safety(1, 1, 0)
    checkers.election_safety(1, 1, 0)
    checkers.election_safety(2, 3, 0)
    with violates("election safety"):
        checkers.election_safety(2, 1, 0)


def test_the_same_server_does_not_lead_again_in_a_term_after_a_restart():
    checkers = Checkers()
    checkers.election_safety(1, 1, 0)
    with violates("election safety"):
        checkers.election_safety(1, 1, 1)


def test_a_leader_keeps_the_end_of_its_log():
    checkers = Checkers()
    checkers.leader_append_only(1, log_of(1, 1, 2), 2, 1)
    with violates("leader append-only"):
        checkers.leader_append_only(1, log_of(1), 2, 1)
    with violates("leader append-only"):
        checkers.leader_append_only(1, log_of(1, 2), 2, 1)


def test_index_and_term_determine_an_entry_and_the_term_before_it():
    checkers = Checkers()
    checkers.log_matching(1, 1, [record(2, 1), record(3, 2)])
    checkers.log_matching(2, 1, [record(2, 1), record(3, 2)])
    with violates("log matching"):
        checkers.log_matching(3, 1, [record(2, 1, b"y")])
    with violates("log matching"):
        checkers.log_matching(3, 2, [record(2, 1)])


def test_what_was_taken_back_counts_only_where_others_have_it():
    checkers = Checkers()
    checkers.log_matching(1, 1, [record(2, 1), record(3, 1)])
    checkers.log_matching(2, 1, [record(2, 1)])
    checkers.dropped(1, 1, 1)
    checkers.log_matching(1, 1, [record(3, 1, b"y")])
    with violates("log matching"):
        checkers.log_matching(1, 1, [record(2, 1, b"y")])


def test_a_committed_entry_stays():
    checkers = Checkers()
    checkers.committed_stays(1, 1, log_of(1, 1), 0, 2)
    checkers.committed_stays(2, 2, log_of(1, 1, 2), 0, 3)
    with violates("committed stays"):
        checkers.committed_stays(3, 3, log_of(1, 3), 0, 2)


def test_leaders_of_later_terms_have_what_is_committed():
    checkers = Checkers()
    checkers.committed_stays(1, 2, log_of(1, 2), 0, 2)
    checkers.leader_completeness(2, log_of(1, 2, 3), 3)
    checkers.leader_completeness(2, log_of(1), 2)  # its term is not later
    with violates("leader completeness"):
        checkers.leader_completeness(3, log_of(1, 1), 3)


class OnDisk:
    def __init__(self, last):
        self.last = last

    def has_on_disk(self, index, term):
        return index <= self.last


def test_a_committed_entry_is_on_disk_at_a_majority_of_each_half():
    checkers = Checkers()
    checkers.committed_stays(1, 1, log_of(1), 0, 1)
    servers = {1: OnDisk(1), 2: OnDisk(1), 3: OnDisk(0), 4: OnDisk(0)}
    checkers.committed_is_durable(Configuration((1, 2, 3)), 1, servers)
    with violates("committed is durable"):
        checkers.committed_is_durable(Configuration((1, 3, 4)), 1, servers)
    with violates("committed is durable"):
        checkers.committed_is_durable(Configuration((1, 2), outgoing=(1, 3)), 1, servers)


def test_only_committed_entries_are_applied_and_lead_to_one_state():
    checkers = Checkers()
    checkers.committed_stays(1, 1, log_of(1, 1), 0, 2)
    checkers.applied(1, 2, 1, digest=5)
    checkers.applied(2, 2, 1, digest=5)
    with violates("state-machine safety"):
        checkers.applied(3, 2, 1, digest=6)
    with violates("state-machine safety"):
        checkers.applied(3, 3, 1, digest=7)
    with violates("state-machine safety"):
        checkers.applied(3, 2, 2, digest=5)


def test_a_read_sees_what_was_answered_before_it_began():
    checkers = Checkers()
    checkers.read_is_fresh(0, 4, 4)
    with violates("answers are true"):
        checkers.read_is_fresh(0, 4, 3)


# -------------------------------------------------------------------------------------------- histories


def told(*calls):
    """A history of calls (process, kind, args, status, inode, change), one after the other."""
    history = History()
    for process, kind, args, *answer in calls:
        history.end(history.begin(process, kind, args), *answer)
    return history


CREATED = (0, "create", (b"a", True), common_pb2.OK, 9, 2)
REMOVED = (0, "unlink", (b"a",), common_pb2.OK, 9, 3)


def test_answers_in_order_have_an_explanation():
    told(
        (1, "lookup", (b"a",), common_pb2.OK, 0, 1),
        CREATED,
        (1, "lookup", (b"a",), common_pb2.OK, 9, 2),
        (2, "create", (b"a", True), common_pb2.ALREADY_EXISTS, 9, 0),
        (2, "rename", (b"a", b"b"), common_pb2.OK, 9, 3),
        (1, "lookup", (b"a",), common_pb2.OK, 0, 3),
        (0, "unlink", (b"a",), common_pb2.NOT_FOUND, 0, 0),
        (0, "unlink", (b"b",), common_pb2.OK, 9, 4),
    ).check()


def test_calls_at_the_same_time_take_effect_in_any_order():
    history = History()
    looked = history.begin(1, "lookup", (b"a",))
    made = history.begin(0, "create", (b"a", True))
    history.end(made, common_pb2.OK, 9, 2)
    history.end(looked, common_pb2.OK, 0, 1)
    history.check()


def test_a_read_from_the_past_has_no_explanation():
    with violates("linearizability"):
        told(CREATED, (1, "lookup", (b"a",), common_pb2.OK, 0, 1)).check()


def test_an_operation_that_was_applied_twice_has_no_explanation():
    with violates("linearizability"):
        told((0, "create", (b"a", True), common_pb2.ALREADY_EXISTS, 9, 0)).check()
    with violates("linearizability"):
        told(CREATED, REMOVED, (1, "create", (b"b", True), common_pb2.OK, 10, 5)).check()


def test_what_surely_never_happened_must_not_be_seen():
    history = told((0, "lookup", (b"a",), common_pb2.OK, 0, 1))
    history.never_happened(history.begin(1, "create", (b"a", True)))
    history.check()
    history.end(history.begin(0, "lookup", (b"a",)), common_pb2.OK, 9, 2)
    with violates("linearizability"):
        history.check()


def test_the_general_search_agrees_without_the_counter():
    assert check_generally(told(CREATED, (1, "lookup", (b"a",), common_pb2.OK, 9, 2), REMOVED))
    with violates("linearizability"):
        check_generally(told(CREATED, (1, "lookup", (b"a",), common_pb2.OK, 0, 2)))
