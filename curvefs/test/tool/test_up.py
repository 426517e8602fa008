"""`up`, `down`, `curvefs` and the mount helpers with the real servers and real mounts."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.exits import ExitCode

from ..support.cluster import TOOL, Cluster, wait_until

pytestmark = [pytest.mark.system, pytest.mark.fuse]


@pytest.fixture
def cluster():
    """A cluster that is not started yet."""
    with Cluster() as made:
        yield made


@pytest.fixture(scope="module")
def running():
    """A cluster without a mount, for tests that leave it as it is."""
    with Cluster() as made:
        made.up(mount=False)
        yield made


def refused(done, code, words):
    """Check that a command was refused in one clear line."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def nothing_left(cluster):
    """True when a refused first start has left no data folder and no process."""
    found = [one.name for one in cluster.root.iterdir() if one.name != "mnt"]
    return found == [] and cluster.processes() == {}


# ------------------------------------------------------------------------------------------------ up and down


def test_up_is_ready_when_the_mount_is_live_and_the_data_survives_down_and_up(cluster):
    said = cluster.up().stdout
    assert said.rstrip().endswith("ready")
    assert f"curvefs-tool down {cluster.data}" in said
    assert "/metrics" in said
    assert mountpoints.mounted_type(str(cluster.mnt)) == mountpoints.FSTYPE
    (cluster.mnt / "file").write_bytes(b"x" * 10_000_000)
    status = cluster.status()
    assert status["healthy"], status
    assert [one["role"] for one in status["processes"]] == ["mds", "metaserver", "client", "supervisor"]
    assert [one["leaders"] for one in status["processes"][:2]] == [1, 1]
    cluster.down()
    assert mountpoints.mounted_type(str(cluster.mnt)) is None
    assert cluster.processes() == {}
    cluster.up()
    assert (cluster.mnt / "file").read_bytes() == b"x" * 10_000_000


def test_up_takes_the_options_of_its_mount(cluster):
    cache = cluster.root / "cache"
    cache.mkdir()
    cluster.up("-o", f"cache_dir={cache},cache_size=64M", "-o", "noexec")
    assert [*cache.iterdir()]
    options = next(line for line in Path("/proc/mounts").read_text().splitlines() if f" {cluster.mnt} " in line)
    assert "noexec" in options.split()[3].split(",")


def test_a_running_cluster_is_said_to_run_and_other_settings_are_refused_by_name(running):
    refused(running.up(mount=False, check=False), ExitCode.DATA_FOLDER, "already in use")
    done = running.up("--metaservers", "2", mount=False, check=False)
    refused(done, ExitCode.DATA_FOLDER, "--metaservers 2")


def test_up_in_front_ends_in_order_at_ctrl_c(cluster):
    words = [*TOOL, "up", str(cluster.data), str(cluster.mnt)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.rstrip() == "ready":
                break
        (cluster.mnt / "file").write_bytes(b"x" * 5_000_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert cluster.processes() == {}
    assert mountpoints.mounted_type(str(cluster.mnt)) is None


def test_ctrl_c_before_up_is_ready_leaves_nothing_running(cluster):
    words = [*TOOL, "up", str(cluster.data), str(cluster.mnt)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: cluster.data.exists() and "supervisor" in cluster.processes())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == ExitCode.FAILED
        assert "stopped before it was ready" in process.stderr.read()
    assert cluster.processes() == {}


def test_a_busy_mount_is_named_and_left_with_everything_unless_forced(cluster):
    cluster.up()
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], cwd=cluster.mnt) as user:
        try:
            refused(cluster.down(check=False), ExitCode.BUSY, f"{cluster.mnt} is busy: used by")
            assert cluster.status()["healthy"]
            (cluster.mnt / "file").write_bytes(b"x" * 3_000_000)
            cluster.down("--force")
        finally:
            user.kill()
    assert cluster.processes() == {}
    cluster.up()
    assert (cluster.mnt / "file").stat().st_size == 3_000_000


def test_unmounting_leaves_the_servers_running_and_down_ends_them(cluster):
    cluster.up()
    cluster.umount(cluster.mnt)
    wait_until(lambda: "client" not in cluster.processes())
    status = cluster.status()
    assert status["healthy"], status
    assert "client" not in [one["role"] for one in status["processes"]]
    place = cluster.mount("again")
    cluster.down()  # takes this mount away, too
    assert mountpoints.mounted_type(str(place)) is None
    assert cluster.processes() == {}


def test_down_works_without_the_supervisor(cluster):
    cluster.up()
    (cluster.mnt / "file").write_bytes(b"x" * 3_000_000)
    left = cluster.processes()
    cluster.kill9("supervisor")
    assert (cluster.mnt / "file").stat().st_size == 3_000_000
    assert cluster.status()["problems"] == ["the supervisor is not running"]
    cluster.down()
    assert not any(one.running for one in left.values())


def test_up_takes_over_what_a_killed_supervisor_left(cluster):
    cluster.up()
    (cluster.mnt / "file").write_bytes(b"x" * 3_000_000)
    left = cluster.processes()
    cluster.kill9("supervisor")
    cluster.up()
    assert not any(one.running for one in left.values())
    assert (cluster.mnt / "file").stat().st_size == 3_000_000
    assert cluster.status()["healthy"]


def test_the_supervisor_restarts_every_process_that_is_killed(cluster):
    cluster.up()
    (cluster.mnt / "file").write_text("whole")
    for name in ("mds", "metaserver-1", "client"):
        old = cluster.kill9(name)
        cluster.wait_restarted(name, old)
    wait_until(lambda: mountpoints.mounted_type(str(cluster.mnt)) == mountpoints.FSTYPE)
    assert (cluster.mnt / "file").read_text() == "whole"
    wait_until(lambda: cluster.status()["healthy"])
    assert "mds has ended by SIGKILL" in cluster.log("supervisor")


def test_without_restart_what_is_killed_stays_dead(cluster):
    cluster.up("--no-restart")
    cluster.kill9("metaserver-1")
    wait_until(lambda: "metaserver-1 has ended by SIGKILL" in cluster.log("supervisor"))
    status = cluster.status()
    assert not status["healthy"]
    assert "metaserver-1 is not running" in status["problems"]
    cluster.down("--force")
    assert cluster.processes() == {}


# -------------------------------------------------------------------------------------------------- replicas


def copysets_of(cluster):
    """Peers and leader of each copyset, as the status has them."""
    return {
        one["group_id"]: ([peer["metaserver_id"] for peer in one["peers"]], one["leader"])
        for one in cluster.status()["copysets"]
    }


def test_three_metaservers_have_three_replicas_of_everything_and_outlive_one(cluster):
    cluster.up("--metaservers", "3", "--no-restart", mount=False)
    assert cluster.status()["healthy"]  # when up returns
    found = copysets_of(cluster)
    assert [sorted(peers) for peers, _ in found.values()] == [[1, 2, 3]] * 3
    assert sorted(leader for _, leader in found.values()) == [1, 2, 3]
    killed = next(one["metaserver_id"] for one in cluster.status()["copysets"][0]["peers"] if one["state"] == "leader")
    address = next(one["address"] for one in cluster.status()["processes"] if one["id"] == str(killed))
    ports = json.loads((cluster.data / "cluster.json").read_text())["ports"]
    cluster.kill9(next(name for name, port in ports.items() if address.endswith(f":{port}")))
    wait_until(lambda: all(leader not in (0, killed) for _, leader in copysets_of(cluster).values()))
    made = cluster.tool("create-fs", "more", "--object-store", f"file://{cluster.root}/more", "--mds", cluster.mds)
    assert made.stdout.startswith("created more")
    cluster.down()
    cluster.up(mount=False)
    assert cluster.status()["healthy"]
    for group_id in copysets_of(cluster):
        cluster.tool("copyset", "compare", group_id, "--mds", cluster.mds)


def test_replicas_move_between_metaservers_by_hand(cluster):
    cluster.up("--metaservers", "4", "--replicas", "3", mount=False)
    peers, leader = copysets_of(cluster)[1]
    [other] = {1, 2, 3, 4} - set(peers)
    follower, another = [peer for peer in peers if peer != leader]

    def copyset(*words):
        done = cluster.tool("copyset", words[0], 1, *words[1:], "--mds", cluster.mds, "--json")
        return json.loads(done.stdout)

    assert copyset("add-peer", other)["peers"] == [*peers, other]
    assert copyset("remove-peer", follower)["left_over"] == []
    assert copyset("transfer-leader", other)["leader"] == other
    assert sorted(copyset("replace-peer", other, follower)["peers"]) == sorted(peers)  # the leader itself
    led = next(one["metaserver_id"] for one in copyset("query")["replicas"] if one["leader_id"] == one["metaserver_id"])
    copyset("rebuild", "--on", next(peer for peer in peers if peer != led), "--yes")
    compared = copyset("compare")
    assert (compared["same"], sorted(map(int, compared["digests"]))) == (True, sorted(peers))
    wait_until(lambda: sorted(copysets_of(cluster)[1][0]) == sorted(peers))
    wait_until(lambda: cluster.status()["healthy"])
    refused(
        cluster.tool("copyset", "remove", 1, "--on", another, "--mds", cluster.mds, check=False),
        ExitCode.BUSY,
        "holds partitions",
    )


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--fs", "Bad_Name"], ExitCode.USAGE, "'Bad_Name' is no filesystem name"),
        (["--object-store", "what"], ExitCode.USAGE, "'what' is no object store"),
        (
            ["--object-store", "s3://bucket?endpoint=http://127.0.0.1:9&region=us-east-1"],
            ExitCode.OBJECT_STORE,
            "bucket",
        ),
    ],
)
def test_up_with_bad_input_leaves_nothing_behind(flags, code, words):
    secrets = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true"}
    with Cluster(env=secrets) as cluster:
        refused(cluster.up(*flags, check=False), code, words)
        assert nothing_left(cluster)


def test_up_on_a_missing_mountpoint_or_a_file_leaves_nothing_behind(cluster):
    cluster.mnt.rmdir()
    refused(cluster.up(check=False), ExitCode.MOUNTPOINT, "does not exist")
    assert nothing_left(cluster)
    cluster.mnt.touch()
    refused(cluster.up(check=False), ExitCode.MOUNTPOINT, "is not a directory")
    assert nothing_left(cluster)


def test_a_port_that_somebody_took_meanwhile_is_named(cluster):
    cluster.up(mount=False)
    cluster.down()
    for name in ("mds", "metaserver-1"):
        port = json.loads((cluster.data / "cluster.json").read_text())["ports"][name]
        with socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taker.bind(("127.0.0.1", port))
            taker.listen()
            refused(cluster.up(mount=False, check=False), ExitCode.ADDRESS_IN_USE, f"127.0.0.1:{port}")
        assert cluster.processes() == {}
    cluster.up(mount=False)


def test_a_data_folder_of_a_newer_version_is_refused(cluster):
    cluster.up(mount=False)
    cluster.down()
    (cluster.data / "format").write_text("99")
    refused(cluster.up(mount=False, check=False), ExitCode.DATA_FOLDER, "is of version 99")
    (cluster.data / "format").write_text("1")
    (cluster.data / "metaserver-1" / "format").write_text("99")
    refused(cluster.up(mount=False, check=False), ExitCode.DATA_FOLDER, "is of version 99")
    assert cluster.processes() == {}


def test_bad_mounts_are_refused_with_their_codes_and_leave_no_process(running):
    place = running.root / "place"
    place.mkdir()
    file = running.root / "file"
    file.touch()
    refused(running.try_mount(place, fs="unknown"), ExitCode.NOT_FOUND, "there is no filesystem 'unknown'")
    refused(running.try_mount(place, fs="Bad"), ExitCode.USAGE, "'Bad' is no filesystem name")
    refused(running.try_mount(place, options="colour=red"), ExitCode.USAGE, "unknown mount option 'colour'")
    refused(running.try_mount(file), ExitCode.MOUNTPOINT, "is not a directory")
    refused(running.try_mount(running.root / "missing"), ExitCode.MOUNTPOINT, "does not exist")
    refused(running.try_mount(Path("/proc")), ExitCode.MOUNTPOINT, "/proc is busy: proc is mounted on it")
    assert running.status()["healthy"]
    assert [one for one in running.status()["processes"] if one["role"] == "client"] == []


def test_an_unreachable_mds_is_named_within_its_deadline(running):
    place = running.root / "unreachable"
    place.mkdir()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = running.try_mount(place, options=f"mds={address}")
    refused(done, ExitCode.UNREACHABLE, f"no answer from {address} within 10 s")


# --------------------------------------------------------------------------------------------------- helpers


def test_a_client_goes_to_the_background_from_any_folder_and_is_found_by_its_mountpoint(running, monkeypatch):
    monkeypatch.chdir(running.root)
    Path("here").mkdir()
    words = [sys.executable, "-m", "curvefs.src.client.main", "demo", "here", "-o", f"mds={running.mds}"]
    subprocess.run([*words[:-1], words[-1] + f",log={running.root}/here.log"], check=True, env=running.env)
    place = running.root / "here"
    assert mountpoints.mounted_type(str(place)) == mountpoints.FSTYPE
    assert os.getsid(running.client_pid(place)) == running.client_pid(place)
    running.umount(place)


def test_a_mount_whose_client_was_killed_is_replaced(running):
    place = running.mount("killed")
    pid = running.client_pid(place)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: runtime.start_time(pid) is None)
    with pytest.raises(OSError, match="not connected"):
        os.statvfs(place)
    assert running.mount("killed") == place
    running.umount(place)


def test_the_helpers_mount_by_name_and_umount_waits_until_everything_is_stored(running):
    helpers, place = running.root / "helpers", running.root / "by-helper"
    place.mkdir()
    running.tool("install-helpers", "--dir", helpers, check=False)
    helpers.mkdir()
    running.tool("install-helpers", "--dir", helpers)
    words = [helpers / "mount.fuse.curvefs", "demo", place, "-v", "-o", f"rw,_netdev,mds={running.mds}"]
    subprocess.run([*words, "-f"], check=True, env={}, cwd="/")
    assert mountpoints.mounted_type(str(place)) is None  # -f only pretends
    words[-1] += f",log={running.root}/by-helper.log"
    subprocess.run([*words, "-t", "fuse.curvefs"], check=True, env={}, cwd="/")
    running.more_mounts.append(place)
    (place / "file").write_bytes(b"x" * 20_000_000)
    pid = running.client_pid(place)
    link = running.root / "link"
    link.symlink_to(place)
    umount = [helpers / "umount.fuse.curvefs", link]
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], cwd=place) as user:
        busy = subprocess.run(umount, check=False, env={}, cwd="/", capture_output=True, text=True)
        user.kill()
    assert (busy.returncode, busy.stderr.count("\n")) == (32, 1)
    assert f"{place} is busy" in busy.stderr
    subprocess.run([*umount, "-r", "-v"], check=True, env={}, cwd="/")
    assert runtime.start_time(pid) is None
    assert mountpoints.mounted_type(str(place)) is None
    running.more_mounts.remove(place)
    again = subprocess.run(umount, check=False, env={}, cwd="/", capture_output=True, text=True)
    assert again.returncode == 32


# ---------------------------------------------------------------------------------------------- object stores


@pytest.mark.s3
@pytest.mark.parametrize(
    ("bucket", "secret"), [("no-such-bucket", None), (None, "wrong")], ids=["missing bucket", "wrong credentials"]
)
def test_a_bucket_that_cannot_be_used_is_refused_and_no_filesystem_is_left(weed, bucket, secret):
    url = weed.url(bucket) if bucket else weed.url()
    with Cluster(env=weed.environment | ({"AWS_SECRET_ACCESS_KEY": secret} if secret else {})) as cluster:
        cluster.up(mount=False)
        done = cluster.tool("create-fs", "media", "--object-store", url, "--mds", cluster.mds, check=False)
        refused(done, ExitCode.OBJECT_STORE, "bucket")
        assert "wrong" not in done.stderr
        listed = json.loads(cluster.tool("list-fs", "--json", "--mds", cluster.mds).stdout)
        assert [one["name"] for one in listed] == ["demo"]
