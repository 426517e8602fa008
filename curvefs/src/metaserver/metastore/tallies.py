"""How many slices each chunk has, and their bytes, counted as they come and go.

So what is worth compacting is found without looking at any inode.

A chunk with two slices or more has a tally (table k); one with fewer has none, so small files cost nothing. A chunk
that has come to as many slices as its tally says, or to more dead bytes than it can have living ones, is put on the
list of what to look at (table K), with the time at which it came there. Whoever looks says with an entry when to look
again.

Invariants:
    a tally's count is the number of slice records of the chunk, hidden ones included; no tally: fewer than two
    a chunk on the list has a tally that says so
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....proto import metaserver_pb2 as pb
from ..storage import keys
from ..storage.transaction import StateReader

if TYPE_CHECKING:
    from .scope import Scope

LOOK_AT = 16  # slices
DEAD_BYTES_MIN = 4 << 20
_VALUE = struct.Struct(">BIQIB")  # version, count, bytes, look at, listed
_VERSION = 1
_TIME = struct.Struct(">q")


@dataclass(slots=True)
class Tally:
    """Of one chunk. size: the lengths of its slices together. listed: it is on the list of what to look at."""

    count: int = 0
    size: int = 0
    look_at: int = LOOK_AT
    listed: bool = False
    is_stored: bool = False


def parse(value: bytes) -> Tally:
    """Return a stored tally."""
    version, count, size, look_at, listed = _VALUE.unpack(value)
    assert version == _VERSION, "a tally of another format"
    return Tally(count, size, look_at, bool(listed), is_stored=True)


class Tallies:
    """Those that one entry changes, by key, written back once at its end."""

    __slots__ = ("_has_cuts", "_known", "_scope")

    def __init__(self, scope: "Scope") -> None:
        self._scope = scope
        self._known: dict[bytes, Tally] = {}
        self._has_cuts: bool | None = None

    def added(self, slice_key: bytes, one: pb.Slice, chunk_size: int, length: int, length_before: int) -> None:
        """Count a slice that is about to be put under its key. length: of the file then, and before."""
        start = one.chunk_index * chunk_size
        key = keys.TALLY + slice_key[1 : keys.SLICE_ORDER_AT]
        # A chunk past the file's end has no slices, but those that cuts hide.
        tally = self._known.get(key) or self._load(key, is_new=start >= length_before)
        tally.count += 1
        tally.size += one.length
        if tally.listed or tally.count < 2:
            return
        if tally.count >= tally.look_at:
            self._list(key, tally)
        elif tally.size > DEAD_BYTES_MIN:
            span = min(chunk_size, length - start)
            if tally.size - span >= max(span, DEAD_BYTES_MIN):  # so many bytes are dead, at least
                self._list(key, tally)

    def removed(self, slice_key: bytes, one: pb.Slice) -> None:
        """Count a slice that is about to be taken out: it is there still, where a chunk has no tally and is counted."""
        key = keys.TALLY + slice_key[1 : keys.SLICE_ORDER_AT]
        tally = self._known.get(key) or self._load(key)
        tally.count -= 1
        tally.size -= min(one.length, tally.size)

    def cut(self) -> None:
        """Note that a cut hides slices from now on."""
        self._has_cuts = True

    def look_again(self, inode_id: int, chunk_index: int, slices: int) -> None:
        """Take a chunk from the list until it has so many slices. What came to that since it was looked at stays."""
        key = keys.of_chunk(keys.TALLY, self._scope.fs_id, inode_id, chunk_index)
        tally = self._known.get(key) or self._load(key)
        tally.look_at = max(slices, LOOK_AT)
        if tally.count < tally.look_at:
            self._unlist(key, tally)
        elif not tally.listed:
            self._list(key, tally)

    def write_back(self) -> None:
        """Store what changed."""
        for key, tally in self._known.items():
            if tally.count > 1:
                value = _VALUE.pack(_VERSION, tally.count, tally.size, tally.look_at, tally.listed)
                self._scope.txn.put(key, value)
                continue
            if tally.listed:  # only now: others may have taken the place of what was removed
                self._unlist(key, tally)
            if tally.is_stored:
                self._scope.txn.delete(key)

    def _load(self, key: bytes, *, is_new: bool = False) -> Tally:
        """Return a chunk's tally, to be changed. is_new: the chunk has no slices, but those that cuts hide."""
        if is_new and not self._cuts():
            tally = Tally()
        else:
            raw = self._scope.txn.get(key)
            tally = self._count(key) if raw is None else parse(raw)
        self._known[key] = tally
        return tally

    def _count(self, key: bytes) -> Tally:
        """Count what has no tally: one slice, or none; those put before there were tallies may be more."""
        tally = Tally()
        for _, value in self._scope.txn.scan(*keys.slices_of_chunk(*keys.unpack_chunk(key))):
            tally.count += 1
            tally.size += pb.Slice.FromString(value).length
        return tally

    def _cuts(self) -> bool:
        """Say whether any cut hides slices anywhere here: nearly never."""
        if self._has_cuts is None:
            self._has_cuts = any(True for _ in self._scope.txn.scan(keys.CUT, keys.after_prefix(keys.CUT), 1))
        return self._has_cuts

    def _list(self, key: bytes, tally: Tally) -> None:
        tally.listed = True
        self._scope.txn.put(keys.LISTED + key[1:], _TIME.pack(self._scope.time_ns))

    def _unlist(self, key: bytes, tally: Tally) -> None:
        tally.listed = False
        self._scope.txn.delete(keys.LISTED + key[1:])


@dataclass(frozen=True, slots=True)
class Listed:
    """A chunk to be looked at, and since when."""

    fs_id: int
    inode_id: int
    chunk_index: int
    since_ns: int


def count_of(view: StateReader, fs_id: int, inode_id: int, chunk_index: int) -> int:
    """Return how many slices a chunk has by its tally; 0 when it has none."""
    raw = view.get(keys.of_chunk(keys.TALLY, fs_id, inode_id, chunk_index))
    return 0 if raw is None else parse(raw).count


def listed(view: StateReader, after: Listed | None, limit: int) -> list[Listed]:
    """Return chunks to be looked at, in the order of their keys."""
    start = keys.LISTED
    if after is not None:
        start = keys.of_chunk(keys.LISTED, after.fs_id, after.inode_id, after.chunk_index) + b"\0"
    return [
        Listed(*keys.unpack_chunk(key), int(_TIME.unpack(value)[0]))
        for key, value in view.scan(start, keys.after_prefix(keys.LISTED), limit)
    ]
