"""What goes from the disk cache, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.cache.eviction import Eviction
from curvefs.src.client.cache.limits import Limits


def test_who_was_asked_for_outlives_a_scan():
    kept = Eviction()
    kept.add("wanted", 1)
    assert kept.asked("wanted")
    for number in range(100):
        while kept.bytes >= 10:
            kept.evict()
        kept.add(number, 1)
    assert "wanted" in kept
    assert 0 not in kept


def test_who_comes_back_soon_after_it_left_is_kept_longer():
    kept = Eviction()
    for number in range(10):
        kept.add(number, 1)
    assert kept.evict() == 0
    kept.add(0, 1)
    for number in range(10, 18):
        kept.evict()
        kept.add(number, 1)
    assert 0 in kept


def test_with_nothing_kept_nothing_goes():
    assert Eviction().evict() is None


@given(st.lists(st.tuples(st.sampled_from("aredx"), st.integers(0, 20), st.integers(1, 9))))
def test_bytes_and_members_are_those_of_a_plain_set(steps):
    kept, model = Eviction(), {}
    for step, key, size in steps:
        match step:
            case "a" | "x" if key not in model:
                kept.add(key, size, known=step == "x")
                model[key] = size
            case "r":
                assert kept.remove(key) == (model.pop(key, None) is not None)
            case "e":
                gone = kept.evict()
                assert (gone is None) == (not model)
                model.pop(gone, None)
            case "d":
                assert kept.asked(key) == (key in model)
        assert kept.bytes == sum(model.values())
        assert set(kept) == set(model)
        assert len(kept) == len(model)
        assert len(kept._left) <= max(1, *map(len, (kept._main, kept._small)), 21)


def test_limits_leave_five_per_cent_of_air():
    limits = Limits(size=1000, blocks=100, free_space=0.1)
    assert limits.surplus(1000, free=500, total=1000) == 0
    assert limits.surplus(1001, free=500, total=1000) == 51
    assert limits.surplus(900, free=99, total=1000) == 6
    assert limits.surplus(3, free=0, total=1000) == 3
    assert limits.too_many(100) == 0
    assert limits.too_many(101) == 6
    assert limits.has_room(100, 1000)
    assert not limits.has_room(99, 1000)
