"""CopysetService: replicas made, removed, changed and looked at, for the MDS and for operators."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from ....proto import common_pb2
from ....proto import copyset_pb2 as pb
from ....proto.copyset_pb2_grpc import CopysetServiceServicer, CopysetServiceStub
from ...common.errors import Unavailable
from ...rpc.asyncio_client import AsyncClient
from ..calls import CALL_DEADLINE_S, answer
from ..epochs import Epochs
from ..storage.environment import Environment
from ..storage.keys import META
from .group import Group
from .manager import CopysetManager
from .membership import Membership

_STEP_S = 0.02


class CopysetService(CopysetServiceServicer):
    """See copyset.proto."""

    def __init__(
        self, copysets: CopysetManager, membership: Membership, epochs: Epochs, metaserver_id: Callable[[], int]
    ) -> None:
        """metaserver_id: returns this metaserver's id, once it has one."""
        self._copysets = copysets
        self._membership = membership
        self._epochs = epochs
        self._metaserver_id = metaserver_id

    async def CreateCopyset(self, request: pb.CreateCopysetRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            first = request.first_metaserver_id == self._metaserver_id()
            await self._copysets.create(request.group_id, request.peers, first=first, term=request.term)

        return await answer("CreateCopyset", pb.CopysetReply, work)

    async def RemoveCopyset(self, request: pb.RemoveCopysetRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> None:
            self._epochs.obey(request.mds_epoch)
            await self._copysets.remove(request.group_id, damaged=request.damaged, made_for=request.configuration_index)

        return await answer("RemoveCopyset", pb.CopysetReply, work)

    async def ChangePeers(self, request: pb.ChangePeersRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> pb.CopysetReply:
            group = self._led(request.mds_epoch, request.group_id, request.configuration_index)
            index = await self._membership.change(group, list(request.peers), CALL_DEADLINE_S)
            return pb.CopysetReply(configuration_index=index)

        return await answer("ChangePeers", pb.CopysetReply, work)

    async def TransferLeader(self, request: pb.TransferLeaderRequest, _context: Any) -> pb.CopysetReply:
        async def work() -> None:
            group = self._led(request.mds_epoch, request.group_id, request.configuration_index)
            await self._membership.transfer(group, request.to_metaserver_id, CALL_DEADLINE_S)

        return await answer("TransferLeader", pb.CopysetReply, work)

    async def RebuildReplica(self, request: pb.RebuildReplicaRequest, _context: Any) -> pb.CopysetReply:
        async def throw_away(address: str, left_at: int) -> None:
            client = AsyncClient([address], deadline_s=CALL_DEADLINE_S)
            try:
                remove = pb.RemoveCopysetRequest(
                    mds_epoch=request.mds_epoch, group_id=request.group_id, configuration_index=left_at, damaged=True
                )
                await client.call(CopysetServiceStub, "RemoveCopyset", remove)
                # The term is asked for now: this server has led while the replica was no member.
                term = self._copysets.get(request.group_id).raft.term
                create = pb.CreateCopysetRequest(mds_epoch=request.mds_epoch, group_id=request.group_id, term=term)
                await client.call(CopysetServiceStub, "CreateCopyset", create)
            finally:
                await client.close()

        async def work() -> pb.CopysetReply:
            group = self._led(request.mds_epoch, request.group_id, request.configuration_index)
            index = await self._membership.rebuild(group, request.metaserver_id, throw_away, CALL_DEADLINE_S)
            return pb.CopysetReply(configuration_index=index)

        return await answer("RebuildReplica", pb.CopysetReply, work)

    async def GetCopysetStatus(self, request: pb.GetCopysetStatusRequest, _context: Any) -> pb.GetCopysetStatusReply:
        async def work() -> pb.GetCopysetStatusReply:
            damage = self._copysets.damaged.get(request.group_id)
            if damage is not None:
                return pb.GetCopysetStatusReply(damaged=True, damage=str(damage))
            group = self._copysets.get(request.group_id)
            await _until_applied(group, request.at_index)
            reply = status(group)
            if request.with_digest:
                reply.applied_index, reply.digest = await asyncio.to_thread(digest, group.environment)
            return reply

        return await answer("GetCopysetStatus", pb.GetCopysetStatusReply, work)

    def _led(self, epoch: int, group_id: int, configuration_index: int) -> Group:
        self._epochs.obey(epoch)
        group = self._copysets.get(group_id)
        self._membership.check(group, configuration_index)
        return group


def status(group: Group) -> pb.GetCopysetStatusReply:
    """Return how a group is on this metaserver."""
    raft, log = group.raft, group.raft.log
    configuration = log.configuration
    addresses = dict(configuration.addresses)
    reply = pb.GetCopysetStatusReply(
        term=raft.term,
        leader_id=raft.leader,
        committed_index=log.committed,
        applied_index=group.applied_index,
        first_index=log.base.index + 1,
        last_index=log.last_index,
        configuration_index=log.configuration_index,
        checkpoint_index=group.checkpoints.newest_index,
    )
    for ids, learner, into in (
        (configuration.voters, False, reply.peers),
        (configuration.learners, True, reply.peers),
        (configuration.outgoing, False, reply.outgoing_peers),
    ):
        for id_ in ids:
            into.append(common_pb2.Peer(metaserver_id=id_, address=addresses.get(id_, ""), learner=learner))
    if raft.leadership is not None:
        for id_, one in sorted(raft.leadership.progress.items()):
            reply.progress.add(metaserver_id=id_, match_index=one.match, state=one.sending.value)
    if group.broken is not None:
        reply.damaged, reply.damage = True, str(group.broken)
    return reply


async def _until_applied(group: Group, index: int) -> None:
    end = time.monotonic() + CALL_DEADLINE_S / 2
    while group.applied_index < index:
        if time.monotonic() >= end:
            raise Unavailable(f"entry {index} is not applied here; the last one is {group.applied_index}")
        await asyncio.sleep(_STEP_S)


def digest(environment: Environment) -> tuple[int, bytes]:
    """Return (applied index, digest of the state there): equal on replicas that applied the same. Blocks, for long.

    Raises Unavailable when the environment is being closed.
    """
    hashed = blake2b(digest_size=16)
    with environment.read_at_length() as view:
        index = environment.applied_in(view).index
        for key, value in view.scan(b"\0", b"\xff" * 8):
            if environment.is_closing:
                raise Unavailable("the state is being closed")
            if not key.startswith(META):
                hashed.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
    return index, hashed.digest()
