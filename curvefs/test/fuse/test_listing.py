"""readdir: every name once, in one pass, whatever else happens to the directory."""

import os
import subprocess
import sys


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
for index in (0, 1, 2, 50, 399):
    libc.seekdir(stream, everything[index][1])
    assert [name for name, _ in rest()] == names[index + 1:], index
libc.seekdir(stream, 0)
assert [name for name, _ in rest()] == names
"""


def test_seekdir_continues_after_the_told_place_and_the_dots_are_there(folder):
    make(folder, 400)
    subprocess.run([sys.executable, "-c", DOTS, folder], check=True)


def test_dot_dot_leads_to_the_parent(folder):
    (folder / "a" / "b").mkdir(parents=True)
    assert os.path.samefile(folder / "a" / "b" / "..", folder / "a")
    os.mkdir(folder / "c")
    os.rename(folder / "a" / "b", folder / "c" / "b")
    assert os.path.samefile(folder / "c" / "b" / "..", folder / "c")
