"""What `make demo` does, in a folder of its own."""

import os
import sys

import pytest

from ..support import guard
from ..support.cluster import run

DEMO = [sys.executable, "-m", "curvefs_tool.demo"]


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", pytest.param("s3", marks=pytest.mark.s3)])
def test_the_demo_starts_shows_a_tree_stops_and_starts_again(cluster, store):
    for _ in range(2):
        said = run(*DEMO, "start", "--store", store, cwd=cluster.root, timeout=240).stdout
        assert "equal" in said
        assert "demo-data/mnt" in said
        assert os.path.ismount(cluster.root / "demo-data" / "mnt")
        assert "stopped" in run(*DEMO, "stop", cwd=cluster.root).stdout
        assert not guard.mounts_below(cluster.root)
        assert not guard.processes_of(cluster.root / "demo-data")
