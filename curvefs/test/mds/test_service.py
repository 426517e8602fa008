"""The services over gRPC, as a client, a tool and a metaserver call them."""

import asyncio
import os
from typing import Any

import pytest

from curvefs.proto import (
    common_pb2,
    heartbeat_pb2_grpc,
    mds_pb2,
    mds_pb2_grpc,
    topology_pb2,
    topology_pb2_grpc,
)
from curvefs.src.common.errors import (
    InternalError,
    InvalidArgument,
    NoSpace,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unreachable,
)
from curvefs.src.mds.calls import Calls
from curvefs.src.mds.metrics import Metrics
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.test.mds.lab import LEASE_S, URL

pytestmark = pytest.mark.asyncio
MDS = mds_pb2_grpc.MdsServiceStub
TOPOLOGY = topology_pb2_grpc.TopologyServiceStub
HEARTBEAT = heartbeat_pb2_grpc.HeartbeatServiceStub
PATIENCE_S = 20.0


async def test_life_of_a_filesystem_over_the_wire(mds, metaserver):
    client = AsyncClient([await mds.listen()])
    try:

        async def call(method: str, **fields: Any) -> Any:
            request = getattr(mds_pb2, f"{method}Request")(**fields)
            return await client.call(MDS, method, request)

        created = await call("CreateFilesystem", name="demo", object_store=URL)
        assert created.epoch == 1
        assert created.filesystem.name == "demo"
        assert created.partitions[0].peers[0].address == metaserver.address
        listed = await call("ListFilesystems")
        assert [one.name for one in listed.filesystems] == ["demo"]
        assert listed.mds_time_ns == created.mds_time_ns == mds.clock.time_ns()

        opened = await call("OpenSession", name="demo", host="h", pid=1, mountpoint="/m")
        assert opened.filesystem == created.filesystem
        assert len(opened.partitions) == 1
        assert opened.mds_time_ns == mds.clock.time_ns()
        assert (await call("GetFilesystem", name="demo")).session_count == 1
        session_id = opened.session.session_id
        renewed = await call("RenewSession", session_id=session_id)
        assert (renewed.lease_ms, renewed.mds_time_ns) == (60_000, mds.clock.time_ns())
        for name in ("", "demo"):
            assert [one.session_id for one in (await call("ListSessions", name=name)).sessions] == [session_id]
        assert len((await call("ListPartitions", fs_id=created.filesystem.fs_id)).partitions) == 1
        await call("CloseSession", session_id=session_id)
        deleted = await call("DeleteFilesystem", name="demo")
        assert deleted.filesystem.state == mds_pb2.DELETING

        for method in ("GetFilesystem", "ListSessions"):
            with pytest.raises(NotFound):
                await call(method, name="demo")
        with pytest.raises(NotFound):
            await call("ListPartitions", fs_id=99)
        with pytest.raises(InvalidArgument):
            await call("CreateFilesystem", name="X", object_store=URL)
    finally:
        await client.close()


async def test_metaserver_registers_and_reports_over_the_wire(mds, metaserver):
    client = AsyncClient([await mds.listen()])
    try:
        reply = await client.call(TOPOLOGY, "RegisterMetaserver", metaserver.registration())
        cluster = mds.mds.state.authority.cluster
        assert (reply.cluster_id, reply.session_secret, reply.epoch) == (cluster.id, cluster.secret, 1)
        beat = await client.call(HEARTBEAT, "Heartbeat", metaserver.heartbeat())
        assert (beat.epoch, beat.next_heartbeat_ms) == (1, 2000)
        with pytest.raises(PermissionDenied):
            await client.call(HEARTBEAT, "Heartbeat", metaserver.heartbeat(token=b"wrong"))
        listed = await client.call(TOPOLOGY, "ListMetaservers", topology_pb2.ListMetaserversRequest())
        assert [one.metaserver_id for one in listed.metaservers] == [1]
        copysets = await client.call(TOPOLOGY, "ListCopysets", topology_pb2.ListCopysetsRequest(group_ids=[1, 9]))
        assert [one.group_id for one in copysets.copysets] == [1]
        stored = await client.call(TOPOLOGY, "GetTopology", topology_pb2.GetTopologyRequest())
        assert [(one.pool_id, one.name, one.replica_count) for one in stored.pools] == [(0, "default", 1)]
        assert ([one.name for one in stored.zones], list(stored.servers)) == (["default"], [])
    finally:
        await client.close()


async def test_status_says_who_and_where(mds):
    address = await mds.listen()
    client = AsyncClient([address])
    try:
        status = await client.call(MDS, "GetStatus", mds_pb2.GetStatusRequest())
    finally:
        await client.close()
    assert (status.address, status.leader, status.leading) == (address, address, True)
    assert (status.mds_id, status.pid, status.epoch) == ("mds", os.getpid(), 1)
    assert status.cluster_id == mds.mds.state.authority.cluster.id
    assert status.version
    assert status.metrics_address == "127.0.0.1:1"


async def test_full_disk_is_answered_as_no_space(mds, metaserver):
    client = AsyncClient([await mds.listen()])
    try:
        mds.kv.plan("full", 1)
        request = mds_pb2.CreateFilesystemRequest(name="demo", object_store=URL)
        with pytest.raises(NoSpace):
            await client.call(MDS, "CreateFilesystem", request)
        await client.call(MDS, "CreateFilesystem", request)
    finally:
        await client.close()


async def test_bug_is_answered_as_internal_and_counted():
    metrics = Metrics()
    calls = Calls(5, metrics)

    async def work() -> mds_pb2.GetStatusReply:
        raise ZeroDivisionError

    reply = await calls.answer("GetStatus", mds_pb2.GetStatusReply, work)
    assert (reply.failure.code, reply.epoch) == (common_pb2.INTERNAL, 5)
    assert "division" not in reply.failure.message
    labels = {"method": "GetStatus", "code": "INTERNAL"}
    assert metrics.registry.get_sample_value("mds_rpc_total", labels) == 1
    assert type(InternalError()) is InternalError


async def test_accepted_call_runs_to_its_end_without_its_caller():
    calls = Calls(1, Metrics())
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> mds_pb2.GetStatusReply:
        begun.set()
        await go_on.wait()
        done.set()
        return mds_pb2.GetStatusReply()

    caller = asyncio.create_task(calls.answer("GetStatus", mds_pb2.GetStatusReply, work))
    await begun.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    go_on.set()
    await calls.finish(PATIENCE_S)
    assert done.is_set()


async def test_stopping_mds_refuses_new_calls():
    calls = Calls(1, Metrics())
    await calls.finish(0.0)

    async def work() -> mds_pb2.GetStatusReply:
        return mds_pb2.GetStatusReply()

    reply = await calls.answer("GetStatus", mds_pb2.GetStatusReply, work)
    assert reply.failure.code == common_pb2.UNAVAILABLE


async def test_gauges_follow_the_tables(mds, metaserver):
    await mds.create()
    await mds.open()
    await mds.mds.tick()
    value = mds.mds.metrics.registry.get_sample_value
    assert value("mds_filesystems", {"state": "active"}) == 1
    assert value("mds_sessions", {"state": "live"}) == 1
    assert value("mds_metaservers", {"health": "online"}) == 1
    assert value("mds_epoch") == 1
    assert (value("mds_copysets", {"state": "led"}), value("mds_copysets", {"state": "leaderless"})) == (1, 0)
    mds.clock.advance(31)
    await mds.mds.tick()
    assert value("mds_metaservers", {"health": "unstable"}) == 1
    assert (value("mds_copysets", {"state": "led"}), value("mds_copysets", {"state": "leaderless"})) == (0, 1)


async def test_mds_that_lost_its_authority_writes_nothing_and_sends_every_caller_elsewhere(mds, metaserver):
    client = AsyncClient([await mds.listen()], deadline_s=0.3)
    try:
        await mds.create()
        mds.kv.plan("lost", 1)
        with pytest.raises(Unavailable):
            await mds.open()
        with pytest.raises(Unavailable, match="no longer serves"):
            await mds.open()
        with pytest.raises(Unreachable, match="does not serve"):
            await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    finally:
        await client.close()


async def test_read_that_ends_after_the_lease_is_not_answered(mds, metaserver):
    client = AsyncClient([await mds.listen()], deadline_s=0.3)
    views = mds.mds.views

    class LateViews:
        def metaservers(self):
            mds.clock.advance(LEASE_S)
            return views.metaservers()

    try:
        assert (await client.call(TOPOLOGY, "ListMetaservers", topology_pb2.ListMetaserversRequest())).metaservers
        mds.mds.services["TopologyService"]._views = LateViews()
        with pytest.raises(Unreachable, match="does not serve"):
            await client.call(TOPOLOGY, "ListMetaservers", topology_pb2.ListMetaserversRequest())
    finally:
        await client.close()
