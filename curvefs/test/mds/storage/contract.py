"""What every key-value store must do, by the protocol alone: subclass KeyValueStoreContract and give it a lab."""

import asyncio
from typing import Protocol

import pytest

from curvefs.src.common.errors import NotFound
from curvefs.src.mds.storage.protocol import (
    Compare,
    Delete,
    Deleted,
    Event,
    EventKind,
    Get,
    HistoryCompacted,
    KeyValueStore,
    Page,
    Put,
    PutDone,
    Relation,
    Target,
    prefix_end,
    scan,
)

PATIENCE_S = 20.0


class Lab(Protocol):
    """A store and what a test may do to it."""

    store: KeyValueStore
    history_limit: int

    async def restart(self) -> None:
        """Close the store and open it again; afterwards ``store`` is the new one."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for leases, and what has ended end."""
        ...


async def put(store: KeyValueStore, key: bytes, value: bytes, lease: int = 0) -> int:
    return (await store.txn([], [Put(key, value, lease)])).revision


async def take(store: KeyValueStore, start: bytes, end: bytes, from_revision: int, count: int) -> list[Event]:
    events: list[Event] = []
    watch = store.watch(start, end, from_revision=from_revision)
    async with asyncio.timeout(PATIENCE_S):
        async for event in watch:
            events.append(event)
            if len(events) == count:
                break
    await watch.aclose()  # type: ignore[attr-defined] # every watch is an async generator
    return events


class KeyValueStoreContract:
    """Tests of keys, transactions, pages, leases and watches."""

    # -------------------------------------------------------------------------------------------- keys

    async def test_absent_key_is_none(self, lab: Lab):
        assert await lab.store.get(b"a") is None

    async def test_put_key_is_read_with_its_revisions(self, lab: Lab):
        first = await put(lab.store, b"a", b"1")
        await put(lab.store, b"other", b"")
        last = await put(lab.store, b"a", b"2")
        item = await lab.store.get(b"a")
        assert item is not None
        assert (item.key, item.value, item.create_revision, item.mod_revision, item.version) == (
            b"a",
            b"2",
            first,
            last,
            2,
        )
        assert last == first + 2

    async def test_deleted_key_begins_anew(self, lab: Lab):
        await put(lab.store, b"a", b"1")
        await lab.store.txn([], [Delete(b"a")])
        assert await lab.store.get(b"a") is None
        revision = await put(lab.store, b"a", b"2")
        item = await lab.store.get(b"a")
        assert item is not None
        assert (item.create_revision, item.mod_revision, item.version) == (revision, revision, 1)

    async def test_values_are_any_bytes(self, lab: Lab):
        value = bytes(range(256)) * 300
        await put(lab.store, b"\x00\x01", value)
        item = await lab.store.get(b"\x00\x01")
        assert item is not None
        assert item.value == value
        assert (await lab.store.get(b"\x00")) is None

    async def test_empty_value_is_a_value(self, lab: Lab):
        await put(lab.store, b"a", b"")
        item = await lab.store.get(b"a")
        assert item is not None
        assert item.value == b""

    # ------------------------------------------------------------------------------------ transactions

    async def test_one_transaction_is_one_revision(self, lab: Lab):
        before = await put(lab.store, b"x", b"")
        result = await lab.store.txn([], [Put(b"a", b"1"), Put(b"b", b"2"), Delete(b"x")])
        assert result.succeeded
        assert result.revision == before + 1
        assert result.responses == (PutDone(), PutDone(), Deleted(1))
        for key in (b"a", b"b"):
            item = await lab.store.get(key)
            assert item is not None
            assert item.mod_revision == result.revision

    async def test_transaction_without_effect_keeps_the_revision(self, lab: Lab):
        before = await put(lab.store, b"a", b"1")
        assert (await lab.store.txn([], [Get(b"a")])).revision == before
        assert (await lab.store.txn([], [Delete(b"absent")])).revision == before
        assert (await lab.store.txn([], [])).revision == before

    async def test_failed_compare_does_the_other_list(self, lab: Lab):
        await put(lab.store, b"a", b"1")
        result = await lab.store.txn(
            [Compare(b"a", Target.VALUE, Relation.EQUAL, b"2")],
            [Put(b"then", b"")],
            [Put(b"otherwise", b""), Get(b"a")],
        )
        assert not result.succeeded
        assert await lab.store.get(b"then") is None
        assert await lab.store.get(b"otherwise") is not None
        page = result.responses[1]
        assert isinstance(page, Page)
        assert [item.value for item in page.items] == [b"1"]

    async def test_every_compare_must_hold(self, lab: Lab):
        await put(lab.store, b"a", b"1")
        result = await lab.store.txn(
            [
                Compare(b"a", Target.VERSION, Relation.EQUAL, 1),
                Compare(b"b", Target.VERSION, Relation.GREATER, 0),
            ],
            [Put(b"c", b"")],
        )
        assert not result.succeeded
        assert await lab.store.get(b"c") is None

    async def test_compares_of_numbers(self, lab: Lab):
        create = await put(lab.store, b"a", b"1")
        mod = await put(lab.store, b"a", b"2")
        truths = {
            (Target.CREATE_REVISION, create): (True, False, False, False),
            (Target.CREATE_REVISION, create - 1): (False, True, False, True),
            (Target.MOD_REVISION, mod): (True, False, False, False),
            (Target.MOD_REVISION, mod + 1): (False, False, True, True),
            (Target.VERSION, 2): (True, False, False, False),
        }
        relations = (Relation.EQUAL, Relation.GREATER, Relation.LESS, Relation.NOT_EQUAL)
        for (target, operand), expected in truths.items():
            for relation, truth in zip(relations, expected, strict=True):
                result = await lab.store.txn([Compare(b"a", target, relation, operand)], [])
                assert result.succeeded is truth, (target, relation, operand)

    async def test_absent_key_compares_as_zero_and_as_no_value(self, lab: Lab):
        for target in (Target.VERSION, Target.CREATE_REVISION, Target.MOD_REVISION):
            assert (await lab.store.txn([Compare(b"no", target, Relation.EQUAL, 0)], [])).succeeded
        for relation in (Relation.EQUAL, Relation.NOT_EQUAL):
            assert not (await lab.store.txn([Compare(b"no", Target.VALUE, relation, b"")], [])).succeeded

    async def test_of_racing_creations_exactly_one_succeeds(self, lab: Lab):
        absent = Compare(b"name", Target.VERSION, Relation.EQUAL, 0)
        results = await asyncio.gather(*(lab.store.txn([absent], [Put(b"name", b"%d" % i)]) for i in range(8)))
        winners = [i for i, result in enumerate(results) if result.succeeded]
        assert len(winners) == 1
        item = await lab.store.get(b"name")
        assert item is not None
        assert item.value == b"%d" % winners[0]

    async def test_range_of_keys_is_deleted_at_once(self, lab: Lab):
        await lab.store.txn([], [Put(b"d/%d" % i, b"") for i in range(5)] + [Put(b"e", b"")])
        result = await lab.store.txn([], [Delete(b"d/", prefix_end(b"d/"))])
        assert result.responses == (Deleted(5),)
        assert [item.key async for item in scan(lab.store, b"d")] == []
        assert await lab.store.get(b"e") is not None

    # ------------------------------------------------------------------------------------------- pages

    async def test_range_is_in_order_and_its_end_excluded(self, lab: Lab):
        for key in (b"b", b"a", b"c", b"\xff"):
            await put(lab.store, key, b"")
        page = await lab.store.range(b"a", b"c")
        assert [item.key for item in page.items] == [b"a", b"b"]
        assert not page.more

    async def test_range_says_whether_there_is_more(self, lab: Lab):
        await lab.store.txn([], [Put(b"k%d" % i, b"") for i in range(4)])
        page = await lab.store.range(b"k", b"l", limit=3)
        assert ([item.key for item in page.items], page.more) == ([b"k0", b"k1", b"k2"], True)
        page = await lab.store.range(b"k3", b"l", limit=1)
        assert ([item.key for item in page.items], page.more) == ([b"k3"], False)

    async def test_scan_reads_a_prefix_page_by_page(self, lab: Lab):
        for i in range(0, 250, 50):
            await lab.store.txn([], [Put(b"p/%03d" % n, b"") for n in range(i, i + 50)])
        await lab.store.txn([], [Put(b"p", b""), Put(b"p0", b"")])
        assert [item.key async for item in scan(lab.store, b"p/", page_size=7)] == [b"p/%03d" % n for n in range(250)]

    # ------------------------------------------------------------------------------------------ leases

    async def test_ended_lease_takes_its_keys_along(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        await put(lab.store, b"a", b"", lease)
        await put(lab.store, b"b", b"", lease)
        await put(lab.store, b"free", b"")
        status = await lab.store.lease_time_to_live(lease)
        assert (status.granted_s, status.keys) == (5, (b"a", b"b"))
        assert 0 < status.left_s <= 5
        await lab.pass_time(6)
        assert await lab.store.get(b"a") is None
        assert await lab.store.get(b"b") is None
        assert await lab.store.get(b"free") is not None
        with pytest.raises(NotFound):
            await lab.store.lease_time_to_live(lease)

    async def test_keep_alive_gives_the_full_time_again(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        await put(lab.store, b"a", b"", lease)
        for _ in range(3):
            await lab.pass_time(3)
            assert await lab.store.lease_keep_alive(lease) == 5
        assert await lab.store.get(b"a") is not None

    async def test_revoked_lease_is_gone_with_its_keys(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        await put(lab.store, b"a", b"", lease)
        await lab.store.lease_revoke(lease)
        assert await lab.store.get(b"a") is None
        for call in (lab.store.lease_revoke, lab.store.lease_keep_alive, lab.store.lease_time_to_live):
            with pytest.raises(NotFound):
                await call(lease)

    async def test_put_under_an_unknown_lease_changes_nothing(self, lab: Lab):
        with pytest.raises(NotFound):
            await lab.store.txn([], [Put(b"before", b""), Put(b"a", b"", 12345)])
        assert await lab.store.get(b"before") is None

    async def test_put_without_a_lease_detaches_the_key(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        await put(lab.store, b"a", b"1", lease)
        await put(lab.store, b"a", b"2")
        assert (await lab.store.lease_time_to_live(lease)).keys == ()
        await lab.store.lease_revoke(lease)
        assert await lab.store.get(b"a") is not None

    async def test_put_under_another_lease_moves_the_key(self, lab: Lab):
        old, new = await lab.store.lease_grant(5), await lab.store.lease_grant(50)
        await put(lab.store, b"a", b"1", old)
        await put(lab.store, b"a", b"2", new)
        await lab.store.lease_revoke(old)
        item = await lab.store.get(b"a")
        assert item is not None
        assert item.lease == new

    # ----------------------------------------------------------------------------------------- watches

    async def test_watch_yields_past_changes_in_order(self, lab: Lab):
        first = await put(lab.store, b"w/a", b"1")
        await put(lab.store, b"other", b"")
        await lab.store.txn([], [Put(b"w/b", b"2"), Put(b"w/c", b"3")])
        last = (await lab.store.txn([], [Delete(b"w/a")])).revision
        events = await take(lab.store, b"w/", b"w0", first, 4)
        assert [(e.kind, e.item.key, e.item.value) for e in events] == [
            (EventKind.PUT, b"w/a", b"1"),
            (EventKind.PUT, b"w/b", b"2"),
            (EventKind.PUT, b"w/c", b"3"),
            (EventKind.DELETE, b"w/a", b""),
        ]
        assert events[1].item.mod_revision == events[2].item.mod_revision
        assert events[3].item.mod_revision == last

    async def test_watch_yields_changes_as_they_come(self, lab: Lab):
        revision = await put(lab.store, b"w", b"0")
        watching = asyncio.create_task(take(lab.store, b"w", b"x", revision + 1, 3))
        for i in range(1, 4):
            await put(lab.store, b"w", b"%d" % i)
        assert [event.item.value for event in await watching] == [b"1", b"2", b"3"]

    async def test_watch_sees_the_end_of_a_lease(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        revision = await put(lab.store, b"w", b"", lease)
        watching = asyncio.create_task(take(lab.store, b"w", b"x", revision + 1, 1))
        await lab.pass_time(6)
        assert [event.kind for event in await watching] == [EventKind.DELETE]

    async def test_watch_beyond_the_history_says_so(self, lab: Lab):
        first = await put(lab.store, b"w", b"")
        for _ in range(lab.history_limit + 5):
            await put(lab.store, b"w", b"")
        with pytest.raises(HistoryCompacted):
            await take(lab.store, b"w", b"x", first, 1)

    # ----------------------------------------------------------------------------------------- restart

    async def test_everything_survives_a_restart(self, lab: Lab):
        await lab.store.txn([], [Put(b"a", b"1"), Put(b"b", b"2")])
        revision = (await lab.store.txn([], [Delete(b"b")])).revision
        before = await lab.store.get(b"a")
        await lab.restart()
        assert await lab.store.get(b"a") == before
        assert await lab.store.get(b"b") is None
        assert await put(lab.store, b"c", b"") == revision + 1
        events = await take(lab.store, b"a", b"d", revision, 2)
        assert [(event.kind, event.item.key) for event in events] == [
            (EventKind.DELETE, b"b"),
            (EventKind.PUT, b"c"),
        ]

    async def test_restart_does_not_end_a_lease_and_time_still_does(self, lab: Lab):
        lease = await lab.store.lease_grant(5)
        await put(lab.store, b"a", b"", lease)
        await lab.restart()
        assert await lab.store.get(b"a") is not None
        assert (await lab.store.lease_time_to_live(lease)).keys == (b"a",)
        await lab.pass_time(6)
        assert await lab.store.get(b"a") is None
