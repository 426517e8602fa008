"""The trash on a real mount: what is removed, seen, restored by who may, and gone in time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curvefs.src.common.ids import HOUR_NS, hour_of_trash

from ..support.cluster import Cluster, wait_until

pytestmark = pytest.mark.fuse
OWNER, OTHER = 1000, 1001


@pytest.fixture(scope="module")
def kept():
    """A cluster of three metaservers whose filesystem keeps what is removed for a day."""
    with Cluster(trash_retention="1d") as cluster:
        cluster.up("--metaservers", "3", "--replicas", "1", mount=False)
        cluster.mount("mnt", "allow_other")
        cluster.root.chmod(0o755)
        yield cluster


@pytest.fixture
def folder(kept, request):
    """A directory that everybody may change."""
    place = kept.mnt / request.node.name
    place.mkdir()
    place.chmod(0o777)
    return place


def in_trash(place):
    """Return what was removed in the last two hours that has the name of a path: the newest. None: nothing has."""
    hours = sorted((place_of_mount(place) / ".trash").iterdir(), reverse=True)
    return next((hour / place.name for hour in hours if os.path.lexists(hour / place.name)), None)


def trash(place):
    """Wait for a removed path to be in the trash: from another partition than its name's it gets there a bit later."""
    return wait_until(lambda: in_trash(place), what=f"{place.name} in the trash")


def place_of_mount(place):
    return next(one for one in place.parents if one.is_mount())


def xattr(path, what):
    return os.getxattr(path, f"curvefs.trash.{what}", follow_symlinks=False).decode()


def as_user(uid, *words):
    return subprocess.run(
        [str(word) for word in words], user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=False
    )


def restored_by(uid, path):
    """Run the tool as another user, who may not read where Python lies."""
    code = (
        "import os; from curvefs_tool import restore; from curvefs_tool.main import main; "
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid}); main(['restore', {str(path)!r}])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def make_tree(top):
    """Make a tree with everything in it; return what it is."""
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "big").write_bytes(os.urandom(9 << 20))
    (top / "sub" / "text").write_text("text")
    (top / "sub" / "deep" / "script").write_text("#!/bin/sh")
    (top / "sub" / "deep" / "script").chmod(0o751)
    (top / "sub" / "link").symlink_to("text")
    os.mkfifo(top / "sub" / "pipe")
    os.setxattr(top / "sub" / "text", "user.note", b"kept")
    return tree(top)


def tree(top):
    """Return mode, owner, mtime and content of everything below a directory."""
    found = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        mtime = status.st_mtime_ns if not path.is_dir() else 0
        found[str(path.relative_to(top))] = (status.st_mode, status.st_uid, status.st_gid, mtime, content)
    return found


def test_a_removed_tree_is_seen_as_it_was_and_restored_as_a_whole(kept, folder):
    top = folder / f"tree-{folder.name}"
    top.mkdir()
    before = make_tree(top)
    shutil.rmtree(top)
    seen = trash(top)
    assert {path.name for path in seen.rglob("*")} == {Path(name).name for name in before} - {""}
    assert (seen / "big").read_bytes() == before["big"][-1]
    assert xattr(seen / "sub/deep/script", "path") == f"/{folder.name}/{top.name}/sub/deep/script"
    done = kept.tool("restore", seen)
    assert done.stdout == f"restored {len(before)}, failed 0\n"
    assert tree(top) == before
    assert os.getxattr(top / "sub/text", "user.note") == b"kept"
    assert (top.lstat().st_nlink, (top / "sub").lstat().st_nlink, (top / "sub/text").lstat().st_nlink) == (4, 3, 1)
    assert not seen.exists()


def test_one_file_is_restored_with_the_directories_it_was_in_and_nothing_else(kept, folder):
    top = folder / f"tree-{folder.name}"
    top.mkdir()
    make_tree(top)
    shutil.rmtree(top)
    kept.tool("restore", trash(top) / "sub" / "deep" / "script")
    assert sorted(str(one.relative_to(top)) for one in top.rglob("*")) == ["sub", "sub/deep", "sub/deep/script"]
    kept.tool("restore", "--to", folder, trash(top / "big"))
    assert (folder / "big").stat().st_size == 9 << 20


def test_a_directory_that_is_there_again_is_used_and_a_file_stays_as_it_is(kept, folder):
    top = folder / f"tree-{folder.name}"
    top.mkdir()
    make_tree(top)
    shutil.rmtree(top)
    seen = trash(top)
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "text").write_text("another")
    done = kept.tool("restore", seen, check=False)
    assert done.returncode == 1
    assert done.stderr == f"curvefs-tool: {top}/sub/text: File exists\n"
    assert (top / "sub" / "text").read_text() == "another"
    assert (top / "sub" / "deep" / "script").exists()
    assert (seen / "sub" / "text").read_text() == "text"


def test_what_lies_in_other_partitions_than_its_name_comes_back(kept):
    places = [kept.mnt / f"place-{number}" for number in range(4)]  # directories below the root are placed elsewhere
    for place in places:
        place.mkdir()
    assert len({place.stat().st_ino >> 40 for place in places}) > 1
    top = places[0]
    before = make_tree(top)
    for place in places[1:]:
        (top / "sub" / "text").rename(place / "text")
        (place / "text").unlink()
        trash(place / "text").rename(top / "sub" / "text")
    shutil.rmtree(top)
    assert kept.tool("restore", trash(top)).stdout == f"restored {len(before)}, failed 0\n"
    assert tree(top) == before


def test_what_is_in_the_trash_is_charged_to_quotas_until_it_is_purged(kept):
    top, other = kept.mnt / "limited", kept.mnt / "unlimited"
    for place in (top, other):
        place.mkdir()
    kept.tool("quota", "set", top, "--capacity", "1MiB", "--data", kept.data)
    (top / "file").write_bytes(b"x" * 1_000_000)
    (top / "file").unlink()
    with pytest.raises(OSError, match="quota"):
        (top / "another").write_bytes(b"y" * 500_000)
    trash(top / "file").rename(top / "back")
    assert (top / "back").read_bytes() == b"x" * 1_000_000
    # It comes to where it is restored, and is charged there.
    (top / "back").unlink()
    trash(top / "back").rename(other / "moved")
    (other / "moved").unlink()
    (top / "small").write_bytes(b"z" * 100_000)
    with pytest.raises(OSError, match="quota"):
        trash(other / "moved").rename(top / "moved")
    (top / "small").unlink()
    trash(top / "small").unlink()
    trash(other / "moved").rename(top / "moved")
    assert "equal" in kept.tool("quota", "check", kept.fs, "--data", kept.data).stdout


def test_of_one_name_the_newest_is_shown_under_it_and_the_others_by_their_numbers(folder):
    numbers = []
    for text in ("first", "second", "third"):
        (folder / "same").write_text(text)
        numbers.append((folder / "same").stat().st_ino)
        (folder / "same").unlink()
    seen = trash(folder / "same")
    names = sorted(one.name for one in seen.parent.iterdir() if one.name.startswith("same"))
    assert names == ["same", *sorted(f"same.~{number}" for number in numbers[:2])]
    assert seen.read_text() == "third"
    assert [(seen.parent / f"same.~{number}").read_text() for number in numbers] == ["first", "second", "third"]
    (seen.parent / f"same.~{numbers[0]}").rename(folder / "back")
    assert (folder / "back").read_text() == "first"
    seen.unlink()
    assert seen.read_text() == "second"
    for absent in (f"other.~{numbers[1]}", "same.~7", f"same.~{2**63}", f"same.~{300 << 40 | 5}"):
        assert not (seen.parent / absent).exists()


def test_only_the_owner_and_root_see_restore_and_remove_a_file(kept, folder):
    private = folder / "private"
    private.mkdir(mode=0o700)
    (private / "letter").write_text("mine")
    (private / "letter").chmod(0o644)
    for path in (private, private / "letter"):
        os.chown(path, OWNER, OWNER)
    as_user(OWNER, "rm", private / "letter").check_returncode()
    seen = trash(private / "letter")
    assert "letter" not in as_user(OTHER, "ls", seen.parent).stdout.split()
    assert "letter" in as_user(OWNER, "ls", seen.parent).stdout.split()
    for words in (("cat", seen), ("mv", seen, folder / "stolen"), ("rm", "-f", seen)):
        done = as_user(OTHER, *words)
        assert done.returncode != 0, words
        assert "ermi" in done.stderr, words
    assert as_user(OWNER, "cat", seen).stdout == "mine"
    assert restored_by(OTHER, seen).returncode == 1
    done = restored_by(OWNER, seen)
    assert (done.returncode, done.stdout) == (0, "restored 1, failed 0\n"), done.stderr
    assert (private / "letter").stat().st_mode & 0o777 == 0o644
    assert (private / "letter").read_text() == "mine"


def test_nothing_in_the_trash_can_be_changed_and_nothing_comes_in(folder):
    (folder / "file").write_text("text")
    (folder / "other").write_text("text")
    (folder / "file").unlink()
    seen, top = trash(folder / "file"), place_of_mount(folder) / ".trash"
    for change in (
        lambda: seen.write_text("changed"),
        lambda: seen.chmod(0o777),
        lambda: os.truncate(seen, 0),
        lambda: os.utime(seen),
        lambda: os.setxattr(seen, "user.note", b"1"),
        lambda: (seen.parent / "new").write_text("new"),
        (seen.parent / "new").mkdir,
        lambda: (seen.parent / "new").symlink_to("x"),
        lambda: (folder / "other").rename(seen.parent / "other"),
        lambda: (folder / "other").rename(seen),
        lambda: seen.rename(seen.parent / "renamed"),
        lambda: seen.parent.rename(folder / "hour"),
        lambda: top.rename(folder / "trash"),
        top.rmdir,
    ):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(FileExistsError):
        top.mkdir()
    with pytest.raises(FileExistsError):
        seen.rename(folder / "other")
    assert ".trash" not in os.listdir(place_of_mount(folder))
    assert seen.read_text() == "text"


def test_what_is_removed_from_the_trash_is_gone(folder):
    top = folder / f"tree-{folder.name}"
    top.mkdir()
    make_tree(top)
    (folder / "file").write_text("text")
    inodes = os.statvfs(folder).f_ffree
    (folder / "file").unlink()
    shutil.rmtree(top)
    seen = trash(top)
    with pytest.raises(OSError, match="not empty"):
        (seen / "sub").rmdir()
    shutil.rmtree(seen)
    trash(folder / "file").unlink()
    assert not seen.exists()
    wait_until(lambda: os.statvfs(folder).f_ffree == inodes + 10, what="the inodes to be counted no more")


def test_a_file_with_another_name_does_not_get_into_the_trash_and_a_replaced_one_neither(folder):
    (folder / "linked").write_text("text")
    os.link(folder / "linked", folder / "still")
    (folder / "linked").unlink()
    (folder / "replaced").write_text("old")
    (folder / "new").write_text("new")
    (folder / "new").rename(folder / "replaced")
    assert in_trash(folder / "linked") is None
    assert in_trash(folder / "replaced") is None
    (folder / "still").unlink()
    trash(folder / "still").rename(folder / "back")
    assert ((folder / "back").read_text(), (folder / "back").stat().st_nlink) == ("text", 1)


def test_what_was_written_before_the_last_close_is_restored_also_of_a_file_that_was_open(kept, folder):
    with (folder / "open").open("wb", buffering=0) as file:
        file.write(b"before")
        (folder / "open").unlink()
        file.write(b" and after")
        os.fsync(file.fileno())
        file.write(b" and last")
        assert os.fstat(file.fileno()).st_nlink == 0
    second = kept.mount("second")
    try:
        seen = second / trash(folder / "open").relative_to(kept.mnt)
        assert seen.read_text() == "before and after and last"
        seen.rename(second / folder.name / "again")
    finally:
        kept.umount(second)
    wait_until((folder / "again").exists)
    assert (folder / "again").read_text() == "before and after and last"


def test_a_file_stays_readable_where_it_is_open_though_it_is_removed_from_the_trash(folder):
    (folder / "file").write_text("text")
    (folder / "file").unlink()
    with trash(folder / "file").open() as file:
        trash(folder / "file").unlink()
        assert file.read() == "text"


def test_what_is_open_since_before_keeps_taking_attributes_when_it_is_seen_in_the_trash(folder):
    with (folder / "file").open("w") as file:
        (folder / "file").unlink()
        assert trash(folder / "file").name in os.listdir(trash(folder / "file").parent)
        os.setxattr(file.fileno(), "user.a", b"1")
        assert os.getxattr(file.fileno(), "user.a") == b"1"
        os.removexattr(file.fileno(), "user.a")


def test_a_name_too_long_for_its_number_is_cut(folder):
    name = "n" * 255
    for text in ("first", "second"):
        (folder / name).write_text(text)
        number = (folder / name).stat().st_ino
        (folder / name).unlink()
    seen = trash(folder / name)
    suffix = f".~{number}"
    assert (seen.parent / (name[: 255 - len(suffix)] + suffix)).read_text() == "second"
    assert {len(one.name) for one in seen.parent.iterdir() if one.name.startswith("nnn")} == {255}


def test_after_the_retention_everything_is_purged_and_the_objects_go():
    with Cluster(trash_retention="20s") as cluster:  # longer than removing it takes
        cluster.up("--metaservers", "3", "--delete-grace", "0s")
        top = cluster.mnt / "project"
        top.mkdir()
        make_tree(top)
        shutil.rmtree(top)
        assert trash(top).exists()
        wait_until(lambda: not list((cluster.mnt / ".trash").iterdir()), 60, "the trash to be empty")
        wait_until(lambda: not any(files for _, _, files in os.walk(cluster.data / "objects")), 60, "no objects")
        wait_until(lambda: os.statvfs(cluster.mnt).f_ffree == os.statvfs(cluster.mnt).f_files - 1)


def test_without_retention_there_is_no_trash():
    with Cluster() as cluster:
        cluster.up()
        (cluster.mnt / "file").write_text("text")
        (cluster.mnt / "file").unlink()
        assert not (cluster.mnt / ".trash").exists()
        (cluster.mnt / ".trash").mkdir()
        assert os.listdir(cluster.mnt) == [".trash"]


def test_hours_have_numbers_of_their_own():
    assert hour_of_trash(HOUR_NS * 5) - hour_of_trash(HOUR_NS * 4) == 1
