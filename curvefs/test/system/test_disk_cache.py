"""The disk cache on real mounts: it answers when the store is away, and a damaged file in it is never what is read."""

import os

import pytest

from curvefs.src.common.exits import ExitCode

from ..support.cluster import wait_until

MIB = 1 << 20


@pytest.fixture
def up(cluster):
    cluster.up(mount=False)
    (cluster.root / "cache").mkdir()
    return cluster


def files_of(cluster):
    return [path for path in (cluster.root / "cache").rglob("blocks/**/*") if path.is_file()]


def test_a_damaged_cache_file_is_read_from_the_store_and_dropped(up):
    data = os.urandom(9 * MIB)
    options = f"cache_dir={up.root}/cache"
    place = up.mount(options=options)
    (place / "file").write_bytes(data)
    wait_until(lambda: len(files_of(up)) == 3, what="the blocks are kept")
    up.umount(place)
    for file in files_of(up):
        with file.open("r+b") as opened:
            opened.seek(200_000)
            byte = opened.read(1)
            opened.seek(200_000)
            opened.write(bytes([byte[0] ^ 1]))
    before = {file: file.read_bytes() for file in files_of(up)}
    place = up.mount(options=options)
    assert (place / "file").read_bytes() == data
    wait_until(lambda: len(files_of(up)) == 3, what="the blocks are kept again")
    assert all(file.read_bytes() != before[file] for file in files_of(up))
    assert up.log("mnt2").count("did not match its checksums") >= 3


def test_what_is_cached_is_read_while_the_store_is_away(up):
    data = os.urandom(5 * MIB)
    options = f"cache_dir={up.root}/cache,store_timeout=2"
    place = up.mount(options=options)
    (place / "file").write_bytes(data)
    (place / "large").write_bytes(data * 2)
    wait_until(lambda: len(files_of(up)) == 5, what="the blocks are kept")
    up.umount(place)
    (stored,) = [path for path in (up.data / "objects").iterdir() if not path.name.startswith(".")]
    stored.rename(up.root / "away")
    place = up.mount(options=options)
    wait_until(lambda: "the disk cache is known" in up.log("mnt2"))
    assert (place / "file").read_bytes() == data
    assert (place / "large").read_bytes() == data * 2


def test_a_second_mount_with_the_same_cache_folder_is_refused_with_one_line(up):
    options = f"cache_dir={up.root}/cache"
    up.mount(options=options)
    other = up.root / "other"
    other.mkdir()
    refused = up.try_mount(other, options)
    assert refused.returncode == ExitCode.DATA_FOLDER
    assert "in use by another mount" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    up.mount("with its own", f"cache_dir={up.root}/cache2")
