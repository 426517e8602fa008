"""Hints are given once, are replaced by newer ones, and are bounded."""

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.hints import SliceHints


def a_slice(chunk_id):
    return pb.Slice(chunk_id=chunk_id, length=7, size=7, object=pb.ObjectLocation(block_format=1))


def test_a_hint_serves_one_open():
    hints = SliceHints()
    hints.learn(5, a_slice(1))
    hints.learn(5, a_slice(2))
    assert hints.take(5) == a_slice(2)
    assert hints.take(5) is None


def test_what_has_no_object_is_no_hint_and_ends_an_older_one():
    hints = SliceHints()
    hints.learn(5, a_slice(1))
    hints.learn(5, pb.Slice(chunk_id=2, length=7, zero=True))
    assert hints.take(5) is None


def test_the_oldest_go_first():
    hints = SliceHints(hints_max=2)
    hints.learn(1, a_slice(1))
    hints.learn(2, a_slice(2))
    hints.learn(1, a_slice(3))
    hints.learn(3, a_slice(4))
    assert [hints.take(n) for n in (1, 2, 3)] == [a_slice(3), None, a_slice(4)]
