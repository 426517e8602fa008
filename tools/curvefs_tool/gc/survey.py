"""What is in the object store, against what the groups know, partition by partition; also while the filesystem is used.

Garbage: the objects are listed first, then the groups are asked. An id that was in no open range then is never
published any more, so what nobody referred to stays so. Young objects are left out besides.

Missing: the objects are listed first, then the slices. What a slice needs and was not listed is looked up by itself,
and if it is not there, the group is asked whether the id is still referred to: objects are deleted only afterwards. It
is asked for many ids at once, since it reads all its slices each time.

In memory is the listing of one partition.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from curvefs.proto import metaserver_pb2, reclaim_pb2
from curvefs.src.common.errors import InvalidArgument
from curvefs.src.common.ids import partition_of
from curvefs.src.object.protocol import ObjectInfo, ObjectStore
from curvefs.src.slices.names import block_name, filesystem_prefix, parse_block_name

PAGE = 1000
ASKED_AT_ONCE = 50_000  # chunk ids


class Known(Protocol):
    """What the groups say (groups.py)."""

    def states(self, partition_id: int, chunk_ids: Sequence[int]) -> dict[int, reclaim_pb2.ChunkState]:
        """Return what is known of chunk ids of a partition."""
        ...

    def slices(self, partition_id: int) -> Iterator[reclaim_pb2.HeldSlice]:
        """Yield the slices of a partition's files."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """An object that a file needs and that is not there."""

    name: str
    inode_id: int
    chunk_index: int


@dataclass(slots=True)
class Found:
    """What a partition has. waiting: objects that are to be deleted, may still be published, or are young."""

    partition_id: int
    objects: int = 0
    bytes: int = 0
    waiting: int = 0
    garbage: list[ObjectInfo] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def garbage_bytes(self) -> int:
        """Return the size of the garbage."""
        return sum(one.size for one in self.garbage)


class Survey:
    """Of one filesystem. older_than_ns: objects that are younger are no garbage. now_ns: the clock."""

    def __init__(
        self,
        store: ObjectStore,
        known: Known,
        uuid: UUID,
        block_size: int,
        *,
        older_than_ns: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._known = known
        self._uuid = uuid
        self._block_size = block_size
        self._older_than_ns = older_than_ns
        self._now_ns = now_ns

    def of(self, partition_id: int) -> Found:
        """Return what a partition has."""
        found = Found(partition_id)
        listed: dict[int, list[ObjectInfo]] = defaultdict(list)
        for one in self._list(f"{filesystem_prefix(self._uuid)}{partition_id}/"):
            chunk_id = _chunk_of(one.key)
            if chunk_id is not None:
                listed[chunk_id].append(one)
                found.objects += 1
                found.bytes += one.size
        self._sort_out(found, listed)
        self._look_for_missing(found, listed)
        return found

    def remove(self, found: Found) -> None:
        """Delete the garbage of a partition."""
        names = [one.key for one in found.garbage]
        for first in range(0, len(names), PAGE):
            self._store.delete(names[first : first + PAGE])

    def _sort_out(self, found: Found, listed: dict[int, list[ObjectInfo]]) -> None:
        states = self._known.states(found.partition_id, list(listed))
        upto_ns = self._now_ns() - self._older_than_ns
        for chunk_id, objects in listed.items():
            if states[chunk_id] == reclaim_pb2.REFERENCED:
                continue
            old = [one for one in objects if one.modified_ns <= upto_ns]
            if states[chunk_id] != reclaim_pb2.UNREFERENCED:
                old = []
            found.garbage += old
            found.waiting += len(objects) - len(old)

    def _look_for_missing(self, found: Found, listed: dict[int, list[ObjectInfo]]) -> None:
        names = {one.key for objects in listed.values() for one in objects}
        absent: dict[int, list[Missing]] = defaultdict(list)  # by chunk ids that are to be asked for
        for held in self._known.slices(found.partition_id):
            one = held.slice
            if one.WhichOneof("location") != "object":
                continue
            lacking = [name for name in self._blocks(one) if name not in names]
            if lacking and (lacking := self._not_there(one, lacking)):
                names.update(lacking)  # said once, also when several slices need it
                absent[one.chunk_id] += [Missing(name, held.inode_id, one.chunk_index) for name in lacking]
            if len(absent) >= ASKED_AT_ONCE:
                found.missing += self._still_needed(absent)
                absent.clear()
        found.missing += self._still_needed(absent)

    def _not_there(self, one: metaserver_pb2.Slice, names: list[str]) -> list[str]:
        """Return which objects of a slice are not in the store now."""
        common = block_name(self._uuid, one.chunk_id, one.compaction, 0).removesuffix("0")
        there = {info.key for info in self._list(common)}
        return [name for name in names if name not in there]

    def _still_needed(self, absent: dict[int, list[Missing]]) -> list[Missing]:
        """Return what is absent of the chunk ids that are referred to."""
        homes: dict[int, list[int]] = defaultdict(list)
        for chunk_id in absent:
            homes[partition_of(chunk_id)].append(chunk_id)
        needed: list[Missing] = []
        for partition_id, chunk_ids in homes.items():
            states = self._known.states(partition_id, chunk_ids)
            for chunk_id in chunk_ids:
                if states[chunk_id] == reclaim_pb2.REFERENCED:
                    needed += absent[chunk_id]
        return needed

    def _blocks(self, one: metaserver_pb2.Slice) -> list[str]:
        count = -(-one.size // self._block_size)
        return [block_name(self._uuid, one.chunk_id, one.compaction, index) for index in range(count)]

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        after = ""
        while page := self._store.list(prefix, after, PAGE):
            yield from page
            after = page[-1].key


def _chunk_of(name: str) -> int | None:
    try:
        return parse_block_name(name).chunk_id
    except InvalidArgument:
        return None  # not ours
