"""Block format 1: what is encoded comes back, whole and in part, and damage never passes."""

import itertools
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import CorruptData
from curvefs.src.slices.framing import SEGMENT_SIZE, decode, encode, framed_range, framed_size

# Around the borders of segments, where mistakes live; content is cheap to make and differs everywhere.
SIZES = st.builds(lambda n, by: max(0, n * SEGMENT_SIZE + by), st.integers(0, 3), st.integers(-3, 3)) | st.integers(
    0, 200_000
)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def slow_encode(data: bytes) -> bytes:
    """The format, said once more as plainly as possible."""
    framed = b""
    for start in range(0, len(data), 65536):
        segment = data[start : start + 65536]
        framed += segment + zlib.crc32(segment).to_bytes(4, "big")
    return framed


def cut(data: bytes, borders: list[int]) -> list[memoryview]:
    places = [0, *sorted(min(border, len(data)) for border in borders), len(data)]
    return [memoryview(data)[start:end] for start, end in itertools.pairwise(places)]


@settings(deadline=None)
@given(SIZES, st.lists(st.integers(0, 200_000), max_size=5))
def test_encoding_is_the_format_however_the_data_is_cut(size, borders):
    data = content(size)
    framed = encode(cut(data, borders))
    assert framed == slow_encode(data)
    assert len(framed) == framed_size(size)


@settings(deadline=None)
@given(SIZES)
def test_decoding_gives_back_what_was_encoded(size):
    data = content(size)
    assert b"".join(decode(encode([data]), size)) == data


@settings(deadline=None)
@given(SIZES.filter(bool), st.data())
def test_range_of_the_object_holds_the_range_of_the_block(size, draw):
    data = content(size)
    framed = encode([data])
    offset = draw.draw(st.integers(0, size - 1))
    length = draw.draw(st.integers(1, size - offset))
    start, framed_length = framed_range(offset, length, size)
    first = offset // SEGMENT_SIZE * SEGMENT_SIZE
    last = min(size, -(-(offset + length) // SEGMENT_SIZE) * SEGMENT_SIZE)
    assert start + framed_length <= len(framed)
    whole = b"".join(decode(framed[start : start + framed_length], last - first))
    assert whole == data[first:last]
    skipped = offset % SEGMENT_SIZE
    assert whole[skipped : skipped + length] == data[offset : offset + length]


@settings(deadline=None)
@given(SIZES.filter(bool), st.data())
def test_any_flipped_bit_is_found(size, draw):
    framed = bytearray(encode([content(size)]))
    bit = draw.draw(st.integers(0, len(framed) * 8 - 1))
    framed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptData, match="checksum"):
        decode(bytes(framed), size)


def test_each_flipped_bit_of_a_short_block_is_found():
    """All of them, the checksum's own bits too."""
    framed = bytearray(encode([content(300)]))
    for bit in range(len(framed) * 8):
        framed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptData, match="checksum"):
            decode(bytes(framed), 300)
        framed[bit // 8] ^= 1 << bit % 8
    assert b"".join(decode(bytes(framed), 300)) == content(300)


@settings(deadline=None)
@given(SIZES.filter(bool), st.data())
def test_object_of_another_length_is_found(size, draw):
    framed = encode([content(size)])
    shorter = draw.draw(st.integers(0, len(framed) - 1))
    with pytest.raises(CorruptData, match="expected"):
        decode(framed[:shorter], size)
    with pytest.raises(CorruptData, match="expected"):
        decode(framed + b"x", size)


def test_decoding_copies_nothing():
    framed = encode([content(100_000)])
    assert all(piece.obj is framed for piece in decode(framed, 100_000))


def test_nothing_takes_nothing():
    assert encode([]) == encode([b"", bytearray()]) == b""
    assert framed_size(0) == 0
    assert decode(b"", 0) == []
