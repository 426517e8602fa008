"""Hit ratios of ways to choose what leaves the disk cache, on synthetic traces of block reads.

    python tools/bench/eviction.py [--requests 300000]

Traces: zipf (popularity follows Zipf's law), scan (the same, and now and then a pass over blocks that nobody wants
again), loop (the same blocks in order, again and again, a quarter more than the cache holds), shift (zipf whose
favourites change). Blocks are of one size, so the ratios are of blocks and of bytes.
"""
# ruff: noqa: INP001 -- a script, in no package

import argparse
import bisect
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator

from curvefs.src.client.cache.eviction import Eviction

BLOCKS = 20_000
CAPACITY = 2_000


class Lru:
    """Least recently used."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, None] = OrderedDict()

    def read(self, block: int) -> bool:
        """Ask for a block, which is kept afterwards; says whether it was."""
        hit = block in self._kept
        self._kept[block] = None
        self._kept.move_to_end(block)
        if len(self._kept) > CAPACITY:
            self._kept.popitem(last=False)
        return hit


class TwoRandom:
    """The older one of two that are drawn."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._used: list[tuple[int, int]] = []
        self._clock = itertools.count()
        self._random = random.Random(1)  # noqa: S311

    def read(self, block: int) -> bool:
        """Ask for a block, which is kept afterwards; says whether it was."""
        now = next(self._clock)
        at = self._at.get(block)
        if at is not None:
            self._used[at] = (now, block)
            return True
        if len(self._used) < CAPACITY:
            self._at[block] = len(self._used)
            self._used.append((now, block))
            return False
        at = min((self._random.randrange(CAPACITY) for _ in range(2)), key=lambda one: self._used[one])
        del self._at[self._used[at][1]]
        self._at[block] = at
        self._used[at] = (now, block)
        return False


class Segmented:
    """Segmented LRU: new ones in a fifth of the room, who is asked for again in the rest."""

    def __init__(self) -> None:
        self._trial: OrderedDict[int, None] = OrderedDict()
        self._safe: OrderedDict[int, None] = OrderedDict()

    def read(self, block: int) -> bool:
        """Ask for a block, which is kept afterwards; says whether it was."""
        if block in self._safe:
            self._safe.move_to_end(block)
            return True
        hit = block in self._trial
        if hit:
            del self._trial[block]
            self._safe[block] = None
            if len(self._safe) > CAPACITY * 4 // 5:
                back, _ = self._safe.popitem(last=False)
                self._trial[back] = None
        else:
            self._trial[block] = None
        if len(self._trial) + len(self._safe) > CAPACITY:
            self._trial.popitem(last=False)
        return hit


class S3Fifo:
    """The one that is used."""

    def __init__(self) -> None:
        self._kept: Eviction[int] = Eviction()

    def read(self, block: int) -> bool:
        """Ask for a block, which is kept afterwards; says whether it was."""
        if self._kept.asked(block):
            return True
        while self._kept.bytes >= CAPACITY:
            self._kept.evict()
        self._kept.add(block, 1)
        return False


def zipf(chance: random.Random, exponent: float = 0.9) -> Iterator[int]:
    """Yield blocks by popularity."""
    sums = list(itertools.accumulate(1 / rank**exponent for rank in range(1, BLOCKS + 1)))
    while True:
        yield bisect.bisect_left(sums, chance.random() * sums[-1])


def scan(chance: random.Random) -> Iterator[int]:
    """Yield popular blocks, and passes over others."""
    popular = zipf(chance)
    fresh = itertools.count(BLOCKS)
    while True:
        yield from itertools.islice(popular, 5 * CAPACITY)
        yield from itertools.islice(fresh, 2 * CAPACITY)


def loop(_: random.Random) -> Iterator[int]:
    """Yield the same blocks in order, for ever."""
    return itertools.cycle(range(CAPACITY * 5 // 4))


def shift(chance: random.Random) -> Iterator[int]:
    """Yield popular blocks; what is popular changes."""
    popular = zipf(chance)
    for period in itertools.count():
        yield from ((block + period * 977) % BLOCKS for block in itertools.islice(popular, 10 * CAPACITY))


TRACES: dict[str, Callable[[random.Random], Iterator[int]]] = {"zipf": zipf, "scan": scan, "loop": loop, "shift": shift}
WAYS = {"lru": Lru, "2-random": TwoRandom, "segmented": Segmented, "s3-fifo": S3Fifo}


def hit_ratio(way: str, trace: str, requests: int) -> float:
    """Return which share of a trace's requests a way to choose answers from the cache."""
    cache = WAYS[way]()
    reads = itertools.islice(TRACES[trace](random.Random(7)), requests)  # noqa: S311
    return sum(cache.read(block) for block in reads) / requests


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300_000)
    requests = parser.parse_args().requests
    print(f"{'trace':<8}" + "".join(f"{way:>12}" for way in WAYS))
    for trace in TRACES:
        print(f"{trace:<8}" + "".join(f"{hit_ratio(way, trace, requests):>12.3f}" for way in WAYS))


if __name__ == "__main__":
    main()
