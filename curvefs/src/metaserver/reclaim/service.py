"""ReclaimService: the leader of a group answers from one view of its state, beside the event loop."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from typing import Any

from ....proto import reclaim_pb2 as pb
from ....proto.reclaim_pb2_grpc import ReclaimServiceServicer
from ..calls import answer
from ..copyset.manager import CopysetManager
from ..scans import Scans, beside
from ..storage.transaction import StateReader
from .checking import check_chunks, list_slices


class ReclaimService(ReclaimServiceServicer):
    """See reclaim.proto."""

    def __init__(self, copysets: CopysetManager, scans: Scans) -> None:
        self._copysets = copysets
        self._scans = scans

    async def CheckChunks(self, request: pb.CheckChunksRequest, _context: Any) -> pb.CheckChunksReply:
        def look(view: StateReader) -> pb.CheckChunksReply:
            states = check_chunks(view, request.fs_id, request.partition_id, request.chunk_ids)
            return pb.CheckChunksReply(states=states)

        async def work() -> pb.CheckChunksReply:
            return await self._scans.run(self._copysets.get(request.group_id), look)

        return await answer("CheckChunks", pb.CheckChunksReply, work)

    async def ListSlices(self, request: pb.ListSlicesRequest, _context: Any) -> pb.ListSlicesReply:
        def look(view: StateReader) -> pb.ListSlicesReply:
            return list_slices(view, request.fs_id, request.partition_id, request.cursor)

        async def work() -> pb.ListSlicesReply:
            return await beside(self._copysets.get(request.group_id), look)

        return await answer("ListSlices", pb.ListSlicesReply, work)
