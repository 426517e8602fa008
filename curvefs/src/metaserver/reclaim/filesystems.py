"""What the MDS says of filesystems, as far as deleting and compacting need it, and its time when it said so.

Time only goes on, so a time that was told is one that has passed.
"""

from dataclasses import dataclass
from typing import Self
from uuid import UUID

from ....proto import mds_pb2, mds_pb2_grpc
from ...rpc.asyncio_client import AsyncClient
from ...slices.names import block_name


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Where a filesystem's objects are, how they are stored, and how long they stay. Times in ns.

    key_check: of the key that its blocks are encrypted with; empty: they are not.
    """

    name: str
    uuid: UUID
    object_store: str
    block_size: int
    grace_ns: int
    block_format: int
    key_check: bytes

    @classmethod
    def of(cls, said: mds_pb2.Filesystem) -> Self:
        """Return what the MDS said."""
        grace_ns = said.delete_grace_s * 10**9
        return cls(
            said.name,
            UUID(bytes=said.uuid),
            said.object_store,
            said.block_size,
            grace_ns,
            said.block_format,
            said.key_check,
        )

    def blocks(self, chunk_id: int, compaction: int, size: int) -> list[str]:
        """Return the names of the objects that a run of bytes is stored in."""
        count = -(-size // self.block_size)
        return [block_name(self.uuid, chunk_id, compaction, index) for index in range(count)]


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of the MDS. filesystems: those that are in use, by number."""

    time_ns: int
    filesystems: dict[int, Filesystem]


async def ask(mds: AsyncClient) -> Told:
    """Ask the MDS. Raises CurveFSError."""
    request = mds_pb2.ListFilesystemsRequest()
    reply: mds_pb2.ListFilesystemsReply = await mds.call(mds_pb2_grpc.MdsServiceStub, "ListFilesystems", request)
    # Of one that is being deleted the MDS removes all objects by their common prefix.
    active = [one for one in reply.filesystems if one.state == mds_pb2.ACTIVE]
    return Told(reply.mds_time_ns, {one.fs_id: Filesystem.of(one) for one in active})
