"""MdsService: filesystems, mount sessions and the MDS itself. Errors become failures in calls.py."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import os
from dataclasses import dataclass
from importlib.metadata import version

from ...proto import mds_pb2 as pb
from ...proto.mds_pb2_grpc import MdsServiceServicer
from ..common.clock import Clock
from ..common.errors import NotFound
from .calls import Calls, answers
from .filesystems import Filesystems
from .recovery.recovery import Recovery
from .sessions import Sessions
from .state import State
from .topology.views import Views


@dataclass(slots=True)
class Identity:
    """What this MDS says of itself. address: set once it listens; cluster_id: once it is known."""

    mds_id: str
    started_ns: int
    metrics_address: str
    cluster_id: str = ""
    address: str = ""

    def status(self, *, leader: str, leading: bool) -> pb.GetStatusReply:
        """Return the answer to GetStatus."""
        return pb.GetStatusReply(
            cluster_id=self.cluster_id,
            mds_id=self.mds_id,
            pid=os.getpid(),
            address=self.address,
            leading=leading,
            leader=leader,
            started_ns=self.started_ns,
            version=version("curvefs"),
            metrics_address=self.metrics_address,
        )


class MdsService(MdsServiceServicer):
    """See mds.proto."""

    def __init__(
        self,
        calls: Calls,
        state: State,
        filesystems: Filesystems,
        sessions: Sessions,
        *,
        views: Views,
        recovery: Recovery,
        identity: Identity,
        clock: Clock,
    ) -> None:
        self.calls = calls
        self._state = state
        self._filesystems = filesystems
        self._sessions = sessions
        self._views = views
        self._recovery = recovery
        self._identity = identity
        self._clock = clock

    @answers(pb.FilesystemReply)
    async def CreateFilesystem(self, request: pb.CreateFilesystemRequest) -> pb.FilesystemReply:
        return self._shown(await self._filesystems.create(request))

    @answers(pb.ListFilesystemsReply)
    async def ListFilesystems(self, _request: pb.ListFilesystemsRequest) -> pb.ListFilesystemsReply:
        return pb.ListFilesystemsReply(filesystems=self._filesystems.all(), mds_time_ns=self._clock.time_ns())

    @answers(pb.FilesystemReply)
    async def GetFilesystem(self, request: pb.GetFilesystemRequest) -> pb.FilesystemReply:
        return self._shown(self._filesystems.get(request.name))

    @answers(pb.FilesystemReply)
    async def DeleteFilesystem(self, request: pb.DeleteFilesystemRequest) -> pb.FilesystemReply:
        return self._shown(await self._filesystems.delete(request.name, request.uuid))

    @answers(pb.OpenSessionReply)
    async def OpenSession(self, request: pb.OpenSessionRequest) -> pb.OpenSessionReply:
        session, token = await self._sessions.open(request)
        return pb.OpenSessionReply(
            session=session,
            token=token,
            filesystem=self._state.filesystems.get(session.fs_id),
            partitions=self._views.partitions(session.fs_id),
            mds_time_ns=self._clock.time_ns(),
        )

    @answers(pb.RenewSessionReply)
    async def RenewSession(self, request: pb.RenewSessionRequest) -> pb.RenewSessionReply:
        token, lease_ms = await self._sessions.renew(request.session_id, request.token, request.session)
        return pb.RenewSessionReply(token=token, lease_ms=lease_ms, mds_time_ns=self._clock.time_ns())

    @answers(pb.CloseSessionReply)
    async def CloseSession(self, request: pb.CloseSessionRequest) -> pb.CloseSessionReply:
        await self._sessions.close(request.session_id, end_identity=request.end_identity)
        return pb.CloseSessionReply()

    @answers(pb.ListSessionsReply)
    async def ListSessions(self, request: pb.ListSessionsRequest) -> pb.ListSessionsReply:
        fs_id = self._filesystems.get(request.name).fs_id if request.name else None
        return pb.ListSessionsReply(sessions=self._sessions.of(fs_id))

    @answers(pb.ListPartitionsReply)
    async def ListPartitions(self, request: pb.ListPartitionsRequest) -> pb.ListPartitionsReply:
        if request.fs_id not in self._state.filesystems:
            self._recovery.check()
            raise NotFound(f"no filesystem {request.fs_id}")
        return pb.ListPartitionsReply(partitions=self._views.partitions(request.fs_id))

    @answers(pb.GetStatusReply)
    async def GetStatus(self, _request: pb.GetStatusRequest) -> pb.GetStatusReply:
        status = self._identity.status(leader=self._identity.address, leading=True)
        status.recovery = self._recovery.line
        return status

    @answers(pb.RecoveryReply)
    async def GetRecovery(self, _request: pb.GetRecoveryRequest) -> pb.RecoveryReply:
        return self._recovery.status()

    @answers(pb.RecoveryReply)
    async def EndRecovery(self, _request: pb.EndRecoveryRequest) -> pb.RecoveryReply:
        await self._recovery.end()
        return self._recovery.status()

    def _shown(self, filesystem: pb.Filesystem) -> pb.FilesystemReply:
        return pb.FilesystemReply(
            filesystem=filesystem,
            partitions=self._views.partitions(filesystem.fs_id),
            session_count=self._filesystems.session_count(filesystem.fs_id),
            mds_time_ns=self._clock.time_ns(),
        )
