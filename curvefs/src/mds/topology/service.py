"""TopologyService: metaservers register, and everyone sees who is there. Errors become failures in calls.py."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from ....proto import topology_pb2 as pb
from ....proto.topology_pb2_grpc import TopologyServiceServicer
from ...common.errors import Unsupported
from ..calls import Calls, answers
from ..state import State
from .registration import Registration
from .views import Views


class TopologyService(TopologyServiceServicer):
    """See topology.proto."""

    def __init__(self, calls: Calls, state: State, registration: Registration, views: Views) -> None:
        self.calls = calls
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
    async def ApplyTopology(self, _request: pb.ApplyTopologyRequest) -> pb.ApplyTopologyReply:
        raise Unsupported("pools and zones come with replication: each metaserver is on its own for now")

    @answers(pb.GetTopologyReply)
    async def GetTopology(self, _request: pb.GetTopologyRequest) -> pb.GetTopologyReply:
        raise Unsupported("pools and zones come with replication: each metaserver is on its own for now")
