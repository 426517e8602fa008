"""Write-back: what is flushed is durable on the cache disk, read there, published in order, found after a crash."""

import pytest
import trio

from curvefs.src.client.cache import staging
from curvefs.src.common.errors import (
    AlreadyDone,
    InvalidArgument,
    IOFailure,
    NotFound,
    QuotaExceeded,
)

from .lab import TINY, lab, pattern
from .write_back_lab import DATA, mount, published, records, write

pytestmark = pytest.mark.trio


async def test_flushed_data_is_staged_read_and_then_published(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, DATA))
        assert not file.dirty
        assert file.length == len(DATA)
        assert made.metadata.publications == []
        assert made.object_names() == []
        assert await file.read(0, 9999) == DATA
        assert await file.read(1500, 2000) == DATA[1500:3500]
        assert made.data.memory[0] == 0
        await file.write(1000, b"newer")
        assert await file.read(998, 9) == DATA[998:1000] + b"newer" + DATA[1005:1007]
        made.store.come_up()
        await file.flush()
        await published(made)
        assert made.metadata.content() == DATA[:1000] + b"newer" + DATA[1005:]
        assert await file.read(0, 9999) == made.metadata.content()
        assert records(made) == []
        assert made.staging.bytes == 0
        assert not made.data.holds_staged


async def test_a_published_block_moves_into_the_read_cache(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        file = await write(made, (0, DATA))
        await published(made)
        assert all(made.disk.has(name) for name in made.object_names())
        made.store.go_down()
        assert await file.read(0, 9999) == DATA


@pytest.mark.parametrize("outage", [True, False])
async def test_what_was_staged_is_published_after_a_crash_in_order_and_once(tmp_path, outage, autojump_clock):
    async with mount(tmp_path) as before:
        if outage:
            before.store.go_down()
        else:
            before.metadata.fail("append_slices", IOFailure("no answer"), times=1000, applied=True)
            before.metadata.fail("read_slices", IOFailure("no answer"), times=1000)
        file = await write(before, (0, b"a" * 3000), (500, b"b" * 100))
        await file.flush()
        await file.write(550, b"c" * 100)
        await file.flush()
        await trio.sleep(3)
        assert records(before)
        before.metadata.failures.clear()
    async with mount(tmp_path, before) as after:
        file = after.data.file(2)
        expected = b"a" * 500 + b"b" * 50 + b"c" * 100 + b"a" * 2350
        assert file.length == 3000
        assert await file.read(0, 9999) == expected
        await published(after)
        assert after.metadata.content() == expected
        ids = [one.chunk_id for publication in after.metadata.publications for one in publication.slices]
        assert len(ids) == len(set(ids))
        assert not after.data.holds_staged
        assert after.data.file(2) is None


async def test_appends_are_published_once_and_in_order_after_a_crash(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.metadata.fail("append_slices", IOFailure("no answer"), times=1000, applied=True)
        before.metadata.fail("read_slices", IOFailure("no answer"), times=1000)
        file = before.open()
        for letter in b"abc":
            await file.append(bytes([letter]) * 700)
            await file.flush()
        assert file.length == 2100
        await trio.sleep(3)
        assert records(before)
        before.metadata.failures.clear()
    async with mount(tmp_path, before) as after:
        await published(after)
        assert after.metadata.content() == b"a" * 700 + b"b" * 700 + b"c" * 700


async def test_staged_appends_behind_one_that_lies_elsewhere_are_read_behind_it(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = made.open()
        for letter in b"ab":
            await file.append(bytes([letter]) * 700)
            await file.flush()
        await file.append(b"c" * 700)  # in memory
        made.metadata.inodes[2].length = 100  # another mount was faster
        made.metadata.inodes[2].change += 1
        made.store.come_up()
        while not made.metadata.publications:
            await trio.sleep(0.001)
        made.metadata.fail("append_slices", IOFailure("no answer"), times=1000)
        await trio.sleep(1)
        expected = bytes(100) + b"a" * 700 + b"b" * 700 + b"c" * 700
        assert len(made.metadata.publications) == 1
        assert file.length == len(expected)
        assert await file.read(0, 9999) == expected
        made.metadata.failures.clear()
        await file.publish()
        assert made.metadata.content() == expected


async def test_a_torn_record_is_reported_and_not_published(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, b"a" * 100))
        file = await write(before, (3000, b"b" * 100))
        assert file.length == 3100
        _, second = records(before)
        second.write_bytes(second.read_bytes()[:-1])
    async with mount(tmp_path, before) as after:
        await published(after)
        assert after.metadata.content() == b"a" * 100
        assert second.with_suffix(".damaged").exists()
        assert after.data.holds_staged  # for a person to look at


async def test_a_damaged_staged_block_is_reported_and_not_published(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, b"a" * 100))
        (block,) = [path for path in made.staging.path.iterdir() if path.name.endswith("_0")]
        data = bytearray(block.read_bytes())
        data[40] ^= 1
        block.write_bytes(data)
        made.store.come_up()
        await published(made)
        assert made.metadata.publications == []
        error, _ = file.error_since(0)
        assert isinstance(error, IOFailure)


async def test_blocks_of_a_flush_that_never_ended_are_removed(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, b"a" * 100))
        records(before)[0].unlink()
        assert len(list(before.staging.path.iterdir())) == 3
    async with mount(tmp_path, before) as after:
        assert sorted(path.name for path in after.staging.path.iterdir()) == ["identity", "place"]
        assert after.staging.found_identity
        assert after.staging.identity == before.staging.identity


async def test_what_goes_to_the_store_directly_waits_for_what_is_staged(tmp_path, monkeypatch, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, b"a" * 1000))
        monkeypatch.setattr(made.staging, "commit", lambda _: (_ for _ in ()).throw(staging.StagingFailed("full")))
        await file.write(500, b"b" * 1000)
        with pytest.raises(IOFailure):
            await file.flush()
        made.store.come_up()
        await file.flush()
        assert made.metadata.content() == b"a" * 500 + b"b" * 1000
        assert [one.slices[0].offset for one in made.metadata.publications] == [0, 500]


async def test_truncate_comes_after_what_is_staged(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        file = await write(made, (0, DATA))
        await file.truncate(100)
        assert made.metadata.content() == DATA[:100]
        await file.truncate(200)
        assert await file.read(0, 999) == DATA[:100] + bytes(100)
        assert not file.unpublished


@pytest.mark.parametrize("how", ["published", "published before", "damaged", "lost", "discarded", "truncated"])
async def test_what_was_reserved_of_a_quota_goes_back_when_it_is_not_needed(tmp_path, how, autojump_clock):
    async with mount(tmp_path) as made:
        made.metadata.room = 100_000
        if how == "published before":  # the answer was lost
            made.metadata.fail("append_slices", AlreadyDone())
        elif how == "lost":
            made.metadata.fail("append_slices", InvalidArgument())
        elif how != "published":
            made.store.go_down()
        file = await write(made, (0, b"x" * 1000))
        match how:
            case "damaged":
                (block,) = [path for path in made.staging.path.iterdir() if path.name.endswith("_0")]
                block.write_bytes(block.read_bytes()[:-1] + b"!")
                made.store.come_up()
            case "discarded":
                file.discard()
            case "truncated":
                made.store.come_up()
                await file.truncate(0)
        await published(made)
        assert file._growth._held.bytes == 0
        taken = {"published": 1000, "published before": 1000, "truncated": 1000}.get(how, 0)
        assert made.metadata.room == 100_000 - taken


async def test_a_full_quota_keeps_what_is_staged_until_there_is_room(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.metadata.fail("append_slices", QuotaExceeded(), times=4)
        await write(made, (0, DATA))
        await published(made)
        assert made.metadata.content() == DATA


async def test_what_goes_to_the_store_directly_is_not_lost_to_a_quota_that_older_staged_bytes_meet(
    tmp_path, monkeypatch, autojump_clock
):
    async with mount(tmp_path) as made:
        made.metadata.create(2)
        made.metadata.fail("append_slices", QuotaExceeded(), times=50)
        file = await write(made, (0, b"a" * 100))
        await trio.sleep(1)
        monkeypatch.setattr(made.staging, "commit", lambda _: (_ for _ in ()).throw(staging.StagingFailed("full")))
        await file.write(0, b"b" * 50)
        with pytest.raises(QuotaExceeded):
            await file.flush()
        assert file.error_since(0) == (None, 0)
        made.metadata.failures.clear()
        await file.flush()
        assert made.metadata.content() == b"b" * 50 + b"a" * 50


async def test_old_data_is_staged_while_the_store_is_away(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, b"x" * 100))
    async with lab(cache_dir=tmp_path, objects=before.objects, metadata=before.metadata, write_back=True) as after:
        after.store.go_down()
        await after.data.adopt_staged()
        await trio.sleep(5)  # what is staged is being published, for five minutes
        file = after.open()
        await file.write(5000, b"y" * 10)
        await trio.sleep(60)
        assert not file.dirty


async def test_publishing_that_waits_for_the_store_leaves_other_files_their_turn(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        for inode_id in range(2, 22):
            await write(before, (0, b"x" * 100), inode_id=inode_id)
    async with lab(cache_dir=tmp_path, objects=before.objects, metadata=before.metadata, write_back=True) as after:
        after.store.go_down()
        await after.data.adopt_staged()
        await trio.sleep(5)
        files = [after.open(inode_id) for inode_id in range(30, 50)]
        for file in files:
            await file.write(0, b"y" * 600)
        await trio.sleep(60)
        assert not any(file.dirty for file in files)


async def test_many_that_wait_for_what_is_staged_learn_in_time_that_nobody_answers(tmp_path, autojump_clock):
    async with mount(tmp_path, store_timeout_s=60.0) as made:
        file = await write(made, (0, DATA))
        made.metadata.delay_s = 50.0
        made.metadata.fail("append_slices", IOFailure("no answer"), times=1000)
        with trio.fail_after(60 + 2 * 50 + 1):  # the background tries as well
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(_fails_to_publish, file)


async def _fails_to_publish(file):
    with pytest.raises(IOFailure, match="no answer"):
        await file.publish()


async def test_what_is_staged_of_a_file_that_is_gone_is_forgotten(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, DATA))
        before.metadata.remove()
    async with mount(tmp_path, before) as after:
        assert not after.data.holds_staged


async def test_an_unlinked_file_that_is_closed_leaves_nothing_staged(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, DATA))
        file.discard()
        made.data.close_file(file)
        await trio.sleep(5)
        assert records(made) == []
        assert made.staging.bytes == 0


@pytest.mark.parametrize("wait_s", [0.001, 1.0])  # its blocks are on their way to the staging disk, or there
@pytest.mark.parametrize("how", ["truncated", "discarded"])
async def test_blocks_of_a_run_that_goes_do_not_stay_staged(tmp_path, how, wait_s, autojump_clock):
    async with mount(tmp_path) as made:
        file = made.open()
        await file.write(0, pattern(4000))
        await trio.sleep(wait_s)
        if how == "truncated":
            await file.truncate(0)
        else:
            file.discard()
        await trio.sleep(1)
        assert made.staging.bytes == 0
        assert sorted(path.name for path in made.staging.path.iterdir()) == ["identity", "place"]


async def test_blocks_of_a_run_that_is_lost_do_not_stay_staged(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        file = made.open()
        await file.write(0, pattern(2048))
        await trio.sleep(1)
        assert made.staging.blocks == 2
        made.metadata.fail("take_chunk_id", NotFound())
        await file.write(3000, b"b" * 10)
        await file.flush()
        assert isinstance(file.error_since(0)[0], NotFound)
        assert made.staging.bytes == 0


async def test_a_mount_without_write_back_publishes_what_one_with_it_has_left(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, DATA))
    async with mount(tmp_path, before, write_back=False) as after:
        await published(after)
        assert after.metadata.content() == DATA
        file = await write(after, (0, b"direct"))
        assert not file.unpublished
        assert after.metadata.content() == b"direct" + DATA[6:]


async def test_random_writes_read_right_whatever_is_staged(tmp_path, autojump_clock):
    import random

    chance = random.Random(4)
    async with mount(tmp_path) as made:
        model = bytearray()
        file = made.open()
        for step in range(300):
            match chance.randrange(6):
                case 0:
                    await file.flush()
                case 1 if step % 7 == 0:
                    length = chance.randrange(3 * TINY.chunk_size)
                    await file.truncate(length)
                    model[:] = model[:length] + bytes(max(0, length - len(model)))
                case 2:
                    offset = chance.randrange(len(model) + 1)
                    assert await file.read(offset, 3000) == model[offset : offset + 3000]
                case _:
                    offset, size = chance.randrange(2 * TINY.chunk_size), chance.randrange(1, 3000)
                    data = pattern(size, step + 2)
                    await file.write(offset, data)
                    model[len(model) :] = bytes(max(0, offset + size - len(model)))
                    model[offset : offset + size] = data
        await file.publish()
        assert made.metadata.content() == model
