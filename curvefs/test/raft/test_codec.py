"""Every message survives the network; what does not fit is refused."""

import typing
from dataclasses import fields

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import raft_pb2 as pb
from curvefs.src.common.errors import CorruptData
from curvefs.src.raft import codec
from curvefs.src.raft import messages as m
from curvefs.src.raft.configuration import Configuration

NUMBERS = st.integers(0, 2**64 - 1)
IDS = st.lists(st.integers(1, 2**64 - 1), max_size=4).map(tuple)
ADDRESSES = st.lists(st.tuples(NUMBERS, st.text()), max_size=3).map(tuple)
CONFIGURATIONS = st.builds(Configuration, IDS, IDS, IDS, ADDRESSES, NUMBERS)
ENTRIES = st.lists(st.tuples(NUMBERS, st.sampled_from(m.EntryKind), st.binary()), max_size=4)
KINDS = typing.get_args(m.Message)
BY_TYPE = {int: NUMBERS, bool: st.booleans(), bytes: st.binary(), Configuration: CONFIGURATIONS}


@st.composite
def any_message(draw, kind=None):
    kind = kind or draw(st.sampled_from(KINDS))
    values = {one.name: draw(BY_TYPE[one.type]) for one in fields(kind) if one.type in BY_TYPE}
    if kind is m.Append:
        previous = values["previous_index"] = draw(st.integers(0, 2**63))
        made = enumerate(draw(ENTRIES), previous + 1)
        values["entries"] = tuple(m.Entry(i, term, entry_kind, data) for i, (term, entry_kind, data) in made)
    return kind(**values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_survives_the_network(kind):
    @settings(deadline=None)
    @given(any_message(kind))
    def holds(message):
        bytes_ = codec.encode(message).SerializeToString()
        assert codec.decode(pb.Message.FromString(bytes_)) == message

    holds()


@settings(deadline=None)
@given(CONFIGURATIONS)
def test_a_configuration_survives_the_log(configuration):
    assert codec.decode_configuration(codec.encode_configuration(configuration)) == configuration


@settings(deadline=None)
@given(st.builds(m.HardState, NUMBERS, NUMBERS, NUMBERS, st.booleans()))
def test_hard_state_survives_the_log(hard_state):
    assert codec.decode_hard_state(codec.encode_hard_state(hard_state)) == hard_state


@pytest.mark.parametrize("kind", [pb.UNSPECIFIED, 12, 1000])
def test_an_unknown_type_is_corrupt_data(kind):
    with pytest.raises(CorruptData):
        codec.decode(pb.Message(type=kind, to=1, term=1))


def test_an_entry_of_unknown_type_is_corrupt_data():
    said = pb.Message(type=pb.APPEND, log_index=4, entries=[pb.Entry.FromString(b"\x10\x05\x18\x09")])
    with pytest.raises(CorruptData):
        codec.decode(said)


@pytest.mark.parametrize("indices", [(6,), (4,), (5, 7), (5, 5)])
def test_a_hole_in_the_entries_is_corrupt_data(indices):
    said = pb.Message(type=pb.APPEND, log_index=4, entries=[pb.Entry(index=index) for index in indices])
    with pytest.raises(CorruptData):
        codec.decode(said)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05\x01", b"\x22\x02\x12\x09"])
def test_a_configuration_that_cannot_be_read_is_corrupt_data(data):
    with pytest.raises(CorruptData):
        codec.decode_configuration(data)
    said = pb.Message(type=pb.SNAPSHOT_CHUNK, snapshot=pb.SnapshotChunk(configuration=data))
    with pytest.raises(CorruptData):
        codec.decode(said)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_a_message_or_corrupt_data_and_nothing_else(data):
    try:
        said = pb.Message.FromString(data)
    except DecodeError:
        return  # grpc refuses it before
    try:
        message = codec.decode(said)
    except CorruptData:
        return
    assert codec.decode(codec.encode(message)) == message


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_garbage_is_a_configuration_or_corrupt_data(data):
    try:
        codec.decode_configuration(data)
    except CorruptData:
        return


@settings(deadline=None)
@given(any_message(), st.binary(min_size=1, max_size=8))
def test_fields_of_a_later_version_are_passed_over(message, value):
    later = bytes([0xFA, 0x3E, len(value)]) + value  # field 1007, bytes
    said = codec.encode(message).SerializeToString() + later
    assert codec.decode(pb.Message.FromString(said)) == message
