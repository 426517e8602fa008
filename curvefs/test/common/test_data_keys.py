"""Key files: made once, readable by their owner alone, told apart by a check value."""

import errno
import os

import pytest

from curvefs.src.common.data_keys import check_key, expand, find_key, key_check, new_key, read_key
from curvefs.src.common.errors import AlreadyExists, InvalidArgument, IOFailure, NotFound

KEY = bytes(range(32))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key"
    new_key(path, lambda size: KEY[:size])
    return path


def test_new_key_is_read_back_and_only_its_owner_may(file):
    assert read_key(file) == KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == KEY.hex() + "\n"


def test_new_key_never_replaces_a_file(file):
    with pytest.raises(AlreadyExists, match="already"):
        new_key(file, os.urandom)
    assert read_key(file) == KEY
    with pytest.raises(IOFailure, match="No such file"):
        new_key(file.parent / "absent" / "key", os.urandom)


def test_a_key_that_does_not_fit_on_the_disk_leaves_no_file(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(IOFailure, match="No space left"):
            new_key(tmp_path / "key", os.urandom)
    assert list(tmp_path.iterdir()) == []
    new_key(tmp_path / "key", os.urandom)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_key_file_that_others_may_touch_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(InvalidArgument, match=f"mode {mode:04o}"):
        read_key(file)


@pytest.mark.parametrize("text", ["", "00", "x" * 64, KEY.hex() + "00", KEY.hex() + "\n\n\n", "\udcff" * 32])
def test_what_is_no_key_is_refused_without_being_said(file, text):
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidArgument, match="no key file: 64 hexadecimal digits") as caught:
        read_key(file)
    assert KEY.hex() not in str(caught.value)


def test_absent_key_file_is_said(tmp_path):
    with pytest.raises(NotFound, match="no key file"):
        read_key(tmp_path / "absent")


def test_key_is_found_by_the_name_of_the_filesystem_or_the_check_value(tmp_path, file):
    check = key_check(KEY)
    with pytest.raises(NotFound, match=check.hex()):
        find_key(tmp_path, "demo", check)
    (tmp_path / check.hex()).symlink_to(file)
    assert find_key(tmp_path, "demo", check) == KEY
    new_key(tmp_path / "demo", lambda size: b"x" * size)
    with pytest.raises(InvalidArgument, match="not the key of filesystem 'demo'"):
        find_key(tmp_path, "demo", check)


def test_check_value_tells_keys_apart_and_is_none_of_what_encrypts(file):
    check_key(KEY, key_check(KEY), "demo", file)
    with pytest.raises(InvalidArgument, match="not the key"):
        check_key(bytes(32), key_check(KEY), "demo", file)
    assert len(key_check(KEY)) == 16
    assert key_check(KEY) != expand(KEY, b"curvefs block x")[:16]


def test_derivation_is_that_of_rfc_5869():
    """Its expansion, with the first test vector, as far as 32 bytes."""
    prk = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    assert expand(prk, info).hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
