"""How much comes of a file that is read here and there all over."""

from curvefs.src.client.data.all_over import (
    MEMORIES_MAX,
    OTHERS_AFTER,
    OTHERS_MAX,
    READS_PER_OTHER,
    WHOLE_AFTER,
    ReadAllOver,
)

BLOCK, MEMORY = 100, 1000
LENGTH = 10 * BLOCK + 1


def test_blocks_come_whole_after_many_reads_and_not_for_ever():
    reads = ReadAllOver(BLOCK, MEMORY)
    seen = [reads.seen(LENGTH) for _ in range(100)]
    assert seen == [False] * WHOLE_AFTER + [True] * 22 + [False] * (78 - WHOLE_AFTER)
    assert reads.others(LENGTH) == 0


def test_before_that_more_and_more_others_come():
    reads = ReadAllOver(BLOCK, MEMORY)
    others = []
    for _ in range(WHOLE_AFTER + READS_PER_OTHER):
        reads.seen(LENGTH)
        others.append(reads.others(LENGTH))
    more = [1 + reads // READS_PER_OTHER for reads in range(1, WHOLE_AFTER + READS_PER_OTHER - OTHERS_AFTER + 1)]
    assert others == [0] * OTHERS_AFTER + [min(number, OTHERS_MAX) for number in more]


def test_of_a_file_of_much_more_than_memory_only_pieces_come():
    for length, counts in ((MEMORIES_MAX * MEMORY, True), (MEMORIES_MAX * MEMORY + 1, False)):
        reads = ReadAllOver(BLOCK, MEMORY)
        whole = [reads.seen(length) for _ in range(100)]
        assert any(whole) == bool(reads.others(length)) == counts
