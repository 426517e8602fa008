"""Which files `warmup` asks for: on a plain folder in place of a mount."""

from curvefs_tool import warmup

DEPTH = 1100  # more than calls can be nested


def files(path, monkeypatch):
    monkeypatch.setattr(warmup, "_mountpoint_of", lambda _: "/mnt")
    return [one for one, _, _ in warmup._files([path])]


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
