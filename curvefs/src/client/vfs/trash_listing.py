"""An open directory of the trash. Its cursors count entries: a reader that goes back has the listing begin anew.

Below an hour, a caller sees what is his; root sees all.

Shared across awaits: the position, as in directories.py.
"""

from ....proto import metaserver_pb2 as pb
from ...common.ids import TRASH_PARTITION, hour_of_trash, partition_of
from ...common.trash_names import suffixed
from ..metadata.client import MetadataClient
from ..metadata.trash import TrashListing
from .trash import TRASH_INODE, Trash

PAGE = 500


class TrashHandle:
    """One opendir(3)."""

    def __init__(self, inode_id: int, uid: int) -> None:
        """uid: who opened it."""
        self.inode_id = inode_id
        self._uid = uid
        self._page: list[pb.DirectoryEntry] = []
        self._position = 0  # of the end of the page
        self._listing: TrashListing | None = None
        self._last_hash = 0
        self._names: set[bytes] = set()  # of that hash
        self._hours_told = False

    async def after(self, cursor: int, trash: Trash, metadata: MetadataClient) -> list[pb.DirectoryEntry]:
        """Return the entries after a cursor, at most a page; none at the end."""
        if not self._position or cursor < self._position - len(self._page):
            await self._begin(trash, metadata)
        while cursor >= self._position:
            if not await self._go_on(trash):
                return []
        return self._page[len(self._page) - (self._position - cursor) :]

    async def _begin(self, trash: Trash, metadata: MetadataClient) -> None:
        here = await trash.attributes(self.inode_id)
        above = hour_of_trash(here.trashed_ns) if here.trashed_ns else here.parent
        over = await trash.attributes(above)
        self._page, self._position = [], 0
        self._listing = None if self.inode_id == TRASH_INODE else metadata.trash.listing(self.inode_id)
        self._last_hash, self._names, self._hours_told = 0, set(), False
        self._put([(b".", here), (b"..", over)])

    async def _go_on(self, trash: Trash) -> bool:
        """Go to the next page; False at the end."""
        if self._listing is None:
            told, self._hours_told = self._hours_told, True
            return self._put([] if told else await trash.hours())
        while found := await self._listing.next(PAGE):
            named = [(self._name_of(entry), entry.inode) for entry in found]
            if self._put([(name, trash.present(inode)) for name, inode in named if self._may_see(inode)]):
                return True
        return False

    def _name_of(self, entry: pb.DirectoryEntry) -> bytes:
        """Name the newest of a name plainly. All of one name come among those of its hash, the newest first."""
        if entry.hash != self._last_hash:
            self._last_hash = entry.hash
            self._names.clear()
        if entry.name in self._names:
            return suffixed(entry.name, entry.inode_id)
        self._names.add(entry.name)
        return entry.name

    def _may_see(self, inode: pb.Inode) -> bool:
        return self._uid in (0, inode.uid) or partition_of(self.inode_id) != TRASH_PARTITION

    def _put(self, named: list[tuple[bytes, pb.Inode]]) -> bool:
        self._page = [
            pb.DirectoryEntry(name=name, hash=self._position + count, inode_id=inode.inode_id, inode=inode)
            for count, (name, inode) in enumerate(named, 1)
        ]
        self._position += len(named)
        return bool(named)
