"""Metaservers reduced to their Peers, each with a real gRPC server on loopback; and a link that can be cut."""

import asyncio
import contextlib
import time

from prometheus_client import CollectorRegistry

from curvefs.proto import raft_pb2 as pb
from curvefs.src.metaserver.identity import Identity
from curvefs.src.metaserver.peers.hello import make_hello
from curvefs.src.metaserver.peers.metrics import PeerMetrics
from curvefs.src.metaserver.peers.peers import Peers
from curvefs.src.metaserver.peers.settings import PeerSettings
from curvefs.src.rpc.asyncio_server import start_server

PATIENCE_S = 20.0
SECRET = b"the secret that no log shows"
FAST = {
    "alive_interval_s": 0.05,
    "silence_s": 2.0,
    "backoff_first_s": 0.01,
    "backoff_max_s": 0.1,
    "knock_delay_s": 0.05,
}


def message(source, to, tag=1, size=0):
    said = pb.Message(type=pb.APPEND, to=to, term=1, log_index=tag)
    setattr(said, "from", source)
    if size:
        said.entries.add(index=tag, data=b"x" * size)
    return pb.GroupMessage(group_id=7, message=said)


async def eventually(condition, what="the condition"):
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        await asyncio.sleep(0.005)


class HandClock:
    """Boot time as it is told; the wall clock has an offset."""

    def __init__(self, offset_ns=0):
        self.now = 1000.0
        self.offset_ns = offset_ns

    def boottime_s(self):
        return self.now

    def time_ns(self):
        return int(self.now * 1e9) + self.offset_ns


class RealClock(HandClock):
    """The machine's, with an offset."""

    def boottime_s(self):
        return time.monotonic()

    def time_ns(self):
        return time.time_ns() + self.offset_ns


class Node:
    """One metaserver: ``frames`` are (from, messages) as they were received."""

    def __init__(self, id_, *, clock=None, identity=None, **settings):
        self.id = id_
        self.identity = identity or Identity("cluster", id_, b"", SECRET)
        self.clock = clock or RealClock()
        self.settings = PeerSettings(**FAST | settings)
        self.address = "127.0.0.1:0"
        self.frames = []
        self.failing = None
        self.peers = None

    async def start(self):
        self.registry = CollectorRegistry()
        self.peers = Peers(
            lambda: self.identity,
            lambda: self.address,
            self._receive,
            clock=self.clock,
            metrics=PeerMetrics(self.registry),
            settings=self.settings,
        )
        self._server = await start_server(self.address, [self.peers.servicer])
        self.address = self._server.address
        self.running = asyncio.create_task(self.peers.run())
        await asyncio.sleep(0)

    async def stop(self):
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self._server.stop(0)

    def _receive(self, from_id, messages):
        if self.failing is not None:
            raise self.failing
        self.frames.append((from_id, list(messages)))

    @property
    def tags(self):
        return [said.message.log_index for _, messages in self.frames for said in messages]

    def send(self, to, tag=1, size=0):
        self.peers.send(to, message(self.id, to, tag, size))

    def count(self, name, **labels):
        return self.registry.get_sample_value(f"metaserver_peer_{name}", labels) or 0

    def has(self, *peer_ids):
        return all(self.peers.connected_at(peer_id) is not None for peer_id in peer_ids)

    def hello(self, to, **changes):
        """Return a hello of this node's, signed after the changes."""
        me = Identity(
            changes.pop("cluster_id", "cluster"), changes.pop("source", self.id), b"", changes.pop("secret", SECRET)
        )
        return make_hello(me, to, time_ns=time.time_ns(), address=self.address, **changes)


@contextlib.asynccontextmanager
async def nodes(*all_of_them):
    """Run metaservers."""
    try:
        for node in all_of_them:
            await node.start()
        yield all_of_them
    finally:
        for node in all_of_them:
            if node.peers is not None:
                await node.stop()


@contextlib.asynccontextmanager
async def pair(**settings):
    """Give metaservers 1 and 2, connected."""
    one, two = Node(1, **settings), Node(2, **settings)
    async with nodes(one, two):
        one.peers.know(2, two.address)
        two.peers.know(1, one.address)
        await eventually(lambda: one.has(2) and two.has(1), "the stream")
        yield one, two


class Proxy:
    """Forwards TCP connections to an address; cut, it takes bytes and connections and forwards nothing."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._to = host, int(port)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks = set()
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self):
        self._open.clear()

    def heal(self):
        """Forward new connections; what was sent on the old ones is lost with them."""
        for task in self._tasks:
            task.cancel()
        self._open.set()

    def _on_connection(self, reader, writer):
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader, writer):
        writers = [writer]
        try:
            await self._open.wait()
            to_reader, to_writer = await asyncio.open_connection(*self._to)
            writers.append(to_writer)
            forwards = [self._forward(reader, to_writer), self._forward(to_reader, writer)]
            await asyncio.wait([asyncio.create_task(one) for one in forwards], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in writers:
                one.transport.abort()

    async def _forward(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
