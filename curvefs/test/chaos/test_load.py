"""The load and its journal, on a local folder: what is as it has to be passes, and what is not is found."""

import json
import os
import random
import subprocess
import sys

import pytest

from . import load

OPERATIONS = 400


@pytest.fixture
def worked(tmp_path):
    """Two processes' work on one folder; returns the folder and the journals."""
    root = tmp_path / "root"
    root.mkdir()
    journals = []
    for number in range(2):
        model, rng = load.Model(number), random.Random(number)
        for top in load.tops(number):
            (root / top).mkdir(exist_ok=True)
        for _ in range(OPERATIONS):
            operation = model.plan(rng)
            load.perform(root, operation)
            model.apply(operation)
            assert load.wrong_now(root, model, rng) is None
        journals.append(load.Journal(model, OPERATIONS))
    return root, journals


def _files(journal):
    return [path for path, what in journal.model.names.items() if what != load.DIRECTORY]


def _wrong(worked):
    root, journals = worked
    return load.differences(load.look(root), journals)


def test_a_tree_is_as_its_journals_say(worked):
    assert _wrong(worked) == []


def test_a_lost_name_is_found(worked):
    root, journals = worked
    path = _files(journals[0])[0]
    (root / path).unlink()
    assert f"lost: {path}" in _wrong(worked)


def test_a_name_that_came_twice_is_found(worked):
    root, journals = worked
    path = _files(journals[1])[0]
    os.link(root / path, root / load.SHARED / "again")
    found = _wrong(worked)
    assert found[0] == f"unexpected: {load.SHARED}/again"
    assert "links counted" in found[1]


def test_another_file_under_the_name_is_found(worked):
    root, journals = worked
    names = journals[0].model.names
    file = _files(journals[0])[0]
    os.link(root / file, root / "shared/second")
    names["shared/second"] = names[file]
    assert _wrong(worked) == []
    (root / "shared/second").unlink()
    (root / "shared/second").touch()
    assert any(one.startswith("not the file it was") for one in _wrong(worked))


def test_a_wrong_number_of_links_is_found(worked):
    root, journals = worked
    found = load.look(root)
    inode = next(iter(found.links))
    found.links[inode] += 1
    assert any("links counted" in one for one in load.differences(found, journals))


def test_what_an_own_look_shows_wrong_is_found(worked):
    root, journals = worked
    model = journals[0].model
    model.names = {path: what for path, what in model.names.items() if path == _files(journals[0])[0]}
    (root / next(iter(model.names))).unlink()
    assert load.wrong_now(root, model, random.Random(0)).startswith("not seen")


def test_an_operation_that_failed_and_happened_counts_as_an_error_and_as_done(tmp_path):
    path = tmp_path / "journal"
    lines = [
        {"do": ["create", "shared/a"], "at": 1.0},
        {"took": 0.5},
        {"do": ["mkdir", "shared/b"], "at": 2.0},
        {"took": 3.0, "error": "EEXIST", "happened": True},
        {"do": ["unlink", "shared/a"], "at": 6.0},
        {"took": 60.0, "error": "EIO", "happened": False},
        {"wrong": "not seen: shared/a"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"do": [')
    journal = load.read_journal(path, 0)
    assert journal.model.names == {"shared/a": 1, "shared/b": load.DIRECTORY}
    assert journal.done == 1
    assert journal.pauses == [(1.0, 0.5), (2.0, 3.0), (6.0, 60.0)]
    assert [error.split(" ")[0] for error in journal.errors] == ["EEXIST", "EIO", "not"]


def test_the_program_works_until_its_input_ends(tmp_path):
    words = [sys.executable, "-m", "curvefs.test.chaos.load", tmp_path, tmp_path / "journal", "7"]
    program = subprocess.Popen(words, stdin=subprocess.PIPE)
    while not (tmp_path / "journal").exists() or (tmp_path / "journal").read_text().count("took") < 10:
        assert program.poll() is None
    program.stdin.close()
    assert program.wait(30) == 0
    journal = load.read_journal(tmp_path / "journal", 7)
    (tmp_path / "journal").unlink()
    assert journal.done >= 10
    assert journal.open is None
    assert load.differences(load.look(tmp_path), [journal]) == []
