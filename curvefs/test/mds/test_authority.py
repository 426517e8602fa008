"""Epochs rise, the cluster stays the same, and a deposed MDS writes nothing."""

import asyncio

import pytest

from curvefs.src.common.errors import NoSpace, NotFound, StaleEpoch, StartupError, Unavailable, VersionUnsupported
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.authority import CLUSTER_ID, begin_serving, check_cluster
from curvefs.src.mds.state import Change, State, changed
from curvefs.src.mds.storage.lmdb_store import LmdbStore
from curvefs.src.mds.storage.protocol import Delete, Put
from curvefs.test.mds.lab import LEASE_S

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0


async def test_each_start_raises_the_epoch_and_keeps_the_cluster(mds):
    first = mds.mds.state.authority
    assert first.epoch == 1
    assert len(first.cluster.secret) == 32
    for epoch in (2, 3):
        await mds.restart()
        assert mds.mds.state.authority.epoch == epoch
        assert mds.mds.state.authority.cluster == first.cluster


async def test_another_mds_gets_the_next_epoch_and_the_same_cluster(mds):
    first = mds.mds.state.authority
    second = await begin_serving(mds.kv, await mds.depose(), lambda size: b"x" * size)
    assert (second.epoch, second.cluster) == (2, first.cluster)


async def test_deposed_mds_writes_nothing_and_knows(mds):
    old = mds.mds.state.authority
    new = await begin_serving(mds.kv, await mds.depose(), lambda size: b"x" * size)
    assert old.holds
    with pytest.raises(StaleEpoch):
        await old.write([Put(b"a", b"old")])
    assert await mds.kv.get(b"a") is None
    assert "another MDS" in await old.lost()
    with pytest.raises(Unavailable):
        await old.write([Put(b"a", b"old")])
    await new.write([Put(b"a", b"new")])
    assert new.holds


async def test_deposed_mds_cannot_even_begin(mds):
    await mds.depose()
    with pytest.raises(StaleEpoch):
        await begin_serving(mds.kv, mds.candidacy, lambda size: b"x" * size)
    epoch = await mds.kv.get(b"cluster/epoch")
    assert epoch is not None
    assert epoch.value == b"1"


async def test_mds_whose_lease_ran_out_by_its_own_clock_does_not_even_ask(mds):
    authority = mds.mds.state.authority
    before = (await mds.kv.txn([], [])).revision
    mds.clock.advance(0.8 * LEASE_S)
    assert not authority.holds
    with pytest.raises(Unavailable, match="not renewed in time"):
        await authority.write([Put(b"a", b"")])
    assert (await mds.kv.txn([], [])).revision == before
    assert "not renewed in time" in await authority.lost()


async def test_a_cluster_that_another_mds_makes_during_the_look_is_found(mds):
    class Late:
        """Shows the cluster from the second look on."""

        asked = False

        def __getattr__(self, name):
            return getattr(mds.kv, name)

        async def get(self, key):
            if key != CLUSTER_ID or self.asked:
                return await mds.kv.get(key)
            self.asked = True
            return None

    assert await check_cluster(Late(), "") == mds.mds.state.authority.cluster.id


async def test_store_of_another_cluster_or_of_something_else_is_refused(mds, tmp_path):
    id_ = mds.mds.state.authority.cluster.id
    assert await check_cluster(mds.kv, "") == await check_cluster(mds.kv, id_) == id_
    with pytest.raises(StartupError, match=f"holds cluster {id_}; this MDS belongs to cluster mine") as caught:
        await check_cluster(mds.kv, "mine")
    assert caught.value.exit_code is ExitCode.DATA_FOLDER
    store = LmdbStore(tmp_path / "other", mds.clock)
    try:
        assert await check_cluster(store, "") == ""
        with pytest.raises(StartupError, match="holds no cluster; this MDS belongs to cluster mine"):
            await check_cluster(store, "mine")
        await store.txn([], [Put(b"election/x", b"")])
        assert await check_cluster(store, "") == ""
        for key in (b"a", b"z"):
            await store.txn([], [Put(key, b"")])
            with pytest.raises(StartupError, match="other data"):
                await check_cluster(store, "")
            await store.txn([], [Delete(key)])
    finally:
        await store.close()


async def test_unknown_outcome_ends_authority_and_a_refusal_does_not(mds):
    authority = mds.mds.state.authority
    mds.kv.plan("full", 1)
    with pytest.raises(NoSpace):
        await authority.write([Put(b"a", b"")])
    assert authority.holds
    mds.kv.plan("lost reply", 1)
    with pytest.raises(Unavailable):
        await authority.write([Put(b"a", b"")])
    assert not authority.holds


async def test_secret_is_in_no_repr(mds):
    cluster = mds.mds.state.authority.cluster
    assert repr(cluster.secret) not in repr(cluster)
    assert cluster.id in repr(cluster)


# -------------------------------------------------------------------------------------------------- state


async def test_refused_decision_changes_nothing(mds):
    state = mds.mds.state

    def decide(change: Change) -> None:
        change.next_number("fs")
        raise NotFound("refused")

    with pytest.raises(NotFound):
        await state.change(decide)
    assert state.counters.get("fs") is None
    assert await mds.kv.get(b"counter/fs") is None


async def test_refused_write_changes_nothing(mds):
    state = mds.mds.state
    mds.kv.plan("full", 1)
    with pytest.raises(NoSpace):
        await state.change(lambda change: change.next_number("fs"))
    assert state.counters.get("fs") is None
    assert await state.change(lambda change: change.next_number("fs")) == 1


async def test_racing_decisions_are_serial(mds):
    numbers = await asyncio.gather(*(mds.mds.state.change(lambda change: change.next_number("n")) for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    assert await mds.mds.state.change(lambda change: (change.next_number("n"), change.next_number("n"))) == (21, 22)


async def test_memory_is_what_the_store_holds(mds, metaserver):
    await mds.create("one")
    await mds.create("two")
    await mds.open("two")
    await mds.mds.filesystems.delete("one")
    await mds.mds.filesystems.removals.finished(1, PATIENCE_S)
    state = mds.mds.state
    loaded = await State.load(state.authority)
    tables = ("filesystems", "fs_names", "partitions", "sessions", "metaservers", "copysets", "counters")
    for name in tables:
        assert dict(getattr(loaded, name).items()) == dict(getattr(state, name).items()), name
    assert {len(getattr(state, name)) for name in tables} == {1, 3}


async def test_record_of_a_newer_format_is_refused(mds, metaserver):
    made = await mds.create()
    state = mds.mds.state
    await state.change(lambda change: change.put(state.filesystems, made.fs_id, changed(made, format=2)))
    with pytest.raises(VersionUnsupported, match="format 2"):
        await State.load(state.authority)
