"""What outlives an unmount: tables by value, and the same with real mounts of tmpfs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curvefs.src.client import mount_table, mountpoints, runtime
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

PAUSE = [sys.executable, "-I", "-S", "-c", "print('begun', flush=True); import signal; signal.pause()"]


def table(*lines):
    """Mounts from (id, parent, device, place, optional fields)."""
    return mount_table.parse(
        "\n".join(
            f"{mount} {parent} {device} / {place} rw,relatime {optional}{' ' * bool(optional)}- fuse.curvefs name rw"
            for mount, parent, device, place, optional in lines
        )
    )


def test_a_line_is_read_with_its_groups_and_escapes():
    [one] = mount_table.parse(
        r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue"
    )
    assert one == mount_table.Mount("36", "35", "98:0", "/mnt 2", "ext3", "/dev/root", "7", "1")


@pytest.mark.parametrize("name", ["a\rb", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\udcff"])
def test_whatever_a_mountpoint_is_called_is_one_line(tmp_path, name):
    path = tmp_path / "mountinfo"
    lines = [f"36 35 98:0 / /mnt/{name} rw - tmpfs none rw\n", "37 35 98:1 / /mnt/other rw - tmpfs none rw\n"]
    path.write_bytes(os.fsencode("".join(lines)))
    assert [one.place for one in mount_table.read(path)] == [f"/mnt/{name}", "/mnt/other"]


OWN_PRIVATE = table((1, 0, "8:1", "/", ""), (2, 1, "0:50", "/mnt", ""))
OWN_SHARED = table((1, 0, "8:1", "/", "shared:1"), (2, 1, "0:50", "/mnt", "shared:2"))


@pytest.mark.parametrize(
    ("own", "other", "keeps"),
    [
        (OWN_PRIVATE, table((11, 10, "8:1", "/", "")), False),
        (OWN_PRIVATE, table((11, 10, "8:1", "/", ""), (12, 11, "0:50", "/mnt", "")), True),
        (OWN_PRIVATE, table((11, 10, "8:1", "/", ""), (12, 11, "0:51", "/mnt", "")), False),
        (OWN_SHARED, table((11, 10, "8:1", "/", "shared:1"), (12, 11, "0:50", "/mnt", "shared:2")), False),
        (OWN_SHARED, table((11, 10, "8:1", "/", "master:1"), (12, 11, "0:50", "/mnt", "master:2")), False),
        (OWN_SHARED, table((11, 10, "8:1", "/", ""), (12, 11, "0:50", "/mnt", "master:2")), True),
        (OWN_SHARED, table((11, 10, "8:1", "/", "master:3"), (12, 11, "0:50", "/mnt", "")), True),
        (OWN_SHARED, table((12, 99, "0:50", "/mnt", "master:2")), True),
    ],
    ids=["not there", "private", "another", "peer", "receiver", "upon private", "of others", "upon nothing seen"],
)
def test_a_copy_elsewhere_keeps_a_mount_unless_unmounts_reach_it(own, other, keeps):
    expected = ["sh (pid 7) in another mount namespace"] if keeps else []
    assert mount_table.kept_by("/mnt", own, {"sh (pid 7)": other}) == expected


def test_unmounts_go_on_from_receivers_to_theirs():
    between = table((11, 10, "8:1", "/", "shared:5 master:1"), (12, 11, "0:50", "/mnt", "master:2"))
    last = table((21, 20, "8:1", "/", "master:5"), (22, 21, "0:50", "/mnt", ""))
    assert mount_table.kept_by("/mnt", OWN_SHARED, {"between": between, "last": last}) == []
    assert mount_table.kept_by("/mnt", OWN_SHARED, {"last": last}) == ["last in another mount namespace"]


def test_a_bind_mount_beside_it_keeps_a_mount():
    own = table((1, 0, "8:1", "/", ""), (2, 1, "0:50", "/mnt", ""), (3, 1, "0:50", "/bound", ""))
    assert mount_table.kept_by("/mnt", own, {}) == ["the mount on /bound"]
    assert mount_table.kept_by("/nothing", own, {}) == []


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A tmpfs of which this process says that it serves it."""
    monkeypatch.setattr(runtime, "folder", lambda: tmp_path / "records")
    place = tmp_path / "mnt"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    runtime.record(str(place))
    yield str(place)
    subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def refused_by(served):
    with pytest.raises(StartupError) as caught:
        mountpoints.unmount(served)
    assert caught.value.exit_code == ExitCode.BUSY
    assert os.path.ismount(served)
    return str(caught.value)


def test_an_unmount_is_refused_while_a_private_namespace_keeps_the_mount(served):
    words = ["unshare", "--mount", "--propagation", "private", *PAUSE]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd="/") as holder:
        try:
            holder.stdout.readline()
            assert f"(pid {holder.pid}) in another mount namespace" in refused_by(served)
            assert any(f"(pid {holder.pid})" in user for user in mountpoints.users_of(served))
        finally:
            holder.kill()
    mountpoints.unmount(served)
    assert not os.path.ismount(served)


def test_an_unmount_that_reaches_the_other_namespace_is_done(tmp_path, served):
    """The folder around the mountpoint is a shared mount here, and a receiving one there."""
    runtime.forget(served)
    subprocess.run(["umount", served], check=True)
    upon = Path(served)
    subprocess.run(["mount", "-t", "tmpfs", "none", upon], check=True)
    subprocess.run(["mount", "--make-shared", upon], check=True)
    place = upon / "inner"
    try:
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
        runtime.record(str(place))
        words = ["unshare", "--mount", "--propagation", "slave", *PAUSE]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd="/") as holder:
            try:
                holder.stdout.readline()
                tables = mount_table.other_namespaces()
                assert any(one.place == str(place) for one in tables[f"python (pid {holder.pid})"])
                mountpoints.unmount(str(place))
                tables = mount_table.other_namespaces()
                assert not any(one.place == str(place) for one in tables[f"python (pid {holder.pid})"])
            finally:
                holder.kill()
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def test_an_unmount_is_refused_while_a_bind_mount_keeps_the_mount_which_itself_can_be_unmounted(tmp_path, served):
    bound = tmp_path / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", served, bound], check=True)
    try:
        assert f"the mount on {bound}" in refused_by(served)
        mountpoints.unmount(str(bound))
        assert not os.path.ismount(bound)
    finally:
        subprocess.run(["umount", "-l", bound], check=False, capture_output=True)
    mountpoints.unmount(served)
    assert not os.path.ismount(served)
