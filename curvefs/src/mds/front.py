"""What answers on the MDS's port: the managers while this MDS serves, else the address of the one that does.

The port is open for the whole life of the process; an Mds comes with each term and goes with it. A call that ends when
the term is over says nothing of what it found: the caller is sent to the next leader and asks again there.

Shared across awaits: the Mds that serves and the candidacy, replaced as the process is elected and deposed.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from ...proto import heartbeat_pb2, mds_pb2, schedule_pb2, topology_pb2
from ...proto.heartbeat_pb2_grpc import add_HeartbeatServiceServicer_to_server
from ...proto.mds_pb2_grpc import add_MdsServiceServicer_to_server
from ...proto.schedule_pb2_grpc import add_ScheduleServiceServicer_to_server
from ...proto.topology_pb2_grpc import add_TopologyServiceServicer_to_server
from ..common.errors import Redirect
from ..common.status import failure_of
from ..rpc.asyncio_server import AsyncServer, start_server
from .election import Candidacy
from .service import Identity

_SERVICES: list[tuple[ServiceDescriptor, Callable[[Any, Any], None]]] = [
    (mds_pb2.DESCRIPTOR.services_by_name["MdsService"], add_MdsServiceServicer_to_server),
    (topology_pb2.DESCRIPTOR.services_by_name["TopologyService"], add_TopologyServiceServicer_to_server),
    (heartbeat_pb2.DESCRIPTOR.services_by_name["HeartbeatService"], add_HeartbeatServiceServicer_to_server),
    (schedule_pb2.DESCRIPTOR.services_by_name["ScheduleService"], add_ScheduleServiceServicer_to_server),
]

Handler = Callable[[Any, Any], Awaitable[Any]]


class Serving(Protocol):
    """What serves for a term. services: gRPC servicers by the name of their service."""

    services: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Return whether it may still serve."""
        ...


class Front:
    """See the module."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._serving: Serving | None = None
        self._candidacy: Candidacy | None = None

    async def listen(self, address: str) -> AsyncServer:
        """Answer on HOST:PORT. Raises StartupError (ADDRESS_IN_USE)."""
        added = [partial(add, self._servicer(service)) for service, add in _SERVICES]
        server = await start_server(address, added)
        self.identity.address = server.address
        return server

    def stand_by(self, candidacy: Candidacy | None) -> None:
        """From now on this MDS serves nobody. candidacy: knows who does."""
        self._serving = None
        self._candidacy = candidacy

    def serve(self, serving: Serving) -> None:
        """From now on calls are answered by this, as long as it holds."""
        self._serving = serving

    @property
    def _leader(self) -> str:
        return self._candidacy.leader if self._candidacy is not None else ""

    def _servicer(self, service: ServiceDescriptor) -> Any:
        return SimpleNamespace(**{method.name: self._handler(service.name, method) for method in service.methods})

    def _handler(self, service: str, method: MethodDescriptor) -> Handler:
        reply = message_factory.GetMessageClass(method.output_type)
        elsewhere = self._status if reply is mds_pb2.GetStatusReply else partial(self._redirect, reply)

        async def handle(request: Any, context: Any) -> Any:
            serving = self._serving
            if serving is None or not serving.holds:
                return elsewhere()
            answer = await getattr(serving.services[service], method.name)(request, context)
            return answer if serving.holds else elsewhere()

        return handle

    def _redirect(self, reply: type[Any]) -> Any:
        leader = self._leader
        where = f"{leader} does" if leader else "none does now"
        return reply(failure=failure_of(Redirect(f"this MDS does not serve; {where}", leader=leader)))

    def _status(self) -> mds_pb2.GetStatusReply:
        return self.identity.status(leader=self._leader, leading=False)
