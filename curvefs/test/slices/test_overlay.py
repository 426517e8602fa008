"""The overlay says, byte for byte, what writing the slices one after the other into an array gives."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.slices.overlay import Extent, overlay

CHUNK = 24  # small, so that borders meet


@st.composite
def slices(draw, count_max=12):
    found = []
    for chunk_id in range(1, draw(st.integers(0, count_max)) + 1):
        offset = draw(st.integers(0, CHUNK))
        length = draw(st.integers(0, CHUNK - offset))
        if draw(st.booleans()) and draw(st.booleans()):
            found.append(pb.Slice(offset=offset, length=length, zero=True))
            continue
        before, after = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        place = pb.ObjectLocation(offset=before, block_format=1)
        found.append(
            pb.Slice(chunk_id=chunk_id, offset=offset, length=length, size=before + length + after, object=place)
        )
    return found


def written(found: list[pb.Slice]) -> list[tuple[int, int]]:
    """Per byte of the chunk: (chunk id, byte of its run), (0, 0) for a hole."""
    array = [(0, 0)] * CHUNK
    for one in found:
        for n in range(one.length):
            array[one.offset + n] = (0, 0) if one.zero else (one.chunk_id, one.object.offset + n)
    return array


def spread(extents: list[Extent]) -> list[tuple[int, int]]:
    return [
        (0, 0) if extent.slice is None else (extent.slice.chunk_id, extent.run_offset + n)
        for extent in extents
        for n in range(extent.length)
    ]


@given(slices(), st.integers(0, CHUNK), st.integers(0, CHUNK))
def test_extents_are_what_writing_in_order_gives(found, start, end):
    assert spread(overlay(found, start, end)) == written(found)[start:end]


@given(slices(count_max=40), st.integers(0, CHUNK), st.integers(0, CHUNK))
def test_extents_cover_the_range_in_order_without_gap(found, start, end):
    at = start
    extents = overlay(found, start, end)
    for extent in extents:
        assert extent.offset == at
        assert extent.length > 0
        at += extent.length
    assert at == max(start, end) if extents else start >= end
    assert not any(a.slice is b.slice is None for a, b in itertools.pairwise(extents))


@given(slices(), st.integers(0, CHUNK), st.integers(0, CHUNK), st.integers(0, CHUNK))
def test_overlay_of_a_part_is_the_part_of_the_overlay(found, start, middle, end):
    start, middle, end = sorted((start, middle, end))
    assert spread(overlay(found, start, end)) == spread(overlay(found, start, middle)) + spread(
        overlay(found, middle, end)
    )


def test_no_slices_are_one_hole():
    assert overlay([], 10, 30) == [Extent(10, 20, None, 0)]
    assert overlay([], 10, 10) == []


def test_later_slice_splits_the_earlier_one():
    old = pb.Slice(chunk_id=1, offset=0, length=100, size=100, object=pb.ObjectLocation())
    new = pb.Slice(chunk_id=2, offset=40, length=20, size=50, object=pb.ObjectLocation(offset=30))
    assert overlay([old, new], 10, 90) == [Extent(10, 30, old, 10), Extent(40, 20, new, 30), Extent(60, 30, old, 60)]
    assert overlay([new, old], 10, 90) == [Extent(10, 80, old, 10)]


def test_zero_slice_hides_what_was_written_before_it():
    data = pb.Slice(chunk_id=1, offset=0, length=100, size=100, object=pb.ObjectLocation())
    hole = pb.Slice(offset=50, length=100, zero=True)
    assert overlay([data, hole], 0, 200) == [Extent(0, 50, data, 0), Extent(50, 150, None, 0)]


def test_hidden_slices_give_no_extents():
    below = [pb.Slice(chunk_id=n, offset=n, length=1, size=1, object=pb.ObjectLocation()) for n in range(1, 100)]
    above = pb.Slice(chunk_id=1000, offset=0, length=100, size=100, object=pb.ObjectLocation())
    assert overlay([*below, above], 0, 100) == [Extent(0, 100, above, 0)]
