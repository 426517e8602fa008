"""Real S3 servers (SeaweedFS) for tests, with their credentials in the environment of this process and its children.

``weed`` is shared by the whole run: a test keeps to a prefix of its own (``weed.url(prefix=...)``). What stops,
freezes or fills a server takes ``weed_of_my_own``.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from curvefs_tool.seaweed import WeedServer

__all__ = ["WeedServer", "weed", "weed_of_my_own"]

_OTHER_SOURCES = ("AWS_PROFILE", "AWS_SESSION_TOKEN")


def _running(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[WeedServer]:
    server = WeedServer(folder, dies_with_parent=True)
    try:
        server.start()
        for name in _OTHER_SOURCES:
            patch.delenv(name, raising=False)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def weed() -> Iterator[WeedServer]:
    """A running S3 server with the bucket ``curvefs``."""
    with tempfile.TemporaryDirectory(prefix="curvefs-weed-") as folder, pytest.MonkeyPatch.context() as patch:
        yield from _running(Path(folder), patch)


@pytest.fixture
def weed_of_my_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeedServer]:
    """A running S3 server with the bucket ``curvefs``, for this test alone."""
    yield from _running(tmp_path / "weed", monkeypatch)
