"""The project keeps its own rules: what `make check` finds, and what the documents promise."""

import importlib.util
import os
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from curvefs.src.client.options import MountConfig
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.config import MdsConfig
from curvefs.src.metaserver.config import MetaserverConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tidy():
    """tools/check/tidy.py, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("tidy", ROOT / "tools" / "check" / "tidy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("tidy", None)


def test_the_project_is_tidy(tidy):
    assert tidy.faults_of_project(ROOT) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "no module docstring"),
        ('"""Doc."""\n' * 601, "split it"),
        ('"""Doc."""\n\n\ndef f():\n' + "    x = 1\n" * 80, "f has 81 lines"),
        ('"""Doc."""\nx = "/' + 'home/somebody"\n', "path of one machine"),
    ],
)
def test_what_is_untidy_is_found(tidy, text, says):
    assert any(says in fault for fault in tidy.faults_of_module("m.py", text))


def test_requirements_name_no_index_and_pin_with_hashes(tidy):
    assert tidy.faults_of_text("requirements/x.txt", "--index-" + "url https://somewhere/simple\n")
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        pinned = re.findall(r"^[a-z][\w.\[\]-]*==", path.read_text(), re.MULTILINE)
        assert len(pinned) > 10
        assert path.read_text().count("--hash=sha256:") >= len(pinned)


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = project["project"]["dependencies"] + [
        name for group in project["dependency-groups"].values() for name in group
    ]
    pinned = set(
        re.findall(r"^([a-z][\w.-]*?)(?:\[\S*\])?==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    )
    assert {re.split(r"[\[<>=]", name)[0] for name in names} <= pinned


def test_the_readme_lists_every_exit_code():
    listed = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [int(code) for code in listed] == [int(code) for code in ExitCode]


def test_the_readme_lists_every_mount_option():
    text = (ROOT / "README.md").read_text()
    options = [one.name for one in fields(MountConfig) if "help" in one.metadata]
    assert [name for name in options if f"`{name}`" not in text] == []


@pytest.mark.parametrize("config", [MdsConfig, MetaserverConfig])
def test_the_readme_lists_every_key_of_a_configuration(config):
    text = (ROOT / "README.md").read_text()
    assert [name for name in config.model_fields if f"`{name}`" not in text] == []


def test_every_rule_that_is_cited_is_there():
    rules = re.findall(r"^(\d+)\. \*\*", (ROOT / "RULES.md").read_text(), re.MULTILINE)
    assert [int(rule) for rule in rules] == list(range(1, 30))
    text = "".join(path.read_text() for path in (ROOT / "curvefs").rglob("*.py"))
    assert set(re.findall(r"\b[Rr]ule (\d+)", text)) <= set(rules)


def test_the_readme_opens_with_the_two_commands():
    head = (ROOT / "README.md").read_text()[:700]
    assert "make demo" in head
    assert "make test" in head


def test_continuous_integration_runs_make_test():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert "make test" in path.read_text()
