"""Who leads, and that nobody else writes: several candidates on a real etcd, one on the embedded store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import StaleEpoch, Unavailable
from curvefs.src.mds.authority import Authority, begin_serving
from curvefs.src.mds.election import PREFIX, Ballot, Candidacy, serves_until_s
from curvefs.src.mds.storage.etcd_store import EtcdStore
from curvefs.src.mds.storage.lmdb_store import LmdbStore
from curvefs.src.mds.storage.protocol import Event, EventKind, KeyValue, Put
from curvefs.src.rpc.etcd import EtcdSettings
from curvefs.test.mds.clock import FakeClock
from curvefs.test.support.etcd import EtcdCluster, etcd

__all__ = ["etcd"]

PATIENCE_S = 20.0
LEASE_S = 2  # the shortest that etcd grants


def random_bytes(size: int) -> bytes:
    return b"r" * size


def item(name: str, revision: int, address: str = "") -> KeyValue:
    return KeyValue(PREFIX + name.encode(), address.encode(), revision, revision, 1)


# ------------------------------------------------------------------------------------------------ values


def test_first_created_candidate_leads_and_the_next_one_follows():
    ballot = Ballot([item("c", 7), item("a", 9), item("b", 8)])
    order = []
    while (first := ballot.first) is not None:
        order.append(first.key)
        ballot.apply(Event(EventKind.DELETE, KeyValue(first.key, b"", 0, 10, 0)))
    assert order == [PREFIX + b"c", PREFIX + b"b", PREFIX + b"a"]


def test_who_ends_while_standing_by_is_skipped():
    ballot = Ballot([item("a", 1), item("b", 2), item("c", 3)])
    for name in (b"b", b"a"):
        ballot.apply(Event(EventKind.DELETE, KeyValue(PREFIX + name, b"", 0, 4, 0)))
    assert ballot.first == item("c", 3)


def test_candidate_that_came_again_is_another_one():
    ballot = Ballot([item("a", 1), item("b", 2)])
    ballot.apply(Event(EventKind.DELETE, KeyValue(PREFIX + b"a", b"", 0, 3, 0)))
    ballot.apply(Event(EventKind.PUT, item("a", 4)))
    assert ballot.first == item("b", 2)
    assert not ballot.has(PREFIX + b"a", 1)
    assert ballot.has(PREFIX + b"a", 4)


def test_serving_ends_before_the_lease_can_be_over_in_the_store():
    # The store counts from when it got the request, 5 s of its clock: at least 5 / 1.05 / 1.05 of ours.
    assert serves_until_s(100.0, 5) < 100.0 + 5 / 1.05**2


# ------------------------------------------------------------------------------------- several, on etcd


class Mds:
    """A candidate with a store of its own, as a process would be. Its clock is the machine's, or stands still."""

    def __init__(
        self, cluster: EtcdCluster, name: str, clock: FakeClock | None = None, *, first: int = 0, lease_s: int = LEASE_S
    ) -> None:
        endpoints = cluster.endpoints[first:] + cluster.endpoints[:first]
        self._settings = EtcdSettings(tuple(endpoints), deadline_s=3.0)
        self._lease_s = lease_s
        self.name = name
        self.clock = clock or SystemClock()
        self.store: EtcdStore
        self.candidacy: Candidacy
        self._running: asyncio.Task[None] | None = None

    async def stand(self) -> "Mds":
        self.store = await EtcdStore.open(self._settings, b"test/")
        self.candidacy = Candidacy(self.store, self.clock, self.name, f"{self.name}:1", lease_s=self._lease_s)
        await self.candidacy.stand()
        self._running = asyncio.create_task(self.candidacy.run())
        await within(self.candidacy.observed())
        return self

    async def elected(self) -> Authority:
        await within(self.candidacy.elected())
        return await begin_serving(self.store, self.candidacy, random_bytes)

    def freeze(self) -> None:
        """Do nothing any more, and forget nothing: what SIGSTOP does, and SIGKILL as others see it."""
        assert self._running is not None
        self._running.cancel()

    async def close(self) -> None:
        self.freeze()
        assert self._running is not None
        await asyncio.wait([self._running])
        await self.store.close()


async def within(what: Awaitable[object]) -> object:
    async with asyncio.timeout(PATIENCE_S):
        return await what


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def stand(etcd: EtcdCluster) -> AsyncIterator[Callable[..., Awaitable[Mds]]]:
    made: list[Mds] = []

    async def stand(name: str, clock: FakeClock | None = None) -> Mds:
        made.append(Mds(etcd, name, clock))
        return await made[-1].stand()

    yield stand
    for mds in made:
        await mds.close()


@pytest.mark.asyncio
async def test_exactly_one_leads_and_the_others_know_where(stand):
    one, two, three = [await stand(name) for name in ("b", "c", "a")]
    await one.elected()
    assert [mds.candidacy.holds for mds in (one, two, three)] == [True, False, False]
    assert [mds.candidacy.leader for mds in (one, two, three)] == ["", "b:1", "b:1"]


@pytest.mark.asyncio
async def test_killed_leader_is_followed_by_the_next_one(stand):
    one, two, three = [await stand(name) for name in ("a", "b", "c")]
    first = await one.elected()
    one.freeze()
    second = await two.elected()
    assert (first.epoch, second.epoch, second.cluster) == (1, 2, first.cluster)
    await until(lambda: three.candidacy.leader == "b:1")
    assert not three.candidacy.holds


@pytest.mark.asyncio
async def test_resigned_leader_is_followed_at_once(stand):
    one, two = [await stand(name) for name in ("a", "b")]
    await one.elected()
    before_s = two.clock.boottime_s()
    await one.candidacy.resign()
    await within(two.candidacy.elected())
    assert two.clock.boottime_s() - before_s < LEASE_S
    assert not one.candidacy.holds


@pytest.mark.asyncio
async def test_write_of_a_leader_that_slept_through_its_lease_is_refused_by_the_store(stand):
    sleeper, other = await stand("a", FakeClock()), await stand("b")
    old = await sleeper.elected()
    sleeper.freeze()
    new = await other.elected()
    await new.write([Put(b"k", b"new")])
    assert old.holds  # by its clock no time has passed
    with pytest.raises(StaleEpoch):
        await old.write([Put(b"k", b"old")])
    assert not old.holds
    assert "another MDS" in await old.lost()
    found = await other.store.get(b"k")
    assert found is not None
    assert (found.value, found.version) == (b"new", 1)


@pytest.mark.asyncio
async def test_leader_that_slept_through_its_lease_stops_by_its_own_clock(stand):
    clock = FakeClock()
    mds = await stand("a", clock)
    authority = await mds.elected()
    clock.advance(0.8 * LEASE_S)
    assert not authority.holds
    assert "not renewed in time" in await within(authority.lost())


@pytest.mark.asyncio
async def test_standby_killed_between_two_elections_is_skipped(stand):
    one, two, three = [await stand(name) for name in ("a", "b", "c")]
    await one.elected()
    two.freeze()
    one.freeze()
    authority = await three.elected()
    assert authority.epoch == 2
    assert not two.candidacy.holds


@pytest.mark.asyncio
async def test_leader_cut_from_etcd_steps_down_before_its_lease_is_over(stand, etcd):
    mds = await stand("a")
    authority = await mds.elected()
    await authority.write([Put(b"k", b"")])
    lease_began_s = mds.candidacy.until_s - 0.8 * LEASE_S
    etcd.freeze(0)
    try:
        reason = await within(authority.lost())
        assert mds.clock.boottime_s() < max(lease_began_s, mds.candidacy.until_s - 0.8 * LEASE_S) + LEASE_S
    finally:
        etcd.thaw(0)
    assert "not renewed in time" in str(reason)
    with pytest.raises(Unavailable, match="no longer serves"):
        await authority.write([Put(b"k", b"")])


@pytest.mark.asyncio
async def test_leader_whose_key_is_deleted_steps_down(stand, etcd):
    one, two = [await stand(name) for name in ("a", "b")]
    authority = await one.elected()
    etcd.ask("kv/deleterange", key=b"test/election/a")
    assert "key is gone" in await within(authority.lost())
    await two.elected()


@pytest.mark.asyncio
async def test_restarted_mds_does_not_wait_for_its_former_self(stand):
    one = await stand("a")
    await one.elected()
    one.freeze()
    again = await stand("a")
    before_s = again.clock.boottime_s()
    authority = await again.elected()
    assert again.clock.boottime_s() - before_s < LEASE_S
    assert authority.epoch == 2


@pytest.mark.asyncio
async def test_member_that_dies_costs_no_leadership(tmp_path: Path):
    with EtcdCluster(tmp_path / "etcd", 3) as cluster:
        # The worst one: raft's leader, and the one this MDS talks to. etcd itself needs a second or two to elect.
        leader = cluster.leader()
        mds = Mds(cluster, "a", first=leader, lease_s=5)
        await mds.stand()
        try:
            authority = await mds.elected()
            cluster.kill(leader)
            before_s = mds.candidacy.until_s
            await until(lambda: mds.candidacy.until_s > before_s)
            assert await mds.store.get(b"cluster/epoch") is not None
            await authority.write([Put(b"k", b"")])
            assert authority.holds
        finally:
            await mds.close()


# ------------------------------------------------------------------------------- alone, on the embedded store


@pytest.mark.asyncio
async def test_embedded_store_elects_its_only_mds_at_once_also_after_a_crash(tmp_path):
    clock = FakeClock()
    for epoch in (1, 2, 3):
        store = LmdbStore(tmp_path, clock)
        candidacy = Candidacy(store, clock, "a", "a:1", lease_s=5)
        await candidacy.stand()
        running = asyncio.create_task(candidacy.run())
        await within(candidacy.elected())
        authority = await begin_serving(store, candidacy, random_bytes)
        assert (authority.epoch, authority.holds) == (epoch, True)
        running.cancel()
        await asyncio.wait([running])
        await store.close()
