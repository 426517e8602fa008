"""Sums of counters that are kept as unsigned 64-bit numbers on the wire."""

from collections.abc import Iterable

COUNTER_MAX = (1 << 64) - 1


def total(counters: Iterable[int]) -> int:
    """Return their sum, or the largest number: files with holes may add up to more bytes than that."""
    return min(sum(counters), COUNTER_MAX)
