"""The read cache on disk: what it keeps, what it lets go, and that nothing its disks do reaches a reader."""

import errno
import os
import shutil
import subprocess
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from curvefs.src.client.cache import block_files, folder
from curvefs.src.client.cache.disk_cache import CacheConfig, DiskCache, DiskCacheCollector
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.test.support.cluster import wait_until

from .lab import UUID_, name_of, running, stored


def files_of(cache_dir):
    return sorted(path for path in (cache_dir / str(UUID_) / "blocks").rglob("*") if path.is_file())


def test_a_whole_read_is_kept_and_answers_every_range(tmp_path):
    with stored(tmp_path, count=1) as (cached, cache, store):
        whole = cached.get(name_of(0))
        cache.settle()
        assert cached.get(name_of(0)) == whole
        assert cached.get(name_of(0), 10, 20) == whole[10:30]
        assert cached.get(name_of(0), 990, 20) == whole[990:]
        assert len(store.gets) == 1
        assert cache.folders[0].counts.hits == 3


def test_what_is_put_is_kept(tmp_path):
    with stored(tmp_path) as (cached, cache, store):
        cached.put(name_of(3), b"three")
        cache.settle()
        assert cached.get(name_of(3)) == b"three"
        assert store.gets == []


def test_pieces_are_not_kept_until_a_block_is_asked_for_again_and_again(tmp_path):
    with stored(tmp_path, count=1) as (cached, cache, store):
        for number in range(4):
            cached.get(name_of(0), number * 10, 10)
            cache.settle()
            assert not cache.has(name_of(0))
        assert cached.get(name_of(0), 40, 10) == bytes(10)
        cache.settle()
        assert cache.has(name_of(0))
        cached.get(name_of(0), 900, 10)
        assert len(store.gets) == 5


def test_what_was_kept_at_once_is_not_written_again_when_its_turn_comes(tmp_path, monkeypatch):
    held, written, write = threading.Event(), [], block_files.write

    def write_slowly(path, name, data):
        written.append(name)
        if name == name_of(1):
            held.wait(30)
        return write(path, name, data)

    monkeypatch.setattr(block_files, "write", write_slowly)
    with running(tmp_path) as cache:
        cache.keep(name_of(1), b"one")
        cache.keep(name_of(2), b"two")  # behind the other
        assert cache.keep_now(name_of(2), b"two")
        held.set()
        cache.settle()
        assert sorted(written) == [name_of(1), name_of(2)]


def test_what_is_dropped_before_it_is_written_is_not_kept(tmp_path, monkeypatch):
    began, held, write = threading.Event(), threading.Event(), block_files.write

    def write_slowly(path, name, data):
        began.set()
        held.wait(30)
        return write(path, name, data)

    monkeypatch.setattr(block_files, "write", write_slowly)
    with running(tmp_path) as cache:
        for number in range(3):
            cache.keep(name_of(number), b"damaged")
        began.wait(30)
        assert [cache.drop(name_of(number)) for number in range(3)] == [True] * 3  # one of them is being written
        cache.keep(name_of(2), b"whole")
        held.set()
        cache.settle()
        assert [cache.get(name_of(number)) for number in range(3)] == [None, None, b"whole"]
        assert [path.name for path in files_of(tmp_path)] == [name_of(2).rpartition("/")[2]]
        assert not list((tmp_path / str(UUID_) / "incoming").iterdir())
        assert cache.folders[0]._queued == {}
        assert cache.folders[0]._queued_bytes == 0


def test_what_is_kept_is_found_after_a_restart(tmp_path):
    with stored(tmp_path) as (cached, cache, _):
        cached.put(name_of(1), b"one")
        cache.settle()
    (tmp_path / str(UUID_) / "incoming" / "half").write_bytes(b"of a mount that died")
    with running(tmp_path) as cache:
        assert cache.has(name_of(1))
        assert cache.get(name_of(1)) == b"one"
        assert not list((tmp_path / str(UUID_) / "incoming").iterdir())


@pytest.mark.parametrize("harm", ["header", "cut", "longer", "another"])
def test_a_file_that_is_not_its_block_is_dropped_and_read_from_the_store(tmp_path, harm):
    with stored(tmp_path, count=2) as (cached, cache, _):
        for number in range(2):
            cached.get(name_of(number))
        cache.settle()
        first, second = files_of(tmp_path)
        match harm:
            case "header":
                data = bytearray(first.read_bytes())
                data[9] ^= 1
                first.write_bytes(data)
            case "cut":
                os.truncate(first, 500)
            case "longer":
                os.truncate(first, 5000)
            case "another":
                shutil.copy(second, first)
        assert cached.get(name_of(0), 400, 4) == bytes(4)
        assert not first.exists()
        assert not cache.has(name_of(0))
        assert cache.folders[0].counts.damaged == 1


def test_size_is_held_with_hysteresis(tmp_path):
    with stored(tmp_path, count=40, size=1000 - block_files.HEADER_SIZE) as (cached, cache, _):
        cache.folders[0]._limits = folder.Limits(20_000, 1000, 0.0)
        for number in range(20):
            cached.get(name_of(number))
        cache.settle()
        assert cache.folders[0].size == 20_000  # files of 1000 bytes
        cached.get(name_of(20))
        cache.settle()
        assert cache.folders[0].size == 19_000  # down to 95 %
        assert sum(file.stat().st_size for file in files_of(tmp_path)) == 19_000


def test_the_number_of_blocks_is_bounded(tmp_path):
    with stored(tmp_path, count=40, size=10) as (cached, cache, _):
        cache.folders[0]._limits = folder.Limits(1 << 30, 20, 0.0)
        for number in range(40):
            cached.get(name_of(number))
            cache.settle()
        assert 19 <= cache.folders[0].blocks <= 20
        assert len(files_of(tmp_path)) == cache.folders[0].blocks


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_share_of_the_disk_stays_free_whoever_fills_it(small_disk):
    with stored(small_disk, count=40, size=50_000, free_space=0.5) as (cached, cache, _):
        for number in range(40):
            assert cached.get(name_of(number)) == bytes([number]) * 50_000
            cache.settle()
        said = os.statvfs(small_disk)
        assert said.f_bavail / said.f_blocks > 0.45
        assert cache.folders[0].blocks > 2
        for part in range(2):
            (small_disk / f"of somebody else {part}").write_bytes(bytes(300_000))
            cache.settle()
        assert cache.folders[0].blocks == 0
        assert cached.get(name_of(1)) == bytes([1]) * 50_000
        cache.settle()
        assert cache.folders[0].counts.skipped


def test_a_full_disk_is_no_error_and_is_used_again_when_there_is_room(small_disk):
    with stored(small_disk, count=40, size=50_000) as (cached, cache, _):
        filler = small_disk / "of somebody else"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2_000_000))
        assert cached.get(name_of(0)) == bytes(50_000)
        cache.settle()
        assert not cache.has(name_of(0))
        assert cache.folders[0].in_use
        filler.unlink()
        cached.get(name_of(0))
        cache.settle()
        assert cache.has(name_of(0))


def test_a_folder_that_vanishes_is_set_aside_and_used_again_when_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "ASIDE_S_FIRST", 0.2)
    monkeypatch.setattr(folder, "TICK_S", 0.02)
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.mkdir()
    with stored(here, count=2) as (cached, cache, _):
        cached.get(name_of(0))
        cache.settle()
        here.rename(gone)
        here.mkdir()  # a mountpoint without its disk
        for number in range(2):
            assert cached.get(name_of(number)) == bytes([number]) * 1000
        wait_until(lambda: not cache.folders[0].in_use, what="the folder is set aside")
        assert list(here.iterdir()) == []
        here.rmdir()
        gone.rename(here)
        wait_until(lambda: cache.has(name_of(0)), what="the folder is used again")
        assert cached.get(name_of(0)) == bytes(1000)


def test_a_failing_disk_is_set_aside_after_a_few_errors(tmp_path, monkeypatch):
    with stored(tmp_path, count=5) as (cached, cache, store):
        cached.get(name_of(0))
        cache.settle()

        def fails(*_args, **_more):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(block_files, "read", fails)
        for _ in range(3):
            assert cached.get(name_of(0)) == bytes(1000)
        assert not cache.folders[0].in_use
        assert cached.get(name_of(0)) == bytes(1000)
        assert len(store.gets) == 5


def test_a_slow_disk_is_set_aside(tmp_path):
    with stored(tmp_path, count=1) as (cached, cache, _):
        cached.get(name_of(0))
        cache.settle()
        times = iter(range(0, 1000, 10))
        cache.folders[0]._now_s = lambda: next(times)
        for _ in range(3):
            cached.get(name_of(0))
        assert not cache.folders[0].in_use


def test_a_disk_that_hangs_holds_only_some_readers(tmp_path):
    with stored(tmp_path, count=1) as (cached, cache, store):
        cached.get(name_of(0))
        cache.settle()
        for _ in range(folder.READERS_MAX):
            cache.folders[0]._readers.acquire()
        assert cached.get(name_of(0)) == bytes(1000)
        assert len(store.gets) == 2


def test_what_the_disk_does_not_keep_up_with_is_not_kept(tmp_path):
    with stored(tmp_path, count=3) as (cached, cache, _):
        assert cache.limit_memory(1500) == 1500
        cache.folders[0]._queued_bytes = 1000
        cached.get(name_of(0))
        cache.settle()
        assert not cache.has(name_of(0))
        assert cache.folders[0].counts.skipped == 1


def test_each_folder_has_its_share_and_keeps_it_when_another_is_added(tmp_path):
    folders = [tmp_path / one for one in "abc"]
    for one in folders:
        one.mkdir()
    with running(*folders[:2]) as cache:
        before = [cache.folder_of(name_of(number)).cache_dir for number in range(900)]
    with running(*folders) as cache:
        after = [cache.folder_of(name_of(number)).cache_dir for number in range(900)]
        assert cache.folders[0]._limits.size == (20 << 30) // 3
    assert all(one == other or other == folders[2] for one, other in zip(before, after, strict=True))
    for one in folders:
        assert 200 < after.count(one) < 400


def test_two_mounts_of_a_filesystem_do_not_share_a_folder(tmp_path):
    with running(tmp_path) as cache:
        with pytest.raises(StartupError, match="in use by another mount") as caught:
            DiskCache(CacheConfig((tmp_path,)), UUID_)
        assert caught.value.exit_code == ExitCode.DATA_FOLDER
        assert cache.folders[0].in_use
    with running(tmp_path):
        pass


def test_figures_are_shown_per_folder(tmp_path):
    with stored(tmp_path, count=1) as (cached, cache, _):
        cached.get(name_of(0))
        cache.settle()
        cached.get(name_of(0))
        registry = CollectorRegistry()
        registry.register(DiskCacheCollector(cache))
        text = generate_latest(registry).decode()
        assert f'curvefs_client_disk_cache_hits_total{{folder="{tmp_path}"}} 1.0' in text
        assert f'curvefs_client_disk_cache_size{{folder="{tmp_path}"}} 1024.0' in text
        assert f'curvefs_client_disk_cache_in_use{{folder="{tmp_path}"}} 1.0' in text
        assert "curvefs_client_disk_cache_misses_total 1.0" in text
