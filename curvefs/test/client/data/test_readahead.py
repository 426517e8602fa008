"""What a sequential reader will want next."""

from itertools import pairwise

from curvefs.src.client.data.readahead import WINDOW_MAX, ReadAhead

KIB, MIB = 1 << 10, 1 << 20


def test_one_read_is_no_pattern():
    ahead = ReadAhead()
    assert ahead.seen(0, 128 * KIB) == (0, 0)
    assert not ahead.sequential


def test_sequential_reads_open_a_window_that_doubles_to_its_bound():
    ahead = ReadAhead()
    windows = []
    for n in range(2000):
        start, end = ahead.seen(n * 128 * KIB, 128 * KIB)
        if end > start:
            windows.append(end - (n + 1) * 128 * KIB)
    assert windows[:4] == [4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB]
    assert max(windows) == WINDOW_MAX


def test_what_is_asked_for_joins_without_gap_or_overlap():
    ahead = ReadAhead()
    ranges = [ahead.seen(n * MIB, MIB) for n in range(500)]
    asked = [one for one in ranges if one[1] > one[0]]
    assert asked[0][0] == 2 * MIB
    assert all(before[1] == after[0] for before, after in pairwise(asked))
    assert asked[-1][1] >= 500 * MIB


def test_a_jump_closes_the_window():
    ahead = ReadAhead()
    for n in range(20):
        ahead.seen(n * MIB, MIB)
    assert ahead.sequential
    assert ahead.seen(900 * MIB, MIB) == (0, 0)
    assert not ahead.sequential


def test_random_reads_never_open_it():
    ahead = ReadAhead()
    for n in range(100):
        assert ahead.seen((n * 37 % 100) * 64 * MIB + 16 * MIB, 4 * KIB) == (0, 0)
    assert not ahead.sequential


def test_requests_slightly_out_of_order_are_still_sequential():
    ahead = ReadAhead()
    for n in range(0, 40, 2):
        ahead.seen((n + 1) * 128 * KIB, 128 * KIB)
        ahead.seen(n * 128 * KIB, 128 * KIB)
    assert ahead.sequential
