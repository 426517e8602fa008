"""Plays the files in testdata, each after a chapter of the paper or the thesis.

`pytest --rewrite` makes their expectations anew; a person reads the diff.
"""

from pathlib import Path

import pytest

from .scenario import play

FILES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_comes_out_as_written(path, request):
    play(path, rewrite=request.config.getoption("--rewrite"))


def test_there_are_scenarios():
    assert len(FILES) >= 18
