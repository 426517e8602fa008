"""TopologyService: metaservers register, and all see who is there, and where. Errors become failures in calls.py."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from collections.abc import Mapping
from typing import TypeVar

from ....proto import topology_pb2 as pb
from ....proto.topology_pb2_grpc import TopologyServiceServicer
from ..calls import Calls, answers
from ..recovery.recovery import Recovery
from ..state import State
from .places import Places
from .registration import Registration
from .views import Views

R = TypeVar("R")


class TopologyService(TopologyServiceServicer):
    """See topology.proto."""

    def __init__(
        self,
        calls: Calls,
        state: State,
        registration: Registration,
        views: Views,
        places: Places,
        *,
        recovery: Recovery,
    ) -> None:
        self.calls = calls
        self._recovery = recovery
        self._places = places
        self._state = state
        self._registration = registration
        self._views = views

    @answers(pb.RegisterMetaserverReply)
    async def RegisterMetaserver(self, request: pb.RegisterMetaserverRequest) -> pb.RegisterMetaserverReply:
        record = await self._registration.register(request)
        cluster = self._state.authority.cluster
        return pb.RegisterMetaserverReply(
            cluster_id=cluster.id,
            metaserver_id=record.metaserver_id,
            token=record.token,
            session_secret=cluster.secret,
        )

    @answers(pb.ListMetaserversReply)
    async def ListMetaservers(self, _request: pb.ListMetaserversRequest) -> pb.ListMetaserversReply:
        return pb.ListMetaserversReply(metaservers=self._views.metaservers())

    @answers(pb.ListCopysetsReply)
    async def ListCopysets(self, request: pb.ListCopysetsRequest) -> pb.ListCopysetsReply:
        return pb.ListCopysetsReply(copysets=self._views.copysets(list(request.group_ids)))

    @answers(pb.ApplyTopologyReply)
    async def ApplyTopology(self, request: pb.ApplyTopologyRequest) -> pb.ApplyTopologyReply:
        self._recovery.check()
        return pb.ApplyTopologyReply(changes=map(str, await self._places.apply(request.file)))

    @answers(pb.GetTopologyReply)
    async def GetTopology(self, _request: pb.GetTopologyRequest) -> pb.GetTopologyReply:
        shown = self._places.shown()
        return pb.GetTopologyReply(pools=_by_id(shown.pools), zones=_by_id(shown.zones), servers=_by_id(shown.servers))


def _by_id(records: Mapping[int, R]) -> list[R]:
    return [record for _, record in sorted(records.items())]
