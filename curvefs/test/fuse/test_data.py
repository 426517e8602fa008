"""read, write, truncate, holes, append, as on a local filesystem."""

import errno
import fcntl
import mmap
import os
import random
import subprocess
import sys

import pytest

from ..support.calls import fails


def test_what_is_written_is_read(folder):
    data = random.Random(1).randbytes(3_000_001)
    (folder / "a").write_bytes(data)
    assert (folder / "a").read_bytes() == data
    assert (folder / "a").stat().st_size == len(data)


def test_holes_read_as_zeros(folder):
    with open(folder / "a", "w+b") as file:
        file.seek(10 << 20)
        file.write(b"end")
        file.flush()
        file.seek(5 << 20)
        assert file.read(4096) == bytes(4096)
    assert (folder / "a").stat().st_size == (10 << 20) + 3


def test_shrinking_and_growing_never_shows_old_bytes(folder):
    (folder / "a").write_bytes(b"x" * 100_000)
    os.truncate(folder / "a", 10_000)
    os.truncate(folder / "a", 50_000)
    assert (folder / "a").read_bytes() == b"x" * 10_000 + bytes(40_000)
    with open(folder / "a", "r+b") as file:
        file.truncate(5)
        file.seek(20)
        file.write(b"y")
    assert (folder / "a").read_bytes() == b"xxxxx" + bytes(15) + b"y"


def test_truncate_of_what_is_not_flushed(folder):
    descriptor = os.open(folder / "a", os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, b"a" * 10_000)
        os.ftruncate(descriptor, 100)
        os.pwrite(descriptor, b"b", 200)
        assert os.pread(descriptor, 1000, 0) == b"a" * 100 + bytes(100) + b"b"
    finally:
        os.close(descriptor)
    assert (folder / "a").read_bytes() == b"a" * 100 + bytes(100) + b"b"


def test_o_trunc_empties(folder):
    (folder / "a").write_bytes(b"x" * 100)
    with open(folder / "a", "wb") as file:
        file.write(b"y")
    assert (folder / "a").read_bytes() == b"y"


def test_appends_of_several_descriptors_do_not_overlap(folder):
    ones = [os.open(folder / "a", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(3)]
    for number in range(90):
        os.write(ones[number % 3], b"%02d" % number)
    for one in ones:
        os.close(one)
    assert (folder / "a").read_bytes() == b"".join(b"%02d" % number for number in range(90))


def test_overwrites_at_random_agree_with_a_model(folder):
    rng, model = random.Random(7), bytearray()
    descriptor = os.open(folder / "a", os.O_RDWR | os.O_CREAT)
    try:
        for step in range(400):
            offset, size = rng.randrange(300_000), rng.randrange(1, 9_000)
            match rng.randrange(6):
                case 0 | 1 | 2:
                    data = rng.randbytes(size)
                    os.pwrite(descriptor, data, offset)
                    model.extend(bytes(max(0, offset + size - len(model))))
                    model[offset : offset + size] = data
                case 3:
                    assert os.pread(descriptor, size, offset) == model[offset : offset + size], step
                case 4:
                    os.ftruncate(descriptor, offset)
                    model = model[:offset] + bytes(max(0, offset - len(model)))
                case 5:
                    os.fsync(descriptor)
    finally:
        os.close(descriptor)
    assert (folder / "a").read_bytes() == model


MAPPING = """
import mmap, os, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    memory[5_000:5_005] = b"hello"
    memory.flush()
    assert os.pread(file.fileno(), 5, 5_000) == b"hello"
    memory[15_000:15_003] = b"end"
"""


def test_a_shared_mapping_is_written_back(folder):
    (folder / "a").write_bytes(bytes(20_000))
    # In a process of its own: a page that cannot be had is a signal there.
    subprocess.run([sys.executable, "-c", MAPPING, folder / "a"], check=True)
    assert (folder / "a").read_bytes() == bytes(5_000) + b"hello" + bytes(9_995) + b"end" + bytes(4_997)


APPENDING = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND | os.O_CREAT)
os.ftruncate(descriptor, 20_000)
try:
    memory = mmap.mmap(descriptor, 20_000)
except OSError as error:
    sys.exit(error.errno)
with memory:
    memory[5_000:5_005] = b"hello"
"""


@pytest.mark.parametrize("is_new", [False, True])
def test_a_mapping_of_a_descriptor_that_appends_is_refused_or_written_back_to_its_place(folder, is_new):
    if not is_new:
        (folder / "a").write_bytes(bytes(100))
    mapped = subprocess.run([sys.executable, "-c", APPENDING, folder / "a"], check=False)
    assert mapped.returncode in (0, errno.ENODEV)
    content = bytes(20_000)
    if not mapped.returncode:
        content = content[:5_000] + b"hello" + content[5_005:]
    assert (folder / "a").read_bytes() == content


@pytest.mark.fuse
def test_a_mount_refuses_a_shared_mapping_of_a_descriptor_that_appends(mounted):
    """It could not tell what is written back from what is appended."""
    with open(mounted.mnt / "appended", "a+b", buffering=0) as appending:
        appending.write(b"x")
        fails(errno.ENODEV, mmap.mmap, appending.fileno(), 1)


@pytest.mark.fuse
def test_on_a_mount_the_flags_of_open_say_whether_writes_go_to_the_end(mounted):
    """As SEMANTICS.md says; a change to it is not told."""
    path = mounted.mnt / "cleared"
    with open(path, "ab", buffering=0) as appending:
        appending.write(b"0123")
        fcntl.fcntl(appending, fcntl.F_SETFL, 0)
        os.pwrite(appending.fileno(), b"x", 2)
    assert path.read_bytes() == b"0123x"
    with open(path, "r+b", buffering=0) as writer:
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_APPEND)
        writer.write(b"y")
    assert path.read_bytes() == b"0123xy"


def test_a_descriptor_that_appends_reads_what_is_there(folder):
    (folder / "a").write_bytes(b"0" * 5_000)
    with open(folder / "a", "r+b", buffering=0) as writer, open(folder / "a", "a+b", buffering=0) as appending:
        writer.write(b"1")
        assert appending.write(b"2" * 5_000) == 5_000
        content = b"1" + b"0" * 4_999 + b"2" * 5_000
        assert os.pread(appending.fileno(), 20_000, 0) == content
        with mmap.mmap(appending.fileno(), 10_000, flags=mmap.MAP_PRIVATE) as memory:
            assert memory[:] == content
            memory[0:1] = b"x"
        writer.write(b"3")
        content = b"13" + content[2:]
        assert os.pread(appending.fileno(), 20_000, 0) == os.pread(writer.fileno(), 20_000, 0) == content
        os.ftruncate(appending.fileno(), 9_000)
        appending.write(b"4")
        assert os.pread(writer.fileno(), 20_000, 0) == content[:9_000] + b"4"
    assert (folder / "a").read_bytes() == content[:9_000] + b"4"


GROWING = """
import mmap, os, sys
with open(sys.argv[1], "r+b") as file:
    os.ftruncate(file.fileno(), 9_000)
    with mmap.mmap(file.fileno(), 9_000) as memory:
        assert memory[100:] == bytes(8_900)
        memory[8_000:8_003] = b"new"
        os.ftruncate(file.fileno(), 8_002)
        os.ftruncate(file.fileno(), 9_000)
        assert memory[8_000:8_004] == b"ne\\0\\0", memory[8_000:8_004]
"""


def test_a_mapping_follows_its_file_when_that_is_cut_and_grows(folder):
    (folder / "a").write_bytes(b"x" * 100)
    subprocess.run([sys.executable, "-c", GROWING, folder / "a"], check=True)
    assert (folder / "a").read_bytes() == b"x" * 100 + bytes(7_900) + b"ne" + bytes(998)


@pytest.mark.parametrize("flag", ["O_SYNC", "O_DSYNC"])
def test_synchronous_writes_are_read_by_others_at_once(folder, flag):
    writer = os.open(folder / "a", os.O_WRONLY | os.O_CREAT | getattr(os, flag), 0o644)
    for number in range(20):
        assert os.pwrite(writer, b"%05d" % number, 4 * number) == 5
        assert (folder / "a").read_bytes()[4 * number :] == b"%05d" % number
    os.close(writer)


def test_a_sparse_file_of_a_tebibyte_holds_what_was_written_into_it(folder):
    places = [0, (4 << 20) - 3, (64 << 20) - 2, (3 << 30) + 1, (1 << 40) - 6]
    with open(folder / "a", "wb") as file:
        for place in places:
            file.seek(place)
            file.write(b"here!!")
    assert (folder / "a").stat().st_size == 1 << 40
    assert (folder / "a").stat().st_blocks < 1 << 12
    with open(folder / "a", "rb") as file:
        for place in places:
            file.seek(max(place - 10, 0))
            assert file.read(26).strip(b"\0") == b"here!!", place


def test_a_missing_file_cannot_be_truncated(folder):
    with pytest.raises(OSError) as caught:
        os.truncate(folder / "none", 5)
    assert caught.value.errno == errno.ENOENT


def test_one_file_spans_chunks(folder):
    piece = random.Random(3).randbytes(1 << 20)
    with open(folder / "a", "wb") as file:
        file.writelines(piece[number:] + piece[:number] for number in range(70))
    with open(folder / "a", "rb") as file:
        for number in range(70):
            assert file.read(1 << 20) == piece[number:] + piece[:number], number
