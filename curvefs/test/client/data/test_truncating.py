"""Truncating a file of which something is not published yet."""

from functools import partial

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.src.common.errors import IOFailure, NoSpace, QuotaExceeded, SessionEnded, Unavailable

from .lab import check, lab, pattern

pytestmark = pytest.mark.trio


async def test_what_was_not_uploaded_is_cut_off_without_a_trace(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"x" * 1000)
        assert (await file.truncate(0)).length == 0
        assert (file.length, file.dirty, this.data.memory[0]) == (0, False, 0)
        assert this.object_names() == []
        assert this.metadata.publications == []


async def test_truncate_keeps_what_lies_before(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(9000))
        await trio.sleep(0.5)
        await file.truncate(5000)
        assert file.length == 5000
        await check(this, pattern(9000)[:5000])
        await file.truncate(6000)
        await check(this, pattern(9000)[:5000] + bytes(1000))


async def test_an_append_under_way_does_not_come_back_before_the_new_end(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a")
        await file.write(3, b"b")
        await file.append(pattern(1024))  # a full block: its upload begins at once
        await file.truncate(3)
        assert this.metadata.content() == b"a\0\0"


async def test_writes_after_a_truncate_are_not_cut(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(3000))
        await file.truncate(0)
        await file.write(1000, b"new")
        await file.flush()
        await check(this, bytes(1000) + b"new")


@pytest.mark.parametrize("fails", ["the store", "the metadata"])
async def test_a_truncate_that_fails_changes_nothing(autojump_clock, fails):
    async with lab(store_timeout_s=1.0) as this:
        file = this.open()
        await file.write(0, b"a" * 100)
        await file.write(9000, b"b" * 100)
        await file.append(b"c" * 10)
        if fails == "the store":
            this.store.go_down()
        else:
            this.metadata.fail("set_length", NoSpace())
        with pytest.raises((IOFailure, NoSpace)):
            await file.truncate(200)
        expected = b"a" * 100 + bytes(8900) + b"b" * 100 + b"c" * 10
        assert await file.read(0, 10_000) == expected
        this.store.come_up()
        await file.flush()
        await check(this, expected)
        await file.truncate(200)
        await check(this, b"a" * 100 + bytes(100))
        assert (file.dirty, this.data.memory[0]) == (False, 0)


async def test_a_truncate_that_fails_leaves_the_order_of_what_was_written(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(200, b"a" * 50)
        await file.write(500, b"b" * 50)
        await file.write(100, b"c" * 200)  # over the first, and begins before the cut
        this.metadata.fail("set_length", NoSpace())
        with pytest.raises(NoSpace):
            await file.truncate(150)
        await file.flush()
        await check(this, bytes(100) + b"c" * 200 + bytes(200) + b"b" * 50)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("error", [IOFailure("no answer"), Unavailable()])
@pytest.mark.parametrize("first", ["read", "flush", "pages", "truncate"])
async def test_a_truncate_of_unknown_outcome_is_done_before_anything_else_of_the_file(
    autojump_clock, applied, error, first
):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 300)
        await file.flush()
        await file.read(0, 300)
        await file.write(500, b"b" * 50)
        this.metadata.fail("set_length", error, applied=applied)
        with pytest.raises(type(error)):
            await file.truncate(0)
        await file.write(100, b"new")
        if first == "pages":
            assert file.region_in_memory(0) is None
        elif first == "truncate":
            await file.truncate(103)
        elif first == "read":
            assert await file.read(0, 1000) == bytes(100) + b"new"
        await file.flush()
        assert file.length == 103
        await check(this, bytes(100) + b"new")
        assert (file.dirty, this.data.memory[0]) == (False, 0)


async def test_a_truncate_of_unknown_outcome_fails_who_comes_next_until_somebody_answers(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 50)
        for _ in range(4):
            this.metadata.fail("set_length", IOFailure("no answer"))
        for call in (partial(file.truncate, 0), partial(file.read, 0, 10), file.flush, partial(file.truncate, 10)):
            with pytest.raises(IOFailure):
                await call()
        assert await file.read(0, 10) == b""
        assert (file.dirty, this.data.memory[0]) == (False, 0)


async def test_a_truncate_that_is_finished_later_has_the_kernel_drop_its_pages(autojump_clock):
    """It was told of a failure, and has kept them."""
    async with lab() as this:
        dropped = []

        async def drop(inode_id: int) -> None:
            dropped.append(inode_id)

        this.data.drop_inode = drop
        file = this.open()
        await file.write(0, b"a" * 50)
        this.metadata.fail("set_length", IOFailure("no answer"))
        with pytest.raises(IOFailure):
            await file.truncate(0)
        await file.append(b"record", 50)
        assert dropped == []
        await file.flush()
        await trio.sleep(0.1)
        assert dropped
        await check(this, b"record")


@pytest.mark.parametrize("applied", [True, False])
async def test_what_another_mount_wrote_after_a_truncate_of_unknown_outcome_is_not_cut(autojump_clock, applied):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 300)
        await file.flush()
        await file.write(500, b"b" * 50)
        this.metadata.fail("set_length", IOFailure("no answer"), applied=applied)
        with pytest.raises(IOFailure):
            await file.truncate(0)
        async with lab(objects=this.objects, metadata=this.metadata) as other:
            theirs = other.open()
            await theirs.write(0, b"precious")
            await theirs.flush()
        seen = file.error_count
        await file.flush()
        assert file.error_since(seen)[0] is not None, "somebody is told"
        await check(this, b"precious" + b"a" * (0 if applied else 292))
        assert (file.dirty, this.data.memory[0]) == (False, 0)


async def test_an_outage_that_keeps_a_truncate_from_being_finished_is_logged_once(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 50)
        this.metadata.fail("set_length", IOFailure("no answer"), times=6)
        with capture_logs() as logs:
            for call in (partial(file.truncate, 0), *[file.flush] * 5):
                with pytest.raises(IOFailure):
                    await call()
            await file.flush()
        assert [one["event"].split(";")[0] for one in logs] == [
            "written data cannot be published for now",
            "written data is published after all",
        ]


async def test_a_truncate_of_unknown_outcome_that_is_refused_after_all_leaves_what_was_written(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"a" * 50)
        this.metadata.fail("set_length", IOFailure("no answer"))
        this.metadata.fail("set_length", QuotaExceeded())
        with pytest.raises(IOFailure):
            await file.truncate(0)
        await file.flush()
        await check(this, b"a" * 50)


async def test_a_truncate_outlives_the_end_of_the_session(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, pattern(100))
        await file.flush()
        this.metadata.fail("set_length", SessionEnded(), applied=True)
        assert (await file.truncate(10)).length == 10
