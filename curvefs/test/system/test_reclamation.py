"""What nothing refers to any more leaves the bucket, whatever dies meanwhile; what is referred to stays."""

import itertools
import os
import random

import pytest

from curvefs.src.object.url import open_store

from ..support.cluster import Cluster, wait_until

pytestmark = [pytest.mark.s3]
CHUNK = 64 << 20
_numbers = itertools.count()


@pytest.fixture
def cluster(weed):
    with Cluster(weed.url(prefix=f"reclaim-{os.getpid()}-{next(_numbers)}"), weed.environment) as made:
        yield made


@pytest.fixture
def store(cluster):
    made = open_store(cluster.object_store)
    yield made
    made.close()


def objects(store):
    """The names of all objects of filesystems."""
    names, after = [], ""
    while page := store.list("", after):
        names += [one.key for one in page]
        after = names[-1]
    return names


def wait_empty(store):
    wait_until(lambda: not objects(store), 90, "everything is deleted")


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
    wait_until(lambda: len(objects(store)) == 30 + 1 + (3 + 4) + 1, 60, "the two appends that were cut off are deleted")
    assert (cluster.mnt / "appended").read_bytes()[-100_000:] == content(10, 150_000)[:100_000]
    for path in cluster.mnt.iterdir():
        path.unlink()
    wait_until(lambda: len(objects(store)) == 1, 60, "all but the open file is deleted")
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
    wait_until(lambda: len(objects(store)) > len(kept), 30, "blocks are stored")
    os.kill(cluster.client_pid(place), 9)
    wait_until(lambda: objects(store) == kept, 120, "the session has ended and its blocks are gone")
    with pytest.raises(OSError):
        os.close(descriptor)


@pytest.mark.slow
def test_a_metaserver_killed_while_it_deletes_goes_on_after_it_is_back(cluster, store):
    cluster.up("--delete-grace", "0")
    for number in range(3000):
        (cluster.mnt / f"f{number}").write_bytes(b"x")
    (cluster.mnt / "kept").write_bytes(content(1, 5 << 20))
    for number in range(3000):
        (cluster.mnt / f"f{number}").unlink()
    wait_until(lambda: len(objects(store)) < 2500, 60, "it has begun")
    old = cluster.kill9("metaserver-1")
    cluster.wait_restarted("metaserver-1", old)
    wait_until(lambda: len(objects(store)) == 2, 90, "the rest is deleted")
    assert (cluster.mnt / "kept").read_bytes() == content(1, 5 << 20)


@pytest.mark.slow
def test_another_leader_goes_on_where_one_was_killed(cluster, store):
    cluster.up("--delete-grace", "0", "--metaservers", "3")
    for number in range(2000):
        (cluster.mnt / f"f{number}").write_bytes(b"x")
    fill(cluster.mnt)
    for path in cluster.mnt.iterdir():
        path.unlink()
    wait_until(lambda: len(objects(store)) < 1900, 60, "it has begun")
    cluster.kill9("metaserver-2")
    wait_empty(store)
