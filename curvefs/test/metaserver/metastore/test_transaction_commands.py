"""The commands of transactions: each may come again, late, or in another order; who meets a lock learns whose it is."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.metastore import transactions
from curvefs.src.metaserver.metastore.unfinished import unfinished
from curvefs.src.metaserver.storage import keys

from .fleet import (
    DIRECTORY,
    add_link,
    age_of,
    code_of,
    decide,
    drop_link,
    finish,
    forget,
    id_of,
    move_inode,
    move_lock,
    new_directory,
    pairs_of,
    prepare,
    put_name,
    remove_name,
)
from .lab import FS, SESSION, Lab

ROOT = 1
ELSEWHERE = make_id(5, 7)
OTHER = b"o" * 16
SECOND_NS = 10**9


@pytest.fixture
def lab():
    return Lab()


def put(name=b"n"):
    return put_name(ROOT, name, ELSEWHERE)


def names(lab):
    return set(lab.names(ROOT))


def answers(lab):
    return [int.from_bytes(key[-8:], "big") for key in lab.table(keys.DECISION)]


# ------------------------------------------------------------------------------------------ again and late


def test_prepare_again_answers_the_same_and_changes_nothing(lab):
    first = prepare(lab, 1, put(), new_directory(0, ROOT))
    before = pairs_of(lab)
    assert prepare(lab, 1, put(), new_directory(0, ROOT)) == first
    assert pairs_of(lab) == before


def test_each_round_of_a_transaction_is_prepared_in_the_same_group(lab):
    file = lab.create(ROOT, b"f")
    (first,) = prepare(lab, 1, put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY), round_=1).facts
    assert len(prepare(lab, 1, drop_link(first.inode_id), round_=2).facts) == 1
    assert prepare(lab, 1, put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY), round_=1).facts == [first]
    finish(lab, 1, commit=True)
    assert lab.inode(file) is None
    assert not lab.table(keys.LOCK) + lab.table(keys.PREPARED)


def test_an_abort_releases_all_rounds(lab):
    lab.create(ROOT, b"f")
    prepare(lab, 1, put(), round_=1)
    prepare(lab, 1, remove_name(ROOT, b"f", lab.lookup(ROOT, b"f")), move_lock(), round_=2)
    finish(lab, 1, commit=False)
    assert names(lab) == {b"f"}
    assert not lab.table(keys.LOCK) + lab.table(keys.PREPARED)


def test_a_round_that_cannot_be_is_refused(lab):
    with lab.unchanged():
        assert code_of(prepare(lab, 1, put(), round_=256)) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("commit", [True, False])
def test_finish_again_changes_nothing(lab, commit):
    lab.create(ROOT, b"f")
    prepare(lab, 1, put(), add_link(lab.lookup(ROOT, b"f")))
    finish(lab, 1, commit=commit)
    before = pairs_of(lab, without=())
    for again in (True, False):
        assert code_of(finish(lab, 1, commit=again)) == "OK"
    assert pairs_of(lab, without=()) == before
    assert names(lab) == ({b"f", b"n"} if commit else {b"f"})


@pytest.mark.parametrize("commit", [True, False])
def test_a_prepare_that_comes_after_the_end_locks_nothing(lab, commit):
    prepare(lab, 1, put())
    finish(lab, 1, commit=commit)
    with lab.unchanged():
        assert code_of(prepare(lab, 1, put())) == "SKIPPED"
        assert code_of(prepare(lab, 1, put(b"m"), round_=1)) == "SKIPPED"
        finish(lab, 1, commit=True)


def test_an_abort_that_overtakes_its_prepare_ends_it(lab):
    finish(lab, 1, commit=False)
    with lab.unchanged():
        assert code_of(prepare(lab, 1, put())) == "SKIPPED"
    assert prepare(lab, 2, put()).facts is not None


def test_the_memory_of_ends_does_not_grow_for_ever(lab):
    for number in range(20):
        finish(lab, number, commit=False)
    assert len(lab.table(keys.FINISHED)) == 20
    lab.time_ns += 2 * 3600 * SECOND_NS
    for number in range(20, 30):
        finish(lab, number, commit=False)
    assert len(lab.table(keys.FINISHED)) == len(lab.table(keys.FINISHED_AT)) == 10


def test_decide_again_answers_the_decision_without_doing_it_again(lab):
    file = lab.create(ROOT, b"f")
    first = decide(lab, 1, add_link(file), put_name(ROOT, b"g", file))
    before = pairs_of(lab)
    assert decide(lab, 1, add_link(file), put_name(ROOT, b"g", file)) == first
    later = decide(lab, 2, put_name(ROOT, b"h", file), session_number=1)
    assert later.decided == first.decided
    assert later.decided.id == id_of(1, lab.group_id)
    assert pairs_of(lab) == before
    assert lab.inode(file).nlink == 2


def test_a_decision_counts_in_the_term_of_its_id_only(lab):
    lab.term = 3
    with lab.unchanged():
        for term in (2, 4):
            applied = decide(lab, 1, put(), term=term)
            assert code_of(applied) == "NOT_APPENDED"
            assert applied.decided is None
    assert decide(lab, 1, put()).decided is not None


def test_forget_again_changes_nothing(lab):
    decide(lab, 1, put(), participants=[8])
    forget(lab, 1)
    before = pairs_of(lab)
    forget(lab, 1, 2)
    assert pairs_of(lab) == before


# ----------------------------------------------------------------------------------------------- decisions


def test_a_decision_is_found_until_its_participants_have_finished(lab):
    id_ = id_of(1, lab.group_id)
    assert not transactions.is_decided(lab.state, id_)
    decide(lab, 1, put(), participants=[8, 9])
    assert transactions.is_decided(lab.state, id_)
    (record,) = transactions.undone(lab.state, 10)
    assert (record.id, list(record.participants), record.fs_id) == (id_, [8, 9], FS)
    forget(lab, 1)
    assert not transactions.is_decided(lab.state, id_)
    assert not transactions.undone(lab.state, 10)
    assert transactions.stored_answer(lab.state, SESSION, 1).result == record.result


def test_a_decision_without_participants_is_an_answer_only(lab):
    decide(lab, 1, put())
    assert not transactions.undone(lab.state, 10)
    assert transactions.stored_answer(lab.state, SESSION, 1) is not None


def test_what_is_prepared_can_be_listed_with_its_id(lab):
    prepare(lab, 7, put(), age=age_of(3))
    ((id_, record),) = transactions.prepared(lab.state, 10)
    assert (id_, record.age, record.fs_id) == (id_of(7), age_of(3), FS)
    finish(lab, 7, commit=False)
    assert not transactions.prepared(lab.state, 10)


def test_acknowledged_answers_vanish_when_the_participants_are_done(lab):
    decide(lab, 1, put(b"a"))
    decide(lab, 2, put(b"b"), participants=[8])
    decide(lab, 3, put(b"c"), acknowledged=2)
    assert answers(lab) == [2, 3]
    forget(lab, 2)
    assert answers(lab) == [3]
    assert code_of(decide(lab, 4, put(b"d"), session_number=2)) == "RESULT_FORGOTTEN"
    assert b"d" not in names(lab)


def test_answers_vanish_however_far_the_numbers_leap(lab):
    # Operations that fail have numbers but no decision.
    decide(lab, 1, put(b"a"))
    decide(lab, 2, put(b"b"))
    decide(lab, 1000, put(b"c"), acknowledged=999)
    assert answers(lab) == [1000]


def test_answers_that_are_not_acknowledged_are_bounded(lab):
    with lab.unchanged():
        assert code_of(decide(lab, 257, put())) == "OVERLOADED"
    assert decide(lab, 256, put()).decided is not None


def test_sessions_have_numbers_of_their_own(lab):
    lab.open(OTHER)
    decide(lab, 1, put(b"a"))
    decide(lab, 2, put(b"b"), session=OTHER, session_number=1)
    assert names(lab) == {b"a", b"b"}
    assert len(answers(lab)) == 2


def test_an_unknown_or_ended_session_decides_nothing(lab):
    with lab.unchanged():
        assert code_of(decide(lab, 1, put(), session=OTHER)) == "SESSION_UNKNOWN"
        assert code_of(decide(lab, 1, put(), session=b"short")) == "SESSION_UNKNOWN"
    lab.open(OTHER)
    lab.end(OTHER)
    with lab.unchanged():
        assert code_of(decide(lab, 1, put(), session=OTHER)) == "SESSION_ENDED"


def test_the_end_of_a_session_takes_its_answers_but_not_what_must_be_finished(lab):
    decide(lab, 1, put(b"a"))
    decide(lab, 2, put(b"b"), participants=[8])
    lab.end()
    assert answers(lab) == [2]
    assert transactions.is_decided(lab.state, id_of(2, lab.group_id))
    assert not unfinished(lab.state)
    forget(lab, 2)
    assert answers(lab) == []


def test_a_prepared_transaction_outlives_the_end_of_its_session(lab):
    file = lab.create(ROOT, b"f")
    prepare(lab, 1, drop_link(file, session_id=SESSION, held=True))
    lab.end()
    assert lab.table(keys.LOCK)
    finish(lab, 1, commit=True)
    assert lab.inode(file) is None


def test_the_result_is_that_of_the_lane(lab):
    folder, file = lab.mkdir(ROOT, b"d"), lab.create(ROOT, b"f")
    target = lab.create(folder, b"t")
    expected = decide(
        lab,
        1,
        remove_name(ROOT, b"f", file),
        move_inode(file, folder),
        put_name(folder, b"t", file, rule=t.PutName.ANY, expected=target, is_new_parent=True),
        drop_link(target, session_id=SESSION, held=True),
    ).decided.result
    assert (expected.inode, expected.parent) == (lab.inode(file), lab.inode(ROOT))
    assert (expected.new_parent, expected.replaced) == (lab.inode(folder), lab.inode(target))
    assert expected.held


def test_the_own_parts_of_a_decision_are_all_or_nothing(lab):
    file = lab.create(ROOT, b"f")
    with lab.unchanged():
        assert code_of(decide(lab, 1, remove_name(ROOT, b"f", file), put_name(ROOT, b"g", file), add_link(99))) != "OK"
    assert code_of(decide(lab, 2, remove_name(ROOT, b"f", file + 1))) == "SKIPPED"


def test_a_new_directory_at_home_gets_its_name_in_the_decision(lab):
    applied = decide(lab, 1, new_directory(0, ROOT), put_name(ROOT, b"d", 0, DIRECTORY))
    made = applied.decided.result.inode
    assert lab.lookup(ROOT, b"d") == made.inode_id
    assert lab.inode(made.inode_id) == made


# ----------------------------------------------------------------------------------------------- conflicts


def conflict(lab, make, *parts):
    """Parts meet the lock of what ``make`` prepares, prepared and decided; afterwards they do not."""
    assert prepare(lab, 1, *make, age=age_of(5)).facts is not None
    with lab.unchanged():
        for applied in (prepare(lab, 2, *parts), decide(lab, 2, *parts)):
            assert (applied.facts, applied.decided, applied.failure) == (None, None, None)
            assert applied.conflict.holder == id_of(1)
            assert applied.conflict.age == age_of(5)
    finish(lab, 1, commit=False)
    assert prepare(lab, 2, *parts).facts is not None
    finish(lab, 2, commit=False)


def test_names_conflict(lab):
    file = lab.create(ROOT, b"f")
    gone, come = remove_name(ROOT, b"f", file), put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY)
    for first in (gone, come):
        for second in (gone, come):
            lab_ = Lab()
            assert lab_.create(ROOT, b"f") == file
            conflict(lab_, [first], second)


def test_identities_conflict(lab):
    file = lab.create(ROOT, b"f")
    kinds = (add_link(file), drop_link(file), move_inode(file, ROOT))
    for first in kinds:
        for second in kinds:
            lab_ = Lab()
            assert lab_.create(ROOT, b"f") == file
            conflict(lab_, [first], second)


def test_the_removal_of_a_directory_and_names_in_it_conflict():
    lab = Lab()
    folder = lab.mkdir(ROOT, b"d")
    conflict(lab, [drop_link(folder, is_directory=True)], put_name(folder, b"n", ELSEWHERE))
    lab = Lab()
    folder = lab.mkdir(ROOT, b"d")
    conflict(lab, [put_name(folder, b"n", ELSEWHERE)], drop_link(folder, is_directory=True))


def test_a_directory_whose_last_name_is_about_to_go_waits_with_its_removal(lab):
    folder = lab.mkdir(ROOT, b"d")
    file = lab.create(folder, b"f")
    prepare(lab, 1, remove_name(folder, b"f", file))
    assert prepare(lab, 2, drop_link(folder, is_directory=True)).conflict is not None
    finish(lab, 1, commit=True)
    assert prepare(lab, 2, drop_link(folder, is_directory=True)).facts is not None


def test_a_directory_that_moves_takes_names(lab):
    folder = lab.mkdir(ROOT, b"d")
    prepare(lab, 1, move_inode(folder, ELSEWHERE, is_directory=True))
    assert prepare(lab, 2, put_name(folder, b"n", ELSEWHERE)).facts is not None


def test_a_directory_that_is_about_to_be_made_takes_names_when_it_is(lab):
    (fact,) = prepare(lab, 1, new_directory(0, ROOT)).facts
    for part in (put_name(fact.inode_id, b"n", ELSEWHERE), remove_name(fact.inode_id, b"n", ELSEWHERE)):
        met = prepare(lab, 2, part)
        assert met.facts is None
        assert met.conflict is not None or code_of(met) == "LOCKED"
    finish(lab, 1, commit=True)
    assert prepare(lab, 2, put_name(fact.inode_id, b"n", ELSEWHERE)).facts is not None


def test_other_names_of_a_directory_do_not_conflict(lab):
    assert prepare(lab, 1, put(b"a")).facts is not None
    assert prepare(lab, 2, put(b"b")).facts is not None
    finish(lab, 2, commit=True)
    finish(lab, 1, commit=True)
    assert (names(lab), lab.inode(ROOT).entry_count) == ({b"a", b"b"}, 2)


def test_a_transaction_does_not_meet_its_own_locks(lab):
    file = lab.create(ROOT, b"f")
    prepare(lab, 1, move_lock(), round_=1)
    assert prepare(lab, 1, move_lock(), remove_name(ROOT, b"f", file), round_=2).facts is not None


def test_nothing_is_locked_when_one_part_conflicts(lab):
    prepare(lab, 1, put(b"a"))
    before = pairs_of(lab)
    assert prepare(lab, 2, put(b"b"), put(b"a")).conflict is not None
    assert pairs_of(lab) == before


def test_ages_are_in_order_of_time_then_of_the_first_id():
    ages = [age_of(1), age_of(2), t.Age(time_ns=2, first=id_of(3)), t.Age(time_ns=2, first=id_of(1, 10))]
    for at, one in enumerate(ages):
        assert [transactions.is_older(one, other) for other in ages] == [at < place for place in range(len(ages))]


# --------------------------------------------------------------------------------------- deleted partitions


def test_a_finish_while_its_partition_is_being_deleted_ends_the_transaction():
    lab = Lab(follow_up=False)
    for n in range(950):
        lab.create(ROOT, b"f%d" % n)
    folder, file = lab.mkdir(ROOT, b"d"), lab.create(ROOT, b"g")
    parts = [put_name(folder, b"n", ELSEWHERE), drop_link(file), new_directory(0, ELSEWHERE)]
    assert prepare(lab, 1, *parts).facts is not None
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    assert lab.table(keys.INODE), "the deletion takes several steps"
    assert code_of(finish(lab, 1, commit=True)) == "OK"
    assert not lab.table(keys.PREPARED) + lab.table(keys.LOCK)
    while lab.waiting:
        lab.log(lab.waiting.pop(0))
    assert not lab.table(keys.INODE) + lab.table(keys.DENTRY)


@pytest.mark.parametrize("commit", [True, False])
def test_a_finish_after_its_partition_was_deleted_leaves_nothing(commit):
    lab = Lab()
    folder, file = lab.mkdir(ROOT, b"d"), lab.create(ROOT, b"f")
    parts = [
        put_name(folder, b"n", ELSEWHERE),
        remove_name(ROOT, b"d", folder, is_directory=True),
        add_link(file),
        move_inode(folder, ELSEWHERE, is_directory=True),
        new_directory(0, ELSEWHERE),
        move_lock(),
    ]
    assert prepare(lab, 1, *parts).facts is not None
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    assert code_of(finish(lab, 1, commit=commit)) == "OK"
    left = {key[:1] for key in lab.state.pairs} - {keys.SESSION, keys.RESULT, keys.RANGE}
    assert left <= {keys.FINISHED, keys.FINISHED_AT}


def test_nothing_is_prepared_in_a_partition_that_is_being_deleted():
    lab = Lab(follow_up=False)
    for n in range(950):
        lab.create(ROOT, b"f%d" % n)
    folder = lab.mkdir(ROOT, b"d")
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    for part in (put_name(folder, b"n", ELSEWHERE), new_directory(0, ROOT), move_lock()):
        assert code_of(prepare(lab, 1, part)) == "NOT_FOUND"


# --------------------------------------------------------------------------------------------------- bounds


def test_whatever_a_part_says_it_stops_no_group(lab):
    lab.create(ROOT, b"f")
    huge = (1 << 64) - 1
    parts = [
        put_name(ROOT, b"n", huge, 300),
        put_name(huge, b"n", ELSEWHERE),
        put_name(ROOT, b"n" * 600, ELSEWHERE),
        new_directory((1 << 32) - 1, ROOT),
        new_directory(0, huge, 0),
        drop_link(huge, session_id=b"s" * 600, held=True),
        drop_link(2, session_id=b"s" * 600, held=True),
        move_inode(2, huge),
    ]
    for number, part in enumerate(parts, 1):
        before = lab.table(keys.LOCK)
        prepare(lab, number, part)
        finish(lab, number, commit=True)
        decide(lab, 100 + number, part)
        assert lab.table(keys.LOCK) == before
    assert lab.ok(create=pb.Create(parent=ROOT, name=b"after", mode=stat.S_IFREG | 0o644)).status == c.OK
