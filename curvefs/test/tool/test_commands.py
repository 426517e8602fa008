"""The commands against an MDS that answers from lists: what they ask, what they print, how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from uuid import UUID

import pytest
from click.testing import CliRunner
from curvefs_tool import cluster as cluster_module
from curvefs_tool import filesystems, state, status
from curvefs_tool import up as up_module
from curvefs_tool.main import main
from curvefs_tool.servers import Programs
from curvefs_tool.settings import save_settings, settle

from curvefs.proto import common_pb2, mds_pb2, topology_pb2
from curvefs.src.client.runtime import start_time
from curvefs.src.common.errors import StartupError, Unavailable
from curvefs.src.common.exits import ExitCode

from ..support.fake_cluster import FakeCluster


@pytest.fixture
def cluster(monkeypatch):
    """A fake cluster that commands find by CURVEFS_MDS."""
    with FakeCluster() as made:
        monkeypatch.setenv("CURVEFS_MDS", made.address)
        yield made


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="curvefs-tool")


def run_json(*words, code=ExitCode.OK):
    done = run(*words, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def unhealthy(*words):
    """Return what the status of a cluster says that is not healthy."""
    return run_json("status", *words, code=ExitCode.FAILED)


def demo(**more):
    return mds_pb2.Filesystem(
        name="demo", fs_id=1, uuid=b"u" * 16, object_store="file:///objects", created_ns=1_000_000_000, **more
    )


def healthy(cluster):
    cluster.filesystems = [demo()]
    cluster.partitions = [mds_pb2.Partition(fs_id=1, group_id=4, leader="127.0.0.1:5", inode_count=3, used_bytes=70)]
    cluster.metaservers = [
        topology_pb2.Metaserver(metaserver_id=7, pid=22, address="127.0.0.1:5", leader_count=2, copyset_count=3)
    ]
    cluster.sessions = [
        mds_pb2.MountSession(
            session_id=b"\1" * 16, host="elsewhere", pid=33, mountpoint="/mnt", metrics_address="127.0.0.1:6"
        )
    ]


def test_every_command_has_help():
    listed = run("--help").stdout
    kinds = ("pool", "zone", "server", "metaserver", "copyset", "partition", "mount")
    others = ("copyset", "schedule", "create-topology", "drain", "undrain", "retire", "install-helpers")
    for name in (
        *("up", "down", "status", "create-fs", "list-fs", "query-fs", "delete-fs"),
        *(f"list-{kind}s" for kind in kinds),
        *(f"query-{kind}" for kind in kinds),
        *others,
    ):
        assert name in listed
        done = run(name, "--help")
        assert done.exit_code == 0
        assert "Usage: curvefs-tool" in done.stdout


# ------------------------------------------------------------------------------------------- finding the cluster


def test_the_mds_is_the_flags_then_the_data_folders_then_the_environments(tmp_path, monkeypatch):
    kept = [f"127.0.0.1:{settle(tmp_path, {}).ports['mds']}"]
    monkeypatch.delenv("CURVEFS_MDS", raising=False)
    assert cluster_module.mds_addresses(None, tmp_path) == kept
    monkeypatch.setenv("CURVEFS_MDS", "c:3")
    assert cluster_module.mds_addresses("a:1/b:2", tmp_path) == ["a:1", "b:2"]
    assert cluster_module.mds_addresses(None, tmp_path) == kept
    assert cluster_module.mds_addresses("a:1", None) == ["a:1"]
    assert cluster_module.mds_addresses(None, None) == ["c:3"]


def test_without_a_cluster_a_command_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("CURVEFS_MDS", raising=False)
    done = run("list-fs")
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr == "curvefs-tool: which cluster? --mds H:P/H:P, --data DIR or CURVEFS_MDS\n"


def test_a_folder_that_is_no_cluster_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CURVEFS_MDS", raising=False)
    done = run("list-fs", "--data", tmp_path)
    assert done.exit_code == ExitCode.DATA_FOLDER
    assert done.stderr == f"curvefs-tool: {tmp_path} is no data folder of a cluster\n"


def test_an_unreachable_mds_is_named_after_the_deadline():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = run("list-fs", "--mds", address)
    assert done.exit_code == ExitCode.UNREACHABLE
    assert f"no answer from {address} within 10 s" in done.stderr
    assert done.stderr.count("\n") == 1


# --------------------------------------------------------------------------------------------------- filesystems


DEMO = mds_pb2.CreateFilesystemRequest(name="demo", object_store="file:///o")


def test_a_key_is_made_and_only_its_check_value_is_told_to_the_mds(cluster, tmp_path):
    key = tmp_path / "key"
    said = run("new-key", str(key))
    assert said.exit_code == 0
    run("create-fs", "media", "--object-store", "file:///o", "--compression", "lz4", "--encrypt", str(key))
    _, request = cluster.requests[-1]
    assert (request.compression, len(request.key_check)) == ("lz4", 16)
    assert request.key_check.hex() in said.stdout
    assert bytes.fromhex(key.read_text()) not in request.SerializeToString()
    assert key.read_text().strip() not in said.stdout
    assert run("new-key", str(key)).exit_code == ExitCode.EXISTS
    assert run("new-key", tmp_path / "absent" / "key").exit_code == ExitCode.FAILED
    cluster.requests.clear()
    key.chmod(0o644)
    refused = run("create-fs", "media", "--object-store", "file:///o", "--encrypt", str(key))
    assert (refused.exit_code, cluster.requests) == (ExitCode.USAGE, [])
    assert "mode 0644" in refused.stderr


def test_a_filesystem_is_created_as_asked(cluster):
    words = ("create-fs", "media", "--object-store", "file:///o", "--chunk-size", "128M", "--capacity", "2T")
    said = run_json(*words, "--block-size", "1M", "--inodes", "1000", "--trash-retention", "10d", "--trash-replaced")
    assert (said["name"], said["object_store"], said["chunk_size"]) == ("media", "file:///o", 128 << 20)
    method, request = cluster.requests[-1]
    assert method == "CreateFilesystem"
    assert (request.block_size, request.capacity_bytes, request.capacity_inodes) == (1 << 20, 2 << 40, 1000)
    assert (request.trash_retention_s, request.trash_replaced) == (10 * 24 * 3600, True)
    assert UUID(bytes=request.uuid) == UUID(said["uuid"])
    assert run(*words).stdout == f"created media ({UUID(bytes=cluster.requests[-1][1].uuid)})\n"
    assert not cluster.requests[-1][1].HasField("trash_retention_s")


@pytest.mark.parametrize(("said", "seconds"), [("0", 0), ("90s", 90), ("10m", 600), ("12h", 43200), ("1d", 86400)])
def test_the_delete_grace_is_a_time(cluster, said, seconds):
    run("create-fs", "media", "--object-store", "file:///o", "--delete-grace", said)
    assert cluster.requests[-1][1].delete_grace_s == seconds
    run("create-fs", "media", "--object-store", "file:///o")
    assert not cluster.requests[-1][1].HasField("delete_grace_s"), "the MDS knows the default"


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        (common_pb2.ALREADY_EXISTS, "it exists", ExitCode.EXISTS),
        (common_pb2.INVALID_ARGUMENT, "odd sizes", ExitCode.USAGE),
        (common_pb2.PERMISSION_DENIED, "wrong credentials", ExitCode.OBJECT_STORE),
        (common_pb2.NOT_FOUND, "no such bucket", ExitCode.OBJECT_STORE),
        (common_pb2.NO_SPACE, "the store is full", ExitCode.OBJECT_STORE),
        (common_pb2.OBJECT_STORE_UNAVAILABLE, "it does not answer", ExitCode.OBJECT_STORE),
        (common_pb2.UNAVAILABLE, "2 of 3 metaservers needed are online", ExitCode.FAILED),
    ],
)
def test_a_refused_creation_ends_with_its_reason_and_a_code_of_its_own(cluster, code, message, exit_code):
    cluster.fail("CreateFilesystem", code, message)
    done = run("create-fs", "media", "--object-store", "file:///o")
    assert (done.exit_code, done.stderr, done.stdout) == (exit_code, f"curvefs-tool: {message}\n", "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("Media", "--object-store", "file:///o"), "'Media' is no filesystem name"),
        (("media", "--object-store", "ftp://o"), "'ftp://o' is no object store"),
        (("media", "--object-store", "s3://user:secret@bucket"), "must not carry credentials"),
        (("media", "--object-store", "file:///o", "--chunk-size", "big"), "'big' is no size"),
        (("media", "--object-store", "file:///o", "--delete-grace", "-1s"), "'-1s' is no time"),
        (("media\n", "--object-store", "file:///o"), "is no filesystem name"),
        (("media", "--object-store", "file:///o", "--chunk-size", "64M\n"), "is no size"),
        (("media", "--object-store", "file:///o", "--chunk-size", "8388608T"), "too large: at most 8388607T"),
        (("media", "--object-store", "file:///o", "--capacity", f"{'9' * 30}"), "too large: at most 8388607T"),
        (("media", "--object-store", "file:///o", "--inodes", f"{'9' * 30}"), "too large: at most 8388607T"),
        (("media", "--object-store", "file:///o", "--trash-retention", "49711d"), "too long: at most 49710d"),
        (("media", "--object-store", "file:///o", "--delete-grace", "9" * 12), "too long: at most 49710d"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(cluster, words, reason):
    done = run("create-fs", *words)
    assert done.exit_code == ExitCode.USAGE
    assert reason in done.stderr
    assert "secret" not in done.stderr
    assert cluster.requests == []


@pytest.mark.parametrize(
    "words",
    [
        ("query-fs", "bad\udcff"),
        ("delete-fs", "bad\udcff"),
        ("create-fs", "bad\udcff", "--object-store", "file:///o"),
        ("create-fs", "media", "--object-store", "file:///bad\udcff"),
        ("quota", "set", "/", "--fs", "bad\udcff", "--inodes", "1"),
        ("quota", "list", "bad\udcff"),
        ("gc", "bad\udcff"),
    ],
)
def test_a_word_that_is_not_utf_8_is_refused_in_one_line(cluster, words):
    done = run(*words)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr_bytes.startswith(b"curvefs-tool: '")
    assert (b"\\udcff' is not UTF-8\n" in done.stderr_bytes, done.stderr_bytes.count(b"\n")) == (True, 1)
    assert cluster.requests == []


def test_the_name_of_a_file_is_printed_as_the_bytes_that_it_is(tmp_path):
    file = tmp_path / os.fsdecode(b"key\xff")
    assert run("new-key", file).stdout_bytes.startswith(b"made " + bytes(file) + b" (check value ")


DEMO = mds_pb2.CreateFilesystemRequest(name="demo", object_store="file:///o")


def test_the_first_filesystem_waits_for_the_copysets_of_all_metaservers(cluster, monkeypatch):
    monkeypatch.setattr(filesystems, "_PAUSE_S", 0.01)
    answer, made = cluster._answer, iter([0, 2, 3])

    def one_after_the_other(method, request, reply):
        if method == "ListCopysets":
            reply.copysets.extend(topology_pb2.Copyset(group_id=n + 1) for n in range(next(made)))
        return answer(method, request, reply)

    monkeypatch.setattr(cluster, "_answer", one_after_the_other)
    filesystems.ensure_filesystem([cluster.address], DEMO, 3)
    asked = [method for method, _ in cluster.requests]
    assert (asked.count("ListCopysets"), asked.count("CreateFilesystem")) == (3, 1)


def test_the_first_filesystem_is_tried_again_while_metaservers_join_but_not_for_the_store(cluster, monkeypatch):
    monkeypatch.setattr(filesystems, "JOIN_DEADLINE_S", 0.3)
    monkeypatch.setattr(filesystems, "_PAUSE_S", 0.05)
    cluster.fail("CreateFilesystem", common_pb2.UNAVAILABLE, "2 of 3 metaservers needed are online")
    with pytest.raises(Unavailable, match="2 of 3"):
        filesystems.ensure_filesystem([cluster.address], DEMO, 0)
    assert [method for method, _ in cluster.requests].count("CreateFilesystem") > 1
    cluster.requests.clear()
    cluster.fail("CreateFilesystem", common_pb2.OBJECT_STORE_UNAVAILABLE, "it does not answer")
    with pytest.raises(StartupError) as caught:
        filesystems.ensure_filesystem([cluster.address], DEMO, 0)
    assert caught.value.exit_code == ExitCode.OBJECT_STORE
    assert [method for method, _ in cluster.requests].count("CreateFilesystem") == 1


def test_more_replicas_than_metaservers_are_refused_and_leave_nothing(tmp_path):
    for words, told in [(["--replicas", "3"], "not 1"), (["--replicas", "5", "--metaservers", "4"], "not 4")]:
        done = run("up", tmp_path / "data", *words)
        assert done.exit_code == ExitCode.USAGE
        assert told in done.stderr
        assert not (tmp_path / "data").exists()


def test_a_time_that_is_too_long_is_refused_before_anything_is_made(tmp_path):
    done = run("up", tmp_path / "data", "--trash-retention", "999999999d")
    assert done.exit_code == ExitCode.USAGE
    assert "'999999999d' is too long: at most 49710d" in done.stderr
    assert not (tmp_path / "data").exists()


def _fail():
    raise ValueError("nobody expected this")


@pytest.mark.parametrize(
    ("programs", "left"),
    [
        (lambda: Programs(mds=[sys.executable, "-c", "raise SystemExit(1)"]), ["format", "log"]),
        (lambda: Programs(mds=[sys.executable, "-c", "raise SystemExit(9)"]), []),
        (_fail, ["format", "log"]),
    ],
)
def test_a_first_start_that_fails_leaves_no_settings_and_no_data(tmp_path, monkeypatch, programs, left):
    monkeypatch.setattr(up_module, "Programs", programs)
    data = tmp_path / "data"
    data.mkdir()
    assert run("up", data, "--fs", "first").exit_code != 0
    assert sorted(one.name for one in data.iterdir()) == left
    assert "was made with" not in run("up", data, "--fs", "second").stderr


def test_a_start_that_fails_where_there_are_data_removes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(up_module, "Programs", _fail)
    state.prepare(tmp_path)
    (tmp_path / "metaserver-1").mkdir()
    (tmp_path / "metaserver-1" / "wal").touch()
    assert run("up", tmp_path).exit_code != 0
    assert (tmp_path / "metaserver-1" / "wal").exists()
    assert (tmp_path / "cluster.json").exists()


def test_filesystems_are_listed(cluster):
    assert run_json("list-fs") == []
    cluster.filesystems = [demo(), mds_pb2.Filesystem(name="old", state=mds_pb2.DELETING)]
    said = run_json("list-fs")
    assert [(one["name"], one["state"]) for one in said] == [("demo", "active"), ("old", "deleting")]
    assert said[0]["created"] == "1970-01-01T00:00:01Z"
    assert "demo  active" in run("list-fs").stdout


def test_one_filesystem_is_shown_with_its_use_partitions_and_mounts(cluster):
    healthy(cluster)
    said = run_json("query-fs", "demo")
    assert (said["inodes"], said["used_bytes"]) == (3, 70)
    assert said["partitions"][0]["leader"] == "127.0.0.1:5"
    assert said["mounts"] == [{"host": "elsewhere", "pid": 33, "mountpoint": "/mnt", "read_only": False}]
    assert "mountpoint=/mnt" in run("query-fs", "demo").stdout


def test_an_unknown_filesystem_has_a_code_of_its_own(cluster):
    done = run("query-fs", "demo")
    assert (done.exit_code, done.stderr) == (ExitCode.NOT_FOUND, "curvefs-tool: no filesystem 'demo'\n")


def test_a_filesystem_is_deleted_unless_it_is_mounted(cluster):
    cluster.filesystems = [demo()]
    assert run_json("delete-fs", "demo")["state"] == "deleting"
    assert cluster.requests[-1][1].uuid == cluster.filesystems[0].uuid != b""
    assert run("delete-fs", "demo").stdout == "deleting demo\n"
    cluster.fail("DeleteFilesystem", common_pb2.RESOURCE_BUSY, "it is mounted at h:/mnt")
    done = run("delete-fs", "demo")
    assert (done.exit_code, done.stderr) == (ExitCode.BUSY, "curvefs-tool: it is mounted at h:/mnt\n")


# -------------------------------------------------------------------------------------------------------- status


def test_the_status_of_a_healthy_cluster_has_the_promised_shape(cluster):
    healthy(cluster)
    said = run_json("status")
    assert said["healthy"] is True
    assert said["mds"] == cluster.address
    promised = [{key: one[key] for key in ("role", "id", "pid", "address", "leaders")} for one in said["processes"]]
    assert promised == [
        {"role": "mds", "id": "m1", "pid": 11, "address": cluster.address, "leaders": 1},
        {"role": "metaserver", "id": "7", "pid": 22, "address": "127.0.0.1:5", "leaders": 2},
        {"role": "client", "id": "01" * 16, "pid": 33, "address": "127.0.0.1:6", "leaders": 0},
    ]
    assert run("status").stdout.startswith("healthy\n")


def copyset(**more):
    peers = [common_pb2.Peer(metaserver_id=7, address="127.0.0.1:5")]
    replica = topology_pb2.Replica(metaserver_id=7, heard=True, committed_index=9, applied_index=4)
    fields = {"group_id": 4, "leader_id": 7, "peers": peers, "replicas": [replica], "partition_count": 1}
    return topology_pb2.Copyset(**fields | more)


def test_the_status_shows_the_copysets(cluster):
    healthy(cluster)
    cluster.copysets = [copyset()]
    said = run_json("status")
    assert said["healthy"] is True
    assert said["copysets"][0]["peers"][0]["lag"] == 5
    assert "4        7       7      5    1" in run("status").stdout


def test_a_replica_that_is_missing_or_a_copyset_without_a_leader_is_unhealthy(cluster):
    healthy(cluster)
    cluster.copysets = [copyset(replicas=[topology_pb2.Replica(metaserver_id=7)])]
    assert unhealthy()["problems"] == ["copyset 4: the replica on metaserver 7 was not heard of"]
    cluster.copysets = [copyset(leader_id=0)]
    cluster.partitions[0].leader = ""
    assert unhealthy()["problems"] == ["copyset 4 has no leader"]  # once, not for each partition
    cluster.metaservers[0].health = topology_pb2.OFFLINE
    cluster.copysets[0].replicas[0].heard = False
    assert unhealthy()["problems"] == ["metaserver 7 is offline", "copyset 4 has no leader"]


@pytest.mark.parametrize(
    ("hurt", "problem"),
    [
        (lambda c: c.metaservers.clear(), "there is no metaserver"),
        (lambda c: setattr(c.metaservers[0], "health", topology_pb2.UNSTABLE), "metaserver 7 is unstable"),
        (lambda c: setattr(c.metaservers[0], "health", topology_pb2.OFFLINE), "metaserver 7 is offline"),
        (lambda c: setattr(c.partitions[0], "leader", ""), "partition 0 of demo has no leader"),
    ],
)
def test_what_is_wrong_makes_the_cluster_unhealthy_and_is_said(cluster, hurt, problem):
    healthy(cluster)
    hurt(cluster)
    said = unhealthy()
    assert (said["healthy"], said["problems"]) == (False, [problem])
    done = run("status")
    assert done.stdout.startswith(f"NOT HEALTHY: {problem}\n")
    assert (done.exit_code, done.stderr) == (ExitCode.FAILED, "")


def test_a_client_of_this_machine_that_is_gone_is_not_listed(cluster):
    healthy(cluster)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as gone:
        pass
    cluster.sessions = [
        mds_pb2.MountSession(session_id=b"\1", host=socket.gethostname(), pid=gone.pid),
        mds_pb2.MountSession(session_id=b"\2", host=socket.gethostname(), pid=os.getpid()),
        mds_pb2.MountSession(session_id=b"\3", host="elsewhere", pid=gone.pid),
        mds_pb2.MountSession(session_id=b"\4", host="elsewhere", pid=gone.pid, ending=True),
        mds_pb2.MountSession(session_id=b"\5", host="elsewhere", pid=gone.pid, retained_since_ns=1),
    ]
    assert [one["id"] for one in run_json("status")["processes"] if one["role"] == "client"] == ["02", "03"]


def test_with_a_data_folder_its_processes_count_too(cluster, tmp_path, monkeypatch):
    healthy(cluster)
    (tmp_path / "run").mkdir()
    monkeypatch.delenv("CURVEFS_MDS")
    settings = settle(tmp_path, {})
    settings.ports["mds"] = int(cluster.address.rpartition(":")[2])
    save_settings(tmp_path, settings)
    said = unhealthy("--data", tmp_path)
    assert said["problems"] == ["the supervisor is not running"]
    kept = state.ClusterState(tmp_path)
    me = state.ProcessRecord(os.getpid(), start_time(os.getpid()))
    kept.processes = {"supervisor": me, "mds": me}
    kept.save()
    said = run_json("status", "--data", tmp_path)
    assert said["healthy"] is True
    assert (said["processes"][-1]["role"], said["processes"][-1]["pid"]) == ("supervisor", os.getpid())
    kept.processes["metaserver-1"] = state.ProcessRecord(os.getpid(), 1)
    kept.starting["client"] = me
    kept.save()
    assert unhealthy("--data", tmp_path)["problems"] == [
        "metaserver-1 is not running",
        "client is starting",
    ]


def test_a_cluster_of_this_machine_that_does_not_answer_is_unhealthy_and_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv("CURVEFS_MDS", raising=False)
    monkeypatch.setattr(status, "BlockingClient", partial(status.BlockingClient, deadline_s=0.5))
    (tmp_path / "run").mkdir()
    settle(tmp_path, {})
    said = unhealthy("--data", tmp_path)
    assert (said["healthy"], said["mds"], said["processes"]) == (False, "", [])
    assert "no answer from" in said["problems"][0]


def test_a_mount_that_may_be_alive_is_busy_unless_forced(cluster):
    cluster.sessions = [mds_pb2.MountSession(session_id=b"\1" * 16, host="h", mountpoint="/mnt")]
    done = run("end-mount", "01" * 16)
    assert (done.exit_code, done.stderr) == (
        ExitCode.BUSY,
        "curvefs-tool: the mount at h:/mnt may be alive; --force ends it as well\n",
    )
    assert [method for method, _ in cluster.requests] == ["ListSessions"]


def test_helpers_run_this_interpreter_by_its_full_path(tmp_path):
    done = run("install-helpers", "--dir", tmp_path)
    assert done.stdout.splitlines() == [str(tmp_path / name) for name in ("mount.fuse.curvefs", "umount.fuse.curvefs")]
    for name in ("mount.fuse.curvefs", "umount.fuse.curvefs"):
        said = subprocess.run([tmp_path / name, "--help"], capture_output=True, text=True, check=True, env={}, cwd="/")
        assert f"usage: {name}" in said.stdout
    assert run("install-helpers", "--dir", tmp_path / "missing").exit_code == ExitCode.FAILED


@pytest.mark.parametrize("words", [("up", ""), ("down", ""), ("kv-migrate", "", "--etcd", 1), ("status", "--data", "")])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == ExitCode.USAGE
    assert "the path is empty" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_down_where_nothing_runs_is_no_error(tmp_path):
    state.prepare(tmp_path)
    done = run("down", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "nothing is running\n")


def test_down_of_what_is_no_cluster_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "missing", "/etc/passwd"):
        done = run("down", place)
        assert (done.exit_code, done.stdout) == (ExitCode.DATA_FOLDER, "")
        assert done.stderr == f"curvefs-tool: {place} is no data folder of a cluster\n"


@pytest.mark.parametrize("words", [("down",), ("up",), ("new-key",)])
def test_a_path_that_is_too_long_is_one_line(words):
    path = "/" + "x" * 300
    done = run(*words, path)
    assert done.exit_code == ExitCode.FAILED
    assert "File name too long" in done.stderr
    assert done.stderr.startswith("curvefs-tool: ")
    assert done.stderr.count("\n") == 1


def tool(*words, **more):
    """Run the tool as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "curvefs_tool.main", *words], stderr=subprocess.PIPE, text=True, check=False, **more
    )


@pytest.mark.parametrize("words", [("list-fs",), ("list-fs", "--json")])
def test_what_cannot_be_printed_is_one_line(cluster, words):
    cluster.filesystems = [demo()]
    with open("/dev/full", "w") as full:
        done = tool(*words, stdout=full)
    assert (done.returncode, done.stderr) == (ExitCode.FAILED, "curvefs-tool: No space left on device\n")


def test_a_failure_is_told_also_where_there_is_no_standard_output():
    done = tool("down", "/" + "x" * 300, preexec_fn=lambda: os.close(1))
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.endswith(": File name too long\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("status",), ("list-fs", "--json"), ("--help",), ("status", "--help")])
def test_a_command_whose_reader_has_gone_ends_quietly_and_not_as_a_failure(cluster, words):
    healthy(cluster)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = tool(*words, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")
