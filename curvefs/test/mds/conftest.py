"""Fixtures: an MDS that serves, alone or with a metaserver."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from curvefs.test.mds.lab import MdsLab
from curvefs.test.support.fake_metaserver import FakeMetaserver


@pytest_asyncio.fixture
async def mds(tmp_path: Path) -> AsyncIterator[MdsLab]:
    lab = MdsLab(tmp_path / "mds")
    await lab.start()
    yield lab
    await lab.close()


@pytest_asyncio.fixture
async def metaserver(mds: MdsLab) -> FakeMetaserver:
    return await mds.add_metaserver()
