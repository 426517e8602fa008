"""The store over a real etcd keeps the contract, and what is its own: prefixes, members that fail, being refused."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from curvefs.src.common.errors import NoSpace, NotFound, StartupError, Unavailable
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.storage.etcd_store import EtcdStore
from curvefs.src.mds.storage.protocol import Delete, Event, Put, scan
from curvefs.src.rpc.etcd import EtcdSettings
from curvefs.src.rpc.etcd_tls import Tls
from curvefs.test.mds.storage.contract import KeyValueStoreContract, take
from curvefs.test.support.etcd import EtcdCluster, etcd, make_certificates, shared_etcd

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


# ------------------------------------------------------------------------------------------ its own


@contextlib.asynccontextmanager
async def opened(
    cluster: EtcdCluster, prefix: bytes = b"p/", *, history_limit: int = 0, **settings: Any
) -> AsyncIterator[EtcdStore]:
    made = EtcdSettings(tuple(cluster.endpoints), **settings)
    store = await EtcdStore.open(made, prefix, history_limit=history_limit)
    try:
        yield store
    finally:
        await store.close()


async def refused(endpoints: list[str], **settings: Any) -> StartupError:
    """Return the error of an attempt to open a store, which is one line."""
    with pytest.raises(StartupError) as caught:
        await EtcdStore.open(EtcdSettings(tuple(endpoints), **settings), b"p/")
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


@pytest.mark.asyncio
async def test_prefixes_are_stores_of_their_own(shared_etcd):
    async with opened(shared_etcd, b"one/") as one, opened(shared_etcd, b"two/") as two:
        lease = await one.lease_grant(60)
        revision = (await one.txn([], [Put(b"a", b"1", lease)])).revision
        await two.txn([], [Put(b"a", b"2")])
        await one.txn([], [Put(b"b", b"3")])
        assert [item.value async for item in scan(one, b"a")] == [b"1"]
        assert [item.key for item in (await two.range(b"", b"\xff")).items] == [b"a"]
        assert (await one.lease_time_to_live(lease)).keys == (b"a",)
        found = await take(one, b"", b"\xff", revision, 2)
        assert [(event.item.key, event.item.value) for event in found] == [(b"a", b"1"), (b"b", b"3")]
        await two.txn([], [Delete(b"a", b"\xff")])
        assert await one.get(b"a") is not None
    stored = shared_etcd.ask("kv/range", key=b"one/a")
    assert stored["count"] == "1"


@pytest.mark.asyncio
async def test_calls_and_watches_go_on_at_another_member(tmp_path):
    with EtcdCluster(tmp_path / "etcd", 3) as cluster:
        async with opened(cluster) as store:
            revision = (await store.txn([], [Put(b"a", b"0")])).revision
            watched = Watched(store, revision)
            await watched.until(b"0")
            cluster.kill(0)
            assert (await until_done(lambda: store.get(b"a"))).value == b"0"
            await until_done(lambda: store.txn([], [Put(b"a", b"1")]))
            await watched.until(b"1")
            cluster.start(0)
            await asyncio.to_thread(cluster.wait_ready)
            cluster.freeze(1)
            try:
                await until_done(lambda: store.get(b"a"))
                await until_done(lambda: store.txn([], [Put(b"a", b"2")]))
                await watched.until(b"2")
            finally:
                cluster.thaw(1)
            await watched.end()
    # Nothing twice, nothing left out, whichever member told it.
    found = [event.item for event in watched.events]
    assert [item.version for item in found] == list(range(1, len(found) + 1))


class Watched:
    """A watch of the key a, in a task."""

    def __init__(self, store: EtcdStore, from_revision: int) -> None:
        self.events: list[Event] = []
        self._task = asyncio.create_task(self._follow(store, from_revision))

    async def until(self, value: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.events or self.events[-1].item.value != value:
                assert not self._task.done()
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self, store: EtcdStore, from_revision: int) -> None:
        async for event in store.watch(b"a", b"b", from_revision=from_revision):
            self.events.append(event)


@pytest.mark.asyncio
async def test_without_a_majority_calls_are_unavailable_and_recover_by_themselves(tmp_path):
    with EtcdCluster(tmp_path / "etcd", 3) as cluster:
        async with opened(cluster, deadline_s=2.0) as store:
            await store.txn([], [Put(b"a", b"0")])
            for member in (0, 1):
                cluster.kill(member)
            with pytest.raises(Unavailable, match="no answer from etcd"):
                await store.get(b"a")
            with pytest.raises(Unavailable):
                await store.txn([], [Put(b"a", b"1")])
            with pytest.raises(Unavailable):
                await take(store, b"a", b"b", 1, 1)
            error = await refused(cluster.endpoints, deadline_s=1.0)
            assert error.exit_code is ExitCode.UNREACHABLE
            for member in (0, 1):
                cluster.start(member)
            await asyncio.to_thread(cluster.wait_ready)
            assert await until_done(lambda: store.get(b"a")) is not None


@pytest.mark.asyncio
async def test_write_whose_answer_is_lost_is_of_unknown_outcome(etcd):
    async with opened(etcd, deadline_s=1.0) as store:
        await store.txn([], [Put(b"a", b"0")])
        etcd.freeze(0)
        try:
            with pytest.raises(Unavailable, match="outcome is unknown"):
                await store.txn([], [Put(b"a", b"1")])
        finally:
            etcd.thaw(0)
        assert (await until_done(lambda: store.get(b"a"))).value in {b"0", b"1"}


@pytest.mark.asyncio
async def test_etcd_whose_quota_is_used_up_has_no_space(tmp_path):
    with EtcdCluster(tmp_path / "etcd", flags=("--quota-backend-bytes=1000000",)) as cluster:
        async with opened(cluster) as store:
            lease = await store.lease_grant(60)
            await store.txn([], [Put(b"first", b"1", lease)])
            with pytest.raises(NoSpace, match="database space exceeded"):
                for n in range(64):
                    await store.txn([], [Put(b"%d" % n, b"x" * 100_000)])
            # Who leads goes on leading: its lease needs no room.
            assert await store.get(b"first") is not None
            assert await store.lease_keep_alive(lease) == 60


@pytest.mark.asyncio
async def test_closing_ends_watches_and_calls(shared_etcd):
    store = await EtcdStore.open(EtcdSettings(tuple(shared_etcd.endpoints)), b"closing/")
    revision = (await store.txn([], [Put(b"a", b"0")])).revision
    seen: list[Event] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for event in store.watch(b"a", b"b", from_revision=revision):
            seen.append(event)
            first.set()

    watching = asyncio.create_task(follow())
    async with asyncio.timeout(PATIENCE_S):
        await first.wait()
        await store.close()
        await watching
    assert [event.item.value for event in seen] == [b"0"]


@pytest.mark.asyncio
async def test_cancelled_watch_ends_its_task(shared_etcd):
    async with opened(shared_etcd, b"cancelled/") as store:
        revision = (await store.txn([], [Put(b"a", b"0")])).revision
        watching = asyncio.create_task(take(store, b"a", b"b", revision, 2))
        await put_soon(store)
        watching.cancel()
        await asyncio.wait([watching], timeout=PATIENCE_S)
        assert watching.cancelled()


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.asyncio
async def test_etcd_that_is_not_there_is_told_in_one_line(tmp_path):
    cluster = EtcdCluster(tmp_path / "etcd")
    error = await refused(cluster.endpoints, start_deadline_s=0.1)
    assert error.exit_code is ExitCode.UNREACHABLE
    assert f"etcd does not answer at {cluster.store}" in str(error)
    assert "Connection refused" in str(error)


@pytest.mark.asyncio
async def test_members_of_two_etcd_clusters_are_refused(etcd, shared_etcd):
    error = await refused([*etcd.endpoints, *shared_etcd.endpoints])
    assert error.exit_code is ExitCode.REFUSED
    assert "belong to several etcd clusters" in str(error)


@pytest.mark.asyncio
async def test_password_is_read_from_its_file_and_tokens_that_etcd_forgot_are_renewed(etcd, tmp_path):
    file = tmp_path / "password"
    file.write_text("secret\n")
    etcd.require_passwords("root's", "mds", "secret", b"p/", b"p0")
    async with opened(etcd, user="mds", password_file=file) as store:
        revision = (await store.txn([], [Put(b"a", b"0")])).revision
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: store.get(b"a"),
            lambda: store.txn([], [Put(b"a", b"1")]),
            lambda: take(store, b"a", b"b", revision, 1),
        ]
        for call in calls:
            store._client._token = "forgotten.1"
            assert await call()
            assert store._client._token != "forgotten.1"
        # Changed rights make every token old.
        etcd.ask_as("root", "root's", "auth/user/add", name="late", password="x")
        assert (await store.txn([], [Put(b"a", b"2")])).succeeded


@pytest.mark.asyncio
async def test_wrong_credentials_are_told_in_one_line_each(etcd, tmp_path):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret")
    wrong.write_text("guess")
    unasked = await refused(etcd.endpoints, user="mds", password_file=right)
    assert "authentication is not enabled, but a user is configured" in str(unasked)
    etcd.require_passwords("root's", "mds", "secret", b"other/", b"other0")
    refusals = {
        "invalid user ID or password": {"user": "mds", "password_file": wrong},
        "user name is empty": {},
        "permission denied": {"user": "mds", "password_file": right},
        "password for etcd cannot be read": {"user": "mds", "password_file": tmp_path / "missing"},
    }
    for told, settings in refusals.items():
        error = await refused(etcd.endpoints, **settings)
        assert told in str(error)
        assert error.exit_code is ExitCode.REFUSED
        assert "secret" not in str(error)
        assert "guess" not in str(error)


@pytest.mark.asyncio
async def test_certificates_are_checked_on_both_sides(tmp_path, capfd):
    made = make_certificates(tmp_path / "certificates")
    right = Tls(made.ca, made.client, made.client_key)
    with EtcdCluster(tmp_path / "etcd", certificates=made) as cluster:
        async with opened(cluster, tls=right) as store:
            await store.txn([], [Put(b"a", b"0")])
        refusals = {
            "its certificate is not accepted": Tls(made.other_ca, made.client, made.client_key),
            "bad certificate": Tls(made.ca, made.other_client, made.other_client_key),
            "no TLS connection": Tls(made.ca),
        }
        for told, tls in refusals.items():
            error = await refused(cluster.endpoints, tls=tls)
            assert told in str(error)
            assert error.exit_code is ExitCode.REFUSED
        error = await refused(cluster.endpoints, start_deadline_s=0.1)
        assert error.exit_code is ExitCode.UNREACHABLE
    # Neither does gRPC say anything besides.
    assert capfd.readouterr().err == ""


@pytest.mark.asyncio
async def test_etcd_without_tls_and_files_that_are_no_certificates_are_refused(shared_etcd, tmp_path):
    made = make_certificates(tmp_path)
    error = await refused(shared_etcd.endpoints, tls=Tls(made.ca))
    assert (error.exit_code, "no TLS connection" in str(error)) == (ExitCode.REFUSED, True)
    for tls in (Tls(tmp_path / "missing"), Tls(made.client_key), Tls(made.ca, made.client, made.other_client_key)):
        error = await refused(shared_etcd.endpoints, tls=tls)
        assert "certificates for etcd cannot be used" in str(error)
        assert error.exit_code is ExitCode.USAGE


async def until_done(call: Callable[[], Awaitable[Any]]) -> Any:
    """Call until it is not Unavailable."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


async def put_soon(store: EtcdStore) -> None:
    """Let what was begun go as far as a round trip takes it."""
    await store.get(b"a")
