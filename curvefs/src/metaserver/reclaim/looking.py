"""Reads of the delete queue. Pure. A filesystem's records are in the order of the times their grace counts from."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ....proto import state_pb2
from ..storage import keys
from ..storage.transaction import StateReader

KINDS = ("inode", "slice", "release_slice", "never_published")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record of the queue."""

    key: bytes
    record: state_pb2.DeleteRecord


def heads(view: StateReader) -> Iterator[tuple[int, int]]:
    """Yield each filesystem that has something queued, and the time that the grace of its oldest counts from."""
    at, end = keys.DELETE, keys.after_prefix(keys.DELETE)
    while found := next(iter(list(view.scan(at, end, 1))), None):
        fs_id = keys.fs_of(found[0])
        yield fs_id, keys.delete_time(found[0])
        at = keys.of_fs(keys.DELETE, fs_id + 1)


def page(view: StateReader, fs_id: int, after: bytes, upto_ns: int, limit: int) -> list[Waiting]:
    """Return the first records behind a key (empty: from the beginning) whose time is at most ``upto_ns``."""
    start = after + b"\0" if after else keys.of_fs(keys.DELETE, fs_id)
    end = keys.delete(fs_id, max(upto_ns, 0) + 1, 0)
    if start >= end:
        return []
    return [Waiting(key, state_pb2.DeleteRecord.FromString(value)) for key, value in view.scan(start, end, limit)]


def lengths(view: StateReader, limit: int) -> Counter[str]:
    """Count the records by kind, ``limit`` at most."""
    pairs = view.scan(keys.DELETE, keys.after_prefix(keys.DELETE), limit)
    return Counter(state_pb2.DeleteRecord.FromString(value).WhichOneof("what") or "" for _, value in pairs)
