"""readdir: every name once, in one pass, whatever else happens to the directory."""

import mmap
import os
import shutil
import subprocess
import sys

import pytest


def make(folder, count):
    names = {f"file-{number}" for number in range(count)}
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))
    return names


def test_every_name_is_listed_once(folder):
    names = make(folder, 2500)
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries]
    assert len(found) == len(names)
    assert set(found) == names


def test_names_that_stay_are_listed_while_others_are_removed(folder):
    names = make(folder, 1500)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found.append(entry.name)
            if int(entry.name.removeprefix("file-")) % 2:
                os.unlink(entry.path)
    assert len(found) == len(set(found))
    assert {name for name in names if int(name.removeprefix("file-")) % 2 == 0} <= set(found)
    assert len(os.listdir(folder)) == 750


def test_rm_r_removes_a_large_tree(folder):
    for number in range(5):
        (folder / "top" / str(number)).mkdir(parents=True)
        make(folder / "top" / str(number), 300)
    subprocess.run(["rm", "-r", folder / "top"], check=True)
    assert os.listdir(folder) == []


def test_entries_carry_type_and_inode(folder):
    (folder / "d").mkdir()
    (folder / "f").touch()
    os.symlink("f", folder / "l")
    with os.scandir(folder) as entries:
        found = {entry.name: entry for entry in entries}
    assert found["d"].is_dir(follow_symlinks=False)
    assert found["f"].is_file(follow_symlinks=False)
    assert found["l"].is_symlink()
    for name, entry in found.items():
        assert entry.inode() == (folder / name).lstat().st_ino


def test_listing_beside_a_file_that_is_being_written_changes_nothing_of_it(folder):
    with open(folder / "a", "w+b", buffering=0) as file:
        file.write(b"x" * 1000)
        os.listdir(folder)
        assert os.fstat(file.fileno()).st_size == 1000
        assert os.pread(file.fileno(), 2000, 0) == b"x" * 1000
        assert file.seek(0, os.SEEK_END) == 1000
        file.write(b"y" * 10)
    assert (folder / "a").read_bytes() == b"x" * 1000 + b"y" * 10


def test_listing_beside_a_mapping_that_is_written_loses_none_of_it(folder):
    with open(folder / "a", "w+b", buffering=0) as file:
        file.write(b"x" * 8192)
        with mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[5000:5005] = b"first"
            os.listdir(folder)
            mapped[100:104] = b"then"
            assert mapped[5000:5005] == b"first"
    data = (folder / "a").read_bytes()
    assert (len(data), data[100:104], data[5000:5005]) == (8192, b"then", b"first")


def test_what_changes_while_a_directory_is_listed_is_not_undone_by_the_rest_of_the_listing(folder):
    names = sorted(make(folder, 900))
    (folder / "inner").mkdir()
    elsewhere = folder.with_name(folder.name + "-elsewhere")
    elsewhere.mkdir()
    with os.scandir(folder) as entries:
        seen = {next(entries).name for _ in range(10)}
        late = [name for name in names if name not in seen]
        for name in late[::2]:
            (folder / name).write_bytes(b"x" * 500)
            (folder / name).chmod(0o600)
        for name in late[1::2]:
            (folder / name).unlink()
        (folder / "inner").rename(elsewhere / "moved")
        for _ in entries:
            pass
    for name in late[::2]:
        said = (folder / name).stat()
        assert (said.st_size, said.st_mode & 0o777) == (500, 0o600), name
    assert not any((folder / name).exists() for name in late[1::2])
    assert not (folder / "inner").exists()
    assert (elsewhere / "moved").is_dir()
    shutil.rmtree(elsewhere)


SMALL = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
folder = os.open(sys.argv[1], os.O_RDONLY)
buffer, found = ctypes.create_string_buffer(int(sys.argv[2])), []
while True:
    size = libc.syscall(217, folder, buffer, len(buffer))  # getdents64
    assert size >= 0, os.strerror(ctypes.get_errno())
    if not size:
        break
    at = 0
    while at < size:
        _, _, length, _ = struct.unpack_from("<QqHB", buffer, at)
        found.append(buffer.raw[at + 19 : at + length].split(b"\\0")[0])
        at += length
print(len(found), len(set(found)))
"""


@pytest.mark.parametrize("size", [600, 2048])
def test_a_listing_through_a_small_buffer_is_whole(folder, size):
    for number in range(1300):
        os.close(os.open(folder / f"{number:0250}", os.O_CREAT | os.O_WRONLY))
    words = [sys.executable, "-c", SMALL, folder, str(size)]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "1302 1302\n"


DOTS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]
stream = libc.opendir(os.fsencode(sys.argv[1]))
def rest():
    found = []
    while entry := libc.readdir(stream):
        found.append((ctypes.cast(entry, ctypes.POINTER(Dirent)).contents.name, libc.telldir(stream)))
    return found
everything = rest()
names = [name for name, _ in everything]
assert sorted(names)[:2] == [b".", b".."], sorted(names)[:3]
for index in (0, 1, 2, 50, 399, 1100, 100, 1499):
    libc.seekdir(stream, everything[index][1])
    assert [name for name, _ in rest()] == names[index + 1:], index
libc.seekdir(stream, 0)
assert [name for name, _ in rest()] == names
"""


def test_seekdir_continues_after_the_told_place_and_the_dots_are_there(folder):
    make(folder, 1500)
    subprocess.run([sys.executable, "-c", DOTS, folder], check=True)


def test_dot_dot_leads_to_the_parent(folder):
    (folder / "a" / "b").mkdir(parents=True)
    assert os.path.samefile(folder / "a" / "b" / "..", folder / "a")
    os.mkdir(folder / "c")
    os.rename(folder / "a" / "b", folder / "c" / "b")
    assert os.path.samefile(folder / "c" / "b" / "..", folder / "c")
