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


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[MdsLab]:
    """An MDS whose copysets have three replicas and whose filesystems have twelve partitions; no metaservers yet."""
    made = MdsLab(tmp_path / "mds", replica_count=3, partition_count=12)
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def three(lab: MdsLab) -> list[FakeMetaserver]:
    """Three metaservers, with three copysets of which each leads one."""
    return await lab.add_metaservers(3)
