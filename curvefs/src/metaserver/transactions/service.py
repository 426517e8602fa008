"""TransactionService: what metaservers ask of one another about transactions. Strangers are refused."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from collections.abc import Callable
from typing import Any

import structlog

from ....proto import transaction_pb2 as pb
from ....proto.transaction_pb2_grpc import TransactionServiceServicer
from ...common.errors import CurveFSError, PermissionDenied
from ..calls import answer
from ..copyset import awaiting
from ..copyset.manager import CopysetManager
from ..metastore import reads
from ..metastore.scope import Refusal
from ..quotas.owner import QuotaOwner
from ..reclaim.home import Home
from ..storage.environment import LmdbTransaction
from .calls import verify
from .coordinator import Coordinator
from .participant import ENTRY_DEADLINE_S, Participant

_log = structlog.get_logger()


class TransactionCalls:
    """Answers calls to groups that this metaserver leads."""

    def __init__(
        self,
        copysets: CopysetManager,
        coordinator: Coordinator,
        participant: Participant,
        quotas: QuotaOwner,
        home: Home,
    ) -> None:
        self._copysets = copysets
        self._methods: dict[str, Callable[[Any], Any]] = {
            "Prepare": participant.prepare,
            "Finish": participant.finish,
            "Query": coordinator.query,
            "ReadInodes": self._read_inodes,
            "Read": self._read,
            "SetShare": quotas.set_share,
            "MarkInodes": quotas.mark,
            "Quota": quotas.operate,
            "Recount": quotas.recount,
            "Release": home.release,
            "AddReference": home.add_reference,
        }

    def leads(self, group_id: int) -> bool:
        """Say whether this metaserver leads a group."""
        try:
            return self._copysets.get(group_id).is_leader
        except CurveFSError:
            return False

    async def answer(self, method: str, request: Any) -> Any:
        """Answer a call. Raises CurveFSError."""
        return await self._methods[method](request)

    async def _read_inodes(self, request: pb.ReadInodesRequest) -> pb.ReadInodesReply:
        def look(view: LmdbTransaction) -> pb.ReadInodesReply:
            return pb.ReadInodesReply(
                inodes=[reads.settled_inode(view, request.fs_id, inode_id) for inode_id in request.inodes]
            )

        try:
            return await awaiting.read(self._copysets.get(request.group_id), look, ENTRY_DEADLINE_S)
        except Refusal as refusal:
            raise refusal.as_error() from refusal

    async def _read(self, request: pb.ReadRequest) -> pb.ReadReply:
        def look(view: LmdbTransaction) -> pb.ReadReply:
            return pb.ReadReply(result=reads.read(view, request.fs_id, request.read))

        return await awaiting.read(self._copysets.get(request.group_id), look, ENTRY_DEADLINE_S)


class TransactionService(TransactionServiceServicer):
    """See transaction.proto. secret: the cluster's."""

    def __init__(self, calls: TransactionCalls, secret: Callable[[], bytes]) -> None:
        self._calls = calls
        self._secret = secret

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> Any:
        return await self._answer("Prepare", pb.PrepareReply, request, context)

    async def Finish(self, request: pb.FinishRequest, context: Any) -> Any:
        return await self._answer("Finish", pb.FinishReply, request, context)

    async def Query(self, request: pb.QueryRequest, context: Any) -> Any:
        return await self._answer("Query", pb.QueryReply, request, context)

    async def ReadInodes(self, request: pb.ReadInodesRequest, context: Any) -> Any:
        return await self._answer("ReadInodes", pb.ReadInodesReply, request, context)

    async def Read(self, request: pb.ReadRequest, context: Any) -> Any:
        return await self._answer("Read", pb.ReadReply, request, context)

    async def SetShare(self, request: pb.SetShareRequest, context: Any) -> Any:
        return await self._answer("SetShare", pb.SetShareReply, request, context)

    async def MarkInodes(self, request: pb.MarkInodesRequest, context: Any) -> Any:
        return await self._answer("MarkInodes", pb.MarkInodesReply, request, context)

    async def Quota(self, request: pb.QuotaRequest, context: Any) -> Any:
        return await self._answer("Quota", pb.QuotaReply, request, context)

    async def Recount(self, request: pb.RecountRequest, context: Any) -> Any:
        return await self._answer("Recount", pb.RecountReply, request, context)

    async def Release(self, request: pb.ReleaseRequest, context: Any) -> Any:
        return await self._answer("Release", pb.ReleaseReply, request, context)

    async def AddReference(self, request: pb.AddReferenceRequest, context: Any) -> Any:
        return await self._answer("AddReference", pb.AddReferenceReply, request, context)

    async def _answer(self, method: str, reply: Any, request: Any, context: Any) -> Any:
        async def work() -> Any:
            try:
                verify(self._secret(), request)
            except PermissionDenied:
                _log.warning("a call of a stranger was refused", method=method, peer=context.peer())
                raise
            return await self._calls.answer(method, request)

        return await answer(method, reply, work)
