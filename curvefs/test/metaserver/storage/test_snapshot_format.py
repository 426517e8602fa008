"""Bytes of a snapshot: what was written is read, and nothing else is."""

import io
import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.metaserver.storage import snapshot_format as fmt
from curvefs.src.metaserver.storage.snapshot_format import BadSnapshot, Decoder, Header, NewerVersion, encode

PAIRS = [(bytes([number]), b"value %d" % number) for number in range(9)]
STATES = st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=60), max_size=20)
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(Header, U64, U64, st.integers(-(2**63), 2**63 - 1), st.just(0), st.binary(max_size=20))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(fmt, "BLOCK_SIZE", 40)


def header_of(pairs, header=None):
    header = header or Header(11, 2, -5, 0, b"members")
    return Header(header.index, header.term, header.time_ns, len(pairs), header.configuration)


def encoded(pairs, header=None):
    return b"".join(encode(header_of(pairs, header), pairs))


def decoded(data):
    decoder = Decoder(io.BytesIO(data).read)
    return decoder.header, [pair for block in decoder.pairs() for pair in block]


def block(data, crc):
    """Return a block as the format has it, and the checksum so far."""
    length = struct.pack(">I", len(data))
    crc = zlib.crc32(length + data, crc)
    return length + data + struct.pack(">I", crc), crc


def pair(key, value):
    return struct.pack(">HI", len(key), len(value)) + key + value


def by_hand(*blocks, pairs):
    """Return a snapshot whose checksums are right, whatever is in its blocks."""
    said = b"CURVEFS" + struct.pack(">IQQqQI", 1, 11, 2, -5, pairs, 7) + b"members"
    crc = zlib.crc32(said)
    data = said + struct.pack(">I", crc)
    for one in (*blocks, b""):
        more, crc = block(one, crc)
        data += more
    return data


@given(STATES, HEADERS, st.integers(1, 100))
def test_what_was_encoded_is_decoded(state, header, block_size):
    pairs = sorted(state.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmt, "BLOCK_SIZE", block_size)
        assert decoded(encoded(pairs, header)) == (header_of(pairs, header), pairs)


def test_the_bytes_are_those_of_the_description():
    by_description = by_hand(b"".join(itertools.starmap(pair, PAIRS)), pairs=9)
    assert encoded(PAIRS) == by_description
    assert by_description[:15].hex() == "4355525645465300000001" + "00000000"
    assert by_description[47:54] == b"members"


def test_the_last_checksum_is_that_of_everything_but_checksums(small_blocks):
    pieces = list(encode(header_of(PAIRS), PAIRS))
    assert len(pieces) > 4
    assert int.from_bytes(pieces[-1][-4:], "big") == zlib.crc32(b"".join(piece[:-4] for piece in pieces))


def test_blocks_are_of_a_bounded_size(small_blocks):
    pieces = list(encode(header_of(PAIRS), PAIRS))
    assert max(len(piece) for piece in pieces[1:]) < 40 + 6 + 8 + 8


def test_no_changed_byte_is_accepted(small_blocks):
    data = encoded(PAIRS)
    for at, flip in itertools.product(range(len(data)), (0x01, 0x80, 0xFF)):
        changed = bytearray(data)
        changed[at] ^= flip
        with pytest.raises((BadSnapshot, NewerVersion)) as caught:
            decoded(bytes(changed))
        assert caught.type is BadSnapshot or at in range(7, 11)


def test_damage_is_placed_in_its_block(small_blocks):
    pieces = list(encode(header_of(PAIRS), PAIRS))
    start = 0
    for number, piece in enumerate(pieces):
        changed = bytearray(b"".join(pieces))
        changed[start + len(piece) - 1] ^= 1
        with pytest.raises(BadSnapshot) as caught:
            decoded(bytes(changed))
        assert (caught.value.offset, number) == (start, number)
        start += len(piece)


def test_no_part_of_a_snapshot_is_accepted(small_blocks):
    data = encoded(PAIRS)
    for size in range(len(data)):
        with pytest.raises(BadSnapshot) as caught:
            decoded(data[:size])
        assert caught.value.offset == size
        assert "cut off" in caught.value.why


def test_blocks_that_changed_places_are_noticed(small_blocks):
    first, one, two, *rest = encode(header_of(PAIRS), PAIRS)
    with pytest.raises(BadSnapshot, match="checksum") as caught:
        decoded(b"".join([first, two, one, *rest]))
    assert caught.value.offset == len(first)


def test_what_follows_the_end_is_noticed():
    data = encoded(PAIRS)
    with pytest.raises(BadSnapshot, match="follows") as caught:
        decoded(data + b"\0")
    assert caught.value.offset == len(data)


@pytest.mark.parametrize("keys", ["ba", "aa"])
@pytest.mark.parametrize("apart", [False, True])
def test_keys_that_do_not_rise_are_noticed(keys, apart):
    pairs = [pair(key.encode(), b"v") for key in keys]
    data = by_hand(*(pairs if apart else [b"".join(pairs)]), pairs=2)
    with pytest.raises(BadSnapshot, match="not above") as caught:
        decoded(data)
    assert data[caught.value.offset :].startswith(pairs[1])


def test_an_empty_key_is_noticed():
    with pytest.raises(BadSnapshot, match="not above"):
        decoded(by_hand(pair(b"", b"v"), pairs=1))


@pytest.mark.parametrize("pairs", [0, 1, 3, 2**64 - 1])
def test_a_wrong_number_of_pairs_is_noticed(pairs):
    with pytest.raises(BadSnapshot, match="ends after 2 pairs"):
        decoded(by_hand(pair(b"a", b"1") + pair(b"b", b"2"), pairs=pairs))


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_pair_that_goes_beyond_its_block_is_noticed(cut):
    with pytest.raises(BadSnapshot, match="beyond its block"):
        decoded(by_hand(pair(b"a", b"12")[:-cut], pairs=1))


def test_a_newer_version_is_told_from_damage_whatever_follows():
    with pytest.raises(NewerVersion) as caught:
        decoded(b"CURVEFS\0\0\0\2")
    assert caught.value.version == 2


@pytest.mark.parametrize("begin", [b"CURVEFX\0\0\0\1", b"CURVEFS\0\0\0\0", b"CURVEFX\0\0\0\2"])
def test_other_files_are_no_snapshots(begin):
    data = encoded(PAIRS)
    with pytest.raises(BadSnapshot, match="begin") as caught:
        decoded(begin + data[len(begin) :])
    assert caught.value.offset == 0


def test_lengths_beyond_reason_are_not_read():
    asked = []

    def read(size, file=io.BytesIO(by_hand(pairs=0)[:-8] + b"\xff\xff\xff\xff")):  # noqa: B008  # a file of its own
        asked.append(size)
        return file.read(size)

    with pytest.raises(BadSnapshot, match="a block of 4294967295 bytes"):
        list(Decoder(read).pairs())
    with pytest.raises(BadSnapshot, match="a configuration of"):
        decoded(encoded([])[:43] + b"\xff\xff\xff\xff")
    assert max(asked) < 100
