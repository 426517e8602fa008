"""The job of compaction: runs put together from others, in blocks of bounded memory, every byte verified."""

import os
import random
import threading
import tracemalloc
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import worker_pb2 as pb
from curvefs.src.common.errors import CorruptData, IOFailure, NotFound
from curvefs.src.metaserver.worker import runs
from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import StoreUnavailable
from curvefs.src.slices import framing
from curvefs.src.slices.block_formats import FORMATS
from curvefs.src.slices.codec import BlockCodec
from curvefs.src.slices.names import block_name

FS = UUID(int=9)
KEY = bytes(range(32))
BLOCK = 256 << 10


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(runs, "_PAUSES_S", (0.0, 0.0))


def put(store, chunk_id, data, block=BLOCK, number=1):
    codec = BlockCodec(KEY, os.urandom)
    for index in range(-(-len(data) // block)):
        name = block_name(FS, chunk_id, 0, index)
        store.put(name, codec.encode(number, name, [data[index * block : (index + 1) * block]]))


def get(store, chunk_id, size, compaction=1, block=BLOCK, number=1):
    codec, found = BlockCodec(KEY, os.urandom), b""
    for index in range(-(-size // block)):
        length = min(block, size - index * block)
        name = block_name(FS, chunk_id, compaction, index)
        found += b"".join(codec.read(number, name, 0, length, length, fetch=partial(store.get, name)))
    return found


def piece(chunk_id, offset, length, size, number=1):
    if not chunk_id:
        return pb.RunPiece(length=length)
    return pb.RunPiece(length=length, chunk_id=chunk_id, offset=offset, size=size, block_format=number)


def store_runs(store, *made, block=BLOCK, number=1):
    reply = pb.JobReply()
    job = pb.StoreRuns(filesystem=FS.bytes, block_size=block, block_format=number, data_key=KEY)
    for chunk_id, pieces in made:
        job.runs.add(chunk_id=chunk_id, compaction=1, pieces=pieces)
    runs.store_runs(store, job, reply)
    return reply.store_runs


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_run_is_what_its_pieces_say(data):
    store = MemoryStore()
    rng = random.Random(data.draw(st.integers(0, 9)))
    sources = {number: rng.randbytes(data.draw(st.integers(1, 900_000))) for number in (1, 2, 3)}
    for number, content in sources.items():
        put(store, number, content)
    pieces, wanted = [], b""
    for _ in range(data.draw(st.integers(1, 12))):
        number = data.draw(st.integers(0, 3))
        if not number:
            length = data.draw(st.integers(1, 100_000))
            pieces.append(piece(0, 0, length, 0))
            wanted += bytes(length)
            continue
        content = sources[number]
        offset = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(1, len(content) - offset))
        pieces.append(piece(number, offset, length, len(content)))
        wanted += content[offset : offset + length]
    done = store_runs(store, (77, pieces))
    assert done.written_bytes == len(wanted)
    assert get(store, 77, len(wanted)) == wanted


def test_neighbours_in_one_object_are_read_together():
    inner, size = MemoryStore(), BLOCK
    store = FaultStore(inner)
    data = random.Random(1).randbytes(size)
    put(inner, 1, data)
    put(inner, 2, b"x" * 100)
    pieces = [piece(1, 0, 1000, size), piece(2, 0, 100, 100), piece(1, 1100, size - 1100, size)]
    store_runs(store, (9, pieces))
    assert store.counts == {"get": 2, "put": 1}
    assert get(inner, 9, size) == data[:1000] + b"x" * 100 + data[1100:]


def test_a_job_may_be_done_again():
    store = MemoryStore()
    put(store, 1, b"a" * 1000)
    for _ in range(2):
        store_runs(store, (9, [piece(1, 5, 100, 1000)]))
    assert get(store, 9, 100) == b"a" * 100


def test_a_missing_object_is_named():
    store = MemoryStore()
    with pytest.raises(NotFound, match="1_0_0"):
        store_runs(store, (9, [piece(1, 0, 10, 1000)]))


def test_damaged_bytes_are_read_again_and_then_refused():
    inner = MemoryStore()
    store = FaultStore(inner)
    put(inner, 1, b"a" * 1000)
    store.plan(Fault("get", error=None, damage=lambda data: bytes([data[0] ^ 1]) + data[1:]))
    store_runs(store, (9, [piece(1, 0, 10, 1000)]))
    assert get(inner, 9, 10) == b"a" * 10
    name = block_name(FS, 1, 0, 0)
    framed = bytearray(inner.get(name))
    framed[5] ^= 1
    inner.delete([name])
    inner.put(name, framed)
    with pytest.raises(CorruptData, match=name):
        store_runs(inner, (10, [piece(1, 0, 10, 1000)]))


def test_a_store_that_is_away_for_long_fails_the_job():
    inner = MemoryStore()
    put(inner, 1, b"a" * 1000)
    store = FaultStore(inner)
    store.plan(Fault("put", times=None))
    with pytest.raises(StoreUnavailable):
        store_runs(store, (9, [piece(1, 0, 10, 1000)]))


def test_another_format_is_refused():
    store = MemoryStore()
    put(store, 1, b"a" * 1000)
    with pytest.raises(IOFailure, match="99"):
        store_runs(store, (9, [piece(1, 0, 10, 1000)]), number=99)
    with pytest.raises(IOFailure, match="99"):
        store_runs(store, (9, [piece(1, 0, 10, 1000, number=99)]))


@pytest.mark.parametrize("number", FORMATS)
def test_what_is_stored_in_every_format_is_stored_again_in_any(number):
    store, rng = MemoryStore(), random.Random(number)
    sources = {1: rng.randbytes(300_000), 2: b"compressible" * 30_000}
    for chunk_id, content in sources.items():
        put(store, chunk_id, content, number=chunk_id if number % 2 else number)
    formats = {chunk_id: chunk_id if number % 2 else number for chunk_id in sources}
    pieces = [piece(1, 70_000, 200_000, 300_000, formats[1]), piece(2, 5, 100_001, 360_000, formats[2])]
    store_runs(store, (9, pieces), number=number)
    wanted = sources[1][70_000:270_000] + sources[2][5:100_006]
    assert get(store, 9, len(wanted), number=number) == wanted


def test_encrypted_blocks_are_not_read_without_their_key():
    store = MemoryStore()
    put(store, 1, b"a" * 1000, number=4)
    job = pb.StoreRuns(filesystem=FS.bytes, block_size=BLOCK, block_format=4)
    job.runs.add(chunk_id=9, compaction=1, pieces=[piece(1, 0, 10, 1000, number=4)])
    with pytest.raises(IOFailure, match="no key"):
        runs.store_runs(store, job, pb.JobReply())


class Discarding(MemoryStore):
    """Keeps nothing that is stored, so that only the job's memory is measured."""

    def put(self, key, data):
        """Forget it."""


def test_the_memory_of_a_job_does_not_grow_with_its_runs():
    block, size = 1 << 20, 24 << 20
    store = Discarding()
    for index in range(size // block):
        MemoryStore.put(store, block_name(FS, 1, 0, index), framing.encode([bytes([index]) * block]))
    assert threading.active_count() < 50
    tracemalloc.start()
    store_runs(store, (9, [piece(1, 0, size, size)]), block=block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * block
