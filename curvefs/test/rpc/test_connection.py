"""One real gRPC stream: frames there and back, and how it ends."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import metaserver_pb2_grpc
from curvefs.src.rpc.connection import GrpcConnection

pytestmark = pytest.mark.trio
PATIENCE_S = 20


class Servicer(metaserver_pb2_grpc.MetaServerServiceServicer):
    """Answers each Hello with a lane for each of its groups."""

    def __init__(self):
        self.ended = threading.Event()

    def Session(self, request_iterator, context):  # noqa: N802
        context.add_callback(self.ended.set)
        for frame in request_iterator:
            lanes = [pb.Lane(group_id=group, expected_sequence=1) for group in frame.hello.groups]
            yield pb.ServerFrame(welcome=pb.Welcome(lanes=lanes))


@pytest.fixture
def served():
    servicer = Servicer()
    threads = ThreadPoolExecutor(2)
    server = grpc.server(threads)
    metaserver_pb2_grpc.add_MetaServerServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer, server, address
    server.stop(0).wait()
    threads.shutdown()


def hello(*groups):
    return pb.ClientFrame(hello=pb.Hello(protocol_version=1, groups=groups))


async def test_frames_go_there_and_back_in_order(served):
    _, _, address = served
    send, receive = trio.open_memory_channel(100)
    connection = GrpcConnection(address, send.send_nowait)
    for group in range(1, 20):
        connection.send(hello(group))
    with trio.fail_after(PATIENCE_S):
        arrived = [(await receive.receive()).welcome.lanes[0].group_id for _ in range(1, 20)]
    assert arrived == list(range(1, 20))
    assert not connection.ended.is_set()
    connection.close()


async def test_a_server_that_goes_away_ends_the_connection(served):
    _, server, address = served
    send, receive = trio.open_memory_channel(100)
    connection = GrpcConnection(address, send.send_nowait)
    connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        await receive.receive()
        server.stop(0)
        await connection.ended.wait()
    connection.close()


async def test_an_address_where_nobody_listens_ends_it_too(served):
    _, server, address = served
    server.stop(0).wait()
    connection = GrpcConnection(address, lambda _: None)
    with trio.fail_after(PATIENCE_S):
        await connection.ended.wait()
    connection.close()


async def test_closing_ends_the_call_and_nothing_is_delivered_any_more(served):
    servicer, _, address = served
    arrived = []
    connection = GrpcConnection(address, arrived.append)
    connection.send(hello(1))
    with trio.fail_after(PATIENCE_S):
        while not arrived:
            await trio.sleep(0.01)
        connection.send(hello(2))
        connection.close()
        await trio.to_thread.run_sync(servicer.ended.wait, PATIENCE_S)
    assert servicer.ended.is_set()
    with trio.fail_after(PATIENCE_S):
        await connection.ended.wait()
    assert len(arrived) == 1


async def test_a_server_that_is_slow_to_answer_is_connected_all_the_same(served, nursery):
    """An overloaded machine, or one far away, must not be given up before it can have answered."""
    _, _, address = served
    host, port = address.split(":")

    async def pass_on(source, sink, delay_s):
        while data := await source.receive_some(65536):
            await trio.sleep(delay_s)
            await sink.send_all(data)

    async def serve(client):
        async with client, await trio.open_tcp_stream(host, int(port)) as server, trio.open_nursery() as both:
            both.start_soon(pass_on, client, server, 0)
            both.start_soon(pass_on, server, client, 0.3)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    send, receive = trio.open_memory_channel(100)
    connection = GrpcConnection(f"127.0.0.1:{listener.socket.getsockname()[1]}", send.send_nowait)
    connection.send(hello(7))
    with trio.fail_after(PATIENCE_S):
        assert (await receive.receive()).welcome.lanes[0].group_id == 7
    connection.close()
    nursery.cancel_scope.cancel()
