"""Runs of written bytes."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.data.dirty import RUN_OVERHEAD, DirtyRuns

CHUNK, BLOCK = 4096, 1024


def view(data: bytes) -> memoryview:
    return memoryview(data)


def laid(runs: DirtyRuns, size: int) -> bytes:
    """Return what a reader sees, unwritten bytes as zeros."""
    result = bytearray(size)
    for at, piece in runs.pieces(0, size):
        result[at : at + len(piece)] = piece
    return bytes(result)


def published(runs: DirtyRuns, size: int) -> bytes:
    """Return what the slices of the runs make, oldest first."""
    result = bytearray(size)
    for run in runs.runs:
        result[run.start : run.end] = b"".join(bytes(block) for block in run.blocks)
    return bytes(result)


def test_adjacent_writes_make_one_run():
    runs = DirtyRuns(CHUNK, BLOCK)
    for n in range(10):
        runs.write(n * 128, view(bytes([n]) * 128), 0.0)
    assert [(run.start, run.length) for run in runs.runs] == [(0, 1280)]
    assert [len(block) for block in runs.runs[0].blocks] == [1024, 256]


def test_an_overlapping_write_changes_the_run_in_place():
    runs = DirtyRuns(CHUNK, BLOCK)
    runs.write(0, view(b"a" * 100), 0.0)
    runs.write(50, view(b"b" * 100), 0.0)
    assert len(runs.runs) == 1
    assert laid(runs, 150) == b"a" * 50 + b"b" * 100


def test_frozen_bytes_never_change():
    runs = DirtyRuns(CHUNK, BLOCK)
    run = runs.write(0, view(b"a" * 1500), 0.0)
    run.frozen = 1024
    runs.write(1000, view(b"b" * 100), 0.0)
    assert bytes(run.blocks[0]) == b"a" * 1024
    assert len(runs.runs) == 2
    assert laid(runs, 1500) == b"a" * 1000 + b"b" * 100 + b"a" * 400


def test_a_sealed_run_takes_nothing():
    runs = DirtyRuns(CHUNK, BLOCK)
    runs.write(0, view(b"a" * 10), 0.0).sealed = True
    runs.write(10, view(b"b" * 10), 0.0)
    assert [(run.start, run.length) for run in runs.runs] == [(0, 10), (10, 10)]


def test_an_older_run_takes_no_bytes_that_a_newer_one_covers():
    runs = DirtyRuns(CHUNK, BLOCK)
    first = runs.write(0, view(b"a" * 100), 0.0)
    runs.write(500, view(b"b" * 100), 0.0)
    runs.write(100, view(b"c" * 450), 0.0)
    assert first.length == 100
    assert laid(runs, 600) == b"a" * 100 + b"c" * 450 + b"b" * 50


def test_a_run_ends_with_its_chunk():
    runs = DirtyRuns(CHUNK, BLOCK)
    assert runs.write(CHUNK - 10, view(b"a" * 10), 0.0).sealed
    assert runs.write(CHUNK, view(b"b"), 0.0).start == CHUNK


def test_appends_make_a_run_of_their_own():
    runs = DirtyRuns(CHUNK, BLOCK)
    runs.write(0, view(b"a" * 10), 0.0)
    runs.append(10, view(b"b" * 5), 0.0)
    runs.append(15, view(b"c" * 5), 0.0)
    assert [(run.at_end, run.start, run.length) for run in runs.runs] == [(False, 0, 10), (True, 10, 10)]


def test_a_write_over_an_append_begins_a_new_run():
    runs = DirtyRuns(CHUNK, BLOCK)
    runs.append(0, view(b"b" * 10), 0.0)
    runs.write(5, view(b"c" * 10), 0.0)
    assert laid(runs, 15) == b"b" * 5 + b"c" * 10
    assert [run.at_end for run in runs.runs] == [True, False]


def test_removing_runs_twice_gives_their_memory_once():
    runs = DirtyRuns(CHUNK, BLOCK)
    batch = [runs.write(0, view(b"a" * 3000), 0.0)]
    assert runs.remove(batch) > 3000
    assert runs.remove(batch) == 0
    assert runs.memory == 0


writes = st.tuples(st.integers(0, CHUNK - 1), st.integers(1, 900))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), writes),
        st.tuples(st.just("freeze"), st.integers(0, 5)),
        st.tuples(st.just("seal"), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(steps)
def test_runs_and_their_slices_make_what_was_written(script):
    """Whatever is frozen or sealed in between, readers and the published list see the last write of each byte."""
    runs = DirtyRuns(CHUNK, BLOCK)
    expected = bytearray(CHUNK)
    frozen: dict[int, bytes] = {}
    for number, (what, argument) in enumerate(script):
        if what == "write":
            offset, size = argument
            size = min(size, CHUNK - offset)
            data = bytes([number % 255 + 1]) * size
            before = runs.memory
            runs.write(offset, view(data), 0.0)
            assert runs.memory - before <= runs.room_for(size)
            expected[offset : offset + size] = data
        elif argument < len(runs.runs):
            run = runs.runs[argument]
            if what == "seal":
                run.sealed = True
            else:
                run.frozen = max(run.frozen, run.length // BLOCK * BLOCK)
                frozen[run.number] = b"".join(bytes(block) for block in run.blocks)[: run.frozen]
    assert laid(runs, CHUNK) == bytes(expected)
    assert published(runs, CHUNK) == bytes(expected)
    assert runs.memory == sum(run.memory for run in runs.runs)
    for run in runs.runs:
        assert run.start // CHUNK == (run.end - 1) // CHUNK
        assert run.memory >= run.length + RUN_OVERHEAD
        assert b"".join(bytes(block) for block in run.blocks).startswith(frozen.get(run.number, b""))
