"""`restore` goes nowhere that a user leads it: on a plain folder in place of a mount."""

import errno
import os

import pytest
from curvefs_tool import restore
from curvefs_tool.restore import Restoring

HOUR = "2026-11-21-19"


class World:
    """A mount with `paper/file` in its trash, and a folder of root's outside."""

    def __init__(self, folder, monkeypatch):
        self.mount, self.outside = folder / "mnt", folder / "etc"
        self.hour = self.mount / ".trash" / HOUR
        self.hour.mkdir(parents=True)
        self.outside.mkdir()
        self.removed = self.hour / "file"
        self.removed.write_text("mine")
        self.known = {b"name": b"file", b"removed": b"0", b"path": b"/projects/paper/file"}
        monkeypatch.setattr(restore, "_known", lambda _, what: self.known[what])

    def restore(self, to=None):
        one = Restoring(self.mount, is_told=False)
        one.restore(self.removed, to)
        return one.restored, one.failed


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def test_it_comes_back_to_where_it_was(world):
    (world.mount / "projects" / "paper").mkdir(parents=True)
    assert world.restore() == (1, 0)
    assert (world.mount / "projects" / "paper" / "file").read_text() == "mine"


@pytest.mark.parametrize("link", ["projects", "projects/paper"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(world, link, capsys):
    (world.mount / link).parent.mkdir(parents=True, exist_ok=True)
    (world.outside / "paper").mkdir()
    (world.mount / link).symlink_to(world.outside)
    assert world.restore() == (0, 1)
    assert [*world.outside.rglob("file")] == []
    assert world.removed.exists()
    assert os.strerror(20) in capsys.readouterr().err


def test_it_leaves_the_mount_by_no_name(world):
    world.known[b"path"] = b"/../etc/file"
    assert world.restore() == (0, 1)
    assert world.restore(to=world.outside) == (0, 1)
    assert [*world.outside.iterdir()] == []


def test_it_comes_to_another_directory_of_the_mount(world):
    (world.mount / "other").mkdir()
    assert world.restore(to=world.mount / "other") == (1, 0)
    assert (world.mount / "other" / "file").read_text() == "mine"


class Hours:
    """A mount whose trash has several hours; a rename never replaces, as there."""

    def __init__(self, folder, monkeypatch):
        self.mount, self.known = folder / "mnt", {}
        self.trash = self.mount / ".trash"
        real = os.rename

        def rename(source, target, *, dst_dir_fd):
            if os.access(target, os.F_OK, dir_fd=dst_dir_fd, follow_symlinks=False):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            real(source, target, dst_dir_fd=dst_dir_fd)

        monkeypatch.setattr(os, "rename", rename)
        monkeypatch.setattr(restore, "_known", lambda path, what: self.known[path][what])

    def remove(self, hour, listed, place, content, removed):
        path = self.trash / hour / listed
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        name = place.rpartition("/")[2].encode()
        self.known[path] = {b"name": name, b"removed": b"%d" % removed, b"path": b"/" + place.encode()}

    def restore(self, path):
        one = Restoring(self.mount, is_told=False)
        one.restore(path, None)
        return one.restored, one.failed, one.older


@pytest.fixture
def hours(tmp_path, monkeypatch):
    return Hours(tmp_path, monkeypatch)


def test_of_several_that_had_a_place_the_last_one_comes_back_to_it(hours):
    hours.remove("2026-11-21-18", "f", "f", "oldest", 1)
    hours.remove("2026-11-21-19", "f.~12", "f", "older", 2)
    hours.remove("2026-11-21-19", "f", "f", "newest", 3)
    assert hours.restore(hours.trash) == (1, 0, 2)
    assert (hours.mount / "f").read_text() == "newest"


@pytest.mark.parametrize("newest", ["x" * 255, "x" * 251 + ".~12"])
def test_names_of_the_trash_do_not_say_which_is_newest(hours, newest):
    """A name that is cut for its suffix sorts elsewhere."""
    place = "x" * 255
    for listed in (place, place[:251] + ".~12"):
        hours.remove("2026-11-21-19", listed, place, listed, 2 if listed == newest else 1)
    assert hours.restore(hours.trash / "2026-11-21-19") == (1, 0, 1)
    assert (hours.mount / place).read_text() == newest


def test_one_name_in_two_places_comes_back_to_both_and_what_is_there_stays(hours):
    for name in ("a", "b"):
        (hours.mount / name).mkdir(parents=True)
    hours.remove("2026-11-21-19", "f", "a/f", "of a", 2)
    hours.remove("2026-11-21-19", "f.~12", "b/f", "of b", 1)
    hours.remove("2026-11-21-19", "g", "g", "removed", 3)
    (hours.mount / "g").write_text("made since")
    assert hours.restore(hours.trash / "2026-11-21-19") == (2, 1, 0)
    assert [(hours.mount / name / "f").read_text() for name in ("a", "b")] == ["of a", "of b"]
    assert (hours.mount / "g").read_text() == "made since"
