"""Calls to the leaders of groups, over the wire."""
# ruff: noqa: N802 -- gRPC gives the methods their names

import asyncio
from functools import partial

import pytest

from curvefs.proto import mds_pb2
from curvefs.proto import transaction_pb2 as pb
from curvefs.proto.transaction_pb2_grpc import TransactionServiceServicer, add_TransactionServiceServicer_to_server
from curvefs.src.metaserver.transactions import calls as module
from curvefs.src.metaserver.transactions.calls import Calls
from curvefs.src.rpc import client_pool
from curvefs.src.rpc.asyncio_server import start_server

pytestmark = pytest.mark.asyncio
FS, GROUP = 1, 7
PATIENCE_S = 20.0


class Leader(TransactionServiceServicer):
    """Takes its time for a recount."""

    def __init__(self):
        self.asked = 0

    async def Recount(self, request, context):
        self.asked += 1
        await asyncio.sleep(0.5)
        return pb.RecountReply(wrong_charges=3)


class Mds:
    """Knows the leader only."""

    def __init__(self, address):
        self.address = address

    async def call(self, stub, method, request, *, deadline_s):
        assert method == "ListPartitions"
        reply = mds_pb2.ListPartitionsReply()
        reply.partitions.add(partition_id=0, group_id=GROUP, leader=self.address).peers.add(address=self.address)
        return reply


class Moving:
    """Another metaserver leads the group each time it is asked."""

    def __init__(self):
        self.asked = 0

    async def call(self, stub, method, request, *, deadline_s):
        self.asked += 1
        addresses = [f"127.0.0.1:{self.asked}", "127.0.0.1:9999"]
        reply = mds_pb2.ListPartitionsReply()
        one = reply.partitions.add(partition_id=0, group_id=GROUP, leader=addresses[0])
        for address in addresses:
            one.peers.add(address=address)
        return reply


class Connections:
    """Counts those that are open."""

    opened = closed = 0

    def __init__(self, _addresses, **_):
        Connections.opened += 1

    async def call(self, *_, **__):
        return pb.FinishReply()

    async def close(self):
        Connections.closed += 1


async def test_groups_that_move_about_leave_no_connections_behind(monkeypatch):
    monkeypatch.setattr(client_pool, "AsyncClient", Connections)
    monkeypatch.setattr(client_pool, "CLIENTS_MAX", 4)
    calls = Calls(Moving(), lambda: b"secret", mds_deadline_s=1.0)
    for _ in range(20):
        await calls.refresh(FS)
        await calls.call("Finish", pb.FinishRequest(group_id=GROUP), FS, PATIENCE_S)
    assert (Connections.opened, Connections.closed) == (20, 16)
    await calls.close()
    assert Connections.closed == 20


async def test_what_takes_long_is_asked_for_once(monkeypatch):
    monkeypatch.setattr(module, "_TRY_S", 0.05)
    leader = Leader()
    server = await start_server("127.0.0.1:0", [partial(add_TransactionServiceServicer_to_server, leader)])
    calls = Calls(Mds(server.address), lambda: b"secret", mds_deadline_s=1.0)
    try:
        assert (await calls.place(FS, 0)).group_id == GROUP
        request = pb.RecountRequest(group_id=GROUP, fs_id=FS, partition_id=0)
        reply = await calls.call("Recount", request, FS, PATIENCE_S, is_long=True)
        assert (reply.wrong_charges, leader.asked) == (3, 1)
    finally:
        await calls.close()
        await server.stop(0.0)
