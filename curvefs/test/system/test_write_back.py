"""Write-back on real mounts: kill -9 with staged data, a store or a cache disk that is away, other mounts."""

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from curvefs.src.client import mountpoints, runtime

from ..support.cluster import Cluster, wait_until

pytestmark = pytest.mark.s3
MIB = 1 << 20
LONG = bool(os.environ.get("CURVEFS_TEST_LONG"))
STAGED = (2 << 30) if LONG else 256 * MIB
MEMORY_KIB_MAX = 350 << 10  # of a client whose budget is 64 MiB: about 100 are the program itself


@pytest.fixture
def cluster(weed_of_my_own):
    with Cluster(weed_of_my_own.url(), weed_of_my_own.environment) as made:
        made.up(mount=False)
        yield made
    weed_of_my_own.kill()


def options(cluster, cache="cache", more=""):
    return f"cache_dir={cluster.root}/{cache},writeback,free_space=0.01,store_timeout=5,writeback_wait=2{more}"


def records(cluster, cache="cache"):
    return list((cluster.root / cache).glob("*/staging/*.slice"))


def write(path, data):
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def kill_client(cluster, place):
    pid, started = runtime.client_of(str(place))
    os.kill(pid, signal.SIGKILL)
    assert runtime.wait_gone(pid, started, 30)
    mountpoints.lazy_unmount(str(place))
    cluster.more_mounts.remove(place)


def peak_memory_kib(cluster, place):
    lines = Path(f"/proc/{cluster.client_pid(place)}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print("peak memory", peak >> 10, "MiB")
    return peak


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mounts(cluster):
    return json.loads(cluster.tool("list-mounts", "--mds", cluster.mds, "--json").stdout)


def retained(cluster):
    return [one for one in mounts(cluster) if one["retained_since"]]


@pytest.mark.slow
@pytest.mark.timeout(1800 if LONG else 300)
def test_every_synced_byte_is_there_after_kill_9_with_data_staged(cluster, weed_of_my_own):
    """With CURVEFS_TEST_LONG 2 GiB are staged."""
    place = cluster.mount(options=options(cluster, more=",writeback_size=4G,memory=64M"))
    weed_of_my_own.kill()
    unit = os.urandom(16 * MIB)
    digests = {}
    for number in range(STAGED // len(unit)):
        data = number.to_bytes(8, "big") + unit[8:]
        write(place / f"f{number}", data)
        digests[f"f{number}"] = hashlib.sha256(data).hexdigest()
    write(place / "small", b"small")
    with (place / "small").open("ab") as file:
        file.write(b" and appended")
        file.flush()
        os.fsync(file.fileno())
    staged = sum(path.stat().st_size for path in (cluster.root / "cache").glob("*/staging/*"))
    assert staged >= STAGED
    assert (place / "f1").read_bytes()[:8] == (1).to_bytes(8, "big")
    assert peak_memory_kib(cluster, place) < MEMORY_KIB_MAX
    kill_client(cluster, place)
    weed_of_my_own.start()
    place = cluster.mount(options=options(cluster, more=",writeback_size=4G"))
    assert {name: digest(place / name) for name in digests} == digests
    wait_until(lambda: not records(cluster), 600 if LONG else 120, "everything is published")
    fresh = cluster.mount("fresh")
    assert {name: digest(fresh / name) for name in digests} == digests
    assert (fresh / "small").read_bytes() == b"small and appended"
    assert "staged data is lost" not in cluster.log("mnt2")


@pytest.mark.slow
def test_fsync_needs_no_store_and_another_mount_never_sees_what_is_missing(cluster, weed_of_my_own):
    place, other = cluster.mount(options=options(cluster)), cluster.mount("other", "store_timeout=5")
    write(place / "file", b"old" * 1000)
    wait_until(lambda: (other / "file").read_bytes() == b"old" * 1000, 30)
    weed_of_my_own.kill()
    write(place / "file2", b"new" * 1000)
    with (place / "file").open("r+b") as file:
        file.write(b"NEW")
        os.fsync(file.fileno())
    assert (place / "file").read_bytes() == b"NEW" + b"old" * 999
    assert (other / "file2").read_bytes() == b""
    assert (other / "file").stat().st_size == 3000
    weed_of_my_own.start()
    wait_until(lambda: (other / "file2").read_bytes() == b"new" * 1000, 60)
    wait_until(lambda: (other / "file").read_bytes() == b"NEW" + b"old" * 999, 60)
    assert "Traceback" not in cluster.log("mnt2") + cluster.log("other")


@pytest.mark.slow
def test_an_unmount_without_the_store_leaves_what_is_staged_to_the_next_mount(cluster, weed_of_my_own):
    place = cluster.mount(options=options(cluster))
    weed_of_my_own.kill()
    write(place / "file", b"x" * 9 * MIB)
    cluster.umount(place)
    assert "stay staged" in cluster.log("mnt2")
    wait_until(lambda: retained(cluster), 30)
    weed_of_my_own.start()
    # Without its cache disk first: nothing of it is there, and nothing is lost either.
    place = cluster.mount(options=options(cluster, "cache2"))
    assert (place / "file").read_bytes() == b""
    cluster.umount(place)
    place = cluster.mount(options=options(cluster))
    assert (place / "file").read_bytes() == b"x" * 9 * MIB
    wait_until(lambda: not records(cluster), 60)
    cluster.umount(place)
    assert not list((cluster.root / "cache").glob("*/staging/*"))
    wait_until(lambda: not mounts(cluster), 30)
    fresh = cluster.mount("fresh")
    assert (fresh / "file").read_bytes() == b"x" * 9 * MIB


@pytest.mark.slow
def test_an_operator_ends_a_retained_session_and_what_was_staged_is_reported(cluster, weed_of_my_own):
    place = cluster.mount(options=options(cluster))
    weed_of_my_own.kill()
    write(place / "file", b"x" * 1000)
    kill_client(cluster, place)
    (session,) = [one["session"] for one in mounts(cluster)]
    refused = cluster.tool("end-mount", "--mds", cluster.mds, session, check=False)
    assert "may be alive" in refused.stderr
    cluster.tool("end-mount", "--mds", cluster.mds, session, "--force")
    wait_until(lambda: not mounts(cluster), 30)
    weed_of_my_own.start()
    place = cluster.mount(options=options(cluster))
    assert (place / "file").read_bytes() == b""
    assert "identity is over" in cluster.log("mnt2")
    assert list((cluster.root / "cache").glob("*/staging/*.damaged"))
    write(place / "file", b"y" * 1000)
    wait_until(lambda: not records(cluster), 30)
    fresh = cluster.mount("fresh")
    assert (fresh / "file").read_bytes() == b"y" * 1000


@pytest.mark.slow
def test_a_full_staging_disk_is_no_error(cluster, weed_of_my_own):
    small = cluster.root / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], check=True)
    try:
        place = cluster.mount(options=options(cluster, "small"))
        data = os.urandom(64 * MIB)
        write(place / "file", data)
        assert (place / "file").read_bytes() == data
        wait_until(lambda: not records(cluster, "small"), 60)
        fresh = cluster.mount("fresh")
        assert (fresh / "file").read_bytes() == data
        cluster.umount(place)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
