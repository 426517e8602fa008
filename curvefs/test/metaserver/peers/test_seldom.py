"""Seldom lines, as values."""

from curvefs.src.metaserver.peers.seldom import Seldom


def test_the_same_thing_passes_once_an_interval():
    seldom = Seldom(10)
    assert [seldom.allows("a", now) for now in (0, 1, 9.9, 10, 11)] == [True, False, False, True, False]


def test_other_things_pass_meanwhile():
    seldom = Seldom(10)
    assert seldom.allows("a", 0)
    assert seldom.allows("b", 1)
    assert not seldom.allows("a", 2)


def test_what_is_remembered_is_bounded():
    seldom = Seldom(10)
    for number in range(5000):
        seldom.allows(number, 0)
    assert not seldom.allows(4999, 1)  # the latest are known
    assert seldom.allows(0, 1)  # the oldest were forgotten
    assert len(seldom._last) <= 1024
