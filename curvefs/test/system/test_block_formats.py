"""Compressed and encrypted filesystems on real mounts: what is stored, who can read it, and what damage does."""

import errno
import os
import random
import re

import pytest

from ..support.cluster import Cluster

SENTENCE = b"a sentence that is easily recognised, and said again. "
SIZE = 5_000_000
KINDS = [(compression, encrypted) for compression in ("none", "zstd", "lz4") for encrypted in (False, True)]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as made:
        made.up(mount=False)
        made.tool("new-key", made.root / "key")
        made.tool("new-key", made.root / "other-key")
        yield made


def create(cluster, name, compression="none", *, encrypted=False, check=True):
    """Create a filesystem; returns the mount options that it needs, and the folder of its objects."""
    objects = cluster.root / f"objects-{name}"
    words = ["create-fs", name, "--mds", cluster.mds, "--object-store", f"file://{objects}"]
    words += ["--compression", compression]
    words += ["--encrypt", cluster.root / "key"] if encrypted else []
    cluster.tool(*words, check=check)
    return f"key_file={cluster.root / 'key'}" if encrypted else "", objects


def mount(cluster, name, options, number=1):
    place = cluster.root / f"mnt-{name}-{number}"
    place.mkdir()
    done = cluster.try_mount(place, options, name)
    assert done.returncode == 0, done.stderr
    return place


def objects_in(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.parent.name.startswith(".")]


@pytest.mark.parametrize(("compression", "encrypted"), KINDS)
def test_what_is_written_is_read_by_another_mount(cluster, compression, encrypted):
    name = f"{compression}-{'secret' if encrypted else 'open'}"
    options, objects = create(cluster, name, compression, encrypted=encrypted)
    text, noise = (SENTENCE * (SIZE // len(SENTENCE) + 1))[:SIZE], random.Random(1).randbytes(SIZE)
    place = mount(cluster, name, options)
    (place / "text").write_bytes(text)
    (place / "noise").write_bytes(noise)
    cluster.umount(place)
    stored = [path.read_bytes() for path in objects_in(objects)]
    total = sum(map(len, stored))
    assert total < SIZE * 1.5 if compression != "none" else 2 * SIZE < total < 2.01 * SIZE
    if encrypted:
        assert not [one for one in stored if b"easily recognised" in one]
    fresh = mount(cluster, name, options, 2)
    with (fresh / "noise").open("rb") as file:  # pieces first, in an order that nothing reads ahead
        for offset in random.Random(2).sample(range(0, SIZE, 40_000), 30):
            assert os.pread(file.fileno(), 10_000, offset) == noise[offset : offset + 10_000]
    assert (fresh / "text").read_bytes() == text
    assert (fresh / "noise").read_bytes() == noise
    cluster.umount(fresh)


def test_mount_is_refused_without_the_right_key_in_one_clear_line(cluster):
    options, _ = create(cluster, "locked", encrypted=True)
    create(cluster, "unlocked")
    exposed = cluster.root / "exposed-key"
    exposed.write_text((cluster.root / "key").read_text())
    exposed.chmod(0o644)
    place = cluster.root / "mnt-refused"
    place.mkdir()
    for fs, given, reason in (
        ("locked", "", "is encrypted: mount it with key_file"),
        ("locked", f"key_file={cluster.root / 'other-key'}", "is not the key of filesystem 'locked'"),
        ("locked", f"key_file={exposed}", "mode 0644"),
        ("locked", f"key_file={cluster.root / 'absent'}", "there is no key file"),
        ("unlocked", options, "is not encrypted"),
    ):
        done = cluster.try_mount(place, given, fs)
        assert done.returncode == 13, (given, done.stderr)
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
    key = (cluster.root / "key").read_text().strip()
    assert key not in cluster.log("mnt-refused")
    assert not [path for path in cluster.data.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]


@pytest.mark.parametrize(("compression", "encrypted"), [("none", False), ("zstd", False), ("lz4", True)])
def test_damaged_object_is_eio_and_named_and_the_rest_of_the_file_reads(cluster, compression, encrypted):
    name = f"damaged-{compression}"
    options, objects = create(cluster, name, compression, encrypted=encrypted)
    place = mount(cluster, name, options)
    data = random.Random(3).randbytes(6 << 20)  # two blocks
    (place / "file").write_bytes(data)
    inode = (place / "file").stat().st_ino
    cluster.umount(place)
    (second,) = [path for path in objects_in(objects) if path.name.endswith("_1")]
    content = bytearray(second.read_bytes())
    content[1 << 20] ^= 1
    second.write_bytes(content)
    fresh = mount(cluster, name, options, 2)
    with (fresh / "file").open("rb") as file:
        assert os.pread(file.fileno(), 4 << 20, 0) == data[: 4 << 20]
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 4096, (5 << 20) - 100)
        assert caught.value.errno == errno.EIO
        with pytest.raises(OSError):
            file.seek(0)
            file.read()
    (line, *_) = [line for line in cluster.log(fresh.name).splitlines() if "a block is damaged" in line]
    assert f"inode={inode}" in line
    assert second.name in line
    assert "segment" in line
    assert 4 << 20 <= int(re.search(r"offset=(\d+)", line)[1]) < 6 << 20
    content[1 << 20] ^= 1
    second.write_bytes(content)
    assert (fresh / "file").read_bytes() == data  # it heals by itself when the object does
    cluster.umount(fresh)


def test_up_encrypts_and_passes_the_key_on_without_a_copy():
    with Cluster() as made:
        made.tool("new-key", made.root / "key")
        made.up("--compression", "zstd", "--encrypt", made.root / "key")
        (made.mnt / "file").write_bytes(SENTENCE * 1000)
        link = made.data / "etc" / "keys" / made.fs
        assert link.is_symlink()
        assert link.resolve() == (made.root / "key").resolve()
        made.down()
        assert not [path for path in objects_in(made.data / "objects") if b"easily recognised" in path.read_bytes()]
        made.up()
        assert (made.mnt / "file").read_bytes() == SENTENCE * 1000
