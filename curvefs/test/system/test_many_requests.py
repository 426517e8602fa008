"""More requests of the kernel wait than anyone would expect: the rest of the mount goes on."""

import os
import subprocess
import sys
import threading

import pytest

from ..support.cluster import Cluster

pytestmark = pytest.mark.fuse
WAITING = 2000
PATIENCE_S = 30.0

# In a process of its own: threads that wait for a mount that hangs can be ended by nobody.
OPENS_UNDER_READS = """
import os, random, sys, threading, time
path, size = sys.argv[1], os.path.getsize(sys.argv[1])
reader, opens, reads = os.open(path, os.O_RDONLY), [0], [0]
def read():
    while True:
        os.pread(reader, 4096, random.randrange(size // 4096) * 4096)
        reads[0] += 1
def reopen():
    while True:
        os.close(os.open(path, os.O_RDWR))
        opens[0] += 1
threading.stack_size(256 << 10)
for function, count in ((read, 32), (reopen, int(sys.argv[2]))):
    for _ in range(count):
        threading.Thread(target=function, daemon=True).start()
for _ in range(4):
    before = opens[0], reads[0]
    time.sleep(2)
    print(opens[0] - before[0], reads[0] - before[1], flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        cluster.up()
        yield cluster


def test_opens_that_wait_for_the_kernels_pages_leave_the_reads_that_hold_them_a_task(cluster):
    path = cluster.mnt / "read"
    path.write_bytes(os.urandom(16 << 20))
    done = subprocess.run(
        [sys.executable, "-c", OPENS_UNDER_READS, path, str(WAITING)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert all(int(opens) + int(reads) > 0 for opens, reads in map(str.split, done.stdout.splitlines())), done.stdout


def close_ending(descriptor, failed):
    try:
        os.close(descriptor)
    except OSError as error:
        failed.append(error)


def test_closes_that_wait_for_the_object_store_keep_nobody_else_waiting(cluster):
    folder, objects, failed = cluster.mnt / "d", cluster.data / "objects", []
    folder.mkdir()
    descriptors = [os.open(folder / f"f{number}", os.O_CREAT | os.O_WRONLY) for number in range(WAITING)]
    for descriptor in descriptors:
        os.write(descriptor, b"x")
    objects.rename(cluster.data / "away")
    size = threading.stack_size(256 << 10)
    try:
        closing = [threading.Thread(target=close_ending, args=(one, failed), daemon=True) for one in descriptors]
        for thread in closing:
            thread.start()
        listed = threading.Event()
        others = threading.Thread(target=lambda: (os.mkdir(cluster.mnt / "e"), os.listdir(folder), listed.set()))
        others.daemon = True
        others.start()
        assert listed.wait(PATIENCE_S), "a listing waits for the object store"
        assert sum(thread.is_alive() for thread in closing) > WAITING // 2, "nothing waited: the test shows nothing"
    finally:
        threading.stack_size(size)
        if objects.exists():  # what was stored meanwhile
            for one in sorted(objects.rglob("*"), reverse=True):
                one.rmdir() if one.is_dir() else one.unlink()
            objects.rmdir()
        (cluster.data / "away").rename(objects)
    for thread in closing:
        thread.join(120)
    assert not any(thread.is_alive() for thread in closing)
    assert not failed
    assert (folder / "f0").read_bytes() == b"x"
