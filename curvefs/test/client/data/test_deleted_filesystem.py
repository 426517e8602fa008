"""The filesystem is gone: what is not published is lost, told, and nothing more is stored."""

import contextlib

import pytest
import trio

from curvefs.src.common.errors import FilesystemGone, IOFailure

from .lab import lab
from .write_back_lab import DATA, mount, records, write

pytestmark = pytest.mark.trio


async def test_what_waits_is_dropped_and_told_once_and_nothing_is_stored(autojump_clock):
    async with lab(store_timeout_s=300.0) as this:
        this.store.go_down()
        file = this.open()
        await file.write(0, bytes(5000))

        async def flush():
            with contextlib.suppress(IOFailure):  # or nothing was left to flush, when its turn came
                await file.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.sleep(20.0)
            begin = trio.current_time()
            this.data.give_up(FilesystemGone())
        assert trio.current_time() - begin < 0.1
        assert this.data.memory[0] == 0
        error, seen = file.error_since(0)
        assert isinstance(error, FilesystemGone)
        assert file.error_since(seen)[0] is None
        this.store.come_up()
        await this.data.flush_all()
        assert this.object_names() == []
        assert this.metadata.publications == []


async def test_what_is_staged_is_put_aside_and_told_at_once(tmp_path, autojump_clock):
    async with mount(tmp_path, store_timeout_s=100.0) as made:
        made.store.go_down()
        file = await write(made, (0, DATA))
        await trio.sleep(10.0)  # it is being tried
        made.data.give_up(FilesystemGone())
        assert await made.data.publish_staged(1.0)
        assert isinstance(file.error_since(0)[0], FilesystemGone)
        assert records(made) == []
        assert len([*made.staging.path.glob("*.damaged")]) == 2, "put aside"
        made.store.come_up()
        await trio.sleep(100.0)
        assert made.object_names() == []
        assert made.metadata.publications == []
