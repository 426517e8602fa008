"""Open handles: counted per inode; an inode without names is let go with its last handle."""

from dataclasses import dataclass

import pytest

from curvefs.src.client.vfs.handles import OpenHandles
from curvefs.src.common.errors import InvalidArgument


@dataclass
class Handle:
    inode_id: int


def test_numbers_are_never_used_twice():
    handles = OpenHandles()
    first = handles.add(Handle(1))
    handles.remove(first)
    assert handles.add(Handle(1)) != first
    with pytest.raises(InvalidArgument):
        handles.get(first)


def test_an_inode_is_open_until_its_last_handle_is_gone():
    handles = OpenHandles()
    first, second = handles.add(Handle(7)), handles.add(Handle(7))
    handles.remove(first)
    assert handles.is_open(7)
    handles.remove(second)
    assert not handles.is_open(7)


def test_only_the_last_handle_of_an_orphan_lets_it_go():
    handles = OpenHandles()
    first, second, other = handles.add(Handle(7)), handles.add(Handle(7)), handles.add(Handle(8))
    handles.orphaned(7, doomed=True)
    assert handles.remove(other) == (Handle(8), False)
    assert handles.remove(first) == (Handle(7), False)
    assert handles.is_orphan(7)
    assert handles.remove(second) == (Handle(7), True)
    assert not handles.is_orphan(7)


def test_an_open_under_way_counts_but_is_no_handle():
    handles = OpenHandles()
    handles.enter(7)
    assert handles.is_open(7)
    assert not handles.has_handle(7)
    number = handles.add(Handle(7))
    assert not handles.leave(7)
    assert handles.has_handle(7)
    handles.enter(7)
    handles.orphaned(7, doomed=False)
    assert handles.remove(number) == (Handle(7), False)
    assert handles.leave(7), "the last one of an orphan"
    assert not handles.is_open(7)
