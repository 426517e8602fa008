"""Bytes of the log."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.metaserver.wal import format as fmt
from curvefs.src.metaserver.wal.format import Record, RecordType


def seed_of(header):
    decoded = fmt.decode_header(header)
    assert decoded is not None
    return decoded.seed


HEADER = fmt.encode_header(7, 0x1234)
SEED = seed_of(HEADER)
U64 = st.integers(0, 2**64 - 1)
RECORDS = st.lists(st.builds(Record, st.sampled_from(RecordType), U64, U64, U64, st.binary(max_size=64)), max_size=5)


def decoded(data):
    return [record for _, record in fmt.decode(data, SEED)]


@given(st.lists(RECORDS, max_size=4))
def test_what_was_encoded_is_decoded(writes):
    data = HEADER
    for records in writes:
        data += fmt.encode(records, len(data), SEED)
    assert decoded(data) == [record for records in writes for record in records]


@given(st.binary(max_size=64))
def test_a_header_is_told_from_other_bytes(data):
    assert fmt.decode_header(data) is None


def test_every_changed_bit_of_a_record_is_noticed():
    data = HEADER + fmt.encode([Record(RecordType.ENTRY, 1, 2, 3, b"payload")], len(HEADER), SEED)
    for bit in range(len(HEADER) * 8, len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert decoded(bytes(changed)) == [], "never another record"
        except fmt.BadRecord as error:
            assert error.offset == len(HEADER)
        else:
            raise AssertionError(f"bit {bit} was not noticed")


def test_every_changed_byte_of_a_header_is_noticed():
    for at in range(len(HEADER)):
        changed = bytearray(HEADER)
        changed[at] ^= 0xFF
        found = fmt.decode_header(bytes(changed))
        assert found is None or found.version > fmt.VERSION


def test_a_record_of_another_segment_is_none():
    other = seed_of(fmt.encode_header(7, 0x9999))
    data = HEADER + fmt.encode([Record(RecordType.ENTRY, 1, 1, 1)], len(HEADER), other)
    assert fmt.written_later(data, SEED, 0) is None


def test_only_a_later_write_proves_that_what_is_bad_was_durable():
    first = fmt.encode([Record(RecordType.ENTRY, 1, 1, 1), Record(RecordType.ENTRY, 1, 1, 2)], len(HEADER), SEED)
    data = bytearray(HEADER + first)
    data[len(HEADER) + 5] ^= 1
    assert fmt.written_later(bytes(data), SEED, len(HEADER)) is None
    later = len(data)
    data += fmt.encode([Record(RecordType.ENTRY, 1, 1, 3)], later, SEED)
    assert fmt.written_later(bytes(data), SEED, len(HEADER)) == later
