"""Group commit."""

import asyncio
import errno
import os
import threading

import pytest

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.disk import OsDisk
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.log import WriteAheadLog
from curvefs.src.metaserver.wal.segments import LogSettings

pytestmark = pytest.mark.asyncio


class Rigged(OsDisk):
    """A disk some of whose methods the test replaces."""

    def __init__(self, folder, **methods):
        super().__init__(folder)
        for name, method in methods.items():
            setattr(self, name, method)


class Observer:
    def __init__(self):
        self.syncs = self.failures = 0

    def synced(self, seconds):
        self.syncs += 1

    def not_logged(self):
        self.failures += 1


class Source:
    """A group that appends as many entries as it is told."""

    def __init__(self, group_id=1):
        self.group_id, self.last, self.wanted = group_id, 0, 0
        self.taken, self.events = [], []
        self.changed = asyncio.Event()

    def want(self, wal, count):
        self.wanted += count
        wal.ready(self)

    def take(self):
        self.taken = [
            Record(RecordType.ENTRY, self.group_id, 1, self.last + 1 + n, b"entry") for n in range(self.wanted)
        ]
        self.last += self.wanted
        self.wanted = 0
        return self.taken

    def appended(self):
        self.events.append("appended")

    def proceed(self):
        self.events.append("proceed")
        self.changed.set()

    def refused(self, error):
        self.last -= len(self.taken)
        self.events.append("refused")
        self.changed.set()

    async def settled(self):
        await asyncio.wait_for(self.changed.wait(), 10)
        self.changed.clear()


def made(folder, fatal=None, reserve=0, **rigged):
    observer = Observer()
    settings = LogSettings(reserve_bytes=reserve)
    extra = {} if fatal is None else {"fatal": fatal}
    disk = Rigged(folder, **rigged)
    wal = WriteAheadLog(disk, recovery.recover(folder), settings, observer=observer, **extra)
    return wal, observer


def count(folder):
    return sum(1 for _ in recovery.entries(recovery.recover(folder)))


async def test_all_that_is_ready_in_one_step_is_one_sync(tmp_path):
    wal, observer = made(tmp_path)
    sources = [Source(n) for n in (1, 2, 3)]
    for source in sources:
        source.want(wal, 5)
    for source in sources:
        await source.settled()
    await wal.close()
    assert (observer.syncs, count(tmp_path)) == (1, 15)


async def test_what_arrives_during_a_sync_shares_the_next(tmp_path):
    gate, began = threading.Semaphore(0), threading.Semaphore(0)

    def sync(fd):
        began.release()
        assert gate.acquire(timeout=10)
        os.fdatasync(fd)

    gate.release()  # for the segment's header
    wal, observer = made(tmp_path, sync=sync)
    assert began.acquire(timeout=10)
    source = Source()
    source.want(wal, 1)
    assert await asyncio.to_thread(began.acquire, timeout=10)
    for _ in range(63):
        source.want(wal, 1)
    assert observer.syncs == 0
    gate.release()
    await source.settled()
    gate.release()
    await source.settled()
    await wal.close()
    assert (observer.syncs, count(tmp_path)) == (2, 64)


async def test_nothing_is_acknowledged_before_it_is_synced(tmp_path):
    gate, began = threading.Semaphore(0), threading.Semaphore(0)

    def sync(fd):
        began.release()
        assert gate.acquire(timeout=10)

    gate.release()
    wal, _ = made(tmp_path, sync=sync)
    assert began.acquire(timeout=10)
    source = Source()
    source.want(wal, 1)
    assert await asyncio.to_thread(began.acquire, timeout=10)
    for _ in range(10):
        await asyncio.sleep(0)
    assert source.events == []
    gate.release()
    await source.settled()
    assert source.events == ["appended", "proceed"]
    await wal.close()


async def test_full_disk_refuses_leaves_nothing_and_heals(tmp_path):
    full = threading.Event()

    def write(fd, data):
        if not full.is_set():
            return os.write(fd, data)
        if len(data) > 10:
            return os.write(fd, data[:10])
        raise OSError(errno.ENOSPC, "full")

    wal, observer = made(tmp_path, write=write)
    source = Source()
    source.want(wal, 1)
    await source.settled()
    size = recovery.segment_path(tmp_path, 1).stat().st_size
    full.set()
    source.want(wal, 3)
    await source.settled()
    assert source.events[-1] == "refused"
    assert observer.failures == 1
    assert recovery.segment_path(tmp_path, 1).stat().st_size == size
    full.clear()
    source.want(wal, 2)
    await source.settled()
    await wal.close()
    assert count(tmp_path) == 3


async def test_the_reserve_is_left_alone(tmp_path):
    free = [100]
    wal, _ = made(tmp_path, free_bytes=lambda: free[0], reserve=50)
    source = Source()
    source.want(wal, 1)
    await source.settled()
    free[0] = 49
    source.want(wal, 1)
    await source.settled()
    assert source.events == ["appended", "proceed", "refused"]
    with pytest.raises(NoSpace):
        await wal.append([Record(RecordType.BEGIN, 1, 0, 0)])
    await wal.close()


async def test_failed_sync_ends_the_process_and_is_not_tried_again(tmp_path):
    ended, looked_at = threading.Event(), threading.Event()
    calls, broken = [], threading.Event()

    def sync(fd):
        calls.append(fd)
        if broken.is_set():
            raise OSError(errno.EIO, "lost")

    def fatal(reason):
        ended.set()
        assert looked_at.wait(10)
        raise NoSpace("the process would be gone; this lets the thread of the test end")

    wal, _ = made(tmp_path, fatal, sync=sync)
    broken.set()
    source = Source()
    source.want(wal, 1)
    assert await asyncio.to_thread(ended.wait, 10)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(calls), source.events) == (2, [])
    looked_at.set()
    await source.settled()
    await wal.close()


async def test_what_is_appended_first_is_there_before_anything_else(tmp_path):
    wal, _ = made(tmp_path)
    wal.append_first([Record(RecordType.BEGIN, 1, 3, 20)])
    source = Source()
    source.last = 20
    source.want(wal, 1)
    await source.settled()
    await wal.close()
    group = recovery.recover(tmp_path).groups[1]
    assert (group.begin_index, group.begin_term, group.last_index) == (20, 3, 21)


async def test_records_that_do_not_fit_the_log_end_the_process_and_are_not_written(tmp_path):
    ended = []

    def fatal(reason):
        ended.append(reason)
        raise NoSpace("the process would be gone; this lets the thread of the test end")

    wal, _ = made(tmp_path, fatal)
    source = Source()
    source.last = 7
    source.want(wal, 1)
    await source.settled()
    await wal.close()
    assert len(ended) == 1
    assert "from entry 0 to 8" in ended[0]
    assert count(tmp_path) == 0


@pytest.mark.parametrize("step", ["take", "appended", "proceed", "refused"])
async def test_a_group_that_fails_at_its_turn_ends_the_process(tmp_path, step):
    ended = asyncio.get_running_loop().create_future()
    wal, _ = made(tmp_path, fatal=ended.set_result, reserve=1 << 60 if step == "refused" else 0)

    def fail(*_):
        raise RuntimeError("a bug")

    source = Source()
    setattr(source, step, fail)
    source.want(wal, 1)
    assert "a bug" in await asyncio.wait_for(ended, 10)
    await wal.close()
