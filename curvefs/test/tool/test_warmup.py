"""``curvefs-tool warmup``: what it asks the client of a mount for, and what becomes of what cannot be read."""

import os
import subprocess

import pytest
from click.testing import CliRunner
from curvefs_tool import warmup
from curvefs_tool.main import main

from curvefs.src.common.exits import ExitCode

DEPTH = 1100  # more than calls can be nested


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The inodes that a client was asked for; everything lies on its mount."""
    inodes = []

    def ask(_, mountpoint, what, inode):
        assert (mountpoint, what) == (str(tmp_path), "warm")
        inodes.append(inode)
        return {"blocks": 1, "cached": 1, "bytes": 10, "cached_bytes": 10}

    monkeypatch.setattr(
        warmup.mountpoints, "mounted_type", lambda place: "fuse.curvefs" if place == str(tmp_path) else None
    )
    monkeypatch.setattr(warmup._Asker, "ask", ask)
    return inodes


def run(*words):
    return CliRunner().invoke(main, ["warmup", *map(str, words)], prog_name="curvefs-tool")


def make(path):
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path.stat().st_ino


def test_a_tree_is_walked(asked, tmp_path):
    inodes = {make(tmp_path / "a"), make(tmp_path / "d" / "b")}
    (tmp_path / "link").symlink_to("a")
    assert run(tmp_path).exit_code == ExitCode.OK
    assert {*asked} == inodes


def test_what_vanishes_or_cannot_be_read_counts_as_failed_and_the_rest_is_done(asked, tmp_path, monkeypatch):
    inodes = {make(tmp_path / "a"), make(tmp_path / "z" / "b")}
    make(tmp_path / "closed" / "c")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    (tmp_path / "list").write_text(f"{tmp_path}/gone\n{tmp_path}/a\n{tmp_path}/closed\n{tmp_path}/z\n")
    done = run("-f", tmp_path / "list")
    assert done.exit_code == ExitCode.FAILED
    assert {*asked} == inodes
    assert done.stderr.splitlines() == [
        f"curvefs-tool: {tmp_path}/gone: No such file or directory",
        f"curvefs-tool: {tmp_path}/closed: Permission denied",
        "curvefs-tool: 2 of 4 files and folders could not be looked at",
    ]


def test_a_list_of_paths_is_of_bytes(asked, tmp_path):
    inode = make(tmp_path / os.fsdecode(b"a\xff"))
    (tmp_path / "list").write_bytes(bytes(tmp_path) + b"/a\xff\n")
    assert run("-f", tmp_path / "list").exit_code == ExitCode.OK
    assert asked == [inode]
    (tmp_path / "list").write_bytes(bytes(tmp_path) + b"/a\0b\n")
    assert run("-f", tmp_path / "list").exit_code == ExitCode.USAGE


def files(path, monkeypatch):
    monkeypatch.setattr(warmup, "_mountpoint_of", lambda _: "/mnt")
    return [one.path for one in warmup._files([path])]


def test_regular_files_are_found_in_order_and_links_are_not_followed(tmp_path, monkeypatch):
    for folder in ("b", "a/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
    (tmp_path / "z").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert [str(one.relative_to(tmp_path)) for one in files(tmp_path, monkeypatch)] == ["z", "a/c/file", "b/file"]
    assert files(tmp_path / "z", monkeypatch) == [tmp_path / "z"]


def test_a_tree_may_be_deeper_than_calls_can_be_nested(tmp_path, monkeypatch):
    folders = [tmp_path / "d"]
    for _ in range(DEPTH):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    deepest = folders[-1] / "file"
    deepest.touch()
    try:
        assert files(tmp_path, monkeypatch) == [deepest]
    finally:  # what removes temporary folders goes no deeper either
        deepest.unlink()
        for folder in reversed(folders):
            folder.rmdir()


def test_what_is_mounted_below_belongs_to_another_filesystem(tmp_path, monkeypatch):
    inner = tmp_path / "d" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "file").touch()
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    try:
        (inner / "other").touch()
        (tmp_path / "bound").touch()
        subprocess.run(["mount", "--bind", inner / "other", tmp_path / "bound"], check=True)
        try:
            assert files(tmp_path, monkeypatch) == [tmp_path / "file"]
        finally:
            subprocess.run(["umount", tmp_path / "bound"], check=True)
    finally:
        subprocess.run(["umount", inner], check=True)
