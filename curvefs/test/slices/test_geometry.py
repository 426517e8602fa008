"""Chunks and blocks cover a range exactly, in order, and never cross a border."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.slices.geometry import BlockRange, ChunkRange, Geometry

SMALL = Geometry(UUID(int=1), chunk_size=64, block_size=10, block_format=1)
REAL = Geometry(UUID(int=1), chunk_size=64 << 20, block_size=4 << 20, block_format=1)


@given(st.integers(0, 1000), st.integers(0, 500))
def test_chunks_cover_a_range_in_order_within_their_borders(offset, length):
    at = offset
    for part in SMALL.chunks(offset, length):
        assert part.chunk_index * 64 + part.offset == at
        assert 0 < part.length <= 64 - part.offset
        at += part.length
    assert at == offset + length


@given(st.data())
def test_blocks_cover_a_range_of_a_run_in_order_within_their_borders(draw):
    run_size = draw.draw(st.integers(1, 64))
    offset = draw.draw(st.integers(0, run_size))
    length = draw.draw(st.integers(0, run_size - offset))
    at = offset
    for part in SMALL.blocks(offset, length, run_size):
        assert part.block * 10 + part.offset == at
        assert part.block_length == min(10, run_size - part.block * 10)
        assert 0 < part.length <= part.block_length - part.offset
        at += part.length
    assert at == offset + length


@given(st.integers(1, 64))
def test_whole_run_is_all_of_its_blocks(run_size):
    parts = list(SMALL.blocks(0, run_size, run_size))
    assert [part.block for part in parts] == list(range(-(-run_size // 10)))
    assert all(part.offset == 0 and part.length == part.block_length for part in parts)
    assert sum(part.block_length for part in parts) == run_size


def test_values_of_a_real_geometry():
    mib = 1 << 20
    assert list(REAL.chunks(64 * mib - 1, 64 * mib + 2)) == [
        ChunkRange(0, 64 * mib - 1, 1),
        ChunkRange(1, 0, 64 * mib),
        ChunkRange(2, 0, 1),
    ]
    # The second block of a run of 5 MiB is 1 MiB long, wherever in the chunk the slice lies.
    assert list(REAL.blocks(3 * mib, 2 * mib, 5 * mib)) == [
        BlockRange(0, 3 * mib, mib, 4 * mib),
        BlockRange(1, 0, mib, mib),
    ]
    assert list(REAL.chunks(5, 0)) == []
    assert list(REAL.blocks(5, 0, 5)) == []
