"""Random readers: the kernel gets whole blocks, and never keeps what is no longer so."""

import ctypes
import mmap
import os
import random
import socket
import threading

import pytest

from ..support.cluster import Cluster, wait_until
from ..support.real_servers import metrics

pytestmark = pytest.mark.fuse
PAGE, BLOCK = 4096, 4 << 20
MOST = 0.9  # of what was put into the kernel: it may forget some at any time
SIZE = 2 * BLOCK + 12_345
ROUNDS = 12


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        cluster.up(mount=False)
        cluster.page = f"127.0.0.1:{free_port()}"
        cluster.mount("mnt", f"metrics={cluster.page}")
        cluster.mount("mnt2")
        yield cluster


def resident(path, length=0):
    """Return how many of the pages of a file, or its beginning, the kernel has (mincore(2)).

    Not opened for writing: that keeps pages away.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY) as mapped:
        flags = (ctypes.c_ubyte * -(-len(mapped) // PAGE))()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert (
            ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), flags)
            == 0
        )
        return sum(flag & 1 for flag in flags)


def random_reader(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    return descriptor


def test_who_reads_here_and_there_in_a_block_has_all_of_it_in_the_kernel_soon(cluster):
    content = random.Random(1).randbytes(SIZE)
    (cluster.mnt / "file").write_bytes(content)
    other = cluster.root / "mnt2" / "file"
    reader = random_reader(other)
    places = [0, 3_000_000, 400_000, 3_500_000, 800_000]  # so far apart that nothing is read ahead
    assert os.pread(reader, 10, places[0]) == content[places[0] : places[0] + 10]
    assert resident(other) <= 4  # for one, what it read
    assert [os.pread(reader, 10, place) for place in places[1:]] == [
        content[place : place + 10] for place in places[1:]
    ]
    wait_until(lambda: resident(other) > MOST * BLOCK / PAGE, what="a block in the kernel")
    assert resident(other) <= BLOCK // PAGE + 4  # and none of the other
    for place in (0, 6000, 3000):
        os.pread(reader, 3, 2 * BLOCK + place)
    for place in places:
        os.pread(reader, 3, BLOCK + place)
    drawn = random.Random(2)

    def all_is_here():  # a read may find its region not yet in memory, so some more are made; each brings a page itself
        for place in drawn.randrange(2 * BLOCK), drawn.randrange(2 * BLOCK, SIZE):
            os.pread(reader, 3, place)
        return resident(other) > MOST * SIZE / PAGE

    wait_until(all_is_here, what="all of it in the kernel")
    assert os.pread(reader, SIZE + 100, 0) == content
    assert os.fstat(reader).st_size == SIZE
    os.close(reader)


def test_what_nobody_has_read_of_a_file_that_is_read_all_over_comes_to_the_kernel_too(cluster):
    blocks, path = 40, cluster.root / "mnt2" / "large"
    (cluster.mnt / "large").write_bytes(random.Random(3).randbytes(BLOCK) * blocks)
    reader = random_reader(path)
    drawn = random.Random(4)

    def first_is_here():
        os.pread(reader, 10, drawn.randrange(10 * BLOCK, blocks * BLOCK))
        return resident(path, 2 * BLOCK) > MOST * 2 * BLOCK / PAGE

    wait_until(first_is_here, what="what nobody has read")
    os.close(reader)


class Readers:
    """Threads that read a file at random and have the kernel forget it, so that it is put again and again."""

    def __init__(self, path, count=2):
        self._path, self._ended = path, threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(seed,)) for seed in range(count)]

    def _read(self, seed):
        drawn = random.Random(seed)
        while not self._ended.is_set():
            reader = random_reader(self._path)
            for _ in range(30):
                os.pread(reader, 16, drawn.randrange(SIZE))
            os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(reader)

    def __enter__(self):
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()


def rewrite(path, drawn):
    """Give a file new content, in one slice a chunk again."""
    content = bytearray(drawn.randbytes(SIZE))
    path.write_bytes(content)
    return content


def put_bytes(cluster):
    return metrics(cluster.page)["curvefs_client_kernel_pages_put_bytes_total"]


def test_what_is_written_and_cut_is_read_at_once_whoever_else_reads(cluster):
    drawn, path = random.Random(2), cluster.mnt / "changed"
    content = rewrite(path, drawn)
    reader, before = random_reader(path), put_bytes(cluster)
    with Readers(path):
        for _ in range(ROUNDS):
            content = rewrite(path, drawn)
            for _ in range(8):
                writer = os.open(path, os.O_RDWR)
                for _ in range(3):
                    at = drawn.randrange(SIZE - 20_000)
                    piece = drawn.randbytes(drawn.choice((1, 100, PAGE, 20_000)))
                    os.pwrite(writer, piece, at)
                    content[at : at + len(piece)] = piece
                    assert os.pread(reader, len(piece) + 8, at) == content[at : at + len(piece) + 8]
                os.close(writer)
                os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(reader, len(piece) + 8, at) == content[at : at + len(piece) + 8]
            length = drawn.randrange(SIZE)
            os.truncate(path, length)
            assert os.pread(reader, 10, length) == b""
            os.truncate(path, SIZE)
            content[length:] = bytes(SIZE - length)
            assert os.pread(reader, SIZE, 0) == content
    os.close(reader)
    assert put_bytes(cluster) > before + ROUNDS * BLOCK


def test_an_open_sees_what_another_mount_closed_before_whoever_else_reads(cluster):
    drawn, here, there = random.Random(3), cluster.mnt / "shared", cluster.root / "mnt2" / "shared"
    before = put_bytes(cluster)
    rewrite(there, drawn)
    with Readers(here):
        for _ in range(ROUNDS):
            content = rewrite(there, drawn)
            for _ in range(8):
                with there.open("r+b") as writer:
                    for _ in range(5):
                        at, piece = drawn.randrange(SIZE - 100), drawn.randbytes(100)
                        writer.seek(at)
                        writer.write(piece)
                        content[at : at + 100] = piece
                reader = random_reader(here)
                assert os.pread(reader, SIZE, 0) == content
                os.close(reader)
    assert put_bytes(cluster) > before + ROUNDS * BLOCK
