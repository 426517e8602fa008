"""One real session stream, to a server that answers each Hello with a lane for each of its groups."""

import socket
import threading

import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Unreachable
from curvefs.src.rpc import connection
from curvefs.src.rpc.connection import SessionsAt, dial, find_sessions
from curvefs.src.rpc.frames import PREFACE, FrameReader, pack

pytestmark = pytest.mark.trio
PATIENCE_S = 20
INSTANCE = b"instance"


class Server:
    """``answer``: returns what is sent for a frame."""

    def __init__(self):
        self.prefaces = []
        self.streams = []
        self.ended = trio.Event()
        self.reading = trio.Event()
        self.reading.set()
        self.address = ""

    async def run(self, task_status):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started(self)
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream):
        self.streams.append(stream)
        self.prefaces.append(await stream.receive_some(len(PREFACE + INSTANCE)))
        frames = FrameReader()
        try:
            async for data in stream:
                await self.reading.wait()
                for message in frames.take(data):
                    await stream.send_all(self.answer(pb.ClientFrame.FromString(message)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.ended.set()

    def answer(self, frame):
        lanes = [pb.Lane(group_id=group, expected_sequence=1) for group in frame.hello.groups]
        return pack(pb.ServerFrame(welcome=pb.Welcome(), lanes=lanes).SerializeToString())


class Peer:
    """A connection, and what it delivered. It runs until it ends or is closed."""

    def __init__(self):
        self.ended = trio.Event()
        self._send, self.arriving = trio.open_memory_channel(10_000)
        self._scope = trio.CancelScope()
        self.connection = None

    async def run(self, address, task_status):
        self.connection = await dial(SessionsAt(address, INSTANCE), self._send.send_nowait)
        task_status.started(self)
        with self._scope:
            await self.connection.run()
        self.ended.set()

    def close(self):
        self._scope.cancel()

    async def groups(self):
        """Return the groups of the next frame's lanes."""
        return [lane.group_id for lane in (await self.arriving.receive()).lanes]


@pytest.fixture
async def server(nursery):
    yield await nursery.start(Server().run)
    nursery.cancel_scope.cancel()


@pytest.fixture
async def peer(server, nursery):
    return await nursery.start(Peer().run, server.address)


def hello(*groups):
    return pb.ClientFrame(hello=pb.Hello(protocol_version=1, groups=groups))


async def test_frames_go_there_and_back_in_order_after_the_preface(server, peer):
    for group in range(1, 20):
        peer.connection.send(hello(group))
    with trio.fail_after(PATIENCE_S):
        assert [await peer.groups() for _ in range(1, 20)] == [[group] for group in range(1, 20)]
    assert server.prefaces == [PREFACE + INSTANCE]
    assert not peer.ended.is_set()


async def test_what_does_not_fit_into_the_socket_goes_in_order_later(server, peer):
    server.reading = trio.Event()
    count = 400
    for group in range(1, count):
        peer.connection.send(pb.ClientFrame(hello=pb.Hello(token=bytes(65536), groups=[group])))
    with trio.fail_after(PATIENCE_S):
        await trio.sleep(0.2)
        peer.connection.send(hello(count))
        server.reading.set()
        assert [await peer.groups() for _ in range(1, count + 1)] == [[group] for group in range(1, count + 1)]


async def test_a_server_that_goes_away_ends_the_connection(server, peer):
    peer.connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        await peer.groups()
        await server.streams[0].aclose()
        await peer.ended.wait()
    peer.connection.send(hello(2))  # dropped


async def test_one_that_breaks_ends_too(server, peer):
    peer.connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        await peer.groups()
        server.streams[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await server.streams[0].aclose()  # a reset
        for group in range(2, 1000):
            peer.connection.send(hello(group))
        await peer.ended.wait()


@pytest.mark.parametrize("answer", [b"\xff\xff\xff\xff", pack(b"\xff\xff")])
async def test_an_answer_that_cannot_be_read_ends_it(server, peer, answer):
    server.answer = lambda _: answer
    peer.connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        await peer.ended.wait()
        await server.ended.wait()


async def test_an_address_where_nobody_listens_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for call in (dial(SessionsAt(address, INSTANCE), lambda _: None), find_sessions(address)):
        with trio.fail_after(PATIENCE_S), pytest.raises(Unreachable):
            await call


@pytest.mark.parametrize("address", ["no host!:1", "x" * 300 + ":1", "127.0.0.1:99999"])
async def test_an_address_that_is_none_is_unreachable_too(address):
    for call in (dial(SessionsAt(address, INSTANCE), lambda _: None), find_sessions(address)):
        with trio.fail_after(PATIENCE_S), pytest.raises(Unreachable):
            await call


async def test_a_name_that_takes_long_to_be_resolved_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(connection, "STEP_S", 0.0)
    monkeypatch.setattr(connection, "SPARE_S", 0.1)
    asked = threading.Event()
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: asked.wait(PATIENCE_S))
    try:
        with trio.fail_after(PATIENCE_S / 2), pytest.raises(Unreachable, match="not reached"):
            await dial(SessionsAt("127.0.0.1:1", INSTANCE), lambda _: None)
    finally:
        asked.set()


async def test_closing_ends_it_for_the_server_and_nothing_is_delivered_any_more(server, peer):
    peer.connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        await peer.groups()
        peer.connection.send(hello(2))
        peer.close()
        await server.ended.wait()
        await peer.ended.wait()
    with pytest.raises(trio.WouldBlock):
        peer.arriving.receive_nowait()
