"""The disk cache on real mounts: it answers when the store is away, and a damaged file in it is never what is read."""

import json
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


def test_a_tree_is_warmed_up_checked_and_evicted(up):
    place = up.mount()
    (place / "tree" / "sub").mkdir(parents=True)
    contents = {f"tree/f{n}": os.urandom(n * MIB + 10) for n in range(6)} | {"tree/sub/x": b"x", "tree/empty": b""}
    for name, data in contents.items():
        (place / name).write_bytes(data)
    os.symlink("f1", place / "tree" / "link")
    up.umount(place)
    place = up.mount(options=f"cache_dir={up.root}/cache,store_timeout=3")

    def warmup(*words, check=True):
        return json.loads(up.tool("warmup", *words, "--json", check=check).stdout)

    before = warmup("--check", place / "tree")
    assert (before["files"], before["cached"]) == (len(contents), 0)
    assert before["bytes"] == sum(map(len, contents.values()))
    done = warmup(place / "tree")
    assert done["cached"] == done["blocks"] == before["blocks"]
    assert len(files_of(up)) == done["blocks"]
    (stored,) = [path for path in (up.data / "objects").iterdir() if not path.name.startswith(".")]
    stored.rename(up.root / "away")
    for name, data in contents.items():
        assert (place / name).read_bytes() == data
    (up.root / "list").write_text(f"{place}/tree/f5\n{place}/tree/f4\n")
    assert warmup("--evict", "-f", up.root / "list")["cached"] == 0
    after = warmup("--check", place)
    assert after["cached"] == done["blocks"] - 4
    failed = up.tool("warmup", place / "tree" / "f5", check=False)
    assert failed.returncode
    assert "f5" in failed.stderr
    (up.root / "away").rename(stored)
    assert "100.0 %" in up.tool("warmup", place).stdout


def test_warming_up_what_is_no_mount_or_has_no_cache_is_one_line(up):
    refused = up.tool("warmup", up.root, check=False)
    assert refused.returncode == ExitCode.USAGE
    assert "does not lie on a mount" in refused.stderr
    place = up.mount()
    (place / "file").write_bytes(b"x")
    refused = up.tool("warmup", place, check=False)
    assert "mounted with cache_dir" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
