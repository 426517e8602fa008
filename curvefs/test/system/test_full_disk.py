"""The disk under the metaserver fills up: ENOSPC to callers, nothing damaged, works again when there is room."""

import errno
import os
import shutil

import pytest

from ..support.cluster import run, wait_until

SMALL, LARGE = "48m", "256m"


@pytest.fixture
def on_a_small_disk(cluster):
    """A cluster whose metaserver keeps its data on a small filesystem of its own."""
    cluster.up(mount=False)
    cluster.down()
    place = cluster.data / "metaserver-1"
    kept = cluster.root / "kept"
    place.rename(kept)
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", place)
    shutil.copytree(kept, place, dirs_exist_ok=True)
    cluster.up("--no-restart")
    return cluster


def test_a_full_metaserver_refuses_changes_keeps_everything_and_recovers(on_a_small_disk):
    cluster = on_a_small_disk
    mnt, value = cluster.mnt, b"v" * 60_000  # metadata that fills a disk quickly
    (mnt / "before").write_text("before")
    kept, refused = [], None
    for number in range(5000):
        try:
            (mnt / f"f{number}").touch()
            os.setxattr(mnt / f"f{number}", "user.large", value)
        except OSError as error:
            refused = error
            break
        kept.append(number)
    assert refused is not None, "the disk never filled"
    assert refused.errno == errno.ENOSPC
    assert len(kept) > 50

    # Nothing of what was acknowledged is hurt, reads work, and the process lives.
    for number in kept:
        assert os.getxattr(mnt / f"f{number}", "user.large") == value
    assert (mnt / "before").read_text() == "before"
    with pytest.raises(OSError) as caught:
        os.setxattr(mnt / "f0", "user.more", value)
    assert caught.value.errno == errno.ENOSPC
    assert cluster.processes()["metaserver-1"].running

    run("mount", "-o", f"remount,size={LARGE}", cluster.data / "metaserver-1")

    def works_again():
        try:
            (mnt / "after").mkdir()
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return False
        return True

    wait_until(works_again, 60, "changes are taken again")
    os.setxattr(mnt / "f0", "user.more", value)

    # And all of it is in the log, too.
    cluster.kill_everything()
    cluster.up()
    for number in kept:
        assert os.getxattr(mnt / f"f{number}", "user.large") == value
    assert os.getxattr(mnt / "f0", "user.more") == value
    assert (mnt / "after").is_dir()
