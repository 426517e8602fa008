"""A file under a quota: growth is reserved before it is taken, brought along when published, and given up else."""

import pytest

from curvefs.src.common.errors import IOFailure, QuotaExceeded, SessionEnded

from .lab import KIB, MIB, MIDDLE, TINY, lab

pytestmark = pytest.mark.trio


async def test_a_write_past_the_quota_is_refused_and_leaves_nothing(autojump_clock):
    async with lab() as this:
        this.metadata.room = 10
        file = this.open()
        with pytest.raises(QuotaExceeded):
            await file.write(0, b"x" * 11)
        with pytest.raises(QuotaExceeded):
            await file.append(b"x" * 11)
        assert not file.dirty
        assert this.data.memory[0] == 0
        await file.write(0, b"x" * 10)
        await file.flush()


@pytest.mark.parametrize("at_end", [False, True])
async def test_a_write_over_a_chunk_border_past_the_quota_is_refused_and_leaves_nothing(autojump_clock, at_end):
    async with lab() as this:
        this.metadata.room = TINY.chunk_size
        file = this.open()
        with pytest.raises(QuotaExceeded):
            if at_end:
                await file.append(b"x" * (TINY.chunk_size + 500))
            else:
                await file.write(TINY.chunk_size - 500, b"x" * 1000)
        assert (file.length, file.dirty) == (0, False)
        assert this.metadata.room == TINY.chunk_size
        await file.write(0, b"x" * TINY.chunk_size)
        await file.flush()


async def test_an_overwrite_needs_no_room(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"x" * 100)
        await file.flush()
        this.metadata.room = 0
        await file.write(0, b"y" * 100)
        await file.flush()
        assert this.metadata.room_used == 0


async def test_a_publication_brings_along_what_the_file_grows_by(autojump_clock):
    async with lab() as this:
        this.metadata.room = 10 * KIB
        file = this.open()
        await file.write(0, b"x" * 3000)
        await file.write(2000, b"y" * 3000)
        await file.append(b"z" * 500)
        await file.flush()
        assert this.metadata.room_used == 5500
        assert this.metadata.room == 10 * KIB - 5500


async def test_what_is_cut_before_it_is_published_goes_back(autojump_clock):
    async with lab() as this:
        this.metadata.room = 1000
        file = this.open()
        await file.write(0, b"x" * 900)
        await file.truncate(0)
        assert (this.metadata.room, this.metadata.room_used) == (1000, 0)
        await file.write(0, b"x" * 900)
        file.discard()
        assert (this.metadata.room, this.metadata.room_used) == (1000, 0)


async def test_what_is_lost_goes_back(autojump_clock):
    async with lab() as this:
        this.metadata.room = 1000
        file = this.open()
        await file.write(0, b"x" * 900)
        this.metadata.fail("append_slices", QuotaExceeded("no"))
        await file.flush()
        assert this.metadata.room + this.metadata.room_used >= 1000


async def test_what_a_write_reserved_that_found_no_memory_goes_back(autojump_clock):
    async with lab(MIDDLE, memory_budget=4 * MIB, store_timeout_s=2.0) as this:
        this.metadata.room = 100 * MIB
        this.store.go_down()
        full, other = this.open(2), this.open(3)
        with pytest.raises(IOFailure):
            for number in range(20):
                await full.write(number * MIB, bytes(MIB))
        before = this.metadata.room
        with pytest.raises(IOFailure):
            await other.write(0, bytes(MIB))
        assert this.metadata.room == before
        this.store.come_up()
        await full.flush()
        assert this.metadata.room + this.metadata.room_used == 100 * MIB


async def test_what_was_reserved_in_a_session_that_ended_is_reserved_again(autojump_clock):
    async with lab() as this:
        this.metadata.room = 1000
        file = this.open()
        await file.write(0, b"x" * 100)
        this.metadata.fail("append_slices", SessionEnded())
        this.metadata.epoch += 1
        await file.write(100, b"x" * 100)
        await file.flush()
        assert this.metadata.room == 1000 - 100 - 200
        assert file.length == 200
