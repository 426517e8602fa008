"""What is in the trash, of all groups together: a removed file lies in the group of its inode.

A listing merges what each group has at a place, in the order that all of them keep: hash of the name, newest first. So
it needs a page of each group in memory, however long it is, and the inodes of one name come one after the other.
"""

from functools import partial

from ....proto import metaserver_pb2 as pb
from ...common.errors import NotFound
from ...common.ids import HOUR_NS, TRASH_PARTITION, hour_of_trash, partition_of
from .reads import Reads, together
from .router import Router

PAGE = 500
PARENTS_MAX = 10_000


class TrashReads:
    """See the module. Calls raise what Reads' do."""

    def __init__(self, router: Router, reads: Reads) -> None:
        self._router = router
        self._reads = reads

    async def hours(self) -> list[int]:
        """Return the hours (since 1970) in which something was removed that is still there, ascending."""
        read = pb.Read(list_trash_hours=pb.ListTrashHours())
        calls = [partial(self._router.read, one, read) for one in self._router.one_of_each_group]
        return sorted({hour for result in await together(calls) for hour in result.trash_hours})

    def listing(self, place: int, name: bytes = b"") -> "TrashListing":
        """Return a listing of a place, or of what had one name there."""
        return TrashListing(self._router, self, place, name)

    async def is_trashed(self, inode_id: int, *, fresh: bool = False) -> bool:
        """Say whether an inode is in the trash; ``fresh``: now."""
        try:
            return (await self._reads.get_attr(inode_id, fresh=fresh)).trashed_ns > 0
        except NotFound:
            return False

    async def by_number(self, inode_id: int) -> pb.Inode:
        """Return an inode as it is now, by a number that somebody said. Raises NotFound."""
        if not self._router.knows(partition_of(inode_id)):
            raise NotFound
        return await self._reads.get_attr(inode_id, fresh=True)

    async def is_shown_at(self, inode: pb.Inode, place: int) -> bool:
        """Say whether an inode in the trash is to be seen at a place."""
        if inode.trashed_parent == place:
            return True
        return hour_of_trash(inode.trashed_ns) == place and not await self.is_trashed(inode.trashed_parent, fresh=True)


class TrashListing:
    """What is at a place, a few at a time."""

    def __init__(self, router: Router, trash: TrashReads, place: int, name: bytes) -> None:
        self._router = router
        self._trash = trash
        self._place = place
        self._name = name
        self._parents: dict[int, bool] = {}  # whether they are in the trash
        self._sources = [_Source(partition_id) for partition_id in router.one_of_each_group]

    async def next(self, limit: int) -> list[pb.DirectoryEntry]:
        """Return the next inodes, at most ``limit``, under the names they had; none at the end."""
        found: list[pb.DirectoryEntry] = []
        while len(found) < limit:
            empty = [source for source in self._sources if source.is_empty]
            if empty:
                await together([partial(self._fill, source) for source in empty])
            full = [source for source in self._sources if source.entries]
            if not full:
                break
            entry = min(full, key=_Source.order).entries.pop()
            if not await self._is_hidden(entry.inode):
                found.append(entry)
        return found

    async def _is_hidden(self, inode: pb.Inode) -> bool:
        """Say whether it is to be seen elsewhere. A parent in the same partition was looked at by the group."""
        parent = inode.trashed_parent
        if partition_of(self._place) != TRASH_PARTITION or partition_of(parent) == partition_of(inode.inode_id):
            return False
        if parent not in self._parents:
            if len(self._parents) >= PARENTS_MAX:
                self._parents.clear()
            self._parents[parent] = await self._trash.is_trashed(parent)
        return self._parents[parent]

    async def _fill(self, source: "_Source") -> None:
        """Get a page of a group that has something in it, or its end."""
        while source.is_empty:
            wanted = pb.ListTrash(place=self._place, after=source.after, limit=PAGE, name=self._name)
            result = await self._router.read(source.partition_id, pb.Read(list_trash=wanted))
            source.take(result)


class _Source:
    """What one group has."""

    def __init__(self, partition_id: int) -> None:
        self.partition_id = partition_id
        self.entries: list[pb.DirectoryEntry] = []  # the first one last
        self.after: pb.TrashCursor | None = None
        self._end = False

    @property
    def is_empty(self) -> bool:
        return not self.entries and not self._end

    def order(self) -> tuple[int, int, int]:
        first = self.entries[-1]
        return first.hash, -first.inode.trashed_ns, first.inode_id

    def take(self, result: pb.ReadResult) -> None:
        self.entries = list(reversed(result.entries))
        self._end = result.end
        if result.HasField("trash_cursor"):
            self.after = result.trash_cursor


def hour_of(place: int) -> int:
    """Return the time at which the hour of a place begins, in seconds since 1970."""
    return (place - (TRASH_PARTITION << 40)) * (HOUR_NS // 10**9)
