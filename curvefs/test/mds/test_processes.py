"""Several curvefs-mds over a real etcd: one serves, the others redirect, and one takes over from one that is killed."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from curvefs_tool.status import collect

from curvefs.proto import common_pb2, mds_pb2, mds_pb2_grpc
from curvefs.src.common.errors import Unreachable
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.src.rpc.blocking import BlockingClient
from curvefs.test.mds.test_process import ask, refused, register, running
from curvefs.test.support.etcd import EtcdCluster, Line, etcd, make_certificates
from curvefs.test.support.fake_metaserver import FakeMetaserver

__all__ = ["etcd"]

pytestmark = [pytest.mark.asyncio, pytest.mark.system]
MDS = mds_pb2_grpc.MdsServiceStub
PATIENCE_S = 30.0


class Fleet:
    """Some MDS of one cluster, by name."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        self._store = store
        self._stack = contextlib.ExitStack()
        self.processes: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}

    def start(self, name: str, *flags: str, store: str = "") -> str:
        store = store or self._store
        process, address = self._stack.enter_context(running(self._folder / name, "--store", store, *flags))
        self.processes[name], self.addresses[name] = process, address
        return address

    async def status(self, name: str) -> Any:
        return await ask(self.addresses[name], "GetStatus")

    async def until(self, name: str, holds: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not holds(status := await self.status(name)):
                await asyncio.sleep(0.05)
        return status

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        self._stack.close()


@pytest_asyncio.fixture
async def fleet(tmp_path: Path, etcd: EtcdCluster) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, etcd.store)
    yield fleet
    fleet.close()


@contextlib.asynccontextmanager
async def client_of(*addresses: str, deadline_s: float = PATIENCE_S) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(addresses, deadline_s=deadline_s)
    try:
        yield client
    finally:
        await client.close()


async def test_standbys_name_the_leader_and_every_kind_of_client_follows(fleet):
    one, two = fleet.start("one"), fleet.start("two")
    leading, standing = await fleet.status("one"), await fleet.status("two")
    assert (leading.leading, leading.leader) == (True, one)
    assert (standing.leading, standing.leader, standing.address) == (False, one, two)
    assert standing.mds_id != leading.mds_id
    async with client_of(two) as client:
        reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    assert reply.epoch == leading.epoch == 1
    blocking = BlockingClient([two])
    try:
        called = asyncio.to_thread(blocking.call, MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
        assert (await called).epoch == 1
    finally:
        blocking.close()
    shown = await asyncio.to_thread(collect, [two, one], None)
    assert [(process["address"], process["leaders"]) for process in shown["processes"]] == [(two, 0), (one, 1)]
    assert shown["mds"] == one


async def test_killed_leader_is_followed_within_its_lease_and_nothing_is_lost(fleet, tmp_path):
    metaserver = FakeMetaserver()
    await metaserver.start()
    try:
        one, two = fleet.start("one"), fleet.start("two")
        await register(two, metaserver)
        async with client_of(one, two) as client:
            request = mds_pb2.CreateFilesystemRequest(name="demo", object_store=f"file://{tmp_path / 'objects'}")
            created = await client.call(MDS, "CreateFilesystem", request)
            opened = await client.call(MDS, "OpenSession", mds_pb2.OpenSessionRequest(name="demo"))
            fleet.processes["one"].send_signal(signal.SIGKILL)
            renewal = mds_pb2.RenewSessionRequest(session_id=opened.session.session_id)
            renewed = await client.call(MDS, "RenewSession", renewal)
            found = await client.call(MDS, "GetFilesystem", mds_pb2.GetFilesystemRequest(name="demo"))
        assert (renewed.epoch, found.epoch) == (created.epoch + 1, created.epoch + 1)
        assert (found.filesystem, found.session_count) == (created.filesystem, 1)
        # The one that was killed comes back behind the other.
        fleet.start("one")
        back = await fleet.status("one")
        assert (back.leading, back.leader) == (False, two)
        assert back.cluster_id == (await fleet.status("two")).cluster_id
    finally:
        await metaserver.stop()


async def test_leader_asked_to_stop_hands_over_at_once(fleet):
    lease = ("--lease-s", "60")  # longer than PATIENCE_S: nobody waits for this one to run out
    one, two = fleet.start("one", *lease), fleet.start("two", *lease)
    fleet.processes["one"].send_signal(signal.SIGTERM)
    async with client_of(one, two) as client:
        reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
        while reply.epoch == 1:  # those under way may still be answered
            reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    assert reply.epoch == 2
    assert fleet.processes["one"].wait(PATIENCE_S) == 0


async def test_leader_stopped_past_its_lease_serves_no_more_when_it_goes_on(fleet, etcd, tmp_path):
    one, two = fleet.start("one"), fleet.start("two")
    wish = mds_pb2.CreateFilesystemRequest(name="late", object_store=f"file://{tmp_path / 'objects'}")
    async with grpc.aio.insecure_channel(one) as channel:
        assert (await MDS(channel).GetStatus(mds_pb2.GetStatusRequest(), timeout=PATIENCE_S)).leading
        fleet.processes["one"].send_signal(signal.SIGSTOP)
        # When it goes on it has a call in hand, which came while it took itself for the leader.
        late = MDS(channel).CreateFilesystem(wish, timeout=PATIENCE_S)
        await fleet.until("two", lambda status: status.leading)
        fleet.processes["one"].send_signal(signal.SIGCONT)
        assert (await late).failure.code == common_pb2.REDIRECT
    status = await fleet.until("one", lambda status: status.leader == two)
    assert not status.leading
    # In the store's own history every write counts on from the one before: none of the first term is in the second.
    epochs = await asyncio.to_thread(etcd.history, b"curvefs/cluster/epoch")
    changes = await asyncio.to_thread(etcd.history, b"curvefs/cluster/changes")
    assert [value for _, value in epochs] == [b"1", b"2"]
    assert [int(value) for _, value in changes] == list(range(1, len(changes) + 1))
    async with client_of(one) as client:
        reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    assert reply.epoch == 2
    assert fleet.processes["one"].poll() is None


async def test_leader_cut_from_etcd_steps_down_and_the_other_one_serves(fleet, etcd):
    async with Line(etcd.endpoints[0]) as line:
        # The other end of the line is this process: it must not wait for the ready line of an MDS in the meantime.
        one = await asyncio.to_thread(fleet.start, "one", store=line.address)
        two = await asyncio.to_thread(fleet.start, "two")
        assert (await fleet.status("one")).leading
        line.cut()
        led: list[set[str]] = []
        async with asyncio.timeout(PATIENCE_S):
            while not led or led[-1] != {"two"}:
                # In this order, so that no change of leader in between looks like two of them.
                statuses = [(name, await fleet.status(name)) for name in ("two", "one")]
                led.append({name for name, status in statuses if status.leading})
                await asyncio.sleep(0.05)
        assert {"one", "two"} not in led
        assert set() in led  # it stopped before its lease was over in etcd
        async with client_of(one, two) as client:
            reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
        assert reply.epoch == 2
        line.join()
        status = await fleet.until("one", lambda status: status.leader == two)
        assert not status.leading


async def test_without_etcd_nobody_serves_and_with_it_again_one_does(fleet, etcd):
    one = fleet.start("one")
    two = fleet.start("two")
    etcd.kill(0)
    await fleet.until("one", lambda status: not status.leading)
    async with client_of(one, two, deadline_s=0.5) as client:
        with pytest.raises(Unreachable, match="does not serve"):
            await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    etcd.start(0)
    await asyncio.to_thread(etcd.wait_ready)
    async with client_of(one, two) as client:
        reply = await client.call(MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    assert reply.epoch == 2
    leaders = [name for name in ("one", "two") if (await fleet.status(name)).leading]
    assert len(leaders) == 1
    assert all(process.poll() is None for process in fleet.processes.values())


async def test_store_of_another_cluster_is_refused_in_one_line_and_not_changed(fleet, etcd, tmp_path):
    fleet.start("one")
    fleet.start("two", "--etcd-prefix", "another/")
    other = await fleet.status("two")
    revision = etcd.ask("kv/range", key=b"\0", range_end=b"\0")["header"]["revision"]
    fleet.processes["two"].send_signal(signal.SIGKILL)
    fleet.processes["two"].wait(PATIENCE_S)
    code, line = refused(tmp_path / "two", "--store", etcd.store)
    mine = await fleet.status("one")
    assert code == ExitCode.DATA_FOLDER
    assert (
        line
        == f"curvefs-mds: the store holds cluster {mine.cluster_id}; this MDS belongs to cluster {other.cluster_id}"
    )
    code, line = refused(tmp_path / "two", "--store", etcd.store, "--etcd-prefix", "empty/")
    assert (code, line) == (
        ExitCode.DATA_FOLDER,
        f"curvefs-mds: the store holds no cluster; this MDS belongs to cluster {other.cluster_id}",
    )
    # What is still to come is the end of the killed one's lease, below its own prefix.
    kept = etcd.ask("kv/range", key=b"curvefs/", range_end=b"curvefs0")
    assert all(int(item["mod_revision"]) <= int(revision) for item in kept["kvs"])


async def test_etcd_that_refuses_or_is_not_there_is_told_in_one_line_each(tmp_path):
    made = make_certificates(tmp_path / "certificates")
    tls = ("--etcd-ca", str(made.ca), "--etcd-certificate", str(made.client), "--etcd-key", str(made.client_key))
    wrong = ("--etcd-ca", str(made.ca), "--etcd-certificate", str(made.other_client))
    password = tmp_path / "password"
    password.write_text("guess\n")
    password.chmod(0o600)
    with EtcdCluster(tmp_path / "etcd", certificates=made) as cluster:
        told = {
            "bad certificate": (*wrong, "--etcd-key", str(made.other_client_key)),
            "authentication is not enabled": (*tls, "--etcd-user", "u", "--etcd-password-file", str(password)),
        }
        for reason, flags in told.items():
            code, line = refused(tmp_path / "mds", "--store", cluster.store, *flags)
            assert (code, reason in line, len(line.splitlines())) == (ExitCode.REFUSED, True, 1), line
        fleet = Fleet(tmp_path, cluster.store)
        try:
            fleet.start("mds", *tls)
            assert (await fleet.status("mds")).leading
        finally:
            fleet.close()
    config = tmp_path / "mds.toml"
    config.write_text("etcd_start_deadline_s = 0.1\n")
    code, line = refused(tmp_path / "mds", "--store", cluster.store, "--config", str(config), *tls)
    assert (code, len(line.splitlines())) == (ExitCode.UNREACHABLE, 1), line
    assert "etcd does not answer" in line


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--store", "nowhere"), "'nowhere' is neither 'lmdb' nor etcd's HOST:PORT,HOST:PORT"),
        (("--etcd-user", "u"), "etcd_user is for etcd, and the store is lmdb"),
        (("--store", "h:1", "--etcd-user", "u"), "etcd_user and etcd_password_file are given together"),
        (("--store", "h:1", "--etcd-ca", "c", "--etcd-key", "k"), "etcd_certificate and etcd_key are given together"),
    ],
)
async def test_configuration_that_makes_no_sense_is_refused(tmp_path, flags, told):
    code, line = refused(tmp_path / "mds", *flags)
    assert (code, told in line, len(line.splitlines())) == (ExitCode.USAGE, True, 1), line
