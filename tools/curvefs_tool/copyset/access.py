"""A cluster's copysets as commands reach them: what the MDS says of them, and each replica asked by itself.

Requests that change something carry the epoch of the MDS's last answer, and what the group itself just said of its
configuration, so that nothing is done on the ground of what is no longer so.
"""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from curvefs.proto import common_pb2, copyset_pb2, copyset_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.common.errors import CurveFSError, NotFound, Unavailable, WrongPartition
from curvefs.src.rpc.blocking import BlockingClient

from ..cluster import CALL_DEADLINE_S

STATUS_DEADLINE_S = 3.0
ELECTION_DEADLINE_S = 10.0
_AT_A_TIME = 8
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a group, and what it said of it."""

    metaserver_id: int
    status: copyset_pb2.GetCopysetStatusReply

    @property
    def voters(self) -> list[int]:
        """Return the metaservers that vote."""
        return [peer.metaserver_id for peer in self.status.peers if not peer.learner]


class Copysets:
    """Use as a context manager."""

    def __init__(self, mds: list[str]) -> None:
        self.epoch = 0
        self._mds = BlockingClient(mds)
        self._clients: dict[str, BlockingClient] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in [self._mds, *self._clients.values()]:
            client.close()

    # ------------------------------------------------------------------------------------ what the MDS says

    def all(self) -> list[topology_pb2.Copyset]:
        """Return all copysets the MDS knows."""
        return self._list([])

    def known(self, group_id: int) -> topology_pb2.Copyset | None:
        """Return a copyset as the MDS knows it; None for one made by hand."""
        found = self._list([group_id])
        return found[0] if found else None

    def addresses(self) -> dict[int, str]:
        """Return the address of every metaserver."""
        request = topology_pb2.ListMetaserversRequest()
        reply = self._mds.call(topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", request)
        self.epoch = reply.epoch
        return {one.metaserver_id: one.address for one in reply.metaservers}

    def peers(self, metaserver_ids: Collection[int]) -> list[common_pb2.Peer]:
        """Return these metaservers with their addresses. Raises NotFound."""
        addresses = self.addresses()
        if unknown := [one for one in metaserver_ids if one not in addresses]:
            raise NotFound(f"no metaserver {unknown[0]}")
        return [common_pb2.Peer(metaserver_id=one, address=addresses[one]) for one in metaserver_ids]

    def _list(self, group_ids: list[int]) -> list[topology_pb2.Copyset]:
        request = topology_pb2.ListCopysetsRequest(group_ids=group_ids)
        reply = self._mds.call(topology_pb2_grpc.TopologyServiceStub, "ListCopysets", request)
        self.epoch = reply.epoch
        return list(reply.copysets)

    # ------------------------------------------------------------------------------- what the replicas say

    def ask(self, metaserver_id: int, method: str, request: Any, *, deadline_s: float = CALL_DEADLINE_S) -> Any:
        """Call CopysetService on one metaserver. Raises what it answers; StaleEpoch: look again and ask again."""
        [peer] = self.peers([metaserver_id])
        if hasattr(request, "mds_epoch"):
            request.mds_epoch = self.epoch
        return self._ask(peer, method, request, deadline_s)

    def statuses(
        self, group_id: int, metaserver_ids: Collection[int] = (), *, deadline_s: float | None = None, **more: Any
    ) -> dict[int, copyset_pb2.GetCopysetStatusReply | CurveFSError]:
        """Ask replicas for their status, all at a time; without ids those of the group's peers.

        more: further fields of the request. Raises NotFound when nobody has a replica.
        """
        peers = self.peers(metaserver_ids) if metaserver_ids else self._candidates(group_id)
        request = copyset_pb2.GetCopysetStatusRequest(group_id=group_id, **more)
        limit_s = STATUS_DEADLINE_S if deadline_s is None else deadline_s

        def one(peer: common_pb2.Peer) -> copyset_pb2.GetCopysetStatusReply | CurveFSError:
            try:
                reply: copyset_pb2.GetCopysetStatusReply = self._ask(peer, "GetCopysetStatus", request, limit_s)
            except CurveFSError as error:
                return error
            return reply

        for peer in peers:
            self._client(peer.address)
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            answers = dict(zip([peer.metaserver_id for peer in peers], threads.map(one, peers), strict=True))
        if answers and all(isinstance(answer, NotFound) for answer in answers.values()):
            raise NotFound(f"no metaserver has a replica of copyset {group_id}")
        return answers

    def leader(self, group_id: int, *, deadline_s: float | None = None) -> Leader:
        """Return who leads a group, by what the leader itself says; an election is waited for.

        Raises NotFound, Unavailable (no leader).
        """
        end = time.monotonic() + (ELECTION_DEADLINE_S if deadline_s is None else deadline_s)
        while True:
            answers = self.statuses(group_id)
            named = {answer.leader_id for answer in answers.values() if not isinstance(answer, CurveFSError)}
            if elsewhere := named - answers.keys() - {0}:  # it joined a moment ago, and the MDS does not know yet
                answers |= self.statuses(group_id, elsewhere & self.addresses().keys())
            leading = [
                Leader(metaserver_id, answer)
                for metaserver_id, answer in answers.items()
                if not isinstance(answer, CurveFSError) and answer.leader_id == metaserver_id
            ]
            if leading:
                return max(leading, key=lambda one: one.status.term)
            if time.monotonic() > end:
                raise Unavailable(f"copyset {group_id} has no leader")
            time.sleep(_PAUSE_S)

    def _candidates(self, group_id: int) -> list[common_pb2.Peer]:
        known = self.known(group_id)
        found = [peer for peer in known.peers if peer.address] if known else self.peers(self.addresses().keys())
        if not found:
            raise NotFound(f"no metaserver has a replica of copyset {group_id}")
        return found

    def _ask(self, peer: common_pb2.Peer, method: str, request: Any, deadline_s: float) -> Any:
        client = self._client(peer.address)
        try:
            return client.call(copyset_pb2_grpc.CopysetServiceStub, method, request, deadline_s=deadline_s)
        except (WrongPartition, NotFound) as error:
            raise NotFound(f"metaserver {peer.metaserver_id} has no replica of copyset {request.group_id}") from error

    def _client(self, address: str) -> BlockingClient:
        return self._clients.setdefault(address, BlockingClient([address]))
