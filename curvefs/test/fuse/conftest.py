"""The folder a POSIX test works in: a local one as the reference, and a real mount. Each body runs on both."""

import itertools
import tempfile
from pathlib import Path

import pytest

from ..support.cluster import Cluster


@pytest.fixture(scope="session")
def mounted():
    """A cluster with a mount, for all tests of this folder."""
    cluster = Cluster()
    cluster.up()
    yield cluster
    cluster.close()


_numbers = itertools.count()


@pytest.fixture(params=["local", "mount"])
def folder(request, tmp_path):
    """A fresh folder, on a local filesystem and on the mount."""
    if request.param == "local":
        return tmp_path
    place = request.getfixturevalue("mounted").mnt / f"t{next(_numbers)}"
    place.mkdir()
    return place


@pytest.fixture
def scratch():
    """A folder outside the mount."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)
