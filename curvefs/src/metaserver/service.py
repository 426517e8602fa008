"""MetaServerService: session streams, and the calls of the MDS about partitions and sessions."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ...proto import metaserver_pb2 as pb
from ...proto import state_pb2
from ...proto.metaserver_pb2_grpc import MetaServerServiceServicer
from ..common.clock import Clock
from ..common.errors import InvalidArgument, Overloaded
from ..common.ids import SESSION_ID_SIZE
from ..common.status import failure_of
from .calls import CALL_DEADLINE_S, answer, check
from .copyset import awaiting
from .copyset.manager import CopysetManager
from .epochs import Epochs
from .metrics import Metrics
from .session_stream import SessionStream

STREAMS_MAX = 10_000


class MetaServerService(MetaServerServiceServicer):
    """See metaserver.proto. Shared across awaits: the set of streams."""

    def __init__(
        self,
        copysets: CopysetManager,
        epochs: Epochs,
        *,
        secret: Callable[[], bytes],
        clock: Clock,
        metrics: Metrics,
        transact: Callable[[pb.TransactionRequest], Awaitable[pb.OperationResult]],
    ) -> None:
        """secret: returns what verifies session tokens; empty while unknown.

        transact: carries out operations across partitions.
        """
        self._copysets = copysets
        self._epochs = epochs
        self._secret = secret
        self._transact = transact
        self._clock = clock
        self._metrics = metrics
        self._streams: dict[SessionStream, asyncio.Event] = {}
        self._stopping = False

    async def Session(self, request_iterator: AsyncIterator[pb.ClientFrame], context: Any) -> None:
        if self._stopping or len(self._streams) >= STREAMS_MAX:
            busy = Overloaded("too many streams, or stopping", retry_after_ms=1000)
            await context.write(pb.ServerFrame(welcome=pb.Welcome(failure=failure_of(busy))))
            return
        stream = SessionStream(
            self._copysets,
            context.write,
            secret=self._secret,
            clock=self._clock,
            metrics=self._metrics,
            transact=self._transact,
        )
        ended = self._streams[stream] = asyncio.Event()
        self._metrics.streams.inc()
        try:
            await stream.run(request_iterator)
        finally:
            del self._streams[stream]
            self._metrics.streams.dec()
            ended.set()

    async def stop(self, deadline_s: float) -> None:
        """End every stream after what is under way on it is answered, at most so long."""
        self._stopping = True
        ended = list(self._streams.values())
        for stream in list(self._streams):
            stream.stop()
        try:
            async with asyncio.timeout(deadline_s):
                for one in ended:
                    await one.wait()
        except TimeoutError:
            return  # the server cuts them

    async def CreatePartition(self, request: pb.CreatePartitionRequest, _context: Any) -> pb.AdminReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            command = state_pb2.CreatePartitionCommand(partition=request.partition)
            await self._run(request.partition.group_id, state_pb2.Entry(format=1, create_partition=command))

        return await answer("CreatePartition", pb.AdminReply, work)

    async def DeletePartition(self, request: pb.DeletePartitionRequest, _context: Any) -> pb.AdminReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            command = state_pb2.DeletePartitionCommand(fs_id=request.fs_id, partition_id=request.partition_id)
            await self._run(request.group_id, state_pb2.Entry(format=1, delete_partition=command))

        return await answer("DeletePartition", pb.AdminReply, work)

    async def EndSession(self, request: pb.EndSessionRequest, _context: Any) -> pb.AdminReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            if len(request.session_id) != SESSION_ID_SIZE:
                raise InvalidArgument(f"a session id has {SESSION_ID_SIZE} bytes")
            for group_id in request.groups:
                await end_session(self._copysets, group_id, request.session_id)

        return await answer("EndSession", pb.AdminReply, work)

    async def _run(self, group_id: int, entry: state_pb2.Entry) -> None:
        check(await awaiting.run(self._copysets.get(group_id), entry, CALL_DEADLINE_S))


async def end_session(copysets: CopysetManager, group_id: int, session_id: bytes) -> None:
    """End a session in a group; done when it is in the group's log. Idempotent. Raises CurveFSError."""
    command = state_pb2.EndSessionCommand(session_id=session_id)
    check(await awaiting.run(copysets.get(group_id), state_pb2.Entry(format=1, end_session=command), CALL_DEADLINE_S))
