"""The metadata cache: what it may answer, for how long, and what ends it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.cache import ABSENT, MetadataCache


def make(entries=1000, negative=0.0):
    return MetadataCache(entries, attr_timeout_s=1.0, entry_timeout_s=1.0, negative_timeout_s=negative)


def inode(inode_id, change, **more):
    return pb.Inode(inode_id=inode_id, change=change, **more)


def entry(name, inode_id, hash_=1):
    return pb.DirectoryEntry(name=name, inode_id=inode_id, hash=hash_, inode=inode(inode_id, 1))


def list_directory(cache, parent, change, names, now):
    generation = cache.begin_listing()
    cache.learn_page(parent, [entry(n, i) for n, i in names.items()], generation, now)
    cache.finish_listing(parent, change, generation, len(names), now)


def test_attributes_hold_for_their_timeout():
    cache = make()
    cache.learn_attributes(inode(5, 3, length=9), 10.0)
    known = cache.attributes(5, 10.9)
    assert known is not None
    assert known.length == 9
    assert cache.attributes(5, 11.0) is None


def test_who_is_told_what_is_known_may_trust_it_for_the_rest_of_its_time():
    cache = make(negative=0.5)
    list_directory(cache, 1, 7, {b"a": 10}, 10.0)
    cache.learn_attributes(inode(10, 3), 10.25)
    cache.learn_name(2, b"x", 10, 10.5)
    cache.learn_absent(2, b"y", 1, 10.5)
    assert cache.attributes_left_s(10, 11.0) == 0.25
    assert cache.attributes_left_s(10, 12.0) == cache.attributes_left_s(99, 10.0) == 0
    assert [cache.name_left_s(*name, 10.75) for name in ((1, b"a", 10), (1, b"z", 0))] == [0.25, 0.25]
    assert [cache.name_left_s(*name, 10.75) for name in ((2, b"x", 10), (2, b"y", 0), (2, b"z", 0))] == [0.75, 0.25, 0]
    assert cache.name_left_s(1, b"a", 11, 10.5) == cache.name_left_s(1, b"a", 0, 10.5) == 0, "it leads elsewhere"
    cache.changed_directory(inode(1, 8), 10.75, added=(b"c", 12))
    assert cache.name_left_s(1, b"a", 10, 11.0) == 0.75, "nobody else has changed the directory since"


def test_older_attributes_never_replace_newer_valid_ones():
    cache = make()
    cache.learn_attributes(inode(5, 4, length=2), 10.0)
    cache.learn_attributes(inode(5, 3, length=1), 10.1)
    known = cache.attributes(5, 10.2)
    assert known is not None
    assert known.change == 4


def test_a_listed_directory_answers_present_and_absent_names():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10, b"b": 11}, 0.0)
    assert cache.lookup(1, b"a", 0.5) == 10
    assert cache.lookup(1, b"zzz", 0.5) is ABSENT
    assert cache.lookup(1, b"zzz", 1.0) is None, "the listing is too old"


def test_own_changes_keep_a_listing_complete_and_fresh():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.changed_directory(inode(1, 8), 0.9, added=(b"c", 12))
    assert cache.lookup(1, b"c", 1.5) == 12
    assert cache.lookup(1, b"d", 1.5) is ABSENT
    cache.changed_directory(inode(1, 9), 1.8, removed=b"a")
    assert cache.lookup(1, b"a", 2.5) is ABSENT


def test_a_change_by_someone_else_ends_a_listing():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.changed_directory(inode(1, 9), 0.5, added=(b"c", 12))
    assert cache.lookup(1, b"d", 0.6) is None
    assert cache.lookup(1, b"c", 0.6) == 12


def test_fresh_attributes_with_another_counter_end_a_listing():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.learn_attributes(inode(1, 8), 0.5)
    assert cache.lookup(1, b"d", 0.6) is None


def test_a_new_listing_does_not_count_names_of_an_older_one():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10, b"b": 11}, 0.0)
    list_directory(cache, 1, 8, {b"b": 11}, 5.0)
    assert cache.lookup(1, b"a", 5.5) is ABSENT
    assert cache.lookup(1, b"b", 5.5) == 11


def test_a_new_directory_is_known_to_be_empty():
    cache = make()
    cache.made_directory(inode(20, 1), 0.0)
    cache.learn_attributes(inode(20, 1), 0.0)
    assert cache.lookup(20, b"x", 0.5) is ABSENT
    cache.changed_directory(inode(20, 2), 0.6, added=(b"x", 21))
    assert cache.lookup(20, b"x", 0.7) == 21
    assert cache.lookup(20, b"y", 1.5) is ABSENT


def test_single_absent_names_are_remembered_only_when_asked_for():
    assert make().lookup(1, b"x", 0.0) is None
    cache = make(negative=2.0)
    cache.learn_absent(1, b"x", 5, 0.0)
    assert cache.lookup(1, b"x", 1.9) is ABSENT
    assert cache.lookup(1, b"x", 2.0) is None
    plain = make()
    plain.learn_absent(1, b"x", 5, 0.0)
    assert plain.lookup(1, b"x", 0.0) is None


def test_a_failed_operation_makes_its_name_unknown():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.forget_name(1, b"a")
    assert cache.lookup(1, b"a", 0.1) is None
    assert cache.lookup(1, b"zzz", 0.1) is None


def test_the_bound_holds_and_an_evicted_name_ends_its_listing():
    cache = make(entries=20)
    list_directory(cache, 1, 7, {b"a": 10, b"b": 11}, 0.0)
    assert cache.lookup(1, b"zzz", 0.1) is ABSENT
    for number in range(100, 200):
        cache.learn_attributes(inode(number, 1), 0.2)
        assert len(cache) <= 20
    assert cache.lookup(1, b"zzz", 0.3) is None
    assert cache.counts.evicted > 0


def test_a_directory_larger_than_half_the_cache_is_never_complete():
    cache = make(entries=20)
    list_directory(cache, 1, 7, {b"%d" % n: n for n in range(2, 17)}, 0.0)
    assert cache.lookup(1, b"zzz", 0.1) is None


def test_last_known_outlives_the_timeout():
    cache = make()
    cache.learn_name(1, b"a", 10, 0.0)
    assert cache.lookup(1, b"a", 9.0) is None
    assert cache.last_known(1, b"a") == 10
    assert not cache.was_absent(1, b"a")


def test_that_a_name_was_absent_is_remembered_and_answers_no_lookup():
    cache = make()
    assert not cache.was_absent(1, b"a")
    cache.learn_absent(1, b"a", 7, 0.0)
    assert cache.was_absent(1, b"a")
    assert cache.lookup(1, b"a", 0.0) is None
    assert cache.last_known(1, b"a") == 0
    cache.learn_name(1, b"a", 10, 0.0)
    assert not cache.was_absent(1, b"a")


NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["own+", "own-", "other+", "other-", "list", "half", "ask", "serve", "tick"]), NAMES),
        max_size=80,
    )
)
def test_a_listing_never_answers_what_was_wrong_for_longer_than_the_timeout(steps):
    """Model: a directory changed by this mount and by another. Every answer was true at most 1 s ago."""
    cache, now, change, next_id = make(), 0.0, 1, 100
    names: dict[bytes, int] = {}
    history: list[tuple[float, dict[bytes, int]]] = [(0.0, {})]
    for kind, name in steps:
        match kind:
            case "own+" | "other+" if name not in names:
                next_id, change = next_id + 1, change + 1
                names[name] = next_id
                if kind == "own+":
                    cache.changed_directory(inode(1, change), now, added=(name, next_id))
            case "own-" | "other-" if name in names:
                change += 1
                del names[name]
                if kind == "own-":
                    cache.changed_directory(inode(1, change), now, removed=name)
            case "list":
                list_directory(cache, 1, change, names, now)
            case "half":
                cache.learn_page(1, [entry(n, i) for n, i in sorted(names.items())[:1]], cache.begin_listing(), now)
            case "serve":  # the server answers a lookup, as after a miss
                if name in names:
                    cache.learn_name(1, name, names[name], now)
                else:
                    cache.learn_absent(1, name, change, now)
            case "tick":
                now += 0.4
            case "ask":
                answer = cache.lookup(1, name, now)
                if answer is not None:
                    # States that held at some moment of the last second; one begins before the window.
                    held = [
                        s for i, (t, s) in enumerate(history) if i + 1 == len(history) or history[i + 1][0] > now - 1.0
                    ]
                    wanted = None if answer is ABSENT else answer
                    assert any(state.get(name) == wanted for state in held)
        history.append((now, dict(names)))


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_the_newest_attributes_win_in_any_order(order):
    cache = make()
    for change in order:
        cache.learn_attributes(inode(5, change), 0.0)
    known = cache.attributes(5, 0.5)
    assert known is not None
    assert known.change == 3


def test_a_name_the_server_confirmed_stays_in_its_listing():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.learn_name(1, b"a", 10, 1.5)  # looked up after the timeout
    cache.changed_directory(inode(1, 8), 2.0, added=(b"b", 11))  # nobody else changed it: complete again
    assert cache.lookup(1, b"a", 2.9) == 10


def test_a_name_that_was_not_in_a_listing_ends_it():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    cache.learn_name(1, b"new", 12, 0.5)
    assert cache.lookup(1, b"other", 0.6) is None


def test_a_half_read_listing_ends_the_one_before():
    cache = make()
    list_directory(cache, 1, 7, {b"a": 10, b"b": 11}, 0.0)
    cache.learn_page(1, [entry(b"a", 10)], cache.begin_listing(), 0.9)
    cache.changed_directory(inode(1, 8), 1.8, added=(b"c", 12))
    assert cache.lookup(1, b"a", 2.0) is None


# ---------------------------------------------------------------------------------- results out of order


def known_directory(change=7):
    cache = make()
    cache.learn_attributes(inode(1, change), 0.0)
    list_directory(cache, 1, change, {b"a": 10}, 0.0)
    return cache


def test_a_transaction_that_is_the_next_change_keeps_a_listing_complete():
    cache = known_directory()
    cache.changed_outside_lane(inode(1, 8), {b"a": 0, b"b": 10}, 0.5)
    assert cache.lookup(1, b"b", 1.2) == 10
    assert cache.lookup(1, b"a", 1.2) is ABSENT
    assert cache.lookup(1, b"zzz", 1.2) is ABSENT


def test_a_transaction_after_changes_of_others_ends_a_listing_and_its_names_are_known():
    cache = known_directory()
    cache.changed_outside_lane(inode(1, 12), {b"b": 10}, 0.5)
    assert cache.lookup(1, b"b", 0.6) == 10
    assert cache.lookup(1, b"zzz", 0.6) is None


def test_the_result_of_a_transaction_that_comes_late_makes_its_names_unknown():
    cache = known_directory()
    cache.changed_directory(inode(1, 9), 0.1, removed=b"b")  # what the transaction, at 8, had added
    cache.changed_outside_lane(inode(1, 8), {b"b": 10}, 0.2)
    assert cache.lookup(1, b"b", 0.3) is None
    assert cache.newest_change(1) == 9


def test_a_transaction_in_a_directory_of_which_nothing_is_known_teaches_no_name():
    cache = make()
    cache.changed_outside_lane(inode(1, 8), {b"b": 10}, 0.2)
    assert cache.lookup(1, b"b", 0.3) is None


def test_a_new_directory_of_which_more_is_known_is_not_taken_for_empty():
    cache = make()
    cache.learn_attributes(inode(20, 2), 0.0)
    cache.made_directory(inode(20, 1), 0.1)
    assert cache.lookup(20, b"x", 0.2) is None


def test_a_listing_older_than_a_known_change_is_not_taken_for_complete():
    cache = make()
    cache.learn_attributes(inode(1, 8), 0.0)
    list_directory(cache, 1, 7, {b"a": 10}, 0.0)
    assert cache.lookup(1, b"zzz", 0.1) is None


def test_the_type_of_an_inode_outlives_the_timeout():
    cache = make()
    cache.learn_attributes(inode(5, 1, mode=0o040755), 0.0)
    cache.learn_attributes(inode(6, 1, mode=0o100644), 0.0)
    assert cache.attributes(5, 9.0) is None
    assert [cache.is_directory(number) for number in (5, 6, 7)] == [True, False, None]


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["lane", "transaction", "list", "forget"]), NAMES, st.integers(0, 6)), max_size=60
    )
)
def test_names_whose_last_change_was_answered_are_never_wrong_however_late_others_come(steps):
    cache = make(entries=10_000)
    names: dict[bytes, int] = {}
    change, next_id = 1, 100
    cache.learn_attributes(inode(1, change), 0.0)
    late: list[tuple[int, int, bytes, int]] = []  # due at step, change, name, inode
    last_change: dict[bytes, int] = {}
    answered: set[int] = set()
    for step, (kind, name, delay) in enumerate(steps):
        if kind in {"lane", "transaction"}:
            change, next_id = change + 1, next_id + 1
            if name in names:
                del names[name]
            else:
                names[name] = next_id
            last_change[name] = change
            if kind == "transaction":
                late.append((step + delay, change, name, names.get(name, 0)))
            elif name in names:
                cache.changed_directory(inode(1, change), 0.0, added=(name, next_id))
            else:
                cache.changed_directory(inode(1, change), 0.0, removed=name)
            if kind == "lane":
                answered.add(change)
        elif kind == "list":
            list_directory(cache, 1, change, names, 0.0)
            cache.learn_attributes(inode(1, change), 0.0)
        elif delay == 0:
            cache.forget_attributes(1)
        for one in [one for one in late if one[0] <= step]:
            late.remove(one)
            cache.changed_outside_lane(inode(1, one[1]), {one[2]: one[3]}, 0.0)
            answered.add(one[1])
        for wanted in (b"a", b"b", b"c", b"d"):
            answer = cache.lookup(1, wanted, 0.0)
            if answer is not None and last_change.get(wanted, 0) in answered | {0}:
                assert (0 if answer is ABSENT else answer) == names.get(wanted, 0)
