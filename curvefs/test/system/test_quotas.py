"""Quotas from the outside: `curvefs-tool quota`, what programs are told, and df."""

import errno
import json
import os

import pytest

from ..support.cluster import wait_until

MIB = 1 << 20


def quota(cluster, *words, check=True):
    return cluster.tool("quota", *words, "--data", cluster.data, check=check)


def one(cluster, path):
    return json.loads(quota(cluster, "get", path, "--json").stdout)[0]


def write(path, size, step=MIB // 4):
    """Write until it is done or refused; returns (bytes, errno)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    done = 0
    try:
        while done < size:
            done += os.write(descriptor, b"x" * min(step, size - done))
    except OSError as error:
        return done, error.errno
    finally:
        os.close(descriptor)
    return done, 0


def test_quotas_from_set_to_delete(cluster):
    cluster.up()
    top = cluster.mnt / "top"
    (top / "inner").mkdir(parents=True)
    (top / "inner" / "old").write_bytes(b"x" * 1000)

    quota(cluster, "set", top, "--capacity", "4MiB", "--inodes", "6")
    said = one(cluster, top)
    assert (said["state"], said["used_bytes"], said["used_inodes"]) == ("active", 1000, 2)

    # What was there counts, and no more than the rest is accepted, from any mount.
    second = cluster.mount()
    done, why = write(top / "new", 8 * MIB)
    assert why == errno.EDQUOT
    assert 3 * MIB <= done <= 4 * MIB - 1000
    assert write(top / "new", done) == (done, 0), "an overwrite needs none"
    with pytest.raises(OSError, match="quota") as caught:
        os.truncate(second / "top" / "inner" / "old", 4 * MIB)
    assert caught.value.errno == errno.EDQUOT
    for number in range(3):
        (second / "top" / f"file{number}").touch()
    with pytest.raises(OSError, match="quota") as caught:
        (top / "one more").touch()
    assert caught.value.errno == errno.EDQUOT

    # Removing makes room at once; files move with their charge, directories do not.
    (top / "new").unlink()
    (second / "top" / "now").touch()
    (cluster.mnt / "inner").mkdir()
    with pytest.raises(OSError, match="cross-device") as caught:
        (top / "inner").rename(cluster.mnt / "inner")
    assert caught.value.errno == errno.EXDEV
    (top / "now").rename(cluster.mnt / "out")
    assert one(cluster, top)["used_inodes"] == 5

    # The filesystem's is what df shows, and ENOSPC.
    quota(cluster, "set", cluster.mnt, "--capacity", "8M", "--inodes", "100")
    shown = wait_until(lambda: (v := os.statvfs(second)).f_files == 100 and v, 10, "df")
    assert shown.f_blocks * shown.f_frsize == 8 * MIB
    done, why = write(cluster.mnt / "big", 16 * MIB)
    assert why == errno.ENOSPC
    assert done <= 8 * MIB

    listed = {row["path"]: row for row in json.loads(quota(cluster, "list", cluster.fs, "--json").stdout)}
    assert sorted(listed) == ["/", "/top"]
    assert listed["/"]["used_bytes"] >= done
    assert quota(cluster, "check", cluster.fs).stdout.count("equal") == 2

    quota(cluster, "delete", top)
    assert quota(cluster, "get", top, check=False).returncode == 3
    for number in range(20):
        (top / f"more{number}").touch()
    quota(cluster, "delete", "/", "--fs", cluster.fs)
    assert write(cluster.mnt / "big", 16 * MIB) == (16 * MIB, 0)
    quota(cluster, "check", cluster.fs)


def test_bad_input_is_one_clear_line(cluster):
    cluster.up()
    (cluster.mnt / "file").touch()
    for words, code, said in (
        (["set", cluster.mnt], 2, "limits something"),
        (["set", cluster.mnt, "--capacity", "many"], 2, "no size"),
        (["set", "/tmp", "--inodes", "5"], 2, "in no mount"),
        (["set", cluster.mnt / "absent", "--inodes", "5"], 3, "there is no /absent"),
        (["set", cluster.mnt / "file", "--inodes", "5"], 1, "ot a directory"),
        (["get", cluster.mnt], 3, "no quota"),
        (["delete", cluster.mnt], 3, "no quota"),
        (["list", "nosuch"], 3, "nosuch"),
        (["check", "nosuch"], 3, "nosuch"),
    ):
        done = quota(cluster, *words, check=False)
        assert (done.returncode, said in done.stderr) == (code, True), (words, done.returncode, done.stderr)
