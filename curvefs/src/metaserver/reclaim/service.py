"""ReclaimService: the leader of a group answers from one view of its state, beside the event loop."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ....proto import reclaim_pb2 as pb
from ....proto.reclaim_pb2_grpc import ReclaimServiceServicer
from ...common.errors import Unavailable
from ..calls import answer
from ..copyset import awaiting
from ..copyset.manager import CopysetManager
from ..storage.environment import Environment
from ..storage.transaction import StateReader
from .checking import check_chunks, list_slices

READ_DEADLINE_S = 5.0
T = TypeVar("T")


class _Interruptible:
    """A view that gives up when the state is being closed, or replaced by a snapshot."""

    def __init__(self, view: StateReader, environment: Environment) -> None:
        self._view = view
        self._environment = environment

    def get(self, key: bytes) -> bytes | None:
        return self._view.get(key)

    def scan(self, start: bytes, end: bytes, limit: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        for pair in self._view.scan(start, end, limit):
            if self._environment.is_closing:
                raise Unavailable("the state is being closed")
            yield pair


class ReclaimService(ReclaimServiceServicer):
    """See reclaim.proto."""

    def __init__(self, copysets: CopysetManager) -> None:
        self._copysets = copysets
        self._one_at_a_time = asyncio.Lock()  # each reads everything there is

    async def CheckChunks(self, request: pb.CheckChunksRequest, _context: Any) -> pb.CheckChunksReply:
        def look(view: StateReader) -> pb.CheckChunksReply:
            states = check_chunks(view, request.fs_id, request.partition_id, request.chunk_ids)
            return pb.CheckChunksReply(states=states)

        async def work() -> pb.CheckChunksReply:
            async with self._one_at_a_time:
                return await self._read(request.group_id, look)

        return await answer("CheckChunks", pb.CheckChunksReply, work)

    async def ListSlices(self, request: pb.ListSlicesRequest, _context: Any) -> pb.ListSlicesReply:
        def look(view: StateReader) -> pb.ListSlicesReply:
            return list_slices(view, request.fs_id, request.partition_id, request.cursor)

        return await answer("ListSlices", pb.ListSlicesReply, lambda: self._read(request.group_id, look))

    async def _read(self, group_id: int, look: Callable[[StateReader], T]) -> T:
        """Return what ``look`` makes of a view that has everything acknowledged so far. Raises CurveFSError."""
        group = self._copysets.get(group_id)
        if not group.is_leader:
            raise group.redirect()
        await awaiting.read_barrier(group, READ_DEADLINE_S)

        def read() -> T:
            with group.environment.read_at_length() as view:
                return look(_Interruptible(view, group.environment))

        return await asyncio.to_thread(read)
