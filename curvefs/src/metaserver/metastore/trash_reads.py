"""Reads of the trash: what mounts show below a removed directory, and below an hour. Each from one consistent view.

A page looks at a bounded number of records. Below an hour, what was removed out of a directory that is in the trash
itself is left out, as far as that directory lies in this group: each directory is looked at once a page.
"""

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.ids import HOUR_NS, TRASH_PARTITION, partition_of
from ..storage import keys
from ..storage.transaction import StateReader
from .scope import Refusal

LOOKED_AT_MAX = 4096
ENTRIES_MAX = 1000
HOURS_MAX = 20_000  # more than two years


def list_trash(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    """ListTrash."""
    wanted, place = request.list_trash, request.list_trash.place
    limit = min(wanted.limit or ENTRIES_MAX, ENTRIES_MAX)
    start, end = _range(view, fs_id, wanted)
    parents = _Parents(view, fs_id)
    is_hour = partition_of(place) == TRASH_PARTITION
    pairs = list(view.scan(start, end, LOOKED_AT_MAX + 1))
    for key, value in pairs[:LOOKED_AT_MAX]:
        if len(result.entries) == limit:
            return
        hash_, trashed_ns, inode_id = keys.unpack_trash_place(key)
        result.trash_cursor.hash, result.trash_cursor.trashed_ns = hash_, trashed_ns
        result.trash_cursor.inode_id = inode_id
        if is_hour and parents.are_trashed(int.from_bytes(value, "big")):
            continue
        raw = view.get(keys.of_inode(keys.INODE, fs_id, inode_id))
        if raw is None:
            continue  # its partition is being deleted
        inode = pb.Inode.FromString(raw)
        if not wanted.name or inode.trashed_name == wanted.name:
            type_ = inode.mode >> 12
            result.entries.add(name=inode.trashed_name, hash=hash_, inode_id=inode_id, type=type_, inode=inode)
    result.end = len(pairs) <= LOOKED_AT_MAX


def list_hours(view: StateReader, fs_id: int, _: pb.Read, result: pb.ReadResult) -> None:
    """ListTrashHours."""
    at, end = keys.of_fs(keys.TRASH, fs_id), keys.of_fs(keys.TRASH, fs_id + 1)
    while len(result.trash_hours) < HOURS_MAX and (found := next(iter(view.scan(at, end, 1)), None)):
        hour = keys.unpack_trash(found[0])[0] // HOUR_NS
        result.trash_hours.append(hour)
        at = keys.trash(fs_id, (hour + 1) * HOUR_NS, 0)


def _range(view: StateReader, fs_id: int, wanted: pb.ListTrash) -> tuple[bytes, bytes]:
    """Return the range of keys that is to be looked at."""
    first, last = (
        keys.of_inode(keys.TRASH_PLACE, fs_id, wanted.place),
        keys.after_prefix(keys.of_inode(keys.TRASH_PLACE, fs_id, wanted.place)),
    )
    if wanted.name:
        hash_ = keys.name_hash(_seed(view, fs_id), wanted.name)
        first, last = first + hash_.to_bytes(8, "big"), first + (hash_ + 1).to_bytes(8, "big")
    if wanted.HasField("after"):
        after = wanted.after
        if after.trashed_ns < 0:
            raise Refusal(common_pb2.INVALID_ARGUMENT, "a cursor that no listing gave")
        first = keys.trash_place(fs_id, wanted.place, after.hash, after.trashed_ns, after.inode_id) + b"\0"
    return first, max(first, last)


def _seed(view: StateReader, fs_id: int) -> bytes:
    """Return the seed of the filesystem, from any of its partitions here."""
    start, end = keys.partition(fs_id, 0), keys.partition(fs_id + 1, 0)
    for _, value in view.scan(start, end, 1):
        return state_pb2.PartitionRecord.FromString(value).spec.hash_seed
    raise Refusal(common_pb2.WRONG_PARTITION, "nothing of the filesystem is here")


class _Parents:
    """Which directories of this group are in the trash."""

    def __init__(self, view: StateReader, fs_id: int) -> None:
        self._view = view
        self._fs_id = fs_id
        self._known: dict[int, bool] = {}

    def are_trashed(self, directory: int) -> bool:
        """Say whether a directory is in the trash; False when it lies elsewhere, or is gone."""
        known = self._known.get(directory)
        if known is None:
            raw = self._view.get(keys.of_inode(keys.INODE, self._fs_id, directory))
            known = self._known[directory] = raw is not None and pb.Inode.FromString(raw).trashed_ns > 0
        return known
