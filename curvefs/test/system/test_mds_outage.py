"""The MDS is away for longer than a session's lease: names and data of a mount go on, and so does its session."""

import time

import pytest

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from ..support.cluster import wait_until
from ..support.mount_load import Workload
from ..support.real_mount import RealMount
from ..support.real_servers import FS, RealServers

pytestmark = [pytest.mark.fuse, pytest.mark.timeout(300)]

LEASE_S = 4.0
OUTAGE_S = 4 * LEASE_S
METASERVER = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
MDS = {"heartbeat_interval_ms": 500, "session_lease_ms": int(LEASE_S * 1000)}


@pytest.fixture
def servers():
    with RealServers(metaserver=METASERVER, mds=MDS) as made:
        made.start()
        made.create_fs()
        yield made


def listed(servers):
    client = BlockingClient([servers.mds.address])
    try:
        found = client.call(mds_pb2_grpc.MdsServiceStub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions
        return [one for one in found if not one.ending]
    finally:
        client.close()


def sessions(servers):
    return [one.session_id for one in listed(servers)]


def renewals(servers):
    return [one.renewed_ns for one in listed(servers)]


def test_an_outage_of_several_leases_stalls_no_mount_and_ends_no_session(servers):
    with RealMount(servers, FS) as mount:
        before = sessions(servers)
        load = Workload(mount.folder / "load")
        load.start()
        try:
            servers.mds.kill()
            end = time.monotonic() + OUTAGE_S
            wait_until(lambda: time.monotonic() > end, OUTAGE_S + 30)
            rounds = load.rounds
            wait_until(lambda: load.rounds > rounds + 50)  # also when the lease is long over
            servers.mds.start()
            wait_until(lambda: "the lease is renewed again" in mount.log())
            rounds = load.rounds
            wait_until(lambda: load.rounds > rounds + 50)
        finally:
            load.end()
        assert sessions(servers) == before
        assert "a new session is open" not in mount.log()
        mount.unmount()


def test_a_metaserver_that_is_lost_meanwhile_stalls_no_mount_either(servers):
    with RealMount(servers, FS) as mount:
        before = sessions(servers)
        load = Workload(mount.folder / "load")
        load.start()
        try:
            servers.mds.kill()
            end = time.monotonic() + 2 * LEASE_S
            wait_until(lambda: time.monotonic() > end and load.rounds > 20, 60)
            servers.metaservers[1].kill()
            rounds = load.rounds
            wait_until(lambda: load.rounds > rounds + 50)
            servers.mds.start()
            began_ns = time.time_ns()
            wait_until(lambda: min(renewals(servers)) > began_ns)
        finally:
            load.end()
        assert sessions(servers) == before
        mount.unmount()
