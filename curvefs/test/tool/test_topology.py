"""The commands about pools, zones, servers and metaservers: what they ask, what they print, how they end."""

import json

import pytest
from click.testing import CliRunner
from curvefs_tool.main import main
from curvefs_tool.topology import duties

from curvefs.proto import common_pb2, mds_pb2, schedule_pb2, topology_pb2
from curvefs.src.common.exits import ExitCode

from ..support.fake_cluster import FakeCluster


@pytest.fixture
def cluster(monkeypatch):
    """Two pools; three metaservers, one of which drains and one of which is offline; a filesystem with a mount."""
    monkeypatch.setattr(duties, "PAUSE_S", 0.0)
    with FakeCluster() as made:
        monkeypatch.setenv("CURVEFS_MDS", made.address)
        made.topology.pools.add(pool_id=1, name="main", replica_count=2, zone_count=2)
        made.topology.pools.add(pool_id=2, name="spare", replica_count=1, zone_count=1)
        for zone_id, name, pool_id in ((1, "z1", 1), (2, "z2", 1), (3, "z1", 2)):
            made.topology.zones.add(zone_id=zone_id, name=name, pool_id=pool_id)
        for server_id, name, zone_id in ((1, "a", 1), (2, "b", 2), (3, "c", 3)):
            made.topology.servers.add(
                server_id=server_id, name=name, zone_id=zone_id, internal_address=f"10.0.0.{server_id}"
            )
        made.metaservers = [
            topology_pb2.Metaserver(
                metaserver_id=7, server_id=1, address="10.0.0.1:1", replica_count=1, leader_count=1
            ),
            topology_pb2.Metaserver(
                metaserver_id=8, server_id=2, address="10.0.0.2:1", replica_count=1, duty=topology_pb2.DRAINS
            ),
            topology_pb2.Metaserver(
                metaserver_id=9, server_id=3, address="10.0.0.3:1", health=topology_pb2.OFFLINE, superseded_by=7
            ),
        ]
        peers = [common_pb2.Peer(metaserver_id=one, address=f"10.0.0.{one - 6}:1") for one in (7, 8)]
        replicas = [topology_pb2.Replica(metaserver_id=one, heard=True) for one in (7, 8)]
        made.copysets = [topology_pb2.Copyset(group_id=4, pool_id=1, peers=peers, replicas=replicas, leader_id=7)]
        made.filesystems = [mds_pb2.Filesystem(name="demo", fs_id=1, uuid=b"u" * 16)]
        made.partitions = [mds_pb2.Partition(fs_id=1, partition_id=5, group_id=4, leader="10.0.0.1:1", peers=peers)]
        made.sessions = [
            mds_pb2.MountSession(session_id=b"\1" * 16, fs_id=1, host="host", pid=3, mountpoint="/mnt", version="0.1")
        ]
        yield made


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="curvefs-tool")


def table(*words):
    done = run(*words)
    assert done.exit_code == 0, done.output
    return [line.split() for line in done.stdout.splitlines()]


def shown(*words):
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(code, *words):
    done = run(*words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.output
    return done.stderr


# ----------------------------------------------------------------------------------------- create-topology


def test_a_topology_file_is_sent_as_it_is_and_what_it_changes_is_told(cluster, tmp_path):
    file = tmp_path / "t.json"
    file.write_bytes(b"{ as it is }")
    cluster.changes = ["add pool main", "remove zone z9"]
    assert run("create-topology", file).stdout == "add pool main\nremove zone z9\n"
    assert cluster.requests[-1][1].file == b"{ as it is }"
    assert shown("create-topology", file) == {"changes": cluster.changes}
    cluster.changes = []
    assert run("create-topology", file).stdout == "nothing to change\n"


def test_every_mistake_of_a_file_is_a_line(cluster, tmp_path):
    file = tmp_path / "t.json"
    file.write_bytes(b"{}")
    cluster.fail("ApplyTopology", common_pb2.INVALID_ARGUMENT, "pools[0].name: wrong\npools[1]: worse")
    done = run("create-topology", file)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr.splitlines() == [
        f"curvefs-tool: {file}: pools[0].name: wrong",
        f"curvefs-tool: {file}: pools[1]: worse",
    ]
    assert "cannot read" in refused(ExitCode.USAGE, "create-topology", tmp_path / "none.json")
    file.write_bytes(b" " * (3 << 20) + b"{}")
    assert "is larger than 3 MiB" in refused(ExitCode.USAGE, "create-topology", file)


# --------------------------------------------------------------------------------------------- list, query


def test_what_there_is_is_listed(cluster):
    assert table("list-pools")[1:] == [["main", "2", "2", "2", "2", "1"], ["spare", "1", "1", "1", "1", "0"]]
    assert table("list-zones")[1:] == [
        ["z1", "main", "1", "1", "1"],
        ["z2", "main", "1", "1", "1"],
        ["z1", "spare", "1", "1", "0"],
    ]
    assert table("list-servers")[1] == ["a", "z1", "main", "10.0.0.1", "1"]
    assert table("list-metaservers")[1:] == [
        ["7", "10.0.0.1:1", "a", "z1", "main", "online", "1", "1"],
        ["8", "10.0.0.2:1", "b", "z2", "main", "online", "1", "0", "drains"],
        ["9", "10.0.0.3:1", "c", "z1", "spare", "offline", "0", "0", "superseded", "by", "7"],
    ]
    assert table("list-copysets")[1] == ["4", "7", "7,", "8", "0,", "0", "0"]
    assert table("list-partitions")[1] == ["demo", "5", "4", "10.0.0.1:1", "0", "0"]
    assert table("list-mounts")[1] == ["01" * 16, "demo", "host", "/mnt", "3", "0.1", "no", "no"]


def test_without_a_topology_everything_is_in_the_default_pool(cluster):
    cluster.topology = topology_pb2.GetTopologyReply()
    cluster.topology.pools.add(name="default", replica_count=3)
    cluster.topology.zones.add(name="default")
    cluster.metaservers = [topology_pb2.Metaserver(metaserver_id=1, address="127.0.0.1:1")]
    [metaserver] = shown("list-metaservers")
    assert (metaserver["server"], metaserver["zone"], metaserver["pool"]) == ("", "default", "default")
    assert shown("query-zone", "default")["metaservers"] == [metaserver]


@pytest.mark.parametrize("kind", ["pool", "zone", "server", "metaserver", "copyset", "partition", "mount"])
def test_every_list_has_json(cluster, kind):
    assert isinstance(shown(f"list-{kind}s")[0], dict)


def test_one_of_them_is_shown_with_what_lies_in_it(cluster):
    assert [one["name"] for one in shown("query-pool", "main")["zones"]] == ["z1", "z2"]
    assert shown("query-pool", 2)["name"] == "spare"
    assert [one["name"] for one in shown("query-zone", "spare/z1")["servers"]] == ["c"]
    assert shown("query-zone", "z2")["zone_id"] == shown("query-zone", 2)["zone_id"] == 2
    assert [one["metaserver_id"] for one in shown("query-server", "b")["metaservers"]] == [8]
    for name in (8, "10.0.0.2:1"):
        assert shown("query-metaserver", name)["copysets"] == [{"copyset": 4, "state": "follower", "lag": 0}]
    assert [one["metaserver_id"] for one in shown("query-partition", "demo/5")["peers"]] == [7, 8]
    for name in ("01" * 16, "host:/mnt"):
        assert shown("query-mount", name)["version"] == "0.1"
    lines = run("query-server", "b").stdout.splitlines()
    assert lines[0].split() == ["name:", "b"]
    assert lines[-1].split()[:3] == ["metaserver:", "metaserver_id=8", "address=10.0.0.2:1"]


def test_what_there_is_not_or_twice_is_refused_in_a_line(cluster):
    for kind, name in (
        ("pool", "x"),
        ("zone", "x"),
        ("server", 77),
        ("metaserver", 1),
        ("partition", "demo/6"),
        ("mount", "0"),
    ):
        assert refused(ExitCode.NOT_FOUND, f"query-{kind}", name) == f"curvefs-tool: no {kind} '{name}'\n"
    assert refused(ExitCode.USAGE, "query-zone", "z1") == "curvefs-tool: 'z1' names 2 zones: main/z1, spare/z1\n"


# ------------------------------------------------------------------------------------------ drain, retire


def assigned(cluster):
    return [
        (request.metaserver_id, topology_pb2.Duty.Name(request.duty))
        for method, request in cluster.requests
        if method == "SetDuty"
    ]


def test_draining_is_followed_until_nothing_is_left(cluster):
    eight = cluster.metaservers[1]
    counts = iter([(3, 2), (3, 2), (2, 0), (0, 0)])

    def go_on():
        eight.replica_count, eight.leader_count = next(counts, (0, 0))

    cluster.on_list = go_on
    assert run("drain", 8).stdout.splitlines() == [
        "metaserver 8: 3 replicas left, 2 of them lead",
        "metaserver 8: 2 replicas left, 0 of them lead",
        "metaserver 8 is drained: it holds nothing",
    ]
    assert assigned(cluster) == [(8, "DRAINS")]
    assert shown("drain", 8) == {"metaserver_id": 8, "duty": "drains", "replicas": 0}


def test_a_drain_that_is_not_done_in_time_goes_on(cluster):
    line = refused_after_progress(cluster, "drain", 8, "--timeout", "0.01")
    assert line == "curvefs-tool: metaserver 8: 1 replicas left, 0 of them lead; it goes on"
    assert run("drain", 8, "--no-wait").stdout == "metaserver 8 is being drained\n"


def refused_after_progress(cluster, *words):
    done = run(*words)
    assert done.exit_code == ExitCode.TIMEOUT
    return done.stderr.strip()


def test_retiring_is_done_when_the_metaserver_is_gone(cluster):
    cluster.metaservers[1].replica_count = 0
    listed = 0

    def go_on():
        nonlocal listed
        listed += 1
        if listed == 3:
            del cluster.metaservers[1]

    cluster.on_list = go_on
    assert run("retire", 8).stdout.splitlines() == [
        "metaserver 8: gives up what its copysets no longer need",
        "metaserver 8 is no longer part of the cluster",
    ]
    assert assigned(cluster) == [(8, "RETIRES")]


def test_nowhere_to_go_is_a_line(cluster):
    cluster.fail("SetDuty", common_pb2.RESOURCE_BUSY, "what metaserver 8 holds has nowhere to go")
    assert "has nowhere to go" in refused(ExitCode.BUSY, "retire", 8)
    assert "has nowhere to go" in refused(ExitCode.BUSY, "drain", 8)


def test_a_drain_says_when_nothing_can_move(cluster):
    cluster.schedule.switches.add(scheduler="RECOVER")
    done = run("drain", 8, "--no-wait")
    assert done.stderr == "the scheduler recover is off: nothing moves until it is on\n"


def test_undrain(cluster):
    assert run("undrain", 8).stdout == "metaserver 8 serves\n"
    assert assigned(cluster) == [(8, "SERVES")]


# ------------------------------------------------------------------------------------------------ schedule


def test_the_schedule_shows_switches_and_operators(cluster):
    cluster.schedule.switches.add(scheduler="RECOVER", enabled=True)
    cluster.schedule.switches.add(scheduler="RAPID_LEADER")
    second = 1_000_000_000
    cluster.schedule.running.add(
        group_id=4,
        scheduler="RECOVER",
        step="replace peer",
        started_ns=second,
        deadline_ns=2 * second,
        source=7,
        target=8,
    )
    cluster.schedule.ended.add(
        group_id=5, scheduler="PERSON", step="add peer", ended_ns=3 * second, end="done", target=8
    )
    assert table("schedule", "list") == [
        ["recover:", "on"],
        ["rapid_leader:", "off"],
        [],
        ["COPYSET", "SCHEDULER", "STEP", "FROM", "TO", "SINCE", "END"],
        ["4", "recover", "replace", "peer", "7", "8", "1970-01-01T00:00:01Z", "runs"],
        ["5", "person", "add", "peer", "8", "1970-01-01T00:00:03Z", "done"],
    ]
    said = shown("schedule", "list")
    assert said["switches"] == {"recover": True, "rapid_leader": False}
    assert said["running"][0]["deadline"] == "1970-01-01T00:00:02Z"


def test_schedulers_are_switched(cluster):
    assert run("schedule", "off", "copyset_balance").stdout == "copyset_balance is off\n"
    assert shown("schedule", "on", "rapid_leader") == {"scheduler": "rapid_leader", "enabled": True}
    asked = [(one.scheduler, one.enabled) for method, one in cluster.requests if method == "SetScheduler"]
    assert asked == [(schedule_pb2.COPYSET_BALANCE, False), (schedule_pb2.RAPID_LEADER, True)]
    assert run("schedule", "on", "person").exit_code == ExitCode.USAGE
