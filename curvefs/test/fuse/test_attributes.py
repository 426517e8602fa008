"""chmod, chown, times, extended attributes, permissions, statvfs."""

import errno
import os
import stat
import time

import pytest

from ..support.calls import as_nobody, fails


def test_mode_owner_and_times_are_kept(folder):
    path = folder / "a"
    path.write_text("x")
    os.chmod(path, 0o4751)
    assert stat.S_IMODE(path.stat().st_mode) == 0o4751
    os.chown(path, 1001, 1002)
    assert (path.stat().st_uid, path.stat().st_gid) == (1001, 1002)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_400_000_000_987_654_321))
    assert path.stat().st_atime_ns == 1_500_000_000_123_456_789
    assert path.stat().st_mtime_ns == 1_400_000_000_987_654_321


def test_times_set_before_close_are_not_undone_by_close(folder):
    descriptor = os.open(folder / "a", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"x" * 1000)
    os.utime(descriptor, ns=(10**18, 10**18 + 5))
    os.close(descriptor)
    assert (folder / "a").stat().st_mtime_ns == 10**18 + 5


def test_which_times_change(folder):
    path = folder / "a"
    path.write_text("x")
    os.utime(path, ns=(10**18, 10**18))
    os.utime(folder, ns=(10**18, 10**18))
    os.chmod(path, 0o600)
    assert path.stat().st_mtime_ns == 10**18
    assert path.stat().st_ctime_ns > 10**18
    assert folder.stat().st_mtime_ns == 10**18
    (folder / "b").touch()
    assert folder.stat().st_mtime_ns > 10**18
    with open(path, "a") as file:
        file.write("y")
    assert path.stat().st_mtime_ns > 10**18


@pytest.mark.parametrize("content", ["", "x"])
def test_o_trunc_changes_the_times_of_a_file_whatever_its_length(folder, content):
    path = folder / "a"
    path.write_text(content)
    os.utime(path, ns=(10**18, 10**18))
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert path.stat().st_ctime_ns == path.stat().st_mtime_ns > 10**18


def test_a_write_sets_mtime_and_a_later_chmod_ctime_before_they_are_synced(folder):
    with open(folder / "a", "wb", buffering=0) as file:
        file.write(b"x")
        os.utime(file.fileno(), ns=(10**18, 2 * 10**18 + 10**17))
        file.write(b"y")
        written = os.fstat(file.fileno())
        assert 10**18 < written.st_mtime_ns < 2 * 10**18
        time.sleep(0.05)
        os.fchmod(file.fileno(), 0o600)
        changed = os.fstat(file.fileno())
        assert changed.st_mtime_ns == written.st_mtime_ns
        assert changed.st_ctime_ns > written.st_ctime_ns


def test_a_time_that_cannot_be_kept_becomes_the_nearest(folder):
    (folder / "a").touch()
    os.utime(folder / "a", (40 * 10**9, 40 * 10**9))
    assert (folder / "a").stat().st_mtime > 9 * 10**9


def test_an_extended_attribute_of_no_namespace_is_refused(folder):
    (folder / "a").touch()
    fails(errno.EOPNOTSUPP, os.setxattr, folder / "a", "plain", b"x")


def test_extended_attributes(folder):
    path = folder / "a"
    path.touch()
    with pytest.raises(OSError) as caught:
        os.getxattr(path, "user.none")
    assert caught.value.errno == errno.ENODATA
    os.setxattr(path, "user.one", b"1")
    os.setxattr(path, "user.two", b"")
    assert sorted(os.listxattr(path)) == ["user.one", "user.two"]
    assert os.getxattr(path, "user.one") == b"1"
    os.setxattr(path, "user.one", b"2" * 3000, os.XATTR_REPLACE)
    assert os.getxattr(path, "user.one") == b"2" * 3000
    with pytest.raises(OSError) as caught:
        os.setxattr(path, "user.one", b"3", os.XATTR_CREATE)
    assert caught.value.errno == errno.EEXIST
    os.removexattr(path, "user.one")
    assert os.listxattr(path) == ["user.two"]


def test_statvfs_says_something_true(folder):
    numbers = os.statvfs(folder)
    assert numbers.f_blocks > 0
    assert 0 < numbers.f_bavail <= numbers.f_blocks
    assert numbers.f_namemax == 255


def test_trusted_attributes_are_listed_to_root_alone(folder):
    (folder / "a").touch()
    os.setxattr(folder / "a", "trusted.a", b"1")
    os.setxattr(folder / "a", "user.a", b"1")
    assert sorted(os.listxattr(folder / "a")) == ["trusted.a", "user.a"]
    assert as_nobody("assert os.listxattr(path) == ['user.a']", folder / "a") == 0


def test_a_namespace_alone_is_no_name_of_an_attribute(folder):
    (folder / "a").touch()
    fails(errno.EINVAL, os.setxattr, folder / "a", "user.", b"1")


def test_what_attributes_are_taken_can_be_listed(folder):
    (folder / "a").touch()
    names = [f"user.{number:0250}" for number in range(400)]
    with pytest.raises(OSError) as caught:
        for name in names:
            os.setxattr(folder / "a", name, b"")
    assert caught.value.errno == errno.ENOSPC
    listed = os.listxattr(folder / "a")
    assert sorted(listed) == names[: len(listed)]
