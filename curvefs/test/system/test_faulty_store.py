"""An S3 server that misbehaves under a real mount: nothing is lost or wrong, and the mount heals by itself."""

import random
import time

import pytest

from ..support.cluster import Cluster
from ..support.faulty_s3 import OF_BODIES, Fault, FaultyS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]
SHARE = 0.5
SIZES = [1, 100, 4096, 70_000, 70_000, 200_000, 1_000_000, 9 << 20]


@pytest.fixture(scope="module")
def faulty(weed):
    with FaultyS3(weed.endpoint, seed=20) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(weed, faulty):
    url = f"s3://curvefs/faulty-{time.time_ns()}?endpoint={faulty.endpoint}"
    with Cluster(url, weed.environment) as made:
        made.up("--compression", "lz4", mount=False)  # indexes, parts and whole blocks are asked for
        yield made
        faulty.end()


def write_tree(place, seed):
    """Write files of many sizes, half of them in a directory; returns what they hold."""
    source = random.Random(seed)
    (place / "d").mkdir(parents=True)
    tree = {}
    for number, size in enumerate(SIZES):
        path = f"{'d/' if number % 2 else ''}file-{number}"
        tree[path] = source.randbytes(size // 2) + bytes(size - size // 2)
        (place / path).write_bytes(tree[path])
    return tree


def read_tree(place, tree):
    """Return which files do not hold what they should; each is read in parts, from its end, and then whole."""
    wrong = []
    for path, data in tree.items():
        with (place / path).open("rb") as file:
            for at in range(len(data) // 3_000_000 * 3_000_000, -1, -3_000_000):
                file.seek(at)
                if file.read(5000) != data[at : at + 5000]:
                    wrong.append((path, at))
            file.seek(0)
            if file.read() != data:
                wrong.append((path, "whole"))
    return wrong


# A server that says nothing costs 30 s a time: fewer of its requests are spoiled.
@pytest.mark.parametrize("fault", sorted(Fault))
def test_a_tree_is_written_and_read_whole_under_a_fault_and_after_it(cluster, faulty, fault):
    faulty.begin(fault, 0.05 if fault is Fault.SILENCE else SHARE)
    place = cluster.mount(f"{fault}-writer")
    tree = write_tree(place / str(fault), seed=1)
    cluster.umount(place)  # stores everything
    written = len(faulty.hits)
    fresh = cluster.mount(f"{fault}-reader")
    assert read_tree(fresh / str(fault), tree) == []
    assert len(faulty.hits) > written, "nothing was spoiled: the test shows nothing"
    assert written or fault in OF_BODIES
    faulty.end()
    again = write_tree(fresh / f"{fault}-after", seed=2)
    cluster.umount(fresh)
    last = cluster.mount(f"{fault}-last")
    assert read_tree(last / f"{fault}-after", again) == []
    cluster.umount(last)
    log = cluster.log(f"{fault}-writer") + cluster.log(f"{fault}-reader")
    assert "Traceback" not in log
    assert "is lost" not in log
    if fault not in (Fault.SLOW, *OF_BODIES):
        assert "the object store fails; trying again" in log


def test_a_tree_is_whole_under_faults_of_every_kind_at_once(cluster, faulty):
    """One after the other, changing while files are written and read."""
    kinds = [fault for fault in Fault if fault is not Fault.SILENCE]
    place = cluster.mount("mixed")
    trees = {}
    for number, fault in enumerate(kinds):
        faulty.begin(fault, SHARE)
        trees[number] = write_tree(place / f"mixed-{number}", seed=number)
    cluster.umount(place)
    fresh = cluster.mount("mixed-reader")
    for number, fault in enumerate(reversed(kinds)):
        faulty.begin(fault, SHARE)
        assert read_tree(fresh / f"mixed-{number}", trees[number]) == []
    faulty.end()
    cluster.umount(fresh)
