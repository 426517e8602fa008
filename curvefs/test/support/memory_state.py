"""The state machine's store in memory: a StateTransaction over a sorted dictionary."""

from sortedcontainers import SortedDict


class MemoryState:
    """Pairs in key order; also a transaction of itself."""

    def __init__(self):
        self.pairs = SortedDict()

    def get(self, key):
        return self.pairs.get(key)

    def put(self, key, value):
        assert len(key) <= 511, "LMDB's limit"
        self.pairs[key] = value

    def delete(self, key):
        return self.pairs.pop(key, None) is not None

    def scan(self, start, end, limit=None):
        for count, key in enumerate(list(self.pairs.irange(start, end, inclusive=(True, False)))):
            if count == limit:
                return
            yield key, self.pairs[key]
