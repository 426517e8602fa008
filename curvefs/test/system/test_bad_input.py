"""Bad input: one clear line, an exit code of its own, nothing left behind."""

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from curvefs.src.client import mountpoints
from curvefs.src.common.exits import ExitCode

from ..support import guard
from ..support.cluster import CLIENT, TOOL, run

MDS = [sys.executable, "-m", "curvefs.src.mds.main"]
METASERVER = [sys.executable, "-m", "curvefs.src.metaserver.main"]


@pytest.fixture
def servers(cluster):
    """A running cluster without a mount."""
    cluster.up(mount=False)
    return cluster


def refused(code, done, *says):
    """Check the exit code, and that one line says why."""
    assert done.returncode == code, (ExitCode(done.returncode).name, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in says:
        assert str(word) in lines[0], lines[0]


def nothing_is_mounted(cluster):
    return not [place for place in guard.mounts_below(cluster.root) if mountpoints.mounted_type(place)]


def sessions(cluster):
    said = json.loads(cluster.tool("query-fs", cluster.fs, "--data", cluster.data, "--json").stdout)
    return said["mounts"]


# ------------------------------------------------------------------------------------------------ mounting


def test_mounting_an_unknown_filesystem(servers):
    refused(ExitCode.NOT_FOUND, servers.try_mount(servers.mnt, fs="unknown"), "unknown")
    assert nothing_is_mounted(servers)


def test_mounting_with_a_name_that_breaks_the_rules(servers):
    for name in ("Ab", "under_score", "x", "-ab", "a" * 64):
        words = [*CLIENT, "-o", f"mds={servers.mds}", "--", name, servers.mnt]
        refused(ExitCode.USAGE, run(*words, check=False), name)


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens", "says nothing"])
def test_an_mds_that_does_not_answer(cluster, listening):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        if listening:
            silent.listen()
        commands = [
            [*CLIENT, "demo", cluster.mnt, "-o", f"mds={address}"],
            [*TOOL, "list-fs", "--mds", address],
            [*TOOL, "create-fs", "work", "--object-store", f"file://{cluster.root}/objects", "--mds", address],
        ]
        with ThreadPoolExecutor() as pool:  # each waits for its deadline
            for done in pool.map(lambda words: run(*words, check=False, timeout=40), commands):
                refused(ExitCode.UNREACHABLE, done, address)
    assert nothing_is_mounted(cluster)


def test_a_mountpoint_that_is_missing_a_file_or_busy(servers):
    missing = servers.root / "missing"
    refused(ExitCode.MOUNTPOINT, servers.try_mount(missing), missing)
    assert not missing.exists()
    file = servers.root / "file"
    file.touch()
    refused(ExitCode.MOUNTPOINT, servers.try_mount(file), file)
    busy = servers.mount("busy")
    refused(ExitCode.MOUNTPOINT, servers.try_mount(busy), busy)
    assert len(sessions(servers)) == 1
    (busy / "a").write_text("the first mount works on")
    other = servers.root / "tmpfs"
    other.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", other)
    refused(ExitCode.MOUNTPOINT, servers.try_mount(other), other)


@pytest.mark.parametrize("options", ["nonsense", "memory=lots", "attr_timeout=-1", "uploads=0", "log_level=loud"])
def test_mount_options_that_make_no_sense(servers, options):
    refused(ExitCode.USAGE, servers.try_mount(servers.mnt, options), options.partition("=")[0])
    assert not sessions(servers)


def test_up_with_a_bad_mountpoint_leaves_nothing_running(cluster):
    done = cluster.tool("up", cluster.data, cluster.root / "missing", "--detach", check=False)
    refused(ExitCode.MOUNTPOINT, done, "missing")
    assert not guard.processes_of(cluster.data)


# ---------------------------------------------------------------------------------------------- filesystems


def test_creating_a_filesystem_with_a_name_that_breaks_the_rules(servers):
    store = f"file://{servers.root}/objects"
    for name in ("Upper", "x", "under_score", "a" * 64):
        done = servers.tool("create-fs", "--object-store", store, "--data", servers.data, "--", name, check=False)
        refused(ExitCode.USAGE, done, name)
    assert not (servers.root / "objects").exists()


def test_creating_a_filesystem_that_exists(servers):
    store = f"file://{servers.root}/objects"
    done = servers.tool("create-fs", servers.fs, "--object-store", store, "--data", servers.data, check=False)
    refused(ExitCode.EXISTS, done, servers.fs)


def test_querying_and_deleting_an_unknown_filesystem(servers):
    for command in ("query-fs", "delete-fs"):
        refused(ExitCode.NOT_FOUND, servers.tool(command, "unknown", "--data", servers.data, check=False), "unknown")


def test_deleting_a_mounted_filesystem(servers):
    servers.mount()
    refused(ExitCode.BUSY, servers.tool("delete-fs", servers.fs, "--data", servers.data, check=False), servers.fs)


@pytest.mark.s3
def test_creating_a_filesystem_on_an_object_store_that_refuses(cluster, weed):
    cluster.env |= weed.environment
    cluster.up(mount=False)
    url = weed.url("there-is-no-such-bucket")
    done = cluster.tool("create-fs", "work", "--object-store", url, "--data", cluster.data, check=False)
    refused(ExitCode.OBJECT_STORE, done, "there-is-no-such-bucket")
    cluster.down()
    # The MDS is who tries the store: it must be the one with the wrong keys.
    cluster.env |= {"AWS_SECRET_ACCESS_KEY": "wrongwrongwrong"}
    cluster.up(mount=False)
    done = cluster.tool("create-fs", "work", "--object-store", weed.url(), "--data", cluster.data, check=False)
    refused(ExitCode.OBJECT_STORE, done)
    assert "wrongwrongwrong" not in done.stderr
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"s3://bucket?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        done = cluster.tool("create-fs", "work", "--object-store", url, "--data", cluster.data, check=False)
    refused(ExitCode.OBJECT_STORE, done)
    names = [one["name"] for one in json.loads(cluster.tool("list-fs", "--data", cluster.data, "--json").stdout)]
    assert names == [cluster.fs]


def test_an_object_store_that_is_none(servers):
    for url in ("ftp://x/y", "s3://", "nonsense", "file://relative/path"):
        done = servers.tool("create-fs", "work", "--object-store", url, "--data", servers.data, check=False)
        refused(ExitCode.USAGE, done)


# -------------------------------------------------------------------------------------------------- servers


def test_a_port_that_is_taken(servers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(*MDS, "--data", servers.root / "m", "--listen", address, check=False)
        refused_by_server(ExitCode.ADDRESS_IN_USE, done, address)
        words = ["--data", servers.root / "s", "--listen", address, "--mds", servers.mds]
        refused_by_server(ExitCode.ADDRESS_IN_USE, run(*METASERVER, *words, check=False), address)


def refused_by_server(code, done, *says):
    """Servers log as well: the last line is the one for people."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in says:
        assert str(word) in last, done.stderr


def test_a_data_folder_of_a_newer_version_or_in_use(servers):
    refused(ExitCode.DATA_FOLDER, servers.up(mount=False, check=False), servers.data)
    for program, name in ((MDS, "mds"), (METASERVER, "metaserver-1")):
        flags = [] if program is MDS else ["--mds", servers.mds]
        done = run(*program, "--data", servers.data / name, *flags, check=False)
        refused_by_server(ExitCode.DATA_FOLDER, done, servers.data / name)
    servers.down()
    for name in ("mds", "metaserver-1"):
        marker = servers.data / name / "format"
        kept = marker.read_text()
        marker.write_text("999\n")
        refused(ExitCode.DATA_FOLDER, servers.up(mount=False, check=False), "999")
        assert not guard.processes_of(servers.data)
        marker.write_text(kept)
    (servers.data / "format").write_text("999\n")
    refused(ExitCode.DATA_FOLDER, servers.up(mount=False, check=False), "999")


def test_a_folder_that_is_somebody_elses(cluster):
    cluster.data.mkdir()
    (cluster.data / "letters.txt").write_text("dear")
    refused(ExitCode.DATA_FOLDER, cluster.up(mount=False, check=False), cluster.data)
    assert os.listdir(cluster.data) == ["letters.txt"]


def test_other_settings_than_those_of_the_data_folder(servers):
    servers.down()
    refused(ExitCode.DATA_FOLDER, servers.tool("up", servers.data, "--fs", "other", "--detach", check=False), "--fs")
    done = servers.tool("up", servers.data, "--object-store", "file:///nowhere", "--detach", check=False)
    refused(ExitCode.DATA_FOLDER, done, "--object-store")
    refused(ExitCode.DATA_FOLDER, servers.tool("up", servers.data, "--metaservers", "2", "--detach", check=False))
    assert not guard.processes_of(servers.data)


def test_down_with_a_busy_mount_names_it_and_leaves_all_running(cluster):
    cluster.up()
    with open(cluster.mnt / "a", "w") as file:
        refused(ExitCode.BUSY, cluster.down(check=False), cluster.mnt)
        file.write("still there")
    assert (cluster.mnt / "a").read_text() == "still there"
    cluster.down()
    assert nothing_is_mounted(cluster)
    assert cluster.down().returncode == 0
