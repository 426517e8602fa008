"""A small fsx: random operations on one file, checked against a bytearray after each read and at every reopening.

As a program, so that a page that cannot be had kills only it: ``python -m curvefs.test.support.fsx FILE SEED STEPS``.
"""

import mmap
import os
import random
import sys
from pathlib import Path

LENGTH_MAX = 1_500_000


class Exerciser:
    """Two descriptors on one file, and what it must hold."""

    def __init__(self, path, seed):
        self.path = path
        self.rng = random.Random(seed)
        self.model = bytearray()
        self.one = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.other = os.open(path, os.O_RDWR)

    def step(self):
        """Do one operation."""
        rng = self.rng
        offset = rng.randrange(LENGTH_MAX) if rng.randrange(4) else rng.randrange(20_000)
        size = rng.choice([1, 100, 4096, 5000, 70_000, 300_000])
        descriptor = rng.choice([self.one, self.other])
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                self.write(descriptor, min(offset, len(self.model) + 100_000), rng.randbytes(size))
            case 4 | 5:
                got = os.pread(descriptor, size, offset)
                assert got == self.model[offset : offset + size], f"read {size} at {offset}"
            case 6:
                os.ftruncate(descriptor, offset)
                del self.model[offset:]
                self.model.extend(bytes(offset - len(self.model)))
            case 7:
                os.fsync(descriptor)
            case 8 if self.model:
                self.write_mapped(offset % len(self.model), rng.randbytes(size))
            case 9 if self.model:
                with mmap.mmap(descriptor, len(self.model), prot=mmap.PROT_READ) as memory:
                    assert memory[offset : offset + size] == self.model[offset : offset + size], f"mapped at {offset}"
            case 10:
                self.append(rng.randbytes(min(size, 5000)))
            case 11:
                self.reopen()
            case _:
                pass
        assert os.fstat(descriptor).st_size == len(self.model)

    def write(self, descriptor, offset, data):
        assert os.pwrite(descriptor, data, offset) == len(data)
        self.model.extend(bytes(max(0, offset + len(data) - len(self.model))))
        self.model[offset : offset + len(data)] = data

    def write_mapped(self, offset, data):
        data = data[: len(self.model) - offset]
        with mmap.mmap(self.one, len(self.model)) as memory:
            memory[offset : offset + len(data)] = data
            memory.flush()
        self.model[offset : offset + len(data)] = data

    def append(self, data):
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        assert os.write(descriptor, data) == len(data)
        os.close(descriptor)
        self.model += data

    def reopen(self):
        """Close everything, and read it as a whole."""
        os.close(self.one)
        os.close(self.other)
        assert self.path.read_bytes() == self.model, "after reopening"
        self.one = os.open(self.path, os.O_RDWR)
        self.other = os.open(self.path, os.O_RDWR)


def main():
    """Exercise one file."""
    exerciser = Exerciser(Path(sys.argv[1]), int(sys.argv[2]))
    for number in range(int(sys.argv[3])):
        try:
            exerciser.step()
        except (AssertionError, OSError) as error:
            sys.exit(f"step {number}: {error}")
    exerciser.reopen()
    sys.stdout.write(f"{len(exerciser.model)}\n")


if __name__ == "__main__":
    main()
