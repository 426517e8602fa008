"""The folder a POSIX test works in: a local one as the reference, and a real mount. Each body runs on both."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from ..support.cluster import Cluster


@pytest.fixture(scope="session")
def mounted():
    """A cluster with a mount, for all tests of this folder: with a trash, as users have it."""
    with Cluster(trash_retention="1d") as cluster:
        cluster.up()
        yield cluster


_numbers = itertools.count()


@pytest.fixture(params=["local", pytest.param("mount", marks=pytest.mark.fuse)])
def folder(request):
    """A fresh folder that every user may enter, on a local filesystem and on the mount."""
    if request.param == "local":
        place = Path(tempfile.mkdtemp(prefix="curvefs-test-local-"))
        place.chmod(0o755)
        yield place
        shutil.rmtree(place)
        return
    cluster = request.getfixturevalue("mounted")
    cluster.root.chmod(0o755)
    place = cluster.mnt / f"t{next(_numbers)}"
    place.mkdir()
    yield place
