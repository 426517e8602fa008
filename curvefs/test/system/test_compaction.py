"""Compaction on real processes: few slices, few requests, the same bytes, and no objects left over, whatever dies."""

import json
import os
import random
import signal
import threading

import pytest

from ..support.bucket import cluster, objects, store
from ..support.cluster import wait_until

__all__ = ["cluster", "store"]

pytestmark = [pytest.mark.s3]
MIB = 1 << 20
CHUNK = 64 * MIB


def info(cluster, path):
    said = cluster.tool("info", path.relative_to(cluster.mnt), "--fs", cluster.fs, "--data", cluster.data, "--json")
    return json.loads(said.stdout)


def slices(cluster, path):
    return [one for one in info(cluster, path)["slices"] if "zero" not in one]


def compact(cluster, path, *more):
    said = cluster.tool("compact", path, "--data", cluster.data, "--json", *more, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout)


class Written:
    """A file that is written in small pieces, each published by itself, and what must be in it."""

    def __init__(self, path, seed=1):
        self.path = path
        self.rng = random.Random(seed)
        self.model = bytearray()
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def write(self, offset, size):
        data = self.rng.randbytes(size)
        os.pwrite(self.descriptor, data, offset)
        os.fsync(self.descriptor)
        self.model.extend(bytes(max(0, offset + size - len(self.model))))
        self.model[offset : offset + size] = data

    def somewhere(self, count, within=None):
        for _ in range(count):
            size = self.rng.randrange(1, 100_000)
            self.write(self.rng.randrange((within or len(self.model)) - size), size)

    def close(self):
        os.close(self.descriptor)


def test_a_compacted_file_has_one_slice_a_chunk_and_its_old_objects_go(cluster, store):
    cluster.up("--delete-grace", "1")
    file = Written(cluster.mnt / "f")
    file.write(0, 5 * MIB)
    file.write(CHUNK, 300_000)
    file.write(CHUNK - 100_000, 100_000)
    file.somewhere(12, 5 * MIB)
    before = len(slices(cluster, file.path))
    said = compact(cluster, file.path)
    assert (said["chunks"], said["failed"], said["late"]) == (2, 0, False)
    assert (said["slices_before"], said["slices_after"]) == (before, 3)
    left = slices(cluster, file.path)
    # The hole in the first chunk stays one.
    assert [(one["chunk"], one["offset"], one["length"]) for one in left] == [
        (0, 0, 5 * MIB),
        (0, CHUNK - 100_000, 100_000),
        (1, 0, 300_000),
    ]
    names = sorted(block["name"] for one in left for block in one["objects"])
    wait_until(lambda: sorted(objects(store)) == names, 60, "what was merged is deleted")
    assert file.path.read_bytes() == file.model
    cold = cluster.mount("cold")
    assert (cold / "f").read_bytes() == file.model
    assert compact(cluster, file.path)["compacted"] == 0
    file.close()
    file.path.unlink()
    wait_until(lambda: not objects(store), 60, "everything is deleted")


def test_an_encrypted_and_compressed_file_is_compacted(cluster):
    key = cluster.root / "key"
    cluster.tool("new-key", key)
    cluster.up("--encrypt", key, "--compression", "zstd")
    file = Written(cluster.mnt / "f")
    file.write(0, 3 * MIB)
    file.somewhere(12, 3 * MIB)
    said = compact(cluster, file.path)
    assert (said["chunks"], said["failed"], said["slices_after"]) == (1, 0, 1)
    file.close()
    cold = cluster.mount("cold", f"key_file={key}")
    assert (cold / "f").read_bytes() == file.model


def test_a_tree_is_compacted_and_attributes_stay(cluster):
    cluster.up()
    (cluster.mnt / "d" / "e").mkdir(parents=True)
    files = [Written(cluster.mnt / place, seed) for seed, place in enumerate(("d/a", "d/e/b", "d/e/c", "outside"))]
    for file in files:
        file.write(0, MIB)
        file.somewhere(3)
        file.close()
    before = [os.stat(file.path) for file in files]
    said = compact(cluster, cluster.mnt / "d")
    assert (said["files"], said["compacted"], said["slices_before"], said["slices_after"]) == (3, 3, 12, 3)
    assert len(slices(cluster, files[3].path)) == 4
    assert [os.stat(file.path) for file in files] == before
    said = cluster.tool("info", files[0].path, "--data", cluster.data).stdout
    assert "slices:        1 in 1 chunks" in said
    assert f"length:        {len(files[0].model)}\n" in said
    assert "drwx" in cluster.tool("info", cluster.mnt / "d", "--data", cluster.data).stdout
    gone = cluster.tool("info", cluster.mnt / "none", "--data", cluster.data, check=False)
    assert (gone.returncode, "none" in gone.stderr) == (3, True)
    assert all(file.path.read_bytes() == file.model for file in files)


def test_many_slices_are_compacted_by_themselves(cluster, store):
    cluster.up("--delete-grace", "1")
    file = Written(cluster.mnt / "f")
    file.write(0, MIB)
    file.somewhere(60)
    # What stayed of the last merge may be joined by as many again, and 16 at least, before it is looked at.
    wait_until(lambda: len(slices(cluster, file.path)) < 32, 60, "the list became short")
    file.somewhere(5)
    assert file.path.read_bytes() == file.model

    def nothing_over():
        names = {block["name"] for one in slices(cluster, file.path) for block in one["objects"]}
        return set(objects(store)) == names

    wait_until(nothing_over, 60, "what was merged is deleted")
    file.close()


def test_whoever_writes_cuts_and_punches_meanwhile_loses_nothing(cluster):
    cluster.up()
    file = Written(cluster.mnt / "f")
    file.write(0, 8 * MIB)
    stop = threading.Event()
    failures = []

    def go_on_compacting():
        while not stop.is_set():
            said = cluster.tool("compact", file.path, "--data", cluster.data, "--json", check=False)
            if said.returncode and "too late" not in said.stdout:
                failures.append(said.stdout + said.stderr)

    compacting = threading.Thread(target=go_on_compacting)
    compacting.start()
    try:
        for number in range(12):
            file.somewhere(10)
            length = file.rng.randrange(6 * MIB, 8 * MIB)
            os.ftruncate(file.descriptor, length)
            os.ftruncate(file.descriptor, 8 * MIB)
            file.model[length:] = bytes(8 * MIB - length)
            if number % 3 == 0:
                assert file.path.read_bytes() == file.model
    finally:
        stop.set()
        compacting.join()
    assert not failures
    cold = cluster.mount("cold")
    assert (cold / "f").read_bytes() == file.model
    file.close()
    said = json.loads(cluster.tool("gc", cluster.fs, "--data", cluster.data, "--json", "--older-than", "0s").stdout)
    assert not said["missing"], said


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["metaserver", "worker"])
def test_a_kill_in_the_middle_leaves_the_bytes_and_nothing_else(cluster, store, victim):
    cluster.up("--delete-grace", "1")
    file = Written(cluster.mnt / "f")
    for chunk in range(3):
        file.write(chunk * CHUNK, 24 * MIB)
        file.write(chunk * CHUNK + MIB, MIB)
    file.close()
    compacting = threading.Thread(
        target=cluster.tool, args=("compact", file.path, "--data", cluster.data), kwargs={"check": False}
    )
    known = set(objects(store))
    compacting.start()
    wait_until(lambda: set(objects(store)) - known, 30, "something is stored")
    if victim == "metaserver":
        old = cluster.kill9("metaserver-1")
        cluster.wait_restarted("metaserver-1", old)
    else:
        os.kill(worker_of(cluster.processes()["metaserver-1"].pid), signal.SIGKILL)
    compacting.join()
    assert file.path.read_bytes() == file.model
    compact(cluster, file.path)
    assert file.path.read_bytes() == file.model

    def nothing_over():
        names = {block["name"] for one in slices(cluster, file.path) for block in one["objects"]}
        return set(objects(store)) == names

    wait_until(nothing_over, 90, "what was stored in vain is deleted")


@pytest.mark.slow
def test_another_leader_goes_on_with_a_tree_that_is_being_compacted(cluster, store):
    cluster.up("--metaservers", "3", "--delete-grace", "1")
    files = []
    for number in range(6):
        file = Written(cluster.mnt / f"f{number}", number)
        file.write(0, 8 * MIB)
        file.somewhere(4)
        file.close()
        files.append(file)
    known = set(objects(store))
    compacting = threading.Thread(
        target=cluster.tool, args=("compact", cluster.mnt, "--data", cluster.data), kwargs={"check": False}
    )
    compacting.start()
    wait_until(lambda: set(objects(store)) - known, 30, "something is stored")
    cluster.kill9("metaserver-2")
    compacting.join()
    compact(cluster, cluster.mnt)
    for file in files:
        assert file.path.read_bytes() == file.model
        assert len(slices(cluster, file.path)) == 1

    def nothing_over():
        names = {block["name"] for file in files for one in slices(cluster, file.path) for block in one["objects"]}
        return set(objects(store)) == names

    wait_until(nothing_over, 90, "what was stored in vain is deleted")


def test_a_missing_object_is_named_and_the_chunk_left_as_it_is(cluster, store):
    cluster.up()
    file = Written(cluster.mnt / "f")
    file.write(0, MIB)
    file.somewhere(3)
    file.close()
    lost = slices(cluster, file.path)[1]["objects"][0]["name"]
    store.delete([lost])
    said = cluster.tool("compact", file.path, "--data", cluster.data, check=False)
    assert said.returncode == 1
    assert lost in said.stderr
    assert len(slices(cluster, file.path)) == 4


def worker_of(pid):
    """The worker process of a metaserver."""

    def find():
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as stat, open(f"/proc/{entry}/cmdline") as words:
                        if int(stat.read().rsplit(")", 1)[1].split()[1]) == pid and "metaserver.worker" in words.read():
                            return int(entry)
                except (OSError, ValueError):
                    continue
        return None

    return wait_until(find, 10, "the worker runs")
