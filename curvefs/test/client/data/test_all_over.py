"""Which blocks come whole to who reads here and there."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.data.all_over import MEMORIES_MAX, OTHERS_MAX, READS_PER_OTHER, SCATTERED_MIN, ReadAllOver

BLOCK, MEMORY = 100, 1000
LENGTH = 10 * BLOCK + 1


def read_all_over(count, length=LENGTH):
    reads = ReadAllOver(BLOCK, MEMORY)
    assert not any(reads.seen(0, length) for _ in range(count))
    return reads


def test_pieces_come_until_there_were_many_reads():
    reads = read_all_over(SCATTERED_MIN)
    assert reads.others == 0
    assert reads.seen(5 * BLOCK + 3, LENGTH)
    assert not reads.seen(5 * BLOCK, LENGTH), "it was lost, and may be again"
    assert reads.seen(4 * BLOCK, LENGTH)


def test_more_and_more_others_come():
    reads = read_all_over(SCATTERED_MIN)
    reads.seen(0, LENGTH)
    seen = [reads.others]
    for _ in range(5):
        for _ in range(READS_PER_OTHER):
            reads.seen(0, LENGTH)
        seen.append(reads.others)
    assert seen == [0, 1, 2, 3, OTHERS_MAX, OTHERS_MAX]


def test_a_file_of_much_more_than_memory_never_counts():
    length = MEMORIES_MAX * MEMORY
    assert read_all_over(SCATTERED_MIN, length).seen(0, length)
    reads = read_all_over(SCATTERED_MIN, length + 1)
    assert not any(reads.seen(at, length + 1) for at in range(0, length, BLOCK))


@given(st.lists(st.none() | st.integers(0, LENGTH - 1), max_size=100))
def test_each_block_comes_once(steps):
    reads, came = read_all_over(SCATTERED_MIN), []
    for offset in steps:
        if offset is None:
            other = reads.next_other(LENGTH)
            came += [] if other is None else [other // BLOCK]
        elif reads.seen(offset, LENGTH):
            came.append(offset // BLOCK)
    while (other := reads.next_other(LENGTH)) is not None:
        came.append(other // BLOCK)
    assert sorted(came) == list(range(11))
