"""CopysetService: groups made, removed and looked at. What changes replicas waits for replication."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from ....proto import copyset_pb2 as pb
from ....proto.copyset_pb2_grpc import CopysetServiceServicer
from ...common.errors import Unsupported
from ...common.status import failure_of
from ..calls import answer
from ..epochs import Epochs
from ..storage.environment import Environment
from ..storage.keys import META
from .manager import CopysetManager

_ONE_REPLICA = "groups have one replica"


class CopysetService(CopysetServiceServicer):
    """See copyset.proto."""

    def __init__(self, copysets: CopysetManager, epochs: Epochs, metaserver_id: Callable[[], int]) -> None:
        """metaserver_id: returns this metaserver's id, once it has one."""
        self._copysets = copysets
        self._epochs = epochs
        self._metaserver_id = metaserver_id

    async def CreateCopyset(self, request: pb.CreateCopysetRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            await self._copysets.create(request.group_id, request.peers)

        return await answer("CreateCopyset", pb.CopysetReply, work)

    async def RemoveCopyset(self, request: pb.RemoveCopysetRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            await self._copysets.remove(request.group_id)

        return await answer("RemoveCopyset", pb.CopysetReply, work)

    async def ChangePeers(self, _request: pb.ChangePeersRequest, _context: Any) -> pb.CopysetReply:
        return pb.CopysetReply(failure=failure_of(Unsupported(_ONE_REPLICA)))

    async def TransferLeader(self, _request: pb.TransferLeaderRequest, _context: Any) -> pb.CopysetReply:
        return pb.CopysetReply(failure=failure_of(Unsupported(_ONE_REPLICA)))

    async def RebuildReplica(self, _request: pb.RebuildReplicaRequest, _context: Any) -> pb.CopysetReply:
        return pb.CopysetReply(failure=failure_of(Unsupported(_ONE_REPLICA)))

    async def GetCopysetStatus(self, request: pb.GetCopysetStatusRequest, _context: Any) -> pb.GetCopysetStatusReply:
        async def work() -> pb.GetCopysetStatusReply:
            group = self._copysets.get(request.group_id)
            reply = pb.GetCopysetStatusReply(
                term=group.term,
                leader_id=self._metaserver_id(),
                committed_index=group.committed_index,
                applied_index=group.applied_index,
                first_index=group.checkpoints.base_index + 1,
                last_index=group.last_index,
                peers=group.peers,
                checkpoint_index=group.checkpoints.newest_index,
            )
            if request.with_digest:
                reply.applied_index, reply.digest = await asyncio.to_thread(digest, group.environment)
            return reply

        return await answer("GetCopysetStatus", pb.GetCopysetStatusReply, work)


def digest(environment: Environment) -> tuple[int, bytes]:
    """Return (applied index, digest of the state there): equal on replicas that applied the same. Blocks, for long."""
    hashed = blake2b(digest_size=16)
    with environment.read() as view:
        index = environment.applied_in(view).index
        for key, value in view.scan(b"\0", b"\xff" * 8):
            if not key.startswith(META):
                hashed.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
    return index, hashed.digest()
