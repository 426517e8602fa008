"""Who may do what: checked by the kernel from the mode, owner and group that the filesystem gives."""

import os
import stat

import pytest

from ..support.calls import NOBODY, as_nobody


def test_a_private_file_is_closed_to_others(folder):
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    assert as_nobody("open(path)", folder / "secret") == "EACCES"
    (folder / "secret").chmod(0o644)
    assert as_nobody("open(path).read()", folder / "secret") == 0
    assert as_nobody("open(path, 'w')", folder / "secret") == "EACCES"


def test_a_directory_needs_the_write_bit_for_names_and_the_x_bit_for_passage(folder):
    (folder / "d").mkdir(mode=0o755)
    (folder / "d" / "f").touch()
    assert as_nobody("os.mkdir(path + '/new')", folder / "d") == "EACCES"
    assert as_nobody("os.unlink(path + '/f')", folder / "d") == "EACCES"
    assert as_nobody("os.stat(path + '/f')", folder / "d") == 0
    (folder / "d").chmod(0o744)
    assert as_nobody("os.stat(path + '/f')", folder / "d") == "EACCES"
    assert as_nobody("os.listdir(path)", folder / "d") == 0
    (folder / "d").chmod(0o711)
    assert as_nobody("os.listdir(path)", folder / "d") == "EACCES"
    assert as_nobody("os.stat(path + '/f')", folder / "d") == 0


def test_in_a_sticky_directory_only_owners_remove(folder):
    folder.chmod(0o1777)
    (folder / "roots").touch()
    assert as_nobody("os.unlink(path)", folder / "roots") == "EPERM"
    assert as_nobody("open(path, 'w')", folder / "own") == 0
    assert (folder / "own").stat().st_uid == NOBODY
    assert as_nobody("os.unlink(path)", folder / "own") == 0


def test_what_a_user_creates_is_theirs(folder):
    folder.chmod(0o777)
    assert as_nobody("os.mkdir(path)", folder / "d") == 0
    assert as_nobody("os.symlink('x', path)", folder / "l") == 0
    assert as_nobody("os.mkfifo(path)", folder / "p") == 0
    for name in "dlp":
        assert ((folder / name).lstat().st_uid, (folder / name).lstat().st_gid) == (NOBODY, NOBODY)


def test_only_the_owner_or_root_changes_mode_owner_and_times(folder):
    (folder / "a").touch(mode=0o666)
    (folder / "a").chmod(0o666)
    assert as_nobody("os.chmod(path, 0o600)", folder / "a") == "EPERM"
    assert as_nobody("os.chown(path, 65534, 65534)", folder / "a") == "EPERM"
    assert as_nobody("os.utime(path, (1, 1))", folder / "a") == "EPERM"
    assert as_nobody("os.utime(path)", folder / "a") == 0  # "now" needs only the right to write
    os.chown(folder / "a", NOBODY, NOBODY)
    assert as_nobody("os.chmod(path, 0o600)", folder / "a") == 0
    assert as_nobody("os.chown(path, 0, 0)", folder / "a") == "EPERM"


def test_a_write_by_another_user_clears_set_user_id(folder):
    path = folder / "a"
    path.write_text("x")
    path.chmod(0o4777)
    assert as_nobody("open(path, 'a').write('y')", path) == 0
    assert not path.stat().st_mode & stat.S_ISUID


def test_opening_with_o_trunc_by_another_user_clears_set_user_id(folder):
    path = folder / "a"
    path.write_text("x")
    path.chmod(0o6777)
    assert as_nobody("os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))", path) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    path.write_text("x")
    path.chmod(0o6777)
    path.open("w").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o6777, "root keeps it"


def test_a_change_of_owner_by_a_user_clears_set_user_id(folder):
    path = folder / "a"
    path.write_text("x")
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o6755)
    assert as_nobody("os.chown(path, -1, 65534)", path) == 0
    assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


def test_devices_are_for_root(folder):
    folder.chmod(0o777)
    assert as_nobody("os.mknod(path, 0o20600, os.makedev(1, 3))", folder / "dev") == "EPERM"


def test_access_answers_for_the_real_user(folder):
    (folder / "a").touch(mode=0o640)
    assert as_nobody("assert not os.access(path, os.R_OK); assert os.access(path, os.F_OK)", folder / "a") == 0


@pytest.mark.fuse
def test_set_user_id_bits_and_devices_have_no_effect_on_a_mount_that_was_not_told_otherwise(mounted):
    flags = os.statvfs(mounted.mnt).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV
    told = mounted.mount("mnt-suid", "suid,dev")
    assert not os.statvfs(told).f_flag & (os.ST_NOSUID | os.ST_NODEV)
    mounted.umount(told)
