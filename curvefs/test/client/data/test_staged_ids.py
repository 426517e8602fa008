"""Write-back: the chunk ids of what is staged: void, published before, or not used."""

from dataclasses import replace

import pytest
import trio

from curvefs.src.client.cache import staging
from curvefs.src.common.errors import (
    IdRefused,
    InvalidArgument,
    IOFailure,
    SessionEnded,
)
from curvefs.src.slices.block_formats import format_number

from .lab import TINY, pattern
from .write_back_lab import DATA, mount, published, write

pytestmark = pytest.mark.trio


async def test_a_staged_append_that_may_have_been_done_is_put_aside_when_its_identity_is_over(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        file = made.open()
        await file.append(b"a" * 100)
        made.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        await file.flush()
        await trio.sleep(0.5)
        made.metadata.slices[2][0].chunk_id += 10**6  # compacted
        made.metadata._leased.clear()
        made.metadata._published.clear()
        await trio.sleep(30)
        assert len(made.metadata.publications) == 1
        assert isinstance(file.error_since(0)[0], IOFailure)
        assert len(list(made.staging.path.glob("*.damaged"))) == 1
        assert not file.unpublished


async def test_a_staged_append_is_in_doubt_though_the_try_after_it_was_refused(tmp_path, monkeypatch, autojump_clock):
    async with mount(tmp_path) as made:
        real = type(made.metadata).read_slices

        async def compacted(self, *request):
            inode, slices = await real(self, *request)
            for one in slices:
                one.chunk_id += 10**6
            return inode, slices

        monkeypatch.setattr(type(made.metadata), "read_slices", compacted)
        file = made.open()
        await file.append(b"a" * 100)
        made.metadata.fail("append_slices", SessionEnded("over"), applied=True)
        made.metadata.fail("append_slices", IdRefused("the identity is over"), times=9)
        await file.flush()
        await trio.sleep(30)
        assert made.metadata.inode().length == 100
        assert isinstance(file.error_since(0)[0], IOFailure)


async def test_an_append_that_was_tried_before_it_was_staged_is_in_doubt(tmp_path, monkeypatch, autojump_clock):
    monkeypatch.setattr("curvefs.src.client.data.write_back.PAUSE_S", 0.1)
    async with mount(tmp_path) as made:
        file = made.open()
        await file.append(b"a" * 100)
        with monkeypatch.context() as full:
            full.setattr(made.staging, "commit", lambda _: (_ for _ in ()).throw(staging.StagingFailed("full")))
            made.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
            with pytest.raises(IOFailure):
                await file.flush()
        made.metadata.slices[2][0].chunk_id += 10**6  # compacted
        made.metadata._leased.clear()  # and the identity is over
        made.metadata._published.clear()
        await trio.sleep(0.2)
        await file.flush()
        assert made.data.holds_staged
        await trio.sleep(30)
        assert made.metadata.inode().length == 100
        assert isinstance(file.error_since(0)[0], IOFailure)


async def test_what_goes_to_the_store_directly_keeps_its_ids_when_the_session_ends(
    tmp_path, monkeypatch, autojump_clock
):
    async with mount(tmp_path) as made:
        monkeypatch.setattr(made.staging, "commit", lambda _: (_ for _ in ()).throw(staging.StagingFailed("full")))
        file = made.open()
        await file.append(b"a" * 100)
        made.metadata.fail("append_slices", SessionEnded(), applied=True)
        await file.flush()
        assert made.metadata.content() == b"a" * 100
        assert made.metadata.count("take_chunk_id") == 1
        assert made.metadata.count("append_slices") == 2


async def test_void_ids_are_staged_again_under_new_ones(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, DATA))
        made.metadata.end_session()
        made.store.come_up()
        await published(made)
        assert made.metadata.content() == DATA
        assert await file.read(0, 9999) == DATA
        assert made.staging.bytes == 0


async def test_encrypted_blocks_are_staged_again_under_the_names_they_are_bound_to(tmp_path, autojump_clock):
    geometry = replace(TINY, block_format=format_number("zstd", encrypted=True))
    async with mount(tmp_path, geometry=geometry, data_key=bytes(range(32))) as made:
        made.store.go_down()
        file = await write(made, (0, DATA))
        made.metadata.end_session()
        made.store.come_up()
        await published(made)
        assert made.metadata.content() == DATA
        assert await file.read(0, 9999) == DATA


@pytest.mark.parametrize("fails_at", ["put", "replace"])
async def test_staging_again_that_fails_half_way_changes_nothing(tmp_path, monkeypatch, fails_at, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = await write(made, (0, pattern(4000)))
        before = {path.name: path.read_bytes() for path in made.staging.path.iterdir()}
        made.metadata.end_session()
        real, tries = getattr(made.staging, fails_at), []

        def fails_once(*arguments):
            tries.append({path.name: path.read_bytes() for path in made.staging.path.iterdir()})
            if len(tries) == (3 if fails_at == "put" else 1):
                raise staging.StagingFailed("full")
            return real(*arguments)

        monkeypatch.setattr(made.staging, fails_at, fails_once)
        made.store.come_up()
        await published(made)
        assert before in tries[1:] or fails_at == "replace"
        assert made.metadata.content() == pattern(4000)
        assert await file.read(0, 9999) == pattern(4000)
        assert made.staging.bytes == 0


async def test_an_ended_session_keeps_the_ids_of_what_is_staged(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.metadata.fail("append_slices", SessionEnded("over"), times=3)
        await write(made, (0, DATA))
        await published(made)
        assert made.metadata.content() == DATA
        assert made.metadata.count("take_chunk_id") == len(made.metadata.slices[2])


async def test_some_published_and_some_not_are_told_apart(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.metadata.fail("append_slices", IdRefused("some were published before"), times=1)
        await write(made, (0, b"a" * 10), (3000, b"b" * 10))
        await published(made)
        assert made.metadata.content() == b"a" * 10 + bytes(2990) + b"b" * 10


@pytest.mark.parametrize("wait_s", [0.001, 1.0])
@pytest.mark.parametrize("kept_in", ["memory", "staging"])
@pytest.mark.parametrize("how", ["truncated", "discarded", "lost", "gone", "restaged"])
async def test_ids_that_are_not_used_are_given_up(tmp_path, how, kept_in, wait_s, autojump_clock):
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = made.open()
        await file.write(0, pattern(4000))
        await file.append(pattern(1500))
        await trio.sleep(wait_s)
        if kept_in == "staging":
            await file.flush()
        match how:
            case "truncated":
                made.store.come_up()
                await file.truncate(0)
            case "discarded":
                file.discard()
            case "lost":
                made.metadata.fail("append_slices", InvalidArgument(), times=2)
            case "gone":
                made.metadata.remove()
            case _:
                made.metadata.fail("append_slices", IdRefused(), times=1)
        made.store.come_up()
        await file.publish()
        await trio.sleep(1)
        assert made.metadata.open_ids == set()
        assert made.staging.blocks == 0


async def test_ids_of_what_a_mount_left_of_a_file_that_is_gone_are_given_up(tmp_path, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, DATA))
        assert before.metadata.open_ids
        before.metadata.remove()
    async with mount(tmp_path, before) as after:
        assert after.metadata.open_ids == set()


async def test_a_truncate_does_not_fail_because_sessions_end_before_what_is_staged_is_published(
    tmp_path, autojump_clock
):
    async with mount(tmp_path) as made:
        made.metadata.fail("append_slices", SessionEnded("over"), times=2)  # one is met in the background
        file = await write(made, (0, DATA))
        await file.truncate(1000)
        assert made.metadata.content() == DATA[:1000]
