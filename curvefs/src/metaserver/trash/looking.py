"""Reads of the trash for who empties it. Pure. A filesystem's inodes in the trash are in order of time."""

from collections.abc import Iterator

from ....proto import state_pb2
from ..storage import keys
from ..storage.transaction import StateReader


def heads(view: StateReader) -> Iterator[tuple[int, int]]:
    """Yield each filesystem that has something in the trash, and when its oldest was removed."""
    at, end = keys.TRASH, keys.after_prefix(keys.TRASH)
    while found := next(iter(list(view.scan(at, end, 1))), None):
        fs_id = keys.fs_of(found[0])
        yield fs_id, keys.unpack_trash(found[0])[0]
        at = keys.of_fs(keys.TRASH, fs_id + 1)


def retention_ns(view: StateReader, fs_id: int) -> int | None:
    """Return how long a filesystem keeps its trash; None when nothing of it is here."""
    for _, value in view.scan(keys.partition(fs_id, 0), keys.partition(fs_id + 1, 0), 1):
        return state_pb2.PartitionRecord.FromString(value).spec.trash_retention_s * 10**9
    return None


def count(view: StateReader, limit: int) -> int:
    """Count what is in the trash, ``limit`` at most."""
    return sum(1 for _ in view.scan(keys.TRASH, keys.after_prefix(keys.TRASH), limit))
