"""The embedded store keeps the contract, and what is its own: format, damage, a full disk."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import lmdb
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.common.errors import NoSpace, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.storage import records
from curvefs.src.mds.storage.lmdb_store import LmdbStore
from curvefs.src.mds.storage.protocol import Delete, Event, EventKind, KeyValue, Put, prefix_end
from curvefs.test.mds.clock import FakeClock
from curvefs.test.mds.storage.contract import KeyValueStoreContract


class LmdbLab:
    history_limit = 50

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = FakeClock()
        self.store = self._open()

    def _open(self) -> LmdbStore:
        return LmdbStore(self._folder, self._clock, history_limit=self.history_limit)

    async def restart(self) -> None:
        await self.store.close()
        self.store = self._open()

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)
        await self.store.expire()


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[LmdbLab]:
    lab = LmdbLab(tmp_path / "store")
    yield lab
    await lab.store.close()


@pytest.mark.asyncio
class TestContract(KeyValueStoreContract):
    """The embedded store."""


def test_newer_format_is_refused(tmp_path):
    async def make() -> None:
        await LmdbStore(tmp_path, FakeClock()).close()

    asyncio.run(make())
    with lmdb.open(str(tmp_path), max_dbs=8) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True) as txn:
            txn.put(b"format", (2).to_bytes(8, "big"), db=meta)
    with pytest.raises(StartupError, match="format 2") as caught:
        LmdbStore(tmp_path, FakeClock())
    assert caught.value.exit_code is ExitCode.DATA_FOLDER


def test_what_is_no_store_is_refused_as_damaged(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"garbage" * 4096)
    with pytest.raises(StartupError) as caught:
        LmdbStore(tmp_path, FakeClock())
    assert caught.value.exit_code is ExitCode.DAMAGED


@pytest.mark.asyncio
async def test_full_store_refuses_and_keeps_what_it_has(tmp_path):
    store = LmdbStore(tmp_path, FakeClock(), size_bytes_max=1 << 20)
    count = 0
    with pytest.raises(NoSpace):
        while True:
            await store.txn([], [Put(b"%06d" % count, b"x" * 3000)])
            count += 1
    await store.close()
    store = LmdbStore(tmp_path, FakeClock(), size_bytes_max=1 << 20)
    page = await store.range(b"0", b":")
    assert [item.key for item in page.items] == [b"%06d" % n for n in range(count)]
    await store.close()


@pytest.mark.asyncio
async def test_full_disk_refuses_damages_nothing_and_heals(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        store = LmdbStore(disk / "store", FakeClock(), history_limit=5)
        await store.txn([], [Put(b"first", b"1")])
        ballast = disk / "ballast"
        with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        refused = False
        for n in range(64):
            try:
                await store.txn([], [Put(b"%06d" % n, b"x" * 100_000)])
            except NoSpace:
                refused = True
                break
        assert refused
        first = await store.get(b"first")
        assert first is not None
        assert await store.get(b"%06d" % n) is None
        ballast.unlink()
        await store.txn([], [Put(b"after", b"x" * 100_000), Delete(b"0", prefix_end(b"0"))])
        await store.close()
        store = LmdbStore(disk / "store", FakeClock())
        assert await store.get(b"first") == first
        assert await store.get(b"after") is not None
        await store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


_U64 = st.integers(0, (1 << 64) - 1)
_ITEMS = st.builds(KeyValue, st.binary(min_size=1, max_size=400), st.binary(max_size=1000), _U64, _U64, _U64, _U64)


@given(_ITEMS)
def test_key_value_records_are_read_as_written(item):
    assert records.decode_key_value(item.key, records.encode_key_value(item)) == item


@given(st.builds(Event, st.sampled_from(EventKind), _ITEMS))
def test_event_records_are_read_as_written(event):
    assert records.decode_event(records.encode_event(event)) == event


@given(st.tuples(_U64, st.integers(0, 1000)), st.tuples(_U64, st.integers(0, 1000)))
def test_history_positions_sort_as_they_happened(one, two):
    assert (records.encode_position(*one) < records.encode_position(*two)) == (one < two)
    assert records.decode_position(records.encode_position(*one)) == one
