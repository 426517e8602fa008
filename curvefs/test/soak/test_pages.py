"""Pages say what is wrong with them."""

from curvefs.test.soak.pages import PAGE_SIZE, fault, page, pages


def test_what_was_written_is_right_and_so_is_what_never_was():
    assert fault(8 * PAGE_SIZE, pages(8 * PAGE_SIZE, 3 * PAGE_SIZE, 5)) is None
    assert fault(0, bytes(2 * PAGE_SIZE)) is None
    assert fault(0, page(0, 1) + bytes(PAGE_SIZE) + page(2 * PAGE_SIZE, 9)) is None


def test_a_page_elsewhere_torn_or_damaged_is_found():
    one, other = page(PAGE_SIZE, 1), page(PAGE_SIZE, 2)
    assert fault(0, one)
    assert fault(PAGE_SIZE, one[:2048] + other[2048:])
    for at in range(0, PAGE_SIZE, 97):
        damaged = bytearray(one)
        damaged[at] ^= 1
        assert fault(PAGE_SIZE, bytes(damaged)), at
