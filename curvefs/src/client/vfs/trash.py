"""The trash as a mount shows it: `.trash` in the root, a directory for each hour, below them what was removed.

    .trash/2026-11-21-19/project/report.txt

What was removed out of a directory that is in the trash itself is shown below that; so the tree of an `rm -r` is there
as it was. Of several of one name at one place the newest has it; the others, and that one too, can be reached with
their inode number behind the name: `report.txt.~281474976710662`.

`.trash` and the hours exist here only, under numbers that no partition has. All else is shown under its own number,
though not as it was: group and others have no permissions, since the directories that kept it from them may be gone.
The kernel's own checks then leave it to its owner and root to look at it, to take it out and to remove it; listings of
hours show others nothing. Nothing can be changed, or come in; rename takes out, unlink and rmdir purge.

Shared across awaits: `_presented`, what the kernel may know as being in the trash: a bounded number. What falls out
must be looked up again to be opened.
"""

import re
import stat
from collections import OrderedDict

from ....proto import mds_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import NoAttribute, NotADirectory, NotEmpty, NotFound, NotPermitted
from ...common.ids import NAME_SIZE_MAX, ROOT_INODE, TRASH_PARTITION, make_id, partition_of
from ...common.trash_names import TRASH_NAME, XATTR_PREFIX, hour_name, suffixed
from ..metadata.client import MetadataClient
from ..metadata.trash import hour_of

TRASH_INODE = make_id(TRASH_PARTITION, 0)
PRESENTED_MAX = 65536
_SUFFIXED = re.compile(rb".+\.~([0-9]{1,19})", re.DOTALL)
_DEPTH_MAX = 4096


class Trash:
    """See the module. Calls raise FilesystemError, IOFailure."""

    def __init__(self, filesystem: mds_pb2.Filesystem, metadata: MetadataClient) -> None:
        self._filesystem = filesystem
        self._metadata = metadata
        self._presented: OrderedDict[int, None] = OrderedDict()

    def is_top(self, parent: int, name: bytes) -> bool:
        """Say whether a name leads to the trash."""
        return parent == ROOT_INODE and name == TRASH_NAME and self._filesystem.trash_retention_s > 0

    async def covers(self, inode_id: int, *, fresh: bool = False) -> bool:
        """Say whether an inode was shown in the trash, and is there still; ``fresh``: now."""
        if partition_of(inode_id) == TRASH_PARTITION:
            return True
        if inode_id not in self._presented:
            return False
        if await self._metadata.trash.is_trashed(inode_id, fresh=fresh):
            if inode_id in self._presented:
                self._presented.move_to_end(inode_id)
            return True
        self.forget(inode_id)
        return False

    def forget(self, inode_id: int) -> None:
        """It is not in the trash any more."""
        self._presented.pop(inode_id, None)

    # --------------------------------------------------------------------------------------------- looking

    async def lookup(self, parent: int, name: bytes) -> pb.Inode:
        """Return what a name in the trash leads to, as it is shown. Raises NotFound."""
        if self.is_top(parent, name):
            return self._virtual(TRASH_INODE)
        if parent == TRASH_INODE:
            return self._virtual(await self._hour_named(name))
        return self.present(await self.find(parent, name))

    async def attributes(self, inode_id: int) -> pb.Inode:
        """Return attributes as they are shown, also of what is not in the trash."""
        if partition_of(inode_id) == TRASH_PARTITION:
            return self._virtual(inode_id)
        inode = await self._metadata.reads.get_attr(inode_id)
        return self.present(inode) if inode.trashed_ns else inode

    async def find(self, place: int, name: bytes) -> pb.Inode:
        """Return the inode under a name at a place. Raises NotFound."""
        if place == TRASH_INODE:
            raise NotFound
        # A name with a number leads to that inode first: who gives a file of his such a name must not come before.
        inode = await self._numbered(place, name)
        if inode is not None:
            return inode
        if len(name) <= NAME_SIZE_MAX:
            for entry in await self._metadata.trash.listing(place, name).next(1):
                return entry.inode
        raise NotFound

    async def find_own(self, place: int, name: bytes, uid: int) -> pb.Inode:
        """Return what a caller may take out or remove. Raises NotFound, NotPermitted.

        An hour is everybody's, and a name in it may lead to something newer by now than what the kernel has checked.
        """
        inode = await self.find(place, name)
        if uid not in (0, inode.uid) and partition_of(place) == TRASH_PARTITION:
            raise NotPermitted
        return inode

    async def _numbered(self, place: int, name: bytes) -> pb.Inode | None:
        """Return the inode that a name says the number of, if it is shown at a place."""
        match = _SUFFIXED.fullmatch(name)
        if match is None:
            return None
        try:
            inode = await self._metadata.trash.by_number(int(match[1]))
            shown = (
                inode.trashed_ns
                and suffixed(inode.trashed_name, inode.inode_id) == name
                and await self._metadata.trash.is_shown_at(inode, place)
            )
        except NotFound:
            return None
        return inode if shown else None

    def present(self, inode: pb.Inode) -> pb.Inode:
        """Return an inode in the trash as it is shown, and remember that it was."""
        self._presented[inode.inode_id] = None
        self._presented.move_to_end(inode.inode_id)
        while len(self._presented) > PRESENTED_MAX:
            self._presented.popitem(last=False)
        inode.mode &= ~(stat.S_IRWXG | stat.S_IRWXO)
        return inode

    def _virtual(self, inode_id: int) -> pb.Inode:
        """Return the attributes of `.trash` or an hour: everybody may look, and take out or remove what is his."""
        time_ns = self._filesystem.created_ns if inode_id == TRASH_INODE else hour_of(inode_id) * 10**9
        return pb.Inode(
            inode_id=inode_id,
            mode=stat.S_IFDIR | stat.S_ISVTX | 0o777,
            nlink=2,
            length=4096,
            change=1,
            parent=ROOT_INODE if inode_id == TRASH_INODE else TRASH_INODE,
            atime_ns=time_ns,
            mtime_ns=time_ns,
            ctime_ns=time_ns,
        )

    async def _hour_named(self, name: bytes) -> int:
        """Return the number of an hour's directory. Raises NotFound."""
        for hour, inode in await self.hours():
            if hour == name:
                return inode.inode_id
        raise NotFound

    async def hours(self) -> list[tuple[bytes, pb.Inode]]:
        """Return the hours of which there is something, with their names."""
        places = [make_id(TRASH_PARTITION, hour) for hour in await self._metadata.trash.hours()]
        return [(hour_name(hour_of(place)), self._virtual(place)) for place in places]

    # ------------------------------------------------------------------------------------------- changing

    async def refuse(self, *inodes: int) -> None:
        """Raise NotPermitted when one of these is in the trash."""
        for inode_id in inodes:
            if await self.covers(inode_id, fresh=True):
                raise NotPermitted("the trash cannot be changed, but for what is taken out or removed")

    async def restore(self, inode: pb.Inode, new_parent: int, new_name: bytes) -> None:
        """Take something out. Raises AlreadyExists, NotFound."""
        await self._metadata.restore(inode.inode_id, new_parent, new_name)
        self.forget(inode.inode_id)

    async def purge(self, inode: pb.Inode, *, held: bool) -> None:
        """Remove something for good. held: it is open here. Raises NotEmpty, NotFound."""
        if stat.S_ISDIR(inode.mode):
            await self.require_empty(inode.inode_id)
        await self._metadata.purge_trashed(inode.inode_id, held=held)
        self.forget(inode.inode_id)

    async def require_empty(self, inode_id: int) -> None:
        """Raise NotEmpty when something is shown below a directory of the trash."""
        if await self._metadata.trash.listing(inode_id).next(1):
            raise NotEmpty

    # ----------------------------------------------------------------------------------------- attributes

    async def xattr(self, inode_id: int, name: bytes) -> bytes:
        """Return what is known of where something was removed from. Raises NoAttribute.

        These attributes are in no list: who copies a file with its attributes does not mean them.
        """
        inode = None
        if partition_of(inode_id) != TRASH_PARTITION:
            inode = await self._metadata.reads.get_attr(inode_id, fresh=True)
        if inode is None or not inode.trashed_ns:
            raise NoAttribute
        match name.removeprefix(XATTR_PREFIX):
            case b"name":
                return inode.trashed_name
            case b"parent":
                return str(inode.trashed_parent).encode()
            case b"removed":
                return str(inode.trashed_ns).encode()
            case b"path":
                return await self._path(inode)
        raise NoAttribute

    async def _path(self, inode: pb.Inode) -> bytes:
        """Return where it was, from the root of the mount. Raises NoAttribute when a directory above is gone."""
        names: list[bytes] = []
        for _ in range(_DEPTH_MAX):
            if inode.inode_id == ROOT_INODE:
                return b"/" + b"/".join(reversed(names))
            try:
                above = inode.trashed_parent if inode.trashed_ns else inode.parent
                name = inode.trashed_name if inode.trashed_ns else await self._name_in(above, inode.inode_id)
                names.append(name)
                inode = await self._metadata.reads.get_attr(above, fresh=True)
            except (NotFound, NotADirectory):
                raise NoAttribute from None
        raise NoAttribute

    async def _name_in(self, directory: int, inode_id: int) -> bytes:
        """Search a directory for an inode. Raises NotFound."""
        hash_, name = 0, b""
        while True:
            page = await self._metadata.reads.read_dir(directory, hash_, name, limit=1000, generation=0)
            for entry in page.entries:
                if entry.inode_id == inode_id:
                    return entry.name
            if page.end or not page.entries:
                raise NotFound
            hash_, name = page.entries[-1].hash, page.entries[-1].name
