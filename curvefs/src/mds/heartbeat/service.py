"""HeartbeatService. Errors become failures in calls.py."""
# ruff: noqa: N802, D102 -- gRPC gives the method its name, the .proto documents it

from ....proto import heartbeat_pb2 as pb
from ....proto.heartbeat_pb2_grpc import HeartbeatServiceServicer
from ..calls import Calls, answers
from .handler import Heartbeats


class HeartbeatService(HeartbeatServiceServicer):
    """See heartbeat.proto."""

    def __init__(self, calls: Calls, heartbeats: Heartbeats) -> None:
        self.calls = calls
        self._heartbeats = heartbeats

    @answers(pb.HeartbeatReply)
    async def Heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatReply:
        return self._heartbeats.beat(request)
