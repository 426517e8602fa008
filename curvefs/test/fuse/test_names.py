"""mkdir, rmdir, create, unlink, link, symlink, rename, mknod, as on a local filesystem."""

import errno
import os
import socket
import stat

from ..support.calls import EXCHANGE, NOREPLACE, fails, renameat2


def test_a_directory_counts_its_subdirectories_as_links(folder):
    before = folder.stat().st_nlink
    (folder / "a").mkdir()
    assert (folder / "a").stat().st_nlink == 2
    assert folder.stat().st_nlink in (before + 1, before)  # some local filesystems always say 1
    fails(errno.EEXIST, (folder / "a").mkdir)
    (folder / "a").rmdir()
    assert not (folder / "a").exists()


def test_only_an_empty_directory_is_removed(folder):
    (folder / "a").mkdir()
    (folder / "a" / "b").touch()
    fails(errno.ENOTEMPTY, os.rmdir, folder / "a")
    fails(errno.ENOTDIR, os.rmdir, folder / "a" / "b")
    fails(errno.EISDIR, os.unlink, folder / "a")
    fails(errno.ENOENT, os.unlink, folder / "none")


def test_exclusive_creation_refuses_an_existing_name(folder):
    os.close(os.open(folder / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    fails(errno.EEXIST, os.open, folder / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(folder / "a", os.O_CREAT | os.O_WRONLY))


def test_the_umask_and_mode_apply(folder):
    before = os.umask(0o027)
    try:
        os.close(os.open(folder / "a", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(folder / "d", 0o777)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / "d").stat().st_mode) == 0o750


def test_names_of_255_bytes_are_the_longest(folder):
    (folder / ("x" * 255)).touch()
    assert (folder / ("x" * 255)).exists()
    fails(errno.ENAMETOOLONG, os.mkdir, folder / ("x" * 256))


def test_names_are_any_bytes(folder):
    name = bytes(range(1, 47)) + bytes(range(48, 256))
    path = os.fsencode(folder) + b"/" + name
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    assert os.listdir(os.fsencode(folder)) == [name]


def test_hard_links_share_one_file(folder):
    (folder / "a").write_text("x")
    os.link(folder / "a", folder / "b")
    assert (folder / "a").stat().st_nlink == 2
    assert os.path.samefile(folder / "a", folder / "b")
    (folder / "a").unlink()
    assert (folder / "b").read_text() == "x"
    assert (folder / "b").stat().st_nlink == 1
    fails(errno.EPERM, os.link, folder, folder / "c")
    fails(errno.EEXIST, os.link, folder / "b", folder / "b")


def test_symlinks_hold_their_target(folder):
    os.symlink("some/where", folder / "l")
    assert os.readlink(folder / "l") == "some/where"
    assert (folder / "l").lstat().st_size == 10
    assert stat.S_ISLNK((folder / "l").lstat().st_mode)
    fails(errno.ENOENT, os.stat, folder / "l")
    target = "x" * 4000
    os.symlink(target, folder / "m")
    assert os.readlink(folder / "m") == target


def test_special_files_are_made(folder):
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    here = os.getcwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("sock")
    finally:
        os.chdir(here)
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    assert stat.S_ISSOCK((folder / "sock").stat().st_mode)
    assert (folder / "dev").stat().st_rdev == os.makedev(1, 3)


def test_rename_replaces_a_file(folder):
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    os.rename(folder / "a", folder / "b")
    assert (folder / "b").read_text() == "a"
    assert sorted(os.listdir(folder)) == ["b"]


def test_rename_moves_directories_and_their_links(folder):
    (folder / "x" / "y" / "z").mkdir(parents=True)
    (folder / "w").mkdir()
    os.rename(folder / "x" / "y", folder / "w" / "v")
    assert (folder / "w" / "v" / "z").is_dir()
    assert os.path.samefile(folder / "w" / "v" / "..", folder / "w")
    fails(errno.EINVAL, os.rename, folder / "w", folder / "w" / "v" / "z" / "q")
    (folder / "e").mkdir()
    os.rename(folder / "w", folder / "e")
    assert (folder / "e" / "v" / "z").is_dir()


def test_rename_checks_types_and_emptiness(folder):
    (folder / "f").touch()
    (folder / "d").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "x").touch()
    fails(errno.EISDIR, os.rename, folder / "f", folder / "d")
    fails(errno.ENOTDIR, os.rename, folder / "d", folder / "f")
    fails(errno.ENOTEMPTY, os.rename, folder / "d", folder / "full")
    fails(errno.ENOENT, os.rename, folder / "none", folder / "x")


def test_rename_of_two_names_of_one_file_does_nothing(folder):
    (folder / "a").touch()
    os.link(folder / "a", folder / "b")
    os.rename(folder / "a", folder / "b")
    assert sorted(os.listdir(folder)) == ["a", "b"]


def test_rename_noreplace_and_exchange(folder):
    (folder / "a").write_text("a")
    (folder / "d").mkdir()
    (folder / "d" / "b").write_text("b")
    fails(errno.EEXIST, renameat2, folder / "a", folder / "d" / "b", NOREPLACE)
    renameat2(folder / "a", folder / "d" / "c", NOREPLACE)
    renameat2(folder / "d" / "b", folder / "d" / "c", EXCHANGE)
    assert (folder / "d" / "b").read_text() == "a"
    assert (folder / "d" / "c").read_text() == "b"
    (folder / "e").mkdir()
    (folder / "e" / "sub").mkdir()
    renameat2(folder / "e" / "sub", folder / "d" / "c", EXCHANGE)
    assert (folder / "e" / "sub").read_text() == "b"
    assert (folder / "d" / "c").is_dir()
    fails(errno.ENOENT, renameat2, folder / "e", folder / "none", EXCHANGE)


def test_an_unlinked_file_stays_usable_while_open(folder):
    with open(folder / "a", "w+b") as file:
        file.write(b"before")
        file.flush()
        os.unlink(folder / "a")
        assert not (folder / "a").exists()
        file.write(b" after")
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        assert file.read() == b"before after"
        assert os.fstat(file.fileno()).st_nlink == 0


def test_a_replaced_file_stays_usable_while_open(folder):
    (folder / "a").write_bytes(b"old")
    (folder / "b").write_bytes(b"new")
    with open(folder / "a", "rb") as file:
        os.rename(folder / "b", folder / "a")
        assert file.read() == b"old"
    assert (folder / "a").read_bytes() == b"new"


def test_a_set_group_id_directory_hands_on_its_group(folder):
    (folder / "d").mkdir()
    os.chown(folder / "d", 0, 1234)
    os.chmod(folder / "d", 0o2775)
    (folder / "d" / "f").touch()
    (folder / "d" / "e").mkdir()
    assert (folder / "d" / "f").stat().st_gid == 1234
    assert (folder / "d" / "e").stat().st_mode & stat.S_ISGID
