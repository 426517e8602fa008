"""Blocks in every format: what is encoded comes back, whole and in part, with few requests; damage never passes."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import CorruptData, InvalidArgument, IOFailure
from curvefs.src.slices import codec as codec_module
from curvefs.src.slices import framing
from curvefs.src.slices.block_formats import FORMATS, format_number
from curvefs.src.slices.codec import BlockCodec, object_size_max
from curvefs.src.slices.compression import Compression
from curvefs.src.slices.framing import SEGMENT_SIZE

NAME = "00000000-0000-0000-0000-000000000001/0/1/1234_0_7"
KEY = bytes(range(32))
COMPRESSED = [one.number for one in FORMATS.values() if one.compression is not Compression.NONE]
PLAIN = [number for number in FORMATS if number not in COMPRESSED]
ENCRYPTED = [one.number for one in FORMATS.values() if one.encrypted]
NUMBERS = st.sampled_from(sorted(FORMATS))
SIZES = st.builds(lambda n, by: max(1, n * SEGMENT_SIZE + by), st.integers(0, 6), st.integers(-2, 2)) | st.integers(
    1, 300_000
)
KINDS = st.sampled_from(["random", "zeros", "text", "mixed"])


def content(size: int, kind: str = "mixed") -> bytes:
    """Return bytes that compress not at all, very well, somewhat, or differently from segment to segment."""
    source = random.Random(size)
    noise = source.randbytes(size)
    if kind == "random":
        return noise
    if kind == "zeros":
        return bytes(size)
    text = b"".join(b"%d bottles of beer on the wall, " % n for n in range(size // 30 + 1))[:size]
    if kind == "text":
        return text
    pieces = [source.choice([noise, text])[at : at + SEGMENT_SIZE] for at in range(0, size, SEGMENT_SIZE)]
    return b"".join(pieces)


def codec(key: bytes = KEY) -> BlockCodec:
    return BlockCodec(key, random.Random(1).randbytes)


class Object:
    """An object as a store has it; notes what is fetched of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fetched: list[tuple[int, int | None]] = []

    def fetch(self, offset: int, size: int | None) -> bytes:
        self.fetched.append((offset, size))
        return self.data[offset:] if size is None else self.data[offset : offset + size]


def encoded(number: int, data: bytes, name: str = NAME) -> Object:
    return Object(bytes(codec().encode(number, name, [data])))


def read(number: int, stored: Object, start: int, size: int, length: int, *, by: BlockCodec | None = None) -> bytes:
    return b"".join((by or codec()).read(number, NAME, start, size, length, fetch=stored.fetch))


@st.composite
def ranges(draw: st.DrawFn, size: int) -> tuple[int, int]:
    """Some whole segments of a block."""
    count = -(-size // SEGMENT_SIZE)
    first = draw(st.integers(0, count - 1))
    end = min(draw(st.integers(first + 1, count)) * SEGMENT_SIZE, size)
    return first * SEGMENT_SIZE, end - first * SEGMENT_SIZE


@settings(deadline=None)
@given(NUMBERS, SIZES, KINDS, st.data())
def test_every_range_of_what_was_encoded_comes_back(number, size, kind, draw):
    data = content(size, kind)
    stored, reader = encoded(number, data), codec()
    assert len(stored.data) <= object_size_max(number, size)
    assert read(number, stored, 0, size, size) == data
    for _ in range(3):
        start, length = draw.draw(ranges(size))
        assert read(number, stored, start, length, size, by=reader) == data[start : start + length]


@settings(deadline=None)
@given(NUMBERS, SIZES, st.lists(st.integers(0, 300_000), max_size=5))
def test_encoding_does_not_depend_on_how_the_data_is_cut(number, size, borders):
    data = content(size)
    places = [0, *sorted(min(border, size) for border in borders), size]
    parts = [memoryview(data)[start:end] for start, end in itertools.pairwise(places)]
    assert codec().encode(number, NAME, parts) == codec().encode(number, NAME, [data])


@settings(deadline=None)
@given(NUMBERS, SIZES, KINDS, st.data())
def test_any_flipped_bit_is_found(number, size, kind, draw):
    stored = encoded(number, content(size, kind))
    bit = draw.draw(st.integers(0, len(stored.data) * 8 - 1))
    damaged = bytearray(stored.data)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptData, match="segment"):
        read(number, Object(bytes(damaged)), 0, size, size)


@pytest.mark.parametrize("number", sorted(FORMATS))
def test_each_flipped_bit_of_a_short_block_is_found(number):
    data = content(300, "text")
    stored = encoded(number, data)
    damaged = bytearray(stored.data)
    for bit in range(len(damaged) * 8):
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptData, match="segment"):
            read(number, Object(bytes(damaged)), 0, 300, 300)
        damaged[bit // 8] ^= 1 << bit % 8


@settings(deadline=None)
@given(NUMBERS, SIZES, st.data())
def test_object_of_another_length_is_found(number, size, draw):
    stored = encoded(number, content(size))
    shorter = draw.draw(st.integers(0, len(stored.data) - 1))
    with pytest.raises(CorruptData):
        read(number, Object(stored.data[:shorter]), 0, size, size)


@pytest.mark.parametrize("number", COMPRESSED)
def test_compressed_block_is_smaller_and_noise_is_kept_as_it_is(number):
    size = 10 * SEGMENT_SIZE
    assert len(encoded(number, content(size, "text")).data) < size // 3
    assert len(encoded(number, content(size, "random")).data) == object_size_max(number, size)


@pytest.mark.parametrize("number", PLAIN)
def test_without_compression_a_part_is_one_request_of_its_size(number):
    size = 40 * SEGMENT_SIZE
    stored = encoded(number, content(size))
    read(number, stored, 30 * SEGMENT_SIZE, 2 * SEGMENT_SIZE, size)
    ((_, fetched),) = stored.fetched
    assert fetched <= 2 * (SEGMENT_SIZE + 24)


@pytest.mark.parametrize("number", COMPRESSED)
def test_part_of_a_compressed_block_costs_one_small_request_more_once(number):
    size = 40 * SEGMENT_SIZE
    stored, reader = encoded(number, content(size, "text")), codec()
    read(number, stored, 30 * SEGMENT_SIZE, 2 * SEGMENT_SIZE, size, by=reader)
    (_, index_size), (_, part_size) = stored.fetched
    assert index_size <= 4 * 41
    assert part_size < SEGMENT_SIZE
    read(number, stored, 10 * SEGMENT_SIZE, 2 * SEGMENT_SIZE, size, by=reader)
    assert len(stored.fetched) == 3


@pytest.mark.parametrize("number", COMPRESSED)
@pytest.mark.parametrize(("start", "size"), [(0, 2), (2, 2), (0, 40)])
def test_beginning_and_whole_of_a_compressed_block_are_one_request(number, start, size):
    length = 40 * SEGMENT_SIZE
    stored = encoded(number, content(length, "text"))
    read(number, stored, start * SEGMENT_SIZE, size * SEGMENT_SIZE, length)
    assert len(stored.fetched) == 1


def test_remembered_indexes_are_bounded(monkeypatch):
    monkeypatch.setattr(codec_module, "INDEXES_MAX", 3)
    size, reader = 10 * SEGMENT_SIZE, codec()
    stored = encoded(2, content(size))
    for number in range(5):
        reader.read(2, f"name-{number}", 0, size, size, fetch=stored.fetch)
    assert len(reader._indexes) == 3


def test_index_that_proved_wrong_is_fetched_again():
    """A cache disk or a server may have given a wrong one that looked right."""
    size, reader = 20 * SEGMENT_SIZE, codec()
    wrong, right = encoded(2, content(size, "text")), encoded(2, content(size, "random"))
    read(2, wrong, 10 * SEGMENT_SIZE, SEGMENT_SIZE, size, by=reader)
    with pytest.raises(CorruptData):
        read(2, right, 10 * SEGMENT_SIZE, SEGMENT_SIZE, size, by=reader)
    read(2, right, 10 * SEGMENT_SIZE, SEGMENT_SIZE, size, by=reader)


@pytest.mark.parametrize("number", ENCRYPTED)
def test_segment_in_another_place_is_refused(number):
    size = 3 * SEGMENT_SIZE
    stored = encoded(number, content(size, "random")).data
    head = len(stored) - size - 3 * 24
    first, second, third = (
        stored[head + at : head + at + SEGMENT_SIZE + 24] for at in range(0, 3 * (1 << 16) + 72, (1 << 16) + 24)
    )
    exchanged = Object(stored[:head] + second + first + third)
    assert len(exchanged.data) == len(stored)
    with pytest.raises(CorruptData, match="segment 0"):
        read(number, exchanged, 0, size, size)


@pytest.mark.parametrize("number", ENCRYPTED)
@pytest.mark.parametrize("name", [NAME.replace("1234", "1235"), NAME.replace("_7", "_8"), NAME.replace("_0_", "_1_")])
def test_block_in_place_of_another_is_refused(number, name):
    stored = encoded(number, content(1000), name)
    with pytest.raises(CorruptData, match="tag"):
        read(number, stored, 0, 1000, 1000)


@pytest.mark.parametrize("number", ENCRYPTED)
def test_encrypted_block_shows_nothing_and_needs_its_key(number):
    data = b"a secret that is said again and again " * 100
    stored = encoded(number, data)
    assert b"secret" not in stored.data
    with pytest.raises(CorruptData, match="segment 0"):
        read(number, stored, 0, len(data), len(data), by=codec(bytes(32)))
    with pytest.raises(IOFailure, match="no key"):
        read(number, stored, 0, len(data), len(data), by=codec(b""))


def test_no_nonce_serves_twice():
    writer = codec()
    size = 3 * SEGMENT_SIZE
    data = content(size)
    stored = [writer.encode(4, NAME, [data]) for _ in range(2)]
    nonces = [one[at : at + 8] for one in stored for at in range(0, len(one), SEGMENT_SIZE + 24)]
    assert nonces[:3] == nonces[:1] * 3  # the segment's number makes the difference
    assert nonces[0] != nonces[3]


@pytest.mark.parametrize("number", ENCRYPTED)
def test_two_encodings_of_a_block_may_be_mixed(number):
    """A put of unknown outcome may take effect after its repetition, between two reads."""
    size = 3 * SEGMENT_SIZE
    data = content(size)
    writer = codec()
    one, other = (writer.encode(number, NAME, [data]) for _ in range(2))
    assert len(one) == len(other)
    assert (
        read(number, Object(one[: len(one) // 2] + other[len(one) // 2 :]), 0, SEGMENT_SIZE, size)
        == data[:SEGMENT_SIZE]
    )
    reader = codec()
    read(number, Object(one), 0, SEGMENT_SIZE, size, by=reader)
    assert read(number, Object(other), 2 * SEGMENT_SIZE, SEGMENT_SIZE, size, by=reader) == data[2 * SEGMENT_SIZE :]


@settings(deadline=None)
@given(SIZES)
def test_format_1_is_framing(size):
    data = content(size)
    assert codec().encode(1, NAME, [data]) == framing.encode([data])
    assert object_size_max(1, size) == framing.framed_size(size)


def test_numbers_are_for_good():
    chosen = {(one.compression.value, one.encrypted): one.number for one in FORMATS.values()}
    assert chosen == {
        ("none", False): 1,
        ("zstd", False): 2,
        ("lz4", False): 3,
        ("none", True): 4,
        ("zstd", True): 5,
        ("lz4", True): 6,
    }
    assert format_number("", encrypted=False) == 1
    assert format_number("lz4", encrypted=True) == 6
    with pytest.raises(InvalidArgument, match="'gzip' is no compression"):
        format_number("gzip", encrypted=False)
    with pytest.raises(IOFailure, match="99 is not known"):
        codec().encode(99, NAME, [b"x"])


# As version 0.1.0 wrote them; what compresses may differ in later versions, what reads these must not.
WRITTEN = {
    4: "f5b165224a58b7913757a3fdda9410ead12551bb6df4ee645f02062daaa0edb0964a31cc9f884f01aa9cc3446507a75f6a75"
    "f6aa59c8c037d612d2ed00df5b673180b6cc30812b90a76960a1cae884bb47a193516eaa0def3a072da6a7a201413d63fa00"
    "209789fe55d0b5e093b9ed56ffa1dbfa63b87afa8c9cf5df4d24210e669b0ccfade77c8cc0407549d8ff564a3a5151f75323"
    "cac7cde7e9baa4e9583c503f65afce8c18757a201d382805b4c8fb5b5a81997f09e3319810699efad939e225d6be6347e0ec"
    "7c277266661590590091ebc94cb884b6b54c37d512118c880ea3747c4cbf9bcc4a5a51f43227c4348ce34b852b5670c33efc"
    "cd420b88355db4fc05933486965206fedf94b1e1769cd1889bb51c187491ad1a1c4422e8f8a14522703d93a21bd533d02448"
    "5ef9084b30a3908ccec73bf82f7b1955d818c1dbf27cc6bf",
    2: "0000001fac4cd2e928b52ffd0000b50000786f6e652074776f2074687265652c2001001aa2ce3ad75b2722",
    3: "0000001bab2116f0ff006f6e652074776f2074687265652c200f00ff06507265652c20fab97865",
    5: "0000001fac4cd2e9f5b165224a58b791708ce920aee3cacaa5354cb06df8ba7c5e475231afaaa8e8de3954b311661af9e84b"
    "484f9c1d65e6631384b8366325",
    6: "0000001bab2116f0f5b165224a58b791a739a9b3cbc30bbdca6d57b67abdab27116826a6db9fbfa19b1474ee3e81a596be88"
    "1636ca09da24bc7ec1",
}


@pytest.mark.parametrize("number", sorted(WRITTEN))
def test_blocks_of_the_first_version_read(number):
    data = b"one two three, one two three, " * 10
    assert read(number, Object(bytes.fromhex(WRITTEN[number])), 0, len(data), len(data)) == data
