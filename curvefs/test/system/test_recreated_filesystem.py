"""The filesystem of a mount that was away is deleted and made anew: the mount ends, and touches nothing."""

import errno
import os
import signal
from functools import partial

import pytest

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.client import runtime
from curvefs.src.common.errors import ResourceBusy
from curvefs.src.rpc.blocking import BlockingClient

from ..support.cluster import wait_until
from ..support.real_mount import RealMount
from ..support.real_servers import FS, RealServers

pytestmark = [pytest.mark.fuse, pytest.mark.timeout(120)]

LEASE_S = 3.0
METASERVER = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
MDS = {"heartbeat_interval_ms": 500, "session_lease_ms": int(LEASE_S * 1000)}


@pytest.fixture
def servers():
    with RealServers(count=1, metaserver=METASERVER, mds=MDS) as made:
        made.start()
        made.create_fs()
        yield made


def make_anew(servers):
    """Delete the filesystem as soon as no session has it, and make it again.

    No process is begun: it would close what it inherits of the mount that stands still, and wait for it.
    """
    client = BlockingClient([servers.mds.address])
    call = partial(client.call, mds_pb2_grpc.MdsServiceStub)

    def deleted():
        try:
            call("DeleteFilesystem", mds_pb2.DeleteFilesystemRequest(name=FS))
        except ResourceBusy:
            return False
        return True

    try:
        wait_until(deleted, 60)
        url = f"file://{servers.root}/objects"
        call("CreateFilesystem", mds_pb2.CreateFilesystemRequest(name=FS, object_store=url))
    finally:
        client.close()


def refused(call, *arguments):
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        call(*arguments)


def test_the_old_mount_ends_and_leaves_the_new_filesystem_alone(servers):
    with RealMount(servers, FS) as old:
        file = os.open(old.folder / "file", os.O_CREAT | os.O_RDWR)
        os.write(file, b"old")
        os.fsync(file)
        os.pwrite(file, b"never published", 100)
        found = runtime.client_of(str(old.folder))
        assert found is not None
        os.kill(found[0], signal.SIGSTOP)
        try:
            make_anew(servers)
        finally:
            os.kill(found[0], signal.SIGCONT)
        wait_until(lambda: "the filesystem was deleted" in old.log(), 30)
        refused(os.fsync, file)
        refused(os.pwrite, file, b"x", 0)
        refused(os.listdir, old.folder)
        refused((old.folder / "new").write_text, "x")
        refused(os.unlink, old.folder / "file")
        refused(os.close, file)
        old.unmount()  # and does not wait until what cannot be stored is given up: that takes longer than this test may
        assert old.log().count("the filesystem was deleted") == 1
    with RealMount(servers, FS) as new:
        assert os.listdir(new.folder) == []
        (new.folder / "file").write_text("new")
        new.unmount()
