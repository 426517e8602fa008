"""The contract of a disk, on a folder and on the simulated one."""

import errno
import random

import pytest

from curvefs.src.metaserver.wal.disk import OsDisk
from curvefs.test.sim.disk import SimDisk


@pytest.fixture(params=["folder", "simulated"])
def disk(request, tmp_path):
    return OsDisk(tmp_path) if request.param == "folder" else SimDisk(random.Random(1))


def made(disk, name, *pieces):
    file = disk.create(name)
    for piece in pieces:
        assert disk.write(file, memoryview(piece)) == len(piece)
    return file


def test_what_is_appended_is_read(disk):
    disk.close(made(disk, "a", b"one", b"two"))
    file = disk.open("a")
    disk.write(file, memoryview(b"three"))
    disk.sync(file)
    disk.close(file)
    assert disk.size("a") == 11
    assert disk.read("a", 3, 3) == b"two"
    assert disk.read("a", 6, 99) == b"three"


def test_what_is_there_is_written_once_more_in_place(disk):
    disk.close(made(disk, "a", b"one", b"two"))
    disk.rewrite("a", 3, b"two")
    assert disk.read("a", 0, 99) == b"onetwo"


def test_a_file_is_cut_and_grows_from_there(disk):
    file = made(disk, "a", b"onetwo")
    disk.truncate(file, 3)
    disk.write(file, memoryview(b"2"))
    assert disk.read("a", 0, 99) == b"one2"
    disk.close(file)


def test_names_come_and_go(disk):
    for name in ("a", "b"):
        disk.close(made(disk, name))
    disk.unlink("a")
    disk.sync_folder()
    assert disk.names() == ["b"]


def test_a_file_is_made_once(disk):
    disk.close(made(disk, "a"))
    with pytest.raises(FileExistsError):
        disk.create("a")


@pytest.mark.parametrize("method", ["open", "unlink", "size"])
def test_a_file_that_is_not_there_is_not_found(disk, method):
    with pytest.raises(FileNotFoundError):
        getattr(disk, method)("a")


def test_a_closed_file_is_not_written_to(disk):
    file = made(disk, "a")
    disk.close(file)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        disk.write(file, memoryview(b"x"))
    assert caught.value.errno == errno.EBADF


def test_there_is_room_and_files_have_paths(disk):
    assert disk.free_bytes() > 1 << 20
    assert disk.path("a").endswith("a")
