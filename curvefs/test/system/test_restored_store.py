"""The MDS's store is replaced by an older copy: nothing is lost, nothing is used twice, mounts go on."""

import json
import shutil
from importlib.metadata import version

import pytest

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from ..support.cluster import wait_until
from ..support.etcd import EtcdCluster
from ..support.mount_load import Workload
from ..support.real_mount import RealMount
from ..support.real_servers import RealServers

pytestmark = [pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(300)]

METASERVER = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
MDS = {"heartbeat_interval_ms": 500, "session_lease_ms": 12_000, "unstable_after_s": 2.0, "orders_after_s": 2.0}


@pytest.fixture
def servers():
    """Three metaservers with a filesystem."""
    with RealServers(metaserver=METASERVER, mds=MDS) as made:
        made.start()
        made.create_fs()
        yield made


def create(servers, name, check=True):
    return servers.tool("create-fs", name, "--object-store", f"file://{servers.root}/objects", check=check)


def filesystems(servers):
    return {one["name"]: one["fs_id"] for one in json.loads(servers.tool("list-fs", "--json").stdout)}


def sessions(servers):
    client = BlockingClient([servers.mds.address])
    try:
        found = client.call(mds_pb2_grpc.MdsServiceStub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions
        return {one.session_id: (one.mountpoint, one.version, one.ending) for one in found}
    finally:
        client.close()


def recovery(servers):
    return json.loads(servers.tool("recovery", "show", "--json").stdout)


def replicas(servers):
    return {str(one) for one in servers.root.glob("metaserver*/groups/*/group.json")}


def copy_store(servers):
    servers.mds.stop()
    shutil.copytree(servers.mds.data, servers.root / "copy")
    servers.mds.start()


def restore_store(servers, *flags):
    servers.mds.stop()
    shutil.rmtree(servers.mds.data)
    shutil.copytree(servers.root / "copy", servers.mds.data)
    servers.mds.start(*flags)


def test_both_filesystems_their_files_and_their_mounts_survive_an_old_copy_of_the_store(servers):
    with RealMount(servers, "demo") as first:
        (first.folder / "before").write_text("the copy")
        copy_store(servers)
        create(servers, "second")
        with RealMount(servers, "second") as second:
            load = Workload(second.folder / "load")
            load.start()
            try:
                there, known, made = replicas(servers), sessions(servers), filesystems(servers)
                assert len(known) == 2
                assert {client for _, client, _ in known.values()} == {version("curvefs")}
                servers.metaservers[3].stop()  # so that something is missing
                restore_store(servers)
                wait_until(lambda: recovery(servers)["silent_metaservers"] == [3])
                for words in (("create-fs", "third", "--object-store", "file:///tmp"), ("delete-fs", "demo")):
                    refused = servers.tool(*words, check=False)
                    assert refused.returncode == ExitCode.FAILED, refused
                    assert "the MDS is in recovery (the store is an older copy" in refused.stderr
                    assert refused.stderr.count("\n") == 1
                status = servers.tool("status", check=False).stdout
                assert status.startswith("NOT HEALTHY")
                assert "in recovery" in status
                (first.folder / "meanwhile").write_text("the recovery")
                wait_until(lambda: sessions(servers) == known)
                before = load.rounds
                wait_until(lambda: load.rounds > before + 20)
                assert recovery(servers)["recovering"]
                servers.start_again()
                wait_until(lambda: not recovery(servers)["recovering"], 60)
            finally:
                load.end()
            assert filesystems(servers) == made == {"demo": 1, "second": 2}
            assert sessions(servers) == known
            assert replicas(servers) == there
            assert "a new session is open" not in first.log() + second.log()
            second.unmount()
        assert (first.folder / "meanwhile").read_text() == "the recovery"
        first.unmount()
    with RealMount(servers, "second") as again:
        assert (again.folder / "load" / "open").read_text().count("\n") == load.rounds
        again.unmount()
    create(servers, "third")
    assert filesystems(servers)["third"] == 3
    wait_until(lambda: servers.tool("status", check=False).stdout.startswith("healthy"), 60)


def test_an_operator_says_that_the_store_is_a_copy_and_when_enough_is_known(servers):
    copy_store(servers)
    servers.metaservers[3].stop()
    restore_store(servers, "--recover")
    wait_until(lambda: recovery(servers)["silent_metaservers"] == [3])
    assert servers.tool("recovery", "end", check=False).returncode == ExitCode.USAGE
    assert "not in recovery" in servers.tool("recovery", "end", "--yes").stdout
    servers.start_again()
    wait_until(lambda: create(servers, "second", check=False).returncode == 0)
    assert filesystems(servers) == {"demo": 1, "second": 2}


def test_etcd_restored_from_its_own_snapshot_is_found_out_and_learns_what_it_lacks(tmp_path):
    with (
        EtcdCluster(tmp_path / "etcd") as etcd,
        RealServers(metaserver=METASERVER, mds=MDS | {"store": etcd.store}) as servers,
    ):
        servers.start()
        servers.create_fs()
        with RealMount(servers, "demo") as first:
            etcd.save_snapshot(tmp_path / "saved")
            create(servers, "second")
            with RealMount(servers, "second") as second:
                (second.folder / "later").write_text("than the copy")
                known, made = sessions(servers), filesystems(servers)
                etcd.kill(0)
                etcd.restore_snapshot(tmp_path / "saved")
                etcd.restart(0)
                # The MDS goes on with what it has in memory, until it is to write something.
                refused = create(servers, "third", check=False)
                assert refused.returncode == ExitCode.FAILED, refused
                wait_until(lambda: "the store is an older copy" in servers.mds.said(), 60)
                wait_until(lambda: not recovery(servers)["recovering"], 60)
                assert filesystems(servers) == made == {"demo": 1, "second": 2}
                wait_until(lambda: sessions(servers) == known)
                assert (second.folder / "later").read_text() == "than the copy"
                (first.folder / "after").write_text("the recovery")
                create(servers, "third")
                assert filesystems(servers)["third"] == 3
                assert "a new session is open" not in first.log() + second.log()
                second.unmount()
            first.unmount()
