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
path, size, openers = sys.argv[1], os.path.getsize(sys.argv[1]), int(sys.argv[2])
reader, opens, reads, enough = os.open(path, os.O_RDONLY), [0], [0], threading.Event()
def read():
    while True:
        os.pread(reader, 4096, random.randrange(size // 4096) * 4096)
        reads[0] += 1
def reopen():
    while not enough.is_set():
        os.close(os.open(path, os.O_RDWR))
        opens[0] += 1
def reach(counter, goal):
    while counter[0] < goal:
        time.sleep(0.05)
threading.stack_size(256 << 10)
for function, count in ((read, 32), (reopen, openers)):
    for _ in range(count):
        threading.Thread(target=function, daemon=True).start()
reach(opens, 8 * openers)
enough.set()  # the kernel lets reads wait behind the releases of so many closes
reach(reads, reads[0] + 32)
print("both went on", flush=True)
os._exit(0)
"""


@pytest.fixture
def cluster():
    with Cluster() as cluster:
        cluster.up()
        yield cluster


def test_opens_that_wait_for_the_kernels_pages_leave_the_reads_that_hold_them_a_task(cluster):
    path = cluster.mnt / "read"
    path.write_bytes(os.urandom(16 << 20))
    command = [sys.executable, "-c", OPENS_UNDER_READS, path, str(WAITING)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said, _ = program.communicate(timeout=4 * PATIENCE_S)
    finally:
        program.kill()  # of a mount that hangs, it ends with the mount
    assert said == "both went on\n"


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
