"""The checker finds what it is there to find: on a local folder, where we do the damage ourselves."""

import json
import subprocess
import sys

import pytest

from .workload import check, look, read_story


@pytest.fixture
def worked(tmp_path):
    root, log = tmp_path / "w", tmp_path / "log"
    subprocess.run(
        [sys.executable, "-m", "curvefs.test.support.workload", root, log, "7", "120"],
        check=True,
        stdin=subprocess.PIPE,
    )
    return root, log


def a_file(root):
    return next(path for path in sorted(root.iterdir()) if path.is_file() and path.stat().st_size > 10)


def test_an_undisturbed_run_is_right(worked):
    root, log = worked
    story = read_story(log)
    assert story.done_count == 120
    assert len(look(root)) == len(story.model) > 10
    check(root, story)


def test_a_lost_file_is_found(worked):
    root, log = worked
    a_file(root).unlink()
    with pytest.raises(AssertionError):
        check(root, read_story(log))


def test_a_shortened_file_is_found(worked):
    root, log = worked
    with a_file(root).open("r+b") as file:
        file.truncate(5)
    with pytest.raises(AssertionError):
        check(root, read_story(log))


def test_a_changed_byte_is_found(worked):
    root, log = worked
    path = a_file(root)
    data = path.read_bytes()
    path.write_bytes(data[:3] + bytes([data[3] ^ 1]) + data[4:])
    with pytest.raises(AssertionError):
        check(root, read_story(log))


def test_a_name_too_many_is_found(worked):
    root, log = worked
    (root / "extra").touch()
    with pytest.raises(AssertionError):
        check(root, read_story(log))


def test_what_was_only_begun_may_be_there_or_not(worked):
    root, log = worked
    path = a_file(root)
    with log.open("a") as file:
        file.write(json.dumps({"do": ["rename", path.name, "moved"]}) + "\n")
    check(root, read_story(log))
    path.rename(root / "moved")
    check(root, read_story(log))
    (root / "moved").unlink()
    with pytest.raises(AssertionError):
        check(root, read_story(log))
