"""The state of a group and its checkpoints in memory: what storage/environment.py and storage/checkpoint.py promise.

A process that dies leaves the environment as it was last committed; with the machine it is gone, and a checkpoint takes
its place. The digest of a state is the exclusive or of the hashes of its pairs, kept up with every change: states of
different servers are compared at every index, at next to no cost.
"""

from bisect import bisect_left, insort
from contextlib import contextmanager, nullcontext

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.storage.checkpoint import KEPT
from curvefs.src.metaserver.storage.environment import Applied

_CONFIGURATION_KEY = keys.META + b"configuration"


class MemoryEnvironment:
    """An Environment. full: changes are refused. on_applied: called with what was applied and the state's digest."""

    def __init__(self):
        self.pairs = {}
        self._keys = []  # of them, in order
        self.digest = 0
        self.applied = Applied()
        self.full = False
        self.on_applied = None
        self.get = self.pairs.get
        self._undo = None
        self._was = (0, Applied())

    # --------------------------------------------------------------------------------------- transactions

    def read(self):
        return nullcontext(self)

    @contextmanager
    def write(self):
        self._undo = []
        self._was = (self.digest, self.applied)
        try:
            yield self
            if self.full:
                raise NoSpace("the simulated disk is full")
        except BaseException:
            for key, value in reversed(self._undo):
                if value is None:
                    self._drop(key)
                else:
                    self._set(key, value)
            self.digest = self._was[0]
            raise
        finally:
            self._undo = None
        if self.on_applied is not None:
            self.on_applied(self._new, self.digest)

    def put(self, key, value):
        assert len(key) <= 511, "LMDB's limit"
        value = bytes(value)
        old = self._set(key, value)
        self._undo.append((key, old))
        if old is not None:
            self.digest ^= hash((key, old))
        self.digest ^= hash((key, value))

    def delete(self, key):
        old = self._drop(key)
        if old is None:
            return False
        self._undo.append((key, old))
        self.digest ^= hash((key, old))
        return True

    def scan(self, start, end, limit=None):
        first = bisect_left(self._keys, start)
        last = bisect_left(self._keys, end, first)
        if limit is not None:
            last = min(last, first + limit)
        return iter([(key, self.pairs[key]) for key in self._keys[first:last]])

    def _set(self, key, value):
        """Set a value; returns the one before, or None."""
        old = self.pairs.get(key)
        if old is None:
            insort(self._keys, key)
        self.pairs[key] = value
        return old

    def _drop(self, key):
        """Forget a key; returns its value, or None."""
        old = self.pairs.pop(key, None)
        if old is not None:
            del self._keys[bisect_left(self._keys, key)]
        return old

    # ---------------------------------------------------------------------------------------- Environment

    def applied_in(self, _view):
        return self.applied

    def configuration_in(self, _view):
        return self.pairs.get(_CONFIGURATION_KEY) or b""

    def put_configuration(self, txn, configuration):
        txn.put(_CONFIGURATION_KEY, configuration)

    def put_applied(self, _txn, applied):
        self._new = applied

    def used_bytes(self):
        return sum(map(len, self.pairs.values()))

    def copy(self):
        """Return what restore() takes."""
        return self.applied, self.digest, dict(self.pairs)

    def restore(self, copy):
        """Replace the state by a copy."""
        self.applied, self.digest, pairs = copy
        self.pairs.clear()
        self.pairs.update(pairs)
        self._keys = sorted(pairs)


class Checkpoint:
    """One checkpoint; path is what restore() takes. adopted: it came as a snapshot."""

    def __init__(self, copy, *, adopted):
        self.path = copy
        self.index = copy[0].index
        self.adopted = adopted


class MemoryCheckpoints:
    """Checkpoints, which outlive the machine."""

    def __init__(self):
        self.kept = []

    @property
    def base_index(self):
        return min(one.index for one in self.kept) if len(self.kept) == KEPT else 0

    @property
    def newest_index(self):
        return self.kept[-1].index if self.kept else 0

    def make(self, environment, *, adopted=False):
        return self.add(environment.copy(), adopted=adopted)

    def add(self, copy, *, adopted=False):
        """Make a copy one of the checkpoints."""
        made = Checkpoint(copy, adopted=adopted)
        self.kept = [*self.kept, made][-KEPT:]
        return made

    def newest_good(self):
        return self.kept[-1] if self.kept else None
