"""open(2) and its flags, descriptors whose name is gone, and several of them on one file."""

import ctypes
import errno
import fcntl
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..support.calls import fails

libc = ctypes.CDLL(None, use_errno=True)


def test_flags_that_ask_for_a_kind_of_file(folder):
    (folder / "d").mkdir()
    (folder / "f").touch()
    os.symlink("f", folder / "l")
    fails(errno.ENOTDIR, os.open, folder / "f", os.O_RDONLY | os.O_DIRECTORY)
    fails(errno.EISDIR, os.open, folder / "d", os.O_WRONLY)
    fails(errno.ELOOP, os.open, folder / "l", os.O_RDONLY | os.O_NOFOLLOW)
    fails(errno.EEXIST, os.open, folder / "l", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    fails(errno.ENOTDIR, os.open, folder / "f" / "x", os.O_RDONLY)


def test_creating_through_a_dangling_symlink_creates_its_target(folder):
    os.symlink("target", folder / "l")
    (folder / "l").write_text("x")
    assert (folder / "target").read_text() == "x"


def test_a_loop_of_symlinks_is_refused(folder):
    os.symlink("b", folder / "a")
    os.symlink("a", folder / "b")
    fails(errno.ELOOP, os.stat, folder / "a")


def test_a_descriptor_writes_only_if_opened_for_writing(folder):
    (folder / "a").write_text("x")
    reader = os.open(folder / "a", os.O_RDONLY)
    writer = os.open(folder / "a", os.O_WRONLY)
    fails(errno.EBADF, os.write, reader, b"y")
    fails(errno.EBADF, os.read, writer, 1)
    fails(errno.EINVAL, os.ftruncate, reader, 0)
    os.close(reader)
    os.close(writer)


def test_what_one_descriptor_wrote_another_reads_at_once(folder):
    writer = os.open(folder / "a", os.O_WRONLY | os.O_CREAT)
    reader = os.open(folder / "a", os.O_RDONLY)
    for number in range(50):
        os.pwrite(writer, b"%04d" % number, number * 4)
        assert os.pread(reader, 4, number * 4) == b"%04d" % number
        assert os.fstat(reader).st_size == number * 4 + 4
        assert os.stat(folder / "a").st_size == number * 4 + 4
    os.close(writer)
    os.close(reader)


def test_a_file_without_rights_stays_writable_through_its_creating_descriptor(folder):
    descriptor = os.open(folder / "a", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert (folder / "a").stat().st_mode & 0o777 == 0
    assert (folder / "a").read_bytes() == b"x"  # root


def test_a_descriptor_follows_its_file_through_renames(folder):
    (folder / "a").write_text("x")
    with open(folder / "a", "a") as file:
        os.rename(folder / "a", folder / "b")
        (folder / "a").write_text("another")
        file.write("y")
    assert (folder / "b").read_text() == "xy"
    assert (folder / "a").read_text() == "another"


def test_many_unlinked_files_stay_apart(folder):
    descriptors = []
    for number in range(20):
        descriptor = os.open(folder / "same", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, b"%d" % number * 100)
        os.unlink(folder / "same")
        descriptors.append(descriptor)
    for number, descriptor in enumerate(descriptors):
        assert os.pread(descriptor, 1000, 0) == b"%d" % number * 100
        os.close(descriptor)
    assert os.listdir(folder) == []


def test_what_is_opened_while_it_is_replaced_stays_usable(folder):
    path, ended = folder / "a", threading.Event()
    path.write_text("x" * 100)

    def use():
        while not ended.is_set():
            descriptor = os.open(path, os.O_RDWR)
            os.pwrite(descriptor, b"y", 5)
            os.fsync(descriptor)
            assert os.pread(descriptor, 100, 0) == b"xxxxxy" + b"x" * 94
            os.close(descriptor)

    with ThreadPoolExecutor() as threads:
        users = [threads.submit(use) for _ in range(2)]
        for _ in range(200):
            (folder / "b").write_text("x" * 100)
            os.replace(folder / "b", path)
        ended.set()
    assert [user.exception() for user in users] == [None, None]


def test_a_removed_directory_that_is_open_is_empty_and_takes_no_names(folder):
    (folder / "d").mkdir()
    descriptor = os.open(folder / "d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(folder / "d")
    fails(errno.ENOENT, lambda: os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)))
    fails(errno.ENOENT, lambda: os.mkdir("x", dir_fd=descriptor))
    assert os.fstat(descriptor).st_nlink == 0
    assert os.listdir(descriptor) == []
    os.close(descriptor)
    assert os.listdir(folder) == []


def test_a_directory_that_a_rename_replaced_stays_readable_while_open(folder):
    (folder / "old").mkdir()
    (folder / "new").mkdir()
    descriptor = os.open(folder / "old", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(folder / "new", folder / "old")
    assert os.fstat(descriptor).st_nlink == 0
    assert os.listdir(descriptor) == []
    os.close(descriptor)
    assert (folder / "old").stat().st_nlink == 2


class Handle(ctypes.Structure):
    """struct file_handle of <fcntl.h>."""

    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * 128)]


def handle_of(path):
    handle, mount_id = Handle(128), ctypes.c_int()
    assert libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), 0) == 0
    return handle


def open_handle(folder, handle):
    """Return a descriptor, or the name of the errno."""
    mount = os.open(folder, os.O_RDONLY)
    found = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY)
    os.close(mount)
    return found if found >= 0 else errno.errorcode[ctypes.get_errno()]


def test_file_handles_lead_to_files_and_directories_that_the_kernel_has_forgotten(folder):
    (folder / "d").mkdir()
    (folder / "d" / "f").write_text("x")
    file, directory = handle_of(folder / "d" / "f"), handle_of(folder / "d")
    Path("/proc/sys/vm/drop_caches").write_text("2")
    with os.fdopen(open_handle(folder, file)) as opened:
        assert opened.read() == "x"
    os.rename(folder / "d", folder / "e")
    Path("/proc/sys/vm/drop_caches").write_text("2")
    descriptor = open_handle(folder, directory)
    assert os.listdir(descriptor) == ["f"]
    assert os.readlink(f"/proc/self/fd/{descriptor}") == str(folder / "e")
    os.close(descriptor)
    os.unlink(folder / "e" / "f")
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert open_handle(folder, file) == "ESTALE"


def test_a_lock_excludes_another_process_on_the_same_mount(folder):
    with open(folder / "a", "w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        with open(folder / "a", "w") as other:
            fails(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(mine, fcntl.LOCK_UN)
        with open(folder / "a", "w") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_sendfile_and_copy_file_range_copy(folder):
    (folder / "a").write_bytes(bytes(range(256)) * 1000)
    with open(folder / "a", "rb") as source, open(folder / "b", "wb") as target:
        left = 256_000
        while left:
            left -= os.copy_file_range(source.fileno(), target.fileno(), left)
    assert (folder / "b").read_bytes() == (folder / "a").read_bytes()
    with open(folder / "a", "rb") as source, open(folder / "c", "wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 1 << 16):
            pass
    assert (folder / "c").read_bytes() == (folder / "a").read_bytes()


def test_direct_io_reads_what_was_written(folder):
    (folder / "a").write_bytes(b"x" * 8192)
    descriptor = os.open(folder / "a", os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 8192) as memory:
        assert os.preadv(descriptor, [memory], 0) == 8192
        assert memory[:] == b"x" * 8192
    os.close(descriptor)
