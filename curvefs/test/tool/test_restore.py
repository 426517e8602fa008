"""`restore` goes nowhere that a user leads it: on a plain folder in place of a mount."""

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
