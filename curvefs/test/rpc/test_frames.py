"""Frames on a connection, however the bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.common.errors import CorruptData
from curvefs.src.rpc.frames import FRAME_SIZE_MAX, FrameReader, length_of, pack

MESSAGES = st.lists(st.binary(max_size=300), max_size=8)


@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1))
def test_messages_come_whole_and_in_order_however_they_are_cut(messages, sizes):
    data = b"".join(map(pack, messages))
    reader, arrived, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        arrived += reader.take(data[at : at + size])
        at, turn = at + size, turn + 1
    assert arrived == messages


@given(MESSAGES)
def test_many_may_come_at_once(messages):
    assert list(FrameReader().take(b"".join(map(pack, messages)))) == messages


def test_a_message_is_told_as_soon_as_its_last_byte_is_there():
    frame = pack(b"abc")
    reader = FrameReader()
    assert not list(reader.take(frame[:-1]))
    assert list(reader.take(frame[-1:])) == [b"abc"]


def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept():
    with pytest.raises(CorruptData, match="at most"):
        list(FrameReader().take((FRAME_SIZE_MAX + 1).to_bytes(4, "big") + b"x"))
    with pytest.raises(CorruptData, match="a frame of 101 bytes; at most 100"):
        length_of((101).to_bytes(4, "big"), 100)
