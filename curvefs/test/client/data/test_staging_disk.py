"""Write-back: a staging disk that fails, is gone or full, and how much may be staged."""

import errno
import os
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.src.client.cache import block_files, staging
from curvefs.src.common.errors import (
    IOFailure,
)

from .lab import check
from .write_back_lab import DATA, mount, published, records, write

pytestmark = pytest.mark.trio


async def test_a_staging_disk_that_fails_makes_flushes_go_to_the_store(tmp_path, monkeypatch, autojump_clock):
    def fails(*_args, **_more):
        raise OSError(errno.EIO, "Input/output error")

    async with mount(tmp_path) as made:
        monkeypatch.setattr(block_files, "write", fails)
        await write(made, (0, DATA))
        assert made.metadata.content() == DATA
        assert records(made) == []


async def test_a_staging_disk_that_is_gone_makes_flushes_go_to_the_store(tmp_path, autojump_clock):
    folder = tmp_path / "cache"
    folder.mkdir()
    async with mount(folder) as made:
        folder.rename(tmp_path / "disk")  # what was mounted is gone: an empty directory lies there
        made.staging.path.mkdir(parents=True)
        made.store.go_down()
        file = made.open()
        await file.write(0, DATA)
        with pytest.raises(IOFailure):
            await file.flush()
        assert list(made.staging.path.iterdir()) == []
        made.store.come_up()
        await file.flush()
        assert made.metadata.content() == DATA


async def test_a_disk_that_takes_blocks_but_no_record_is_left_behind(tmp_path, monkeypatch, autojump_clock):
    def fails(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with mount(tmp_path) as made:
        monkeypatch.setattr(staging, "sync_folder", fails)
        file = await write(made, (0, DATA))
        assert made.metadata.content() == DATA
        assert made.staging.bytes == 0
        assert records(made) == []
        monkeypatch.undo()
        await trio.sleep(60)
        made.store.go_down()
        await file.write(0, b"again")
        await file.flush()
        assert len(records(made)) == 1


async def test_a_full_staging_folder_slows_the_writer_to_the_store(tmp_path, autojump_clock):
    async with mount(tmp_path) as made:
        made.staging._size_max = 1500
        made.store.go_down()
        file = made.open()
        await file.write(0, DATA)
        with pytest.raises(IOFailure):
            await file.flush()
        made.store.come_up()
        await file.flush()
        await published(made)
        assert made.metadata.content() == DATA


async def test_slices_beyond_their_number_go_to_the_store_at_once(tmp_path, monkeypatch, autojump_clock):
    monkeypatch.setattr(staging, "SLICES_MAX", 3)
    async with mount(tmp_path) as made:
        made.store.go_down()
        file = made.open()
        for n in range(3):
            await file.write(n * 100, b"%d" % n)
            await file.flush()
        value = made.registry.get_sample_value
        assert value("curvefs_client_staging_waiting_slices") == len(records(made)) == 3
        await file.write(300, b"3")
        with pytest.raises(IOFailure):
            await file.flush()
        assert len(records(made)) == 3
        assert value("curvefs_client_staging_waiting_blocks") == 3
        made.store.come_up()
        await file.flush()
        await published(made)
        assert made.metadata.content()[::100] == b"0123"
        made.store.go_down()
        await write(made, (0, b"again"))
        assert len(records(made)) == 1
        assert value("curvefs_client_staging_failures_total") == 0


async def test_what_a_mount_has_left_counts_among_the_slices_of_the_next(tmp_path, monkeypatch, autojump_clock):
    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, b"a"))
    monkeypatch.setattr(staging, "SLICES_MAX", 1)
    async with mount(tmp_path, before) as after:
        after.store.go_down()
        file = after.open()
        await file.write(100, b"b")
        with pytest.raises(IOFailure):
            await file.flush()
        after.store.come_up()
        await file.publish()
        assert after.metadata.content()[::100] == b"ab"


async def test_the_metrics_say_whether_what_is_written_is_staged(tmp_path, monkeypatch, autojump_clock):
    def fails(*_args, **_more):
        raise OSError(errno.EIO, "Input/output error")

    async with mount(tmp_path) as made:
        value = made.registry.get_sample_value
        assert value("curvefs_client_staging_in_use") == 1
        monkeypatch.setattr(block_files, "write", fails)
        await write(made, (0, DATA))
        assert value("curvefs_client_staging_in_use") == 0
        await trio.sleep(20)  # it is tried again
        assert value("curvefs_client_staging_in_use") == 1
    async with mount(tmp_path, made, write_back=False) as made:
        assert made.registry.get_sample_value("curvefs_client_staging_in_use") == 0


async def test_a_record_that_is_not_removed_is_removed_when_the_disk_works_again(tmp_path, monkeypatch, autojump_clock):
    def fails(*_args, **_more):
        raise OSError(errno.EROFS, "Read-only file system")

    async with mount(tmp_path) as made:
        made.store.go_down()
        await write(made, (0, DATA))
        monkeypatch.setattr(type(made.staging.path), "unlink", fails)
        made.store.come_up()
        await published(made)
        assert records(made)
        monkeypatch.undo()
        await trio.sleep(20)
        assert records(made) == []
        assert not made.data.holds_staged


async def test_a_published_record_that_is_not_removed_is_no_loss_for_the_next_mount(
    tmp_path, monkeypatch, autojump_clock
):
    unlink = Path.unlink

    def keeps_records(path, **more):
        if path.suffix == ".slice":
            raise OSError(errno.EIO, "Input/output error")
        unlink(path, **more)

    async with mount(tmp_path) as before:
        before.store.go_down()
        await write(before, (0, DATA))
        monkeypatch.setattr(Path, "unlink", keeps_records)
        before.store.come_up()
        await published(before)
        await trio.sleep(20)
        assert records(before)
        assert before.staging.bytes == 0
    monkeypatch.undo()
    with capture_logs() as logs:
        async with mount(tmp_path, before) as after:
            await published(after)
            assert not after.data.holds_staged
            await check(after, DATA)
    assert [one["event"] for one in logs if one["log_level"] in ("warning", "error")] == []


async def test_blocks_whose_record_is_removed_late_are_removed_with_it(tmp_path, monkeypatch, autojump_clock):
    def fails(*_args, **_more):
        raise OSError(errno.EROFS, "Read-only file system")

    async with mount(tmp_path) as made:
        made.store.go_down()
        await write(made, (0, DATA))
        monkeypatch.setattr(Path, "unlink", fails)
        made.store.come_up()
        await published(made)
        monkeypatch.undo()
        await trio.sleep(20)
        assert {path.name for path in made.staging.path.iterdir()} == {"identity", "place"}


async def test_a_disk_that_is_gone_leaves_what_is_staged_to_the_next_mount(tmp_path, autojump_clock):
    folder = tmp_path / "cache"
    folder.mkdir()
    async with mount(folder) as made:
        made.store.go_down()
        await write(made, (0, DATA))
        folder.rename(tmp_path / "disk")
        made.staging.path.mkdir(parents=True)
        assert not await made.data.publish_staged(5.0)
        assert made.data.holds_staged


async def test_no_file_of_the_staging_disk_is_touched_in_the_event_loop(tmp_path, monkeypatch, autojump_clock):
    """A disk that hangs must not stop what does not need it."""
    in_thread, touched = [], []

    def watched(owner, name):
        real = getattr(owner, name)

        def call(path, *arguments, **more):
            if str(path).startswith(str(tmp_path)) and not in_thread:
                touched.append(name)
            return real(path, *arguments, **more)

        monkeypatch.setattr(owner, name, call)

    async with mount(tmp_path) as made:
        run_sync = trio.to_thread.run_sync

        async def as_in_a_thread(call, **more):
            def marked():
                in_thread.append(1)
                try:
                    return call()
                finally:
                    in_thread.pop()

            return await run_sync(marked, **more)

        monkeypatch.setattr(trio.to_thread, "run_sync", as_in_a_thread)
        for owner, name in ((os, "statvfs"), (os, "open"), (Path, "unlink"), (Path, "rename"), (Path, "stat")):
            watched(owner, name)
        made.store.go_down()
        kept, cut = made.open(2), made.open(3)
        for file in (kept, cut):
            await file.write(0, DATA)
            await file.flush()
        made.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        made.store.come_up()
        await published(made)
        await cut.write(0, DATA)
        await trio.sleep(0.5)
        await cut.truncate(0)
        await kept.append(b"a" * 10)
        made.metadata.fail("append_slices", IOFailure("no answer"), applied=True)
        before = len(made.metadata.publications)
        await kept.flush()
        while len(made.metadata.publications) == before:
            await trio.sleep(0.001)
        made.metadata.slices[2][-1].chunk_id += 10**6
        made.metadata._published.clear()
        made.metadata._leased.clear()
        await trio.sleep(30)  # it is put aside
        monkeypatch.undo()
        assert [*made.staging.path.glob("*.damaged")]
    assert touched == []


async def test_what_left_the_staging_disk_is_not_staged_again_under_its_name(autojump_clock, tmp_path):
    """The disk takes no more slices, the store is away, and the disk is slow to remove: later it takes slices again."""
    async with mount(tmp_path) as made:
        disk = made.staging
        commit, clean = disk.commit, disk.clean
        full = [True]

        def commit_(slices):
            if full.pop() if full else False:
                raise staging.StagingFull("injected")
            return commit(slices)

        disk.commit, disk.clean = commit_, lambda: None  # waits for a thread, or for the disk
        made.store.go_down()
        file = made.open()
        await file.write(0, DATA[:700])
        with pytest.raises(IOFailure):
            await file.flush()
        with pytest.raises(IOFailure):  # staged after all it would be called durable
            await file.flush()
        clean()  # now the disk removes what was dropped
        made.store.come_up()
        await file.publish()
        await check(made, DATA[:700])
