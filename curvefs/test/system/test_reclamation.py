"""What nothing refers to any more leaves the bucket, whatever dies meanwhile; what is referred to stays."""

import json
import os
import random
import re
from pathlib import Path

import pytest

from curvefs.src.common import failpoints
from curvefs.src.metaserver.reclaim.passing import DELETED
from curvefs.src.object.url import open_store

from ..support.bucket import cluster, cluster_in, objects, store
from ..support.cluster import wait_until

__all__ = ["cluster", "store"]

pytestmark = [pytest.mark.s3]
CHUNK = 64 << 20
PATIENCE_S = 180.0


def wait_empty(store):
    wait_until(lambda: not objects(store), PATIENCE_S, "everything is deleted")


def content(seed, size):
    return random.Random(seed).randbytes(size)


def fill(mnt):
    """Files that were made, overwritten, appended to across a chunk border, cut, and left with holes."""
    (mnt / "plain").write_bytes(content(1, 300_000))
    with (mnt / "overwritten").open("wb") as file:
        file.write(content(2, 9 << 20))
        file.flush()
        os.fsync(file.fileno())
        for number in range(4):
            os.pwrite(file.fileno(), content(number, 100_000), number << 20)
            os.fsync(file.fileno())
    with (mnt / "appended").open("wb") as file:
        os.truncate(file.fileno(), CHUNK - 100_000)
    for number in range(3):
        descriptor = os.open(mnt / "appended", os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, content(10 + number, 150_000))
        os.close(descriptor)
    for number in range(30):
        (mnt / f"small-{number}").write_bytes(content(number, 1000))


def test_when_all_files_are_deleted_and_the_grace_is_over_the_bucket_is_empty(cluster, store):
    cluster.up("--delete-grace", "0")
    fill(cluster.mnt)
    held = (cluster.mnt / "plain").open("rb")
    os.truncate(cluster.mnt / "overwritten", 5 << 20)
    os.truncate(cluster.mnt / "appended", CHUNK)
    wait_until(lambda: len(objects(store)) == 30 + 1 + (3 + 4) + 1, PATIENCE_S, "two appends are deleted")
    assert (cluster.mnt / "appended").read_bytes()[-100_000:] == content(10, 150_000)[:100_000]
    for path in cluster.mnt.iterdir():
        path.unlink()
    wait_until(lambda: len(objects(store)) == 1, PATIENCE_S, "all but the open file is deleted")
    assert held.read() == content(1, 300_000)
    held.close()
    wait_empty(store)


@pytest.mark.slow
def test_what_a_killed_mount_stored_and_never_published_is_deleted(cluster, store):
    cluster.up("--delete-grace", "0", mount=False)
    place = cluster.mount()
    (place / "kept").write_bytes(content(1, 100_000))
    kept = objects(store)
    descriptor = os.open(place / "lost", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, content(2, 40 << 20))  # full blocks are stored at once
    wait_until(lambda: len(objects(store)) > len(kept), PATIENCE_S, "blocks are stored")
    os.kill(cluster.client_pid(place), 9)
    wait_until(lambda: objects(store) == kept, PATIENCE_S, "the session has ended and its blocks are gone")
    with pytest.raises(OSError):
        os.close(descriptor)


@pytest.fixture
def slow_cluster(weed):
    """A metaserver that has deleted a batch of objects stops for a while before it notes that."""
    with cluster_in(weed, **{failpoints.VARIABLE: f"{DELETED}=pause:3000"}) as made:
        made.store = open_store(made.object_store)
        yield made
        made.store.close()


def workers(cluster, name):
    """The worker processes that a metaserver has started so far."""
    return [int(pid) for pid in re.findall(r"the worker was started +pid=(\d+)", cluster.log(name))]


@pytest.mark.slow
def test_a_metaserver_killed_while_it_deletes_goes_on_after_it_is_back(slow_cluster):
    cluster = slow_cluster
    cluster.up("--delete-grace", "0")
    (cluster.mnt / "kept").write_bytes(content(1, 5 << 20))
    kept = objects(cluster.store)
    fill(cluster.mnt)
    for path in cluster.mnt.iterdir():
        if path.name != "kept":
            path.unlink()
    wait_until(lambda: len(objects(cluster.store)) < 35, PATIENCE_S, "a batch is deleted")
    old = cluster.kill9("metaserver-1")
    [worker] = workers(cluster, "metaserver-1")
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), PATIENCE_S, "its worker has ended with it")
    cluster.wait_restarted("metaserver-1", old)
    wait_until(lambda: len(workers(cluster, "metaserver-1")) == 2, PATIENCE_S, "what was not noted is done again")
    wait_until(lambda: objects(cluster.store) == kept, PATIENCE_S, "the rest is deleted")
    assert (cluster.mnt / "kept").read_bytes() == content(1, 5 << 20)


@pytest.mark.slow
def test_other_leaders_go_on_where_one_was_killed(slow_cluster):
    cluster = slow_cluster
    cluster.up("--delete-grace", "0", "--metaservers", "3", "--no-restart")
    for number in range(12):
        (cluster.mnt / f"directory-{number}").mkdir()
        for file in range(10):
            (cluster.mnt / f"directory-{number}" / f"{file}").write_bytes(b"x")
    for path in cluster.mnt.glob("*/*"):
        path.unlink()
    wait_until(lambda: len(objects(cluster.store)) < 120, PATIENCE_S, "it has begun")
    name = next(name for name in ("metaserver-1", "metaserver-2", "metaserver-3") if workers(cluster, name))
    cluster.kill9(name)
    wait_empty(cluster.store)


def test_gc_finds_what_nothing_refers_to_and_what_is_missing_while_the_filesystem_is_used(cluster, store):
    cluster.up("--delete-grace", "0")

    def gc(*flags, code=0):
        done = cluster.tool("gc", "demo", "--data", cluster.data, "--older-than", "0", "--json", *flags, check=False)
        assert done.returncode == code, done.stderr
        said = json.loads(done.stdout)
        return [one["name"] for one in said["garbage"]], [one["name"] for one in said["missing"]]

    (cluster.mnt / "gone").write_bytes(content(1, 1000))
    [stray] = objects(store)
    (cluster.mnt / "gone").unlink()
    wait_empty(store)
    (cluster.mnt / "kept").write_bytes(content(2, 1000))
    [kept] = objects(store)
    store.put(stray, b"as if it had not been deleted")
    with (cluster.mnt / "open").open("wb") as file:
        file.write(content(3, 20 << 20))
        wait_until(lambda: len(objects(store)) > 3, PATIENCE_S, "blocks are stored that are not published yet")
        assert gc() == ([stray], [])
        assert gc("--delete") == ([stray], [])
        assert stray not in objects(store)
    assert gc() == ([], [])
    assert (cluster.mnt / "open").read_bytes() == content(3, 20 << 20)
    store.delete([kept])
    assert gc(code=1) == ([], [kept])
    table = cluster.tool("gc", "demo", "--data", cluster.data, check=False)
    assert table.returncode == 1
    assert f"missing: {kept}: chunk 0 of inode" in table.stdout
