"""What open answers about the kernel's pages and attributes (rule 21)."""

from curvefs.src.client.vfs.kernel_view import KernelView


def test_pages_are_kept_while_nobody_else_changed_the_file():
    view = KernelView()
    view.opened(5, 1)
    view.told_attributes(5, 1)
    assert view.opened(5, 1) == (True, False)


def test_own_changes_move_along():
    view = KernelView()
    view.opened(5, 1)
    view.own_change(5, 2)
    view.own_change(5, 3)
    assert view.opened(5, 3) == (True, False)


def test_a_foreign_change_drops_pages_and_attributes():
    view = KernelView()
    view.opened(5, 1)
    assert view.opened(5, 4) == (False, True)
    assert view.opened(5, 4) == (True, False)


def test_attributes_told_after_a_foreign_change_do_not_make_old_pages_valid():
    view = KernelView()
    view.opened(5, 1)
    view.told_attributes(5, 4)
    assert view.opened(5, 4) == (False, False)


def test_an_own_change_on_top_of_a_foreign_one_does_not_count_as_seen():
    view = KernelView()
    view.opened(5, 1)
    view.own_change(5, 3)  # 2 was somebody else's
    assert view.opened(5, 3) == (False, True)


def test_an_unknown_inode_is_never_trusted():
    view = KernelView(inodes_max=1)
    view.opened(5, 1)
    view.opened(6, 1)
    assert view.opened(5, 1) == (False, True)
