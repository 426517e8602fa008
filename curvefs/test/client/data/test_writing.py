"""Writing: what is stored when, what is published in which order, and what happens when something fails."""

from dataclasses import replace
from functools import partial

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.src.client import background
from curvefs.src.common.errors import (
    AlreadyDone,
    IdRefused,
    InvalidArgument,
    IOFailure,
    NoSpace,
    NotFound,
    QuotaExceeded,
    SessionEnded,
    Unavailable,
)
from curvefs.src.object.fault import Fault
from curvefs.src.object.protocol import StoreFull, StoreRefused

from .lab import KIB, MIB, MIDDLE, TINY, check, lab, pattern

pytestmark = pytest.mark.trio


async def test_a_flush_stores_and_publishes_everything(autojump_clock):
    async with lab() as this:
        file = this.open()
        data = pattern(10_000)
        assert await file.write(0, data) == len(data)
        assert (file.dirty, file.length) == (True, 10_000)
        await file.flush()
        assert not file.dirty
        assert this.data.memory[0] == 0
        await check(this, data)
        assert this.metadata.inode().mtime_ns == file.mtime_ns


async def test_slices_are_published_together_once_and_in_the_order_written(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(3000, b"a" * 500)
        await file.write(100, b"b" * 500)
        await file.write(5000, b"c" * 500)
        await file.flush()
        (publication,) = this.metadata.publications
        assert [(one.chunk_index, one.offset, one.length) for one in publication.slices] == [
            (0, 3000, 500), (0, 100, 500), (1, 904, 500)
        ]  # fmt: skip


async def test_full_blocks_are_stored_before_anybody_flushes(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(2500))
        await trio.sleep(0.5)
        assert len(this.object_names()) == 2
        assert this.metadata.publications == []


async def test_a_chunk_that_is_complete_is_published_at_once(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(TINY.chunk_size + 100))
        await trio.sleep(0.5)
        assert [one.length for one in this.metadata.publications] == [TINY.chunk_size]
        await file.flush()
        await check(this, pattern(TINY.chunk_size + 100))


async def test_data_is_flushed_by_age(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"old")
        await trio.sleep(4)
        assert this.metadata.publications == []
        await trio.sleep(3)
        assert not file.dirty
        await check(this, b"old")


async def test_one_name_never_has_two_contents(autojump_clock):
    """An overwrite of bytes that an upload has goes under another name."""
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 1500)
        await trio.sleep(0.5)
        before = {name: this.objects.get(name) for name in this.object_names()}
        await file.write(0, b"b" * 1024)
        await file.flush()
        assert {name: this.objects.get(name) for name in before} == before
        await check(this, b"b" * 1024 + b"a" * 476)


async def test_bytes_written_while_older_ones_are_published_stay_in_sight(autojump_clock):
    async with lab(metadata_delay_s=1.0) as this:
        file = this.open()
        await file.write(0, b"a" * 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.flush)
            for n in range(30):
                await trio.sleep(0.1)
                await file.write(10 + n, b"b")
                assert await file.read(0, 200) == b"a" * 10 + b"b" * (n + 1) + b"a" * (89 - n)
        await file.flush()
        await check(this, b"a" * 10 + b"b" * 30 + b"a" * 60)


async def test_a_large_write_passes_through_a_small_budget(autojump_clock):
    async with lab(MIDDLE, memory_budget=4 * MIB, store_delay_s=0.1) as this:
        file = this.open()
        data = pattern(20 * MIB)
        highest = 0
        for at in range(0, len(data), MIB):
            await file.write(at, data[at : at + MIB])
            highest = max(highest, sum(this.data.memory[:2]))
        assert highest <= 4 * MIB
        await file.flush()
        assert this.metadata.content() == data


async def test_one_write_larger_than_the_budget_proceeds(autojump_clock):
    async with lab(MIDDLE, memory_budget=4 * MIB) as this:
        file = this.open()
        await file.write(0, pattern(9 * MIB))
        await file.append(pattern(9 * MIB, 2))
        await file.flush()
        assert this.metadata.content() == pattern(9 * MIB) + pattern(9 * MIB, 2)


async def test_a_budget_that_no_write_fits_into_is_refused():
    with pytest.raises(InvalidArgument, match="too small"):
        async with lab(MIDDLE, memory_budget=2 * MIB):
            pass


async def test_very_many_runs_of_a_file_are_published_in_the_background(autojump_clock):
    async with lab() as this:
        file = this.open()
        for n in range(2000):
            await file.write(n * 2, b"x")
            await trio.lowlevel.checkpoint()
        await file.flush()
        assert len(this.metadata.publications) > 1
        assert this.metadata.content() == b"x\0" * 1999 + b"x"


async def test_very_many_full_chunks_are_published(autojump_clock):
    """A slice as long as a chunk counts for two: fewer of them go into one publication."""
    async with lab(replace(TINY, chunk_size=TINY.block_size), store_timeout_s=1) as this:
        file = this.open()
        data = pattern(300 * TINY.block_size)
        this.store.go_down()
        await file.write(0, data)
        await trio.sleep(20)
        this.store.come_up()
        await file.flush()
        assert file.error_count == 0
        assert this.metadata.content() == data


# ---------------------------------------------------------------------------------------------- failures


async def test_a_store_that_is_away_for_a_while_only_delays(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(5000))
        this.store.go_down()
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(file.flush)
                await trio.sleep(20)
                assert file.dirty
                this.store.come_up()
        assert [one["event"] for one in logs] == [
            "the object store fails; trying again",
            "the object store answers again",
        ]
        await check(this, pattern(5000))


async def test_a_store_that_is_away_too_long_fails_the_flush_and_heals(autojump_clock):
    async with lab(store_timeout_s=60) as this:
        file = this.open()
        await file.write(0, pattern(5000))
        this.store.go_down()
        began = trio.current_time()
        with capture_logs() as logs:
            with pytest.raises(IOFailure):
                await file.flush()
            assert 60 <= trio.current_time() - began < 70
            assert file.dirty
            assert await file.read(0, 5000) == pattern(5000)
            this.data.close_file(file)
            await trio.sleep(1000)
            assert len([one for one in logs if one["log_level"] == "error"]) == 1
            this.store.come_up()
            await trio.sleep(60)
        assert this.data.file(2) is None
        await check(this, pattern(5000))


@pytest.mark.parametrize("error", [StoreFull, StoreRefused])
async def test_a_full_or_refusing_store_is_tried_again(autojump_clock, error):
    async with lab() as this:
        file = this.open()
        this.store.plan(Fault("put", times=5, error=error))
        await file.write(0, b"data")
        await file.flush()
        await check(this, b"data")


async def test_what_a_store_answers_is_not_the_answer_to_what_was_written(autojump_clock, monkeypatch):
    """A folder store finds a file where a folder should be, until somebody removes it."""
    async with lab() as this:
        file = this.open()
        await file.write(0, b"hello")
        with monkeypatch.context() as patched:
            patched.setattr(type(this.objects), "put", _refusing)
            with pytest.raises(IOFailure):
                await file.flush()
        assert file.dirty
        await file.flush()
        await check(this, b"hello")


def _refusing(*_):
    raise InvalidArgument("no object can lie below another in a folder")


async def test_a_bug_met_in_the_background_loses_nothing(autojump_clock, monkeypatch):
    async with lab() as this:
        files = [this.open(inode_id) for inode_id in (2, 3)]
        for file in files:
            await file.write(0, b"hello")
        with monkeypatch.context() as patched, capture_logs() as lines:
            patched.setattr(background, "log", background.structlog.get_logger())
            this.metadata.fail("append_slices", RuntimeError("refreshed credentials are still expired"), times=3)
            await trio.sleep(20)
        assert {line["event"] for line in lines if line["log_level"] == "error"} == {
            "a bug: background work failed unexpectedly"
        }
        for file in files:
            assert not file.dirty
            await check(this, b"hello", file.inode_id)


@pytest.mark.parametrize("write_back", [False, True])
async def test_however_short_memory_is_what_is_old_gets_published_and_forgotten(
    tmp_path, autojump_clock, monkeypatch, write_back
):
    async with lab(cache_dir=tmp_path, write_back=write_back) as this, trio.open_nursery() as nursery:

        async def writes_all_the_time():
            while True:
                this.data._budget.pressure.set()
                await trio.sleep(0.005)

        monkeypatch.setattr(this.data, "_flush_largest", lambda: None)  # there is always a larger one
        nursery.start_soon(writes_all_the_time)
        file = this.open()
        await file.write(0, b"hello")
        this.metadata.fail("append_slices", IOFailure("no leader"))
        if write_back:
            await file.flush()
        this.data.close_file(file)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
        assert this.metadata.content() == b"hello"
        assert this.data.file(2) is None


async def test_writers_wait_for_memory_during_an_outage_and_then_fail(autojump_clock):
    async with lab(MIDDLE, memory_budget=4 * MIB, store_timeout_s=30) as this:
        file = this.open()
        this.store.go_down()
        with pytest.raises(IOFailure, match="no memory"):
            for n in range(100):
                await file.write(n * MIB, bytes(MIB))
        assert sum(this.data.memory[:2]) <= 4 * MIB
        assert trio.current_time() >= 30
        this.store.come_up()
        await trio.sleep(60)
        await file.write(0, b"again")
        await file.flush()
        assert this.metadata.content().startswith(b"again")


async def test_a_put_whose_answer_is_lost_is_repeated_under_the_same_name(autojump_clock):
    async with lab() as this:
        file = this.open()
        this.store.plan(Fault("put", times=3, lost_reply=True))
        await file.write(0, b"data")
        await file.flush()
        assert len(this.object_names()) == 1
        await check(this, b"data")


@pytest.mark.parametrize("error", [NotFound, QuotaExceeded])
async def test_a_final_answer_drops_the_data_and_is_told_once_per_handle(autojump_clock, error):
    async with lab() as this:
        file = this.open()
        seen_by_one = seen_by_other = file.error_count
        await file.write(10, b"lost")
        this.metadata.fail("append_slices", error("no"))
        with capture_logs() as logs:
            await file.flush()
        assert not file.dirty
        assert this.data.memory[0] == 0
        assert [(one["event"], one["inode"], one["ranges"]) for one in logs] == [
            ("written data is lost", 2, [(10, 14)])
        ]
        told, seen_by_one = file.error_since(seen_by_one)
        assert isinstance(told, error)
        assert file.error_since(seen_by_one)[0] is None
        assert isinstance(file.error_since(seen_by_other)[0], error)
        assert file.error_since(file.error_count)[0] is None


@pytest.mark.parametrize("error", [Unavailable, IOFailure, NoSpace])
@pytest.mark.parametrize("applied", [False, True])
async def test_what_may_pass_keeps_the_data(autojump_clock, error, applied):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"kept")
        this.metadata.fail("append_slices", error(), applied=applied)
        with pytest.raises(error):
            await file.flush()
        assert file.dirty
        assert await file.read(0, 10) == b"kept"
        await file.flush()
        assert len(this.metadata.publications) == 1
        await check(this, b"kept")


async def test_an_unknown_outcome_followed_by_more_writes_ends_well(autojump_clock):
    """The batch that is tried again has more in it than the one that was applied."""
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 10)
        this.metadata.fail("append_slices", Unavailable(), applied=True)
        with pytest.raises(Unavailable):
            await file.flush()
        await file.write(5, b"b" * 10)
        await file.flush()
        await check(this, b"a" * 5 + b"b" * 10)


async def _another_mount(this, act):
    """Let another mount of the same filesystem do something to the file."""
    async with lab(objects=this.objects, metadata=this.metadata) as other:
        file = other.open()
        await act(file)
        await file.flush()


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("how", ["overwritten", "cut"])
async def test_what_another_mount_did_to_bytes_of_unknown_outcome_stays(autojump_clock, how, more):
    """They were published: trying them again, beside later writes or not, must not bring them back."""
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 10)
        await file.write(50, b"b" * 10)
        this.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        with pytest.raises(IOFailure):
            await file.flush()
        if how == "cut":
            await _another_mount(this, lambda other: other.truncate(0))
        else:
            await _another_mount(this, lambda other: other.write(0, b"c" * 100))
        if more:
            await file.write(200, b"d" * 10)
        await file.flush()
        kept = b"c" * 100 if how == "overwritten" else b""
        assert this.metadata.content() == (kept.ljust(200, b"\0") + b"d" * 10 if more else kept)


async def test_after_a_session_the_data_is_published_under_new_ids(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(3000))
        await trio.sleep(0.5)
        before = set(this.object_names())
        this.metadata.fail("append_slices", SessionEnded())
        await file.flush()
        await check(this, pattern(3000))
        assert before.isdisjoint(this.metadata.object_names()[-3:])


@pytest.mark.parametrize("answer", [SessionEnded, IdRefused])
async def test_what_was_published_under_ids_that_are_void_is_not_published_again(autojump_clock, answer):
    """It would come over what another mount has written since."""
    async with lab() as this:
        file = this.open()
        await file.write(0, b"old" * 10)
        this.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        with pytest.raises(IOFailure):
            await file.flush()
        await _another_mount(this, lambda other: other.write(0, b"new" * 10))
        this.metadata.fail("append_slices", answer())
        await file.flush()
        assert this.metadata.content() == b"new" * 10
        assert not file.dirty


async def test_what_is_void_of_a_file_that_is_gone_is_given_up(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"x")
        this.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        with pytest.raises(IOFailure):
            await file.flush()
        this.metadata.remove()
        this.metadata.fail("append_slices", IdRefused())
        await file.flush()
        assert not file.dirty
        assert isinstance(file.error_since(0)[0], NotFound)


async def test_ids_of_a_session_that_ended_unnoticed_are_replaced(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(3000))
        await trio.sleep(0.5)
        this.metadata.end_session()
        await file.flush()
        await check(this, pattern(3000))


async def test_a_failing_metaserver_is_not_asked_without_pause(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"data")
        this.metadata.fail("append_slices", Unavailable(), times=1000)
        with capture_logs() as logs:
            await trio.sleep(600)
        assert this.metadata.count("append_slices") < 40
        assert len(logs) == 1
        this.metadata.failures.clear()
        await file.flush()
        await check(this, b"data")


@pytest.mark.parametrize("act", ["flush", "truncate"])
async def test_many_that_wait_for_a_metaserver_learn_in_time_that_it_does_not_answer(autojump_clock, act):
    async with lab(store_timeout_s=60) as this:
        this.metadata.delay_s = 50.0  # until nobody answered in time
        for method in ("take_chunk_id", "append_slices", "set_length", "read_slices"):
            this.metadata.fail(method, IOFailure("no answer"), times=1000)
        file = this.open()
        await file.write(0, b"kept")
        with trio.fail_after(60 + 50 + 1):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(_fails, file.flush if act == "flush" else partial(file.truncate, 0))
        this.metadata.failures.clear()
        await file.flush()
        await check(this, b"" if act == "truncate" else b"kept")


async def _fails(call):
    with pytest.raises(IOFailure, match="no answer"):
        await call()


async def test_without_any_time_whoever_waits_for_nobody_tries(autojump_clock):
    async with lab(store_timeout_s=0) as this:
        file = this.open()
        await file.write(0, b"kept")
        this.metadata.fail("append_slices", IOFailure("no answer"))
        with pytest.raises(IOFailure):
            await file.flush()
        await file.flush()
        await check(this, b"kept")


async def test_who_waits_for_others_that_are_slow_does_not_fail(autojump_clock):
    async with lab(store_delay_s=20, uploads_max=1, store_timeout_s=60) as this:
        file = this.open()
        await file.write(0, pattern(4000))
        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(file.flush)
                await trio.sleep(1)
                await file.write(TINY.chunk_size * (n + 1), b"x")
        assert trio.current_time() > 120
        assert this.metadata.content()[:4000] == pattern(4000)


async def test_already_done_counts_as_published(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"data")
        this.metadata.fail("append_slices", AlreadyDone(), applied=True)
        await file.flush()
        assert not file.dirty
        await check(this, b"data")


async def test_discarding_in_the_middle_of_a_publication_gives_memory_back_once(autojump_clock):
    async with lab(metadata_delay_s=1.0) as this:
        file = this.open()
        await file.write(0, pattern(5000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.flush)
            await trio.sleep(1.5)
            this.metadata.remove()
            file.discard()
            assert this.data.memory[0] == 0
            with capture_logs() as logs:
                await trio.sleep(5)
        assert logs == []
        assert file.error_count == 0
        assert this.data.memory[0] == 0


async def test_a_slow_file_does_not_hold_up_another(autojump_clock):
    async with lab(uploads_max=4) as this:
        slow, quick = this.open(2), this.open(3)
        await slow.write(0, b"slow")
        this.store.plan(Fault("put", times=None, matches=lambda name: "/1001_" in name))  # the first id that is taken
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.flush)
            await trio.sleep(0.1)
            await quick.write(0, b"quick")
            with trio.fail_after(1):
                await quick.flush()
            assert (slow.dirty, quick.dirty) == (True, False)
            this.store.forget_faults()
        assert not slow.dirty


# --------------------------------------------------------------------------------------------- the table


async def test_all_handles_share_a_file_that_lives_as_long_as_it_is_open_or_dirty(autojump_clock):
    async with lab() as this:
        one, other = this.open(), this.open()
        assert one is other
        this.data.close_file(one)
        assert this.data.file(2) is one
        await one.write(0, b"dirty")
        this.data.close_file(other)
        assert this.data.file(2) is one
        await trio.sleep(10)
        assert this.data.file(2) is None
        assert this.metadata.content() == b"dirty"


async def test_flush_all_leaves_nothing_dirty(autojump_clock):
    async with lab() as this:
        files = [this.open(n) for n in range(2, 50)]
        for file in files:
            await file.write(0, b"%d" % file.inode_id)
        await this.data.flush_all()
        assert not any(file.dirty for file in files)
        assert [this.metadata.content(n) for n in range(2, 50)] == [b"%d" % n for n in range(2, 50)]


async def test_metrics_tell_of_memory_and_traffic(autojump_clock):
    async with lab(MIDDLE) as this:
        file = this.open()
        await file.write(0, bytes(100 * KIB))
        value = this.registry.get_sample_value
        assert (value("curvefs_client_memory_bytes", {"use": "dirty"}) or 0) >= 100 * KIB
        await file.flush()
        await file.read(0, 10)
        assert value("curvefs_client_memory_bytes", {"use": "dirty"}) == 0
        assert value("curvefs_client_object_bytes_total", {"way": "put"}) == 100 * KIB
        assert value("curvefs_client_objects_total", {"way": "get"}) == 1
        assert value("curvefs_client_read_cache_total", {"outcome": "miss"}) == 1
