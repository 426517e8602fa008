"""Several MDS over an etcd of three members, with real mounts: whatever of it dies or stands still, files go on."""

import contextlib
import json
import os
import signal

import pytest

from curvefs.src.client import mountpoints
from curvefs.src.common.exits import ExitCode

from ..support.cluster import Cluster, wait_until
from ..support.mount_load import Workload

pytestmark = [pytest.mark.system, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(600)]

SHAPE = ("--etcd", "3", "--mds", "3", "--metaservers", "3", "--zones", "3")


def leading(cluster):
    """Return the name of the MDS that serves, or None."""
    pids = {record.pid: name for name, record in cluster.processes().items()}
    found = [one for one in cluster.status()["processes"] if one["role"] == "mds" and one["leaders"]]
    return pids.get(found[0]["pid"]) if found else None


def filesystems(cluster):
    return {
        one["name"]: one["fs_id"]
        for one in json.loads(cluster.tool("list-fs", "--json", "--data", cluster.data).stdout)
    }


def create(cluster, name, check=True):
    store = f"file://{cluster.root}/{name}"
    return cluster.tool("create-fs", name, "--object-store", store, "--data", cluster.data, check=check)


def stand_still(cluster, *names):
    for name in names:
        os.kill(cluster.processes()[name].pid, signal.SIGSTOP)


def go_on(cluster, *names):
    for name in names:
        with contextlib.suppress(ProcessLookupError):
            os.kill(cluster.processes()[name].pid, signal.SIGCONT)


@pytest.fixture
def cluster():
    with Cluster() as made:
        yield made


def test_files_go_on_whichever_mds_or_member_of_etcd_dies_or_stands_still(cluster):
    cluster.up(*SHAPE)
    load = Workload(cluster.mnt / "load")
    load.start()
    try:
        for number in range(3):
            name = leading(cluster)
            create(cluster, f"fs{number}")
            pid = cluster.kill9(name)
            wait_until(lambda: cluster.tool("list-fs", "--data", cluster.data, check=False).returncode == 0)
            cluster.wait_restarted(name, pid)
        pid = cluster.kill9("etcd-1")
        create(cluster, "without-a-member")
        cluster.wait_restarted("etcd-1", pid)
        stand_still(cluster, "etcd-1", "etcd-2")  # the majority
        wait_until(lambda: leading(cluster) is None)
        done = create(cluster, "refused", check=False)
        assert done.returncode == ExitCode.UNREACHABLE, (done.returncode, done.stderr)
        assert done.stderr.count("\n") == 1
        before = load.rounds
        wait_until(lambda: load.rounds > before + 20)
        go_on(cluster, "etcd-1", "etcd-2")
        wait_until(lambda: create(cluster, "again", check=False).returncode == 0)
    finally:
        go_on(cluster, "etcd-1", "etcd-2")
        load.end()
    found = filesystems(cluster)
    assert set(found) == {"demo", "fs0", "fs1", "fs2", "without-a-member", "again"}
    assert len(set(found.values())) == len(found)
    wait_until(lambda: cluster.status()["healthy"], 60)
    cluster.down()
    assert cluster.processes() == {}
    assert mountpoints.mounted_type(str(cluster.mnt)) is None


def test_a_cluster_moves_its_state_into_etcd_and_has_everything_afterwards(cluster):
    cluster.up()
    (cluster.mnt / "file").write_bytes(b"x" * 5_000_000)
    create(cluster, "more")
    before = filesystems(cluster)
    moved = ("kv-migrate", cluster.data, "--etcd", "3", "--mds", "2")
    assert cluster.tool(*moved, check=False).returncode == ExitCode.DATA_FOLDER  # it runs
    cluster.down()
    assert "etcd now" in cluster.tool(*moved).stdout
    cluster.tool(*moved)  # again: nothing more
    cluster.up()
    assert (cluster.mnt / "file").read_bytes() == b"x" * 5_000_000
    assert filesystems(cluster) == before
    assert [one["role"] for one in cluster.status()["processes"]].count("mds") == 2
    create(cluster, "later")
    cluster.down()
    done = cluster.up("--etcd", "1", mount=False, check=False)
    assert done.returncode == ExitCode.DATA_FOLDER
    assert "was made with --etcd 3" in done.stderr
    cluster.up()
    assert set(filesystems(cluster)) == {*before, "later"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [(("--mds", "3"), "3 MDS need etcd as their store"), (("--etcd", "2"), "say an odd number")],
)
def test_numbers_that_do_not_fit_together_leave_nothing(cluster, flags, words):
    done = cluster.up(*flags, check=False)
    assert done.returncode == ExitCode.USAGE
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not cluster.data.exists()
