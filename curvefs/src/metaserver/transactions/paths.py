"""Reads in whichever group has an inode, and paths from the root on. Any metaserver does it."""

from ....proto import metaserver_pb2, transaction_pb2
from ...common.errors import NotFound
from ...common.ids import ROOT_INODE, partition_of
from ...common.status import error_of
from .calls import Calls

CALL_DEADLINE_S = 8.0


class Paths:
    """Over the calls to the groups' leaders."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def resolve(self, fs_id: int, path: bytes) -> int:
        """Return the inode of a path from the root on. Raises NotFound, NotADirectory."""
        at: int = ROOT_INODE
        for name in path.split(b"/"):
            if name in (b"", b"."):
                continue
            read = metaserver_pb2.Read(lookup=metaserver_pb2.Lookup(parent=at, name=name))
            result = await self.read(fs_id, at, read)
            if not result.HasField("inode"):
                raise NotFound(f"there is no {path.decode(errors='replace')}")
            at = result.inode.inode_id
        return at

    async def read(self, fs_id: int, inode_id: int, read: metaserver_pb2.Read) -> metaserver_pb2.ReadResult:
        """Return the answer to a read of what belongs to an inode. Raises what it fails with."""
        place = await self._calls.place(fs_id, partition_of(inode_id))
        request = transaction_pb2.ReadRequest(group_id=place.group_id, fs_id=fs_id, read=read)
        reply = await self._calls.call("Read", request, fs_id, CALL_DEADLINE_S)
        result: metaserver_pb2.ReadResult = reply.result
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result
