"""Write-back: a staging disk that fails, is gone or full, and how much may be staged."""

import errno

import pytest
import trio

from curvefs.src.client.cache import block_files, staging
from curvefs.src.common.errors import (
    IOFailure,
)

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
        monkeypatch.setattr(staging, "_sync_folder", fails)
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
