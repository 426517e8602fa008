"""A cluster's state moves from the embedded store into a real etcd, whole or not at all."""

import itertools

import pytest
import pytest_asyncio

from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import StartupError, Unavailable
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.authority import CLUSTER_ID, check_cluster
from curvefs.src.mds.migration import copy_state, retire_store
from curvefs.src.mds.storage.etcd_store import EtcdStore
from curvefs.src.mds.storage.lmdb_store import LmdbStore
from curvefs.src.mds.storage.protocol import Delete, Put, scan
from curvefs.src.rpc.etcd import EtcdSettings
from curvefs.test.support.etcd import shared_etcd

__all__ = ["shared_etcd"]

pytestmark = pytest.mark.asyncio
_prefixes = itertools.count(1)


@pytest_asyncio.fixture
async def source(tmp_path):
    """An embedded store with a cluster: more keys, and more bytes, than one transaction takes."""
    store = LmdbStore(tmp_path / "kv", SystemClock())
    await store.txn([], [Put(CLUSTER_ID, b"here"), Put(b"cluster/epoch", b"7")])
    for first in range(0, 300, 100):
        await store.txn([], [Put(b"copyset/%d" % number, b"%d" % number * 100) for number in range(first, first + 100)])
    for number in range(3):
        await store.txn([], [Put(b"large/%d" % number, b"x" * 700_000)])
    lease = await store.lease_grant(60)
    await store.txn([], [Put(b"election/1", b"me", lease)])
    yield store
    await store.close()


@pytest_asyncio.fixture
async def target(shared_etcd):
    """An empty prefix of a real etcd."""
    store = await EtcdStore.open(EtcdSettings(tuple(shared_etcd.endpoints)), b"moved-%d/" % next(_prefixes))
    yield store
    await store.close()


async def all_of(store):
    return {
        item.key: item.value
        for prefix in (b"c", b"e", b"l", b"m")
        async for item in scan(store, prefix)
        if not item.lease
    }


async def refused(awaitable, words, code=ExitCode.DATA_FOLDER):
    with pytest.raises(StartupError, match=words) as caught:
        await awaitable
    assert caught.value.exit_code == code


async def test_everything_but_what_hangs_on_a_lease_is_there_afterwards(source, target):
    before = await all_of(source)
    assert await copy_state(source, target) == len(before) == 305
    assert await all_of(target) == before
    assert await check_cluster(target, "here") == "here"
    assert await check_cluster(source, "here") == "here"  # until it is retired


async def test_no_mds_serves_from_the_old_store_afterwards(source, target):
    await copy_state(source, target)
    await retire_store(source, "a:1,b:2")
    await refused(check_cluster(source, "here"), "was moved to a:1,b:2")
    assert await copy_state(source, target) == 305  # again: nothing to do
    assert await check_cluster(target, "here") == "here"


async def test_a_copy_that_broke_off_is_no_store_of_an_mds_and_is_made_again(source, target):
    calls = itertools.count()

    class Breaking:
        def __getattr__(self, name):
            return getattr(target, name)

        async def txn(self, *arguments):
            if next(calls) == 4:
                raise Unavailable("cut")
            return await target.txn(*arguments)

    with pytest.raises(Unavailable):
        await copy_state(source, Breaking())
    assert await target.get(b"copyset/1") is not None
    await refused(check_cluster(target, ""), "holds no cluster but other data")
    await source.txn([], [Delete(b"copyset/1")])  # an MDS went on with the old one
    before = await all_of(source)
    await copy_state(source, target)
    assert await all_of(target) == before


async def test_a_store_that_holds_something_else_is_left_as_it_is(source, target):
    await target.txn([], [Put(b"photos", b"x")])
    await refused(copy_state(source, target), "is not empty: it holds keys such as photos")
    assert (await target.range(b"\0", b"\xff")).items[0].key == b"photos"


async def test_another_clusters_store_is_left_as_it_is(source, target):
    await target.txn([], [Put(CLUSTER_ID, b"there"), Put(b"copyset/1", b"theirs")])
    await refused(copy_state(source, target), "holds another cluster, there")
    assert (await target.get(b"copyset/1")).value == b"theirs"


async def test_a_store_without_a_cluster_is_not_moved(target, tmp_path):
    empty = LmdbStore(tmp_path / "kv", SystemClock())
    await refused(copy_state(empty, target), "there is nothing to move")
    await empty.close()
    assert not (await target.range(b"\0", b"\xff")).items


async def test_somebody_who_writes_meanwhile_is_noticed(source, target):
    class Meddled:
        def __getattr__(self, name):
            return getattr(target, name)

        async def txn(self, compares, then, otherwise=()):
            if any(isinstance(one, Put) and one.key == b"large/2" for one in then):
                await target.txn([], [Put(b"copyset/5", b"other")])
            return await target.txn(compares, then, otherwise)

    await refused(copy_state(source, Meddled()), "differs at copyset/5", ExitCode.FAILED)
    await refused(check_cluster(target, ""), "holds no cluster but other data")
