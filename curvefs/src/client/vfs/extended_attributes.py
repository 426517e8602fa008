"""Extended attributes, as xattr(7) has them; those of the trash say where something was removed from."""

from ....proto import metaserver_pb2 as pb
from ...common.errors import InvalidArgument, NoAttribute, Unsupported
from ...common.ids import TRASH_PARTITION, partition_of
from ...common.trash_names import XATTR_PREFIX
from ..metadata.client import MetadataClient
from .removals import Removals
from .stale import stale_if_gone
from .trash import Trash

TRUSTED = b"trusted."
NAMESPACES = (b"user.", TRUSTED, b"security.")


class ExtendedAttributes:
    """See the module. All raise StaleHandle for an inode that is gone."""

    def __init__(self, metadata: MetadataClient, trash: Trash, removals: Removals) -> None:
        self._metadata = metadata
        self._trash = trash
        self._removals = removals

    async def get(self, inode_id: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises NoAttribute.

        The kernel asks for security.capability before every write: without a request for files that have none.
        """
        with stale_if_gone(self._metadata.cache, inode_id):
            if name.startswith(XATTR_PREFIX):
                return await self._trash.xattr(inode_id, name)
            if not await self._may_be_there(inode_id):
                raise NoAttribute
            return await self._metadata.reads.get_xattr(inode_id, name)

    async def set(self, inode_id: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute. Raises Unsupported for a name that is not of one of the namespaces, NoSpace.

        So system.* (access control lists) is refused: it would not be enforced.
        """
        if not name.startswith(NAMESPACES):
            raise Unsupported
        if name in NAMESPACES:
            raise InvalidArgument("a namespace is no name")
        with stale_if_gone(self._metadata.cache, inode_id):
            await self._refuse_trash(inode_id)
            await self._metadata.set_xattr(pb.SetXattr(inode_id=inode_id, name=name, value=value))

    async def list(self, inode_id: int, uid: int) -> list[bytes]:
        """Return the names of the extended attributes that a caller may get. uid: his."""
        with stale_if_gone(self._metadata.cache, inode_id):
            names = await self._metadata.reads.list_xattr(inode_id) if await self._may_be_there(inode_id) else []
        return [name for name in names if not uid or not name.startswith(TRUSTED)]

    async def remove(self, inode_id: int, name: bytes) -> None:
        """Remove an extended attribute. Raises NoAttribute."""
        with stale_if_gone(self._metadata.cache, inode_id):
            await self._refuse_trash(inode_id)
            await self._metadata.remove_xattr(inode_id, name)

    async def _refuse_trash(self, inode_id: int) -> None:
        """Raise NotPermitted for what is in the trash, unless it is open here since before."""
        if not self._removals.is_orphan(inode_id):
            await self._trash.refuse(inode_id)

    async def _may_be_there(self, inode_id: int) -> bool:
        if partition_of(inode_id) == TRASH_PARTITION:
            return False
        return bool((await self._metadata.reads.get_attr(inode_id)).xattr_count)
