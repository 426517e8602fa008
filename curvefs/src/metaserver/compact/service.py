"""FilesService: paths, inodes and slices for operators, and compaction of a file's chunks. Any metaserver answers."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from typing import Any

from ....proto import files_pb2 as pb
from ....proto import metaserver_pb2, transaction_pb2
from ....proto.files_pb2_grpc import FilesServiceServicer
from ...common.ids import partition_of
from ..calls import answer
from ..transactions.calls import Calls
from ..transactions.paths import CALL_DEADLINE_S, Paths


class FilesService(FilesServiceServicer):
    """See files.proto."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._paths = Paths(calls)

    async def Find(self, request: pb.FindRequest, _context: Any) -> pb.FindReply:
        async def work() -> pb.FindReply:
            inode_id = await self._paths.resolve(request.fs_id, request.path)
            read = metaserver_pb2.Read(get_attr=metaserver_pb2.GetAttr(inode_id=inode_id))
            return pb.FindReply(inode=(await self._paths.read(request.fs_id, inode_id, read)).inode)

        return await answer("Find", pb.FindReply, work)

    async def Read(self, request: pb.ReadRequest, _context: Any) -> pb.ReadReply:
        async def work() -> pb.ReadReply:
            return pb.ReadReply(result=await self._paths.read(request.fs_id, request.inode_id, request.read))

        return await answer("Read", pb.ReadReply, work)

    async def CompactChunk(self, request: pb.CompactChunkRequest, _context: Any) -> pb.CompactChunkReply:
        async def work() -> pb.CompactChunkReply:
            place = await self._calls.place(request.fs_id, partition_of(request.inode_id))
            asked = transaction_pb2.CompactChunkRequest(
                group_id=place.group_id,
                fs_id=request.fs_id,
                inode_id=request.inode_id,
                chunk_index=request.chunk_index,
            )
            reply = await self._calls.call("CompactChunk", asked, request.fs_id, CALL_DEADLINE_S)
            return pb.CompactChunkReply(pending=reply.pending, compacted=reply.compacted)

        return await answer("CompactChunk", pb.CompactChunkReply, work)
