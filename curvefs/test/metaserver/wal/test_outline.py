"""What records make of a group's log."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.outline import GroupOutline, Inconsistent

# Entries most often, so that there is something to cut off.
TYPES = st.sampled_from([*RecordType, *[RecordType.ENTRY] * 5, RecordType.TAIL])
STEPS = st.lists(st.tuples(TYPES, st.integers(0, 3), st.integers(1, 3)), min_size=5, max_size=40)


def record(type_, index, term):
    return Record(type_, 1, term, index)


def outline_of(*records):
    group = GroupOutline()
    for one in records:
        group.note(one)
    return group


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_terms_are_known_of_every_entry_and_of_where_the_log_begins(steps):
    group, begin, terms = GroupOutline(), 0, [0]
    for type_, number, term in steps:
        last = begin + len(terms) - 1
        match type_:
            case RecordType.BEGIN:
                begin, terms = number, [term]
                group.note(record(type_, begin, term))
            case RecordType.ENTRY:
                index = max(begin + 1, last + 1 - number)
                terms[index - begin :] = [term]
                group.note(record(type_, index, term))
            case RecordType.TAIL:
                index = max(begin, last - number)
                del terms[index - begin + 1 :]
                group.note(record(type_, index, terms[-1]))
            case RecordType.HARD_STATE:
                group.note(record(type_, 0, term))
        last = begin + len(terms) - 1
        assert (group.begin_index, group.begin_term, group.last_index, group.last_term) == (
            begin,
            terms[0],
            last,
            terms[-1],
        )
        assert [group.term_at(index) for index in range(begin, last + 1)] == terms
        assert (group.term_at(begin - 1), group.term_at(last + 1)) == (None, None)
        assert group.first_index == (begin + 1 if len(terms) > 1 else 0)


def test_terms_from_an_index_on_outlive_those_before_it():
    group = outline_of(*(record(RecordType.ENTRY, index, 1 + index // 3) for index in range(1, 12)))
    group.forget_terms(5)
    assert [group.term_at(index) for index in range(5, 12)] == [1 + index // 3 for index in range(5, 12)]
    assert group.term_at(1) is None


@pytest.mark.parametrize(
    "refused",
    [
        record(RecordType.ENTRY, 7, 1),
        record(RecordType.ENTRY, 4, 1),
        record(RecordType.TAIL, 6, 2),
        record(RecordType.TAIL, 5, 1),
    ],
)
def test_what_does_not_fit_changes_nothing(refused):
    def made():
        return outline_of(record(RecordType.BEGIN, 4, 1), record(RecordType.ENTRY, 5, 2))

    group = made()
    with pytest.raises(Inconsistent, match="group 1 goes"):
        group.note(refused)
    assert group == made()


def test_a_copy_changes_by_itself():
    group = outline_of(record(RecordType.ENTRY, 1, 1))
    other = group.copy()
    other.note(record(RecordType.ENTRY, 2, 2))
    assert group == outline_of(record(RecordType.ENTRY, 1, 1))
