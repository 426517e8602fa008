"""mount(8) and umount(8) with the installed helpers, also with a bare PATH, and an fstab line."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from curvefs.src.client import runtime
from tools.curvefs_tool.umount import UNMOUNT_FAILED

from ..support.calls import fails
from ..support.cluster import TOOL, run, wait_until

BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
HELPERS = [Path("/sbin/mount.fuse.curvefs"), Path("/sbin/umount.fuse.curvefs")]


@pytest.fixture
def helpers():
    """The helpers where mount(8) looks for them; what was there before is put back."""
    kept = {path: path.read_bytes() if path.exists() else None for path in HELPERS}
    run(*TOOL, "install-helpers")
    yield
    for path, data in kept.items():
        path.unlink() if data is None else path.write_bytes(data)


def test_mount_and_umount_by_type_and_umount_waits_for_uploads(cluster, helpers):
    cluster.up(mount=False)
    options = f"mds={cluster.mds},noatime,nosuid,x-test.comment"
    environment = BARE | {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
    run("mount", "-t", "fuse.curvefs", cluster.fs, cluster.mnt, "-o", options, env=environment)
    assert os.path.ismount(cluster.mnt)
    data = os.urandom(20 << 20)
    (cluster.mnt / "a").write_bytes(data)
    pid = cluster.client_pid()
    with subprocess.Popen(["unshare", "--mount", "sleep", "1000"], cwd="/") as container:
        try:
            namespace = Path(f"/proc/{container.pid}/ns/mnt")
            wait_until(lambda: namespace.readlink() != Path("/proc/self/ns/mnt").readlink())
            said = run("umount", cluster.mnt, env=environment, check=False)
        finally:
            container.kill()
    assert said.returncode == UNMOUNT_FAILED
    assert f"(pid {container.pid}) in another mount namespace" in said.stderr
    assert os.path.ismount(cluster.mnt)
    run("umount", cluster.mnt, env=environment)
    assert not os.path.ismount(cluster.mnt)
    assert runtime.start_time(pid) is None, "umount returned before the client had stored everything"
    table = cluster.root / "fstab"
    table.write_text(f"{cluster.fs} {cluster.mnt} fuse.curvefs {options},_netdev 0 0\n")
    run("mount", "--fstab", table, cluster.mnt, env=environment)
    assert (cluster.mnt / "a").read_bytes() == data
    run("mount", "-o", "remount,ro,memory=1G", cluster.mnt, env=environment)
    fails(errno.EROFS, (cluster.mnt / "b").touch)
    assert (cluster.mnt / "a").read_bytes() == data
    run("mount", "-o", "remount,rw,noexec", cluster.mnt, env=environment)
    (cluster.mnt / "b").touch()
    assert os.statvfs(cluster.mnt).f_flag & os.ST_NOEXEC
    run("umount", cluster.mnt, env=environment)
