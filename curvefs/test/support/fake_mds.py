"""An MDS for one metaserver: registers it, notes its heartbeats, gives orders, signs tokens. In this process."""
# ruff: noqa: N802

import asyncio
from functools import partial

from curvefs.proto import common_pb2, heartbeat_pb2, mds_pb2, topology_pb2
from curvefs.proto.heartbeat_pb2_grpc import HeartbeatServiceServicer, add_HeartbeatServiceServicer_to_server
from curvefs.proto.topology_pb2_grpc import TopologyServiceServicer, add_TopologyServiceServicer_to_server
from curvefs.src.common.tokens import sign
from curvefs.src.rpc.asyncio_server import start_server

FAR_FUTURE_NS = 1 << 62
PATIENCE_S = 30


class FakeMds(TopologyServiceServicer, HeartbeatServiceServicer):
    """start() it; ``address`` stays the same over stop() and start()."""

    def __init__(self):
        self.address = "127.0.0.1:0"
        self.epoch = 1
        self.cluster_id = "cluster"
        self.secret = b"secret" * 4
        self.registrations = []
        self.heartbeats = []
        self.orders = []
        self.answer = {}  # further fields of the answers to heartbeats
        self.has_forgotten = False
        self.heard = asyncio.Event()

    async def start(self):
        self._server = await start_server(
            self.address,
            [
                partial(add_TopologyServiceServicer_to_server, self),
                partial(add_HeartbeatServiceServicer_to_server, self),
            ],
        )
        self.address = self._server.address

    async def stop(self):
        await self._server.stop(0)

    async def RegisterMetaserver(self, request, context):
        self.registrations.append(request)
        self.has_forgotten = False
        reply = topology_pb2.RegisterMetaserverReply(epoch=self.epoch)
        if request.cluster_id not in ("", self.cluster_id):
            reply.failure.code = common_pb2.PERMISSION_DENIED
            reply.failure.message = "another cluster"
            return reply
        reply.cluster_id, reply.metaserver_id = self.cluster_id, 7
        reply.token, reply.session_secret = b"t" * 16, self.secret
        return reply

    async def Heartbeat(self, request, context):
        self.heartbeats.append(request)
        self.heard.set()
        if self.has_forgotten:
            failure = common_pb2.Failure(code=common_pb2.PERMISSION_DENIED)
            return heartbeat_pb2.HeartbeatReply(epoch=self.epoch, failure=failure)
        orders, self.orders = self.orders, []
        return heartbeat_pb2.HeartbeatReply(epoch=self.epoch, next_heartbeat_ms=100, orders=orders, **self.answer)

    async def heartbeat_with(self, wanted):
        """Wait for a heartbeat of which ``wanted`` holds, from now on."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.heard.clear()
                await self.heard.wait()
                if wanted(self.heartbeats[-1]):
                    return self.heartbeats[-1]

    def token(self, fs_id, session_id, *, expires_ns=FAR_FUTURE_NS, secret=None, read_only=False):
        said = mds_pb2.SessionToken(fs_id=fs_id, session_id=session_id, expires_ns=expires_ns, read_only=read_only)
        return sign(secret or self.secret, said)
