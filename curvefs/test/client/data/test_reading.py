"""Reading: what is asked of the store and the metadata, and what happens when something is missing or damaged."""

import threading
from dataclasses import replace

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.cache import block_files
from curvefs.src.client.data.all_over import OTHERS_MAX, WHOLE_AFTER, ReadAllOver
from curvefs.src.client.data.budget import MemoryBudget
from curvefs.src.client.data.file_data import FileData
from curvefs.src.client.data.read_cache import BEHIND_MAX, BLOCK_OVERHEAD
from curvefs.src.client.data.slice_lists import MAX_AGE_S
from curvefs.src.common.errors import CorruptData, IOFailure
from curvefs.src.object.fault import Fault
from curvefs.src.slices.block_formats import FORMATS

from .lab import KIB, MIB, MIDDLE, TINY, Lab, lab, pattern

pytestmark = pytest.mark.trio


async def written(this: Lab, data: bytes) -> FileData:
    """Return a file that has some content, with nothing of it in memory."""
    file = this.open()
    await file.write(0, data)
    await file.flush()
    this.store.counts.clear()
    this.metadata.calls.clear()
    return file


async def test_holes_read_as_zeros_without_a_request(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.truncate(100_000)
        assert await file.read(50, 90_000) == bytes(90_000)
        assert await file.read(99_990, 100) == bytes(10)
        assert await file.read(100_000, 10) == b""
        assert "get" not in this.store.counts


async def test_dirty_bytes_read_without_a_request(autojump_clock):
    async with lab() as this:
        file = await written(this, pattern(3000))
        await file.write(500, b"d" * 2000)
        assert await file.read(600, 1500) == b"d" * 1500
        assert this.store.counts == {}
        assert this.metadata.calls == []


async def test_reading_what_was_just_published_needs_no_slice_list(autojump_clock):
    async with lab() as this:
        file = this.open()
        await file.write(0, b"one")
        await file.flush()
        assert await file.read(0, 3) == b"one"
        await file.write(3, b"two")
        await file.flush()
        assert await file.read(0, 6) == b"onetwo"
        assert this.metadata.count("read_slices") == 0


async def test_a_random_read_fetches_only_the_pieces_it_needs(autojump_clock):
    async with lab(MIDDLE) as this:
        data = pattern(4 * MIB)
        file = await written(this, data)
        reader = file.reader()
        assert await reader.read(3 * MIB + 5, 1000) == data[3 * MIB + 5 : 3 * MIB + 1005]
        assert await reader.read(1 * MIB + 100 * KIB, 100 * KIB) == data[MIB + 100 * KIB : MIB + 200 * KIB]
        assert this.store.counts == {"get": 2}
        assert this.data.memory[1] == 3 * 128 * KIB + 2 * BLOCK_OVERHEAD


async def test_a_small_file_comes_with_one_request(autojump_clock):
    async with lab(MIDDLE) as this:
        data = pattern(500 * KIB)
        reader = (await written(this, data)).reader()
        read = [await reader.read(at, 128 * KIB) for at in range(0, 600 * KIB, 128 * KIB)]
        assert b"".join(read) == data
        assert this.store.counts == {"get": 1}


@pytest.mark.parametrize("block_format", sorted(FORMATS))
async def test_every_block_format_reads_in_parts_and_whole(autojump_clock, block_format):
    geometry = replace(MIDDLE, block_format=block_format)
    async with lab(geometry, data_key=bytes(range(32))) as this:
        data = pattern(MIB) + bytes(MIB) + pattern(MIB, seed=2)
        file = await written(this, data)
        reader = file.reader()
        for at in (2 * MIB + 300 * KIB, MIB - 50 * KIB, 5):
            assert await reader.read(at, 100 * KIB) == data[at : at + 100 * KIB]
        assert await file.reader().read(0, 3 * MIB) == data


@pytest.mark.parametrize("step", [100 * KIB, 128 * KIB, MIB])
async def test_a_sequential_read_fetches_every_block_about_once_and_ahead(autojump_clock, step):
    async with lab(MIDDLE, store_delay_s=1.0) as this:
        data = pattern(40 * MIB)
        reader = (await written(this, data)).reader()
        began = trio.current_time()
        read = [await reader.read(at, step) for at in range(0, len(data), step)]
        assert b"".join(read) == data
        assert this.store.counts["get"] <= 80 + 3
        assert trio.current_time() - began < 15  # one after the other: 80 s


async def test_reading_ahead_stays_within_the_budget(autojump_clock):
    async with lab(MIDDLE, memory_budget=4 * MIB, store_delay_s=0.1) as this:
        data = pattern(20 * MIB)
        reader = (await written(this, data)).reader()
        for at in range(0, len(data), 128 * KIB):
            assert await reader.read(at, 128 * KIB) == data[at : at + 128 * KIB]
            assert sum(this.data.memory[:2]) <= 4 * MIB


async def test_reads_go_on_when_dirty_data_fills_the_memory(autojump_clock):
    async with lab(MIDDLE, memory_budget=3 * MIB) as this:
        data = pattern(2 * MIB)
        file = await written(this, data)
        this.store.plan(Fault("put", times=None))
        other = this.open(3)
        with trio.move_on_after(20):
            while True:
                await other.write(other.length, bytes(100 * KIB))
        reader = file.reader()
        assert b"".join([await reader.read(at, 64 * KIB) for at in range(0, 2 * MIB, 64 * KIB)]) == data
        assert sum(this.data.memory[:2]) <= 3 * MIB
        this.store.forget_faults()
        await this.data.flush_all()


async def test_many_readers_of_one_piece_make_one_request(autojump_clock):
    async with lab(MIDDLE) as this:
        data = pattern(2 * MIB)
        file = await written(this, data)

        async def read() -> None:
            assert await file.read(MIB, 1000) == data[MIB : MIB + 1000]

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(read)
        assert this.store.counts == {"get": 1}


async def test_the_reader_that_asked_may_give_up_and_the_others_get_their_bytes(autojump_clock):
    async with lab(MIDDLE, store_delay_s=1.0) as this:
        file = await written(this, pattern(MIB))
        read: list[bytes] = []

        async def patient() -> None:
            read.append(await file.read(0, 1000))

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.5):
                nursery.start_soon(patient)
                nursery.start_soon(patient)
                await file.read(0, 1000)
        assert read == [pattern(1000)] * 2


async def test_blocks_of_many_slices_are_fetched_at_the_same_time(autojump_clock):
    async with lab(TINY, store_delay_s=1.0) as this:
        file = this.open()
        for n in range(16):
            await file.write(n * 200, pattern(200, n))
            await file.flush()
        began = trio.current_time()
        assert await file.read(0, 3200) == b"".join(pattern(200, n) for n in range(16))
        assert trio.current_time() - began < 2


async def test_a_blocked_read_delays_no_other_file(autojump_clock):
    async with lab() as this:
        slow, quick = this.open(2), this.open(3)
        for file in (slow, quick):
            await file.write(0, b"data")
            await file.flush()
        (name,) = this.metadata.object_names(2)
        this.store.plan(Fault("get", times=None, matches=lambda one: one == name))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.read, 0, 4)
            await trio.sleep(1)
            with trio.fail_after(0.5):
                assert await quick.read(0, 4) == b"data"
            this.store.forget_faults()


# ------------------------------------------------------------------------------- validity of slice lists


async def test_what_another_mount_wrote_is_seen_after_revalidation(autojump_clock):
    async with lab() as this:
        file = await written(this, b"mine")
        assert await file.read(0, 10) == b"mine"
        await this.metadata.set_length(2, 2)  # the other mount
        assert await file.read(0, 10) == b"mine"
        file.revalidate(this.metadata.inode())
        assert await file.read(0, 10) == b"mi"


async def test_a_slice_list_older_than_a_minute_is_read_again(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        await trio.sleep(50)
        await file.read(0, 4)
        assert this.metadata.count("read_slices") == 0
        await trio.sleep(11)
        await file.read(0, 4)
        await file.read(0, 4)
        assert this.metadata.count("read_slices") == 1


class Ticking:
    """A clock that goes on between two looks at it, as real ones do."""

    now_s, step_s = 0.0, 0.0

    def time_ns(self):
        return 0

    def boottime_s(self):
        self.now_s += self.step_s
        return self.now_s


@pytest.mark.parametrize("how", ["read", "region_in_memory", "arrival", "prefetch"])
async def test_a_slice_list_that_becomes_too_old_within_a_step_serves_it(autojump_clock, how):
    async with lab() as this:
        clock = Ticking()
        object.__setattr__(this.data._services, "clock", clock)
        file = await written(this, pattern(3000))
        await file.read(0, 3000)
        clock.now_s, clock.step_s = MAX_AGE_S - 15e-6, 10e-6
        if how == "read":
            assert await file.read(0, 3000) == pattern(3000)
        elif how == "prefetch":
            file._reads.prefetch(0, 3000)
        else:
            assert getattr(file, how)(0) is not None


async def test_a_publication_next_to_somebody_elses_drops_the_lists(autojump_clock):
    async with lab() as this:
        file = await written(this, b"aaaa")
        await file.read(0, 4)
        await this.metadata.set_length(2, 2)  # another mount
        await file.write(3, b"b")
        await file.flush()
        assert await file.read(0, 10) == b"aa\0b"


# ----------------------------------------------------------------------------------------- what is wrong


async def test_a_missing_object_fails_the_read_and_says_so(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        await file.read(0, 1)
        this.data._cache.drop(this.metadata.object_names()[0])
        this.objects.delete(this.metadata.object_names())
        this.metadata.calls.clear()
        with capture_logs() as logs, pytest.raises(IOFailure, match="missing"):
            await file.read(0, 4)
        assert this.metadata.count("read_slices") == 1
        assert [one["log_level"] for one in logs] == ["error"]


async def test_an_object_that_compaction_replaced_is_read_from_its_new_place(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        await file.read(0, 1)
        (old,) = this.metadata.object_names()
        new = pb.Slice()
        new.CopyFrom(this.metadata.slices[2][0])
        new.chunk_id += 500
        this.metadata.slices[2] = [new]
        this.metadata.inodes[2].change += 1
        this.objects.put(this.metadata.object_names()[0], this.objects.get(old))
        this.objects.delete([old])
        this.data._cache.drop(old)
        assert await file.read(0, 4) == b"data"


async def test_a_read_during_an_outage_waits(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        this.store.go_down()
        async with trio.open_nursery() as nursery:

            async def heal() -> None:
                await trio.sleep(20)
                this.store.come_up()

            nursery.start_soon(heal)
            assert await file.read(0, 4) == b"data"
        assert trio.current_time() >= 20


async def test_a_read_during_a_long_outage_fails_and_the_next_one_heals(autojump_clock):
    async with lab(store_timeout_s=60) as this:
        file = await written(this, b"data")
        this.store.go_down()
        with pytest.raises(IOFailure):
            await file.read(0, 4)
        assert 60 <= trio.current_time() < 75
        assert this.data.memory[1] == 0
        this.store.come_up()
        assert await file.read(0, 4) == b"data"


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


async def test_a_block_that_arrives_damaged_once_is_read_again(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        this.store.plan(Fault("get", error=None, damage=flipped))
        assert await file.read(0, 4) == b"data"
        assert this.store.counts == {"get": 2}


async def test_a_damaged_block_fails_the_read_naming_the_object(autojump_clock):
    async with lab() as this:
        file = await written(this, b"data")
        (name,) = this.metadata.object_names()
        this.store.plan(Fault("get", times=None, error=None, damage=flipped))
        with capture_logs() as logs, pytest.raises(CorruptData, match=f"inode 2 at 0, object {name}"):
            await file.read(0, 4)
        assert this.store.counts == {"get": 2}
        assert this.data.memory[1] == 0
        assert logs[-1]["log_level"] == "error"


async def test_a_block_that_arrived_damaged_once_is_not_found_damaged_on_disk(tmp_path, monkeypatch, autojump_clock):
    """It waits to be written while it is verified."""
    held, write = threading.Event(), block_files.write

    def write_slowly(path, name, data):
        held.wait(30)
        return write(path, name, data)

    monkeypatch.setattr(block_files, "write", write_slowly)
    async with lab(cache_dir=tmp_path) as this:
        drop = this.data._cache._drop_below

        def drop_and_write(name):
            drop(name)
            held.set()
            this.disk.settle()

        monkeypatch.setattr(this.data._cache, "_drop_below", drop_and_write)
        file = await written(this, b"data")
        (name,) = this.metadata.object_names()
        drop_and_write(name)  # what the writer kept
        held.clear()
        this.store.plan(Fault("get", error=None, damage=flipped))
        assert await file.read(0, 4) == b"data"
        assert this.store.counts["get"] == 2


async def test_a_damaged_block_is_not_left_on_disk(tmp_path, autojump_clock):
    async with lab(cache_dir=tmp_path) as this:
        file = await written(this, b"data")
        (name,) = this.metadata.object_names()
        this.disk.settle()
        this.disk.drop(name)
        this.store.plan(Fault("get", times=2, error=None, damage=flipped))
        with pytest.raises(CorruptData):
            await file.read(0, 4)
        this.disk.settle()
        assert not this.disk.has(name)


async def test_a_block_that_is_asked_for_here_and_there_follows_whole_the_second_time(autojump_clock):
    async with lab(MIDDLE) as this:
        data = pattern(4 * MIB)
        file = await written(this, data)
        assert await file.read(MIB, 10) == data[MIB : MIB + 10]
        assert file.arrival(MIB) is None
        assert file.region_in_memory(MIB) is None
        at = MIB + 200 * KIB
        assert await file.read(at, 10) == data[at : at + 10]
        await trio.sleep(1)
        assert this.store.counts == {"get": 3}
        assert file.arrival(MIB).is_set()
        assert file.arrival(0) is None
        assert file.region_in_memory(at) == (MIB, data[MIB : MIB + 512 * KIB])
        await file.write(MIB, b"new")
        assert file.region_in_memory(at) is None


async def read_here_and_there(file: FileData, data: bytes, step: int) -> None:
    for at in range(100, len(data), step):
        assert await file.read(at, 10) == data[at : at + 10]
        await trio.sleep(1)


@pytest.mark.parametrize(("memory", "comes"), [(40 * MIB, True), (3 * MIB, False)])
async def test_a_file_that_is_read_all_over_comes_whole_if_it_is_of_the_size_of_memory(autojump_clock, memory, comes):
    async with lab(MIDDLE, memory_budget=memory) as this:
        data = pattern(16 * MIB)
        file = await written(this, data)
        await read_here_and_there(file, data, 512 * KIB)  # one piece of each block
        others = file.take_coming()
        assert others == [number * 512 * KIB for number in range(len(others))]
        assert len(others) == (26 if comes else 0)
        assert this.store.counts == {"get": 32 + len(others)}
        here = [file.arrival(at) is not None for at in range(0, len(data), 512 * KIB)]
        assert here == [number < len(others) for number in range(32)]
        assert file.take_coming() == []


async def test_later_blocks_come_whole_at_once_and_readers_that_are_too_many_get_pieces(autojump_clock, monkeypatch):
    monkeypatch.setattr(ReadAllOver, "others", lambda *_: 0)
    async with lab(MIDDLE) as this:
        data, sizes = pattern(32 * MIB), []
        file = await written(this, data)
        get = this.objects.get
        monkeypatch.setattr(this.objects, "get", lambda *what: sizes.append(len(got := get(*what))) or got)
        await read_here_and_there(file, data[: 34 * 512 * KIB], 512 * KIB)
        assert [size > 512 * KIB for size in sizes] == [False] * WHOLE_AFTER + [True] * 2
        sizes.clear()
        await read_all_at_once(file, range(20 * MIB, 20 * MIB + 2 * BEHIND_MAX * 512 * KIB, 512 * KIB))
        assert sorted(size > 512 * KIB for size in sizes) == [False] * BEHIND_MAX + [True] * BEHIND_MAX


async def test_what_comes_besides_is_all_that_a_block_of_the_file_consists_of(autojump_clock):
    async with lab(MIDDLE) as this:
        data = pattern(16 * MIB)
        file = await written(this, data)
        for at in (100 * KIB, 300 * KIB, 512 * KIB):
            await file.write(at, data[at : at + 10 * KIB])
            await file.flush()
        await read_here_and_there(file, data, 512 * KIB)
        assert file.take_coming()[:6] == [at * KIB for at in (0, 100, 110, 300, 310, 512)]
        assert file.region_in_memory(0) == (0, data[: 512 * KIB])


async def test_a_file_is_not_fetched_whole_again_and_again(autojump_clock, monkeypatch):
    async with lab(MIDDLE, memory_budget=8 * MIB) as this:
        data, sizes = pattern(16 * MIB), []
        file = await written(this, data)
        get = this.objects.get
        monkeypatch.setattr(this.objects, "get", lambda *what: sizes.append(len(got := get(*what))) or got)
        for _ in range(20):  # memory holds a part of it
            await read_here_and_there(file, data, 512 * KIB)
        assert 32 < sum(size > 256 * KIB for size in sizes) <= 3 * 33


async def test_few_blocks_come_besides_at_a_time_and_none_without_room(autojump_clock, monkeypatch):
    async with lab(MIDDLE) as this:
        file = await written(this, pattern(24 * MIB))
        for at in [*range(16 * MIB, 24 * MIB, 512 * KIB), *range(16 * MIB + 256 * KIB, 24 * MIB, 512 * KIB)]:
            await file.read(at, 10)
            await trio.sleep(1)
        before = len(file.take_coming())
        with monkeypatch.context() as patched:
            patched.setattr(MemoryBudget, "take_cached", lambda *_: False)
            await read_all_at_once(file, range(8 * MIB, 10 * MIB, 512 * KIB))
            assert file.take_coming() == []
        await read_all_at_once(file, range(10 * MIB, 14 * MIB, 512 * KIB))
        assert 0 < len(others := file.take_coming()) <= OTHERS_MAX
        assert others[0] == before * 512 * KIB


async def read_all_at_once(file: FileData, places: range) -> None:
    async with trio.open_nursery() as nursery:
        for at in places:
            nursery.start_soon(file.read, at, 10)
