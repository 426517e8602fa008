"""The writer and the reader of the file: ``python -m curvefs.test.soak.load write|read FILE SIZE SEED``, until killed.

Each says on its standard output, about once a second, how many bytes it has moved so far.
"""

import os
import random
import sys
import time

from .pages import PAGE_SIZE, fault, pages

SIZES = (1, 1, 1, 4, 16, 64, 256)  # pages
WRITES_PER_SYNC = 64
READS_PER_OPEN = 50
_SAY_EVERY_S = 1.0


def main():
    """Return the exit code: 1 when something read is wrong."""
    what, path, size, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    rng = random.Random(seed)
    return {"write": _write, "read": _read}[what](path, size, rng)


def _write(path, size, rng):
    moved, said = 0, time.monotonic()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    number = 0
    while True:
        number += 1
        offset, length = _range(size, rng)
        assert os.pwrite(descriptor, pages(offset, length, number), offset) == length
        moved += length
        if number % WRITES_PER_SYNC == 0:
            os.fsync(descriptor)
        said = _say(moved, said)


def _read(path, size, rng):
    moved, said = 0, time.monotonic()
    while True:
        descriptor = os.open(path, os.O_RDONLY)
        for _ in range(READS_PER_OPEN):
            offset, length = _range(size, rng)
            data = os.pread(descriptor, length, offset)
            if len(data) != length or (wrong := fault(offset, data)):
                print(f"wrong: {wrong if len(data) == length else f'{len(data)} of {length} bytes at {offset}'}")
                return 1
            moved += length
            said = _say(moved, said)
        os.close(descriptor)


def _range(size, rng):
    length = PAGE_SIZE * rng.choice(SIZES)
    return rng.randrange((size - length) // PAGE_SIZE + 1) * PAGE_SIZE, length


def _say(moved, said):
    now = time.monotonic()
    if now - said < _SAY_EVERY_S:
        return said
    print(moved, flush=True)
    return now


if __name__ == "__main__":
    sys.exit(main())
