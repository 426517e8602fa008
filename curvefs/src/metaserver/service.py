"""MetaServerService: the calls of the MDS about partitions and sessions, and where session streams are taken."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from typing import Any

from ...proto import metaserver_pb2 as pb
from ...proto import state_pb2
from ...proto.metaserver_pb2_grpc import MetaServerServiceServicer
from ..common.errors import InvalidArgument, Unavailable
from ..common.ids import SESSION_ID_SIZE
from .calls import CALL_DEADLINE_S, answer, check
from .copyset import awaiting
from .copyset.manager import CopysetManager
from .epochs import Epochs
from .session_port import SessionPort


class MetaServerService(MetaServerServiceServicer):
    """See metaserver.proto."""

    def __init__(self, copysets: CopysetManager, epochs: Epochs, sessions: SessionPort) -> None:
        self._copysets = copysets
        self._epochs = epochs
        self._sessions = sessions

    async def FindSessions(self, _request: pb.FindSessionsRequest, _context: Any) -> pb.FindSessionsReply:
        async def work() -> None:
            if not self._sessions.port:
                raise Unavailable("it is being started")

        reply = await answer("FindSessions", pb.FindSessionsReply, work)
        reply.port, reply.instance = self._sessions.port, self._sessions.instance
        return reply

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
