"""What open answers about the kernel's pages and attributes (rule 21)."""

from curvefs.src.client.vfs.kernel_view import KernelView


def opened(view, inode_id, change):
    """Open a file, and let the open be over; returns (pages may be kept, attributes must be dropped)."""
    opening = view.opened(inode_id, change)
    view.told_attributes(inode_id, change)
    view.settled(inode_id, opening)
    return opening.keep, opening.stale


def test_pages_are_kept_while_nobody_else_changed_the_file():
    view = KernelView()
    opened(view, 5, 1)
    view.told_attributes(5, 1)
    assert opened(view, 5, 1) == (True, False)


def test_pages_of_a_created_file_are_kept():
    view = KernelView()
    view.created(5, 1)
    view.own_change(5, 2)
    assert opened(view, 5, 2) == (True, False)


def test_own_changes_move_along():
    view = KernelView()
    opened(view, 5, 1)
    view.own_change(5, 2)
    view.own_change(5, 3)
    assert opened(view, 5, 3) == (True, False)


def test_a_foreign_change_drops_pages_and_attributes():
    view = KernelView()
    opened(view, 5, 1)
    assert opened(view, 5, 4) == (False, True)
    assert opened(view, 5, 4) == (True, False)


def test_every_open_drops_until_the_first_that_does_is_over():
    view = KernelView()
    opened(view, 5, 1)
    first, second = view.opened(5, 4), view.opened(5, 4)
    assert (second.keep, second.stale) == (False, True)
    view.told_attributes(5, 4)
    third = view.opened(5, 4)
    assert (third.keep, third.stale) == (False, False)
    view.settled(5, first)
    assert not view.opened(5, 4).keep  # the third may have been told to drop since
    view.settled(5, third)
    assert view.opened(5, 4).keep
    assert not view.opened(5, 6).keep


def test_an_open_that_is_over_says_nothing_of_what_changed_meanwhile():
    view = KernelView()
    opened(view, 5, 1)
    first = view.opened(5, 4)
    second = view.opened(5, 6)
    view.settled(5, first)
    assert not view.opened(5, 6).keep
    view.settled(5, second)
    assert view.opened(5, 6).keep


def test_own_changes_move_an_open_along_that_is_not_over():
    view = KernelView()
    opening = view.opened(5, 1)
    view.own_change(5, 2)  # it was opened with O_TRUNC
    view.settled(5, opening)
    assert view.opened(5, 2).keep


def test_attributes_told_after_a_foreign_change_do_not_make_old_pages_valid():
    view = KernelView()
    opened(view, 5, 1)
    view.told_attributes(5, 4)
    assert opened(view, 5, 4) == (False, False)


def test_an_own_change_on_top_of_a_foreign_one_does_not_count_as_seen():
    view = KernelView()
    opened(view, 5, 1)
    view.own_change(5, 3)  # 2 was somebody else's
    assert opened(view, 5, 3) == (False, True)


def test_an_unknown_inode_is_never_trusted():
    view = KernelView(inodes_max=1)
    opened(view, 5, 1)
    opened(view, 6, 1)
    assert opened(view, 5, 1) == (False, True)
