"""Unary calls of both shells, to real servers: who is asked, and how long."""
# ruff: noqa: N802 -- gRPC gives the methods their names

import asyncio
import contextlib
import socket
from functools import partial

import pytest

from curvefs.proto import reclaim_pb2 as pb
from curvefs.proto.reclaim_pb2_grpc import (
    ReclaimServiceServicer,
    ReclaimServiceStub,
    add_ReclaimServiceServicer_to_server,
)
from curvefs.src.common.errors import Redirect
from curvefs.src.common.status import failure_of
from curvefs.src.rpc import asyncio_client, asyncio_server, blocking
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.src.rpc.asyncio_server import start_server
from curvefs.src.rpc.blocking import BlockingClient
from curvefs.src.rpc.replies import SERVER_OPTIONS, UNARY_OPTIONS

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0
SHORT_S, LONG_S = 0.05, 0.5


class Server(ReclaimServiceServicer):
    """Answers after a while, or names the leader at once."""

    def __init__(self, takes_s=0.0, leader=""):
        self.takes_s, self.leader, self.asked = takes_s, leader, 0

    async def CheckChunks(self, request, context):
        self.asked += 1
        if self.leader:
            return pb.CheckChunksReply(failure=failure_of(Redirect("elsewhere", leader=self.leader)))
        await asyncio.sleep(self.takes_s)
        return pb.CheckChunksReply()


@contextlib.asynccontextmanager
async def listening(*services):
    """Give the servers' addresses."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for service in services:
            server = await start_server("127.0.0.1:0", [partial(add_ReclaimServiceServicer_to_server, service)])
            stack.push_async_callback(server.stop, 0.0)
            addresses.append(server.address)
        yield addresses


async def ask_blocking(addresses, **times):
    client = BlockingClient(addresses)
    try:
        await asyncio.to_thread(client.call, ReclaimServiceStub, "CheckChunks", pb.CheckChunksRequest(), **times)
    finally:
        client.close()


async def ask_async(addresses, **times):
    client = AsyncClient(addresses)
    try:
        await client.call(ReclaimServiceStub, "CheckChunks", pb.CheckChunksRequest(), **times)
    finally:
        await client.close()


@pytest.fixture(params=[(blocking, ask_blocking), (asyncio_client, ask_async)], ids=["blocking", "asyncio"])
def ask(request, monkeypatch):
    module, ask = request.param
    monkeypatch.setattr(module, "_TRY_S_MAX", SHORT_S)
    monkeypatch.setattr(module, "UNARY_OPTIONS", shortened(UNARY_OPTIONS))
    return ask


def shortened(options):
    """Options with a 50th of all times."""
    return [(key, value // 50 if key.endswith("_ms") else value) for key, value in options]


async def test_what_takes_long_is_not_begun_again_elsewhere(ask):
    one, other = Server(LONG_S), Server(LONG_S)
    async with listening(one, other) as addresses:
        await ask(addresses, deadline_s=PATIENCE_S, try_s=PATIENCE_S)
    assert (one.asked, other.asked) == (1, 0)


async def test_the_deadline_of_what_takes_long_is_for_finding_who_answers(ask):
    one = Server(LONG_S)
    async with listening(one) as addresses:
        await ask([*addresses, "127.0.0.1:1"], deadline_s=SHORT_S, try_s=PATIENCE_S)
    assert one.asked == 1


async def test_an_address_that_cannot_be_connected_to_does_not_take_the_time_of_what_takes_long(ask):
    one = Server()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as a machine that is gone: it says nothing
        async with listening(one) as addresses:
            await ask([f"127.0.0.1:{silent.getsockname()[1]}", *addresses], deadline_s=PATIENCE_S, try_s=PATIENCE_S)
    assert one.asked == 1


async def test_what_takes_long_follows_a_redirect(ask):
    leader = Server(LONG_S)
    async with listening(leader) as [address]:
        follower = Server(leader=address)
        async with listening(follower) as addresses:
            await ask([*addresses, "127.0.0.1:1"], deadline_s=PATIENCE_S, try_s=PATIENCE_S)
    assert (follower.asked, leader.asked) == (1, 1)


class Cable:
    """Connects to an address until it is cut: then nothing passes, and nobody is told."""

    def __init__(self, address):
        self.host, port = address.rsplit(":", 1)
        self.port, self.is_cut, self.tasks = int(port), False, []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _connect(self, reader, writer):
        there, back = await asyncio.open_connection(self.host, self.port)
        self.tasks += [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                if not self.is_cut:
                    writer.write(data)
        finally:
            writer.close()


async def test_a_machine_that_goes_without_a_word_does_not_take_the_time_of_what_takes_long(ask):
    class Going(Server):
        async def CheckChunks(self, request, context):
            cable.is_cut = True
            return await super().CheckChunks(request, context)

    going, other = Going(PATIENCE_S), Server()
    async with listening(going, other) as addresses, Cable(addresses[0]) as cable:
        await ask([cable.address, addresses[1]], deadline_s=PATIENCE_S, try_s=PATIENCE_S)
    assert (going.asked, other.asked) == (1, 1)


async def test_whoever_waits_for_long_is_not_cut_off_for_asking_whether_the_server_is_there(monkeypatch):
    monkeypatch.setattr(asyncio_client, "UNARY_OPTIONS", shortened(UNARY_OPTIONS))
    strict = [*shortened(SERVER_OPTIONS), ("grpc.http2.max_ping_strikes", 1)]
    monkeypatch.setattr(asyncio_server, "SERVER_OPTIONS", strict)
    one = Server(4.5)  # grpc asks once a second at most
    async with listening(one) as addresses:
        await ask_async(addresses, deadline_s=PATIENCE_S, try_s=PATIENCE_S)
    assert one.asked == 1
