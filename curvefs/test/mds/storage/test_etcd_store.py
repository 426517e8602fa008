"""The store over a real etcd keeps the contract, and what is its own: prefixes, members that fail, being refused."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from curvefs.src.common.errors import NotFound
from curvefs.src.mds.storage.etcd_store import EtcdStore
from curvefs.src.rpc.etcd import EtcdSettings
from curvefs.test.mds.storage.contract import KeyValueStoreContract
from curvefs.test.support.etcd import EtcdCluster, etcd, shared_etcd

__all__ = ["etcd", "shared_etcd"]

PATIENCE_S = 20.0
_prefixes = itertools.count(1)


class RememberingStore(EtcdStore):
    """Knows which leases it granted, so that a test can wait for their ends."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.granted: list[int] = []

    async def lease_grant(self, ttl_s: int) -> int:
        self.granted.append(await super().lease_grant(ttl_s))
        return self.granted[-1]


class EtcdLab:
    """Time is etcd's own and really passes; a restart is one of etcd as well, by kill -9."""

    history_limit = 50

    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster
        self._prefix = b"contract-%d/" % next(_prefixes)
        self.store: EtcdStore

    async def open(self) -> None:
        settings = EtcdSettings(tuple(self._cluster.endpoints))
        self.store = await RememberingStore.open(settings, self._prefix, history_limit=self.history_limit)

    async def restart(self) -> None:
        granted = self.store.granted
        await self.store.close()
        self._cluster.kill(0)
        self._cluster.start(0)
        await asyncio.to_thread(self._cluster.wait_ready)
        await self.open()
        self.store.granted = granted

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for lease in self.store.granted:
            async with asyncio.timeout(PATIENCE_S):
                while await self._is_due(lease):
                    await asyncio.sleep(0.05)

    async def _is_due(self, lease: int) -> bool:
        try:
            return (await self.store.lease_time_to_live(lease)).left_s < 1
        except NotFound:
            return False


@pytest_asyncio.fixture
async def lab(shared_etcd: EtcdCluster) -> AsyncIterator[EtcdLab]:
    lab = EtcdLab(shared_etcd)
    await lab.open()
    yield lab
    await lab.store.close()


@pytest.mark.asyncio
class TestContract(KeyValueStoreContract):
    """etcd."""
