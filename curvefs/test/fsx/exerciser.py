"""The operations, drawn from a seed: the same seed and model do the same again.

Two descriptors are open at a time, and now and then one of another kind (O_SYNC, O_DSYNC, O_DIRECT, O_APPEND), so that
what is written through one is read through another. Reads may be through a mapping, past the kernel's cache, or after
the kernel was told to forget.
"""

import collections
import contextlib
import ctypes
import errno
import mmap
import os
import random

from .model import Model

LENGTH_MAX = 1_500_000
RECENT = 30
SIZES = (1, 100, 4096, 5000, 70_000, 300_000)
DIRECT_ALIGNMENT = 4096

_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x01, 0x02, 0x10  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class Mismatch(AssertionError):
    """The file is not what it must be."""


def fallocate(descriptor, mode, offset, size):
    """Call fallocate(2); False when the filesystem has none."""
    if _libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(size)) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EOPNOTSUPP:
        return False
    raise OSError(code, os.strerror(code))


class Exerciser:
    """See the module. lengths: no file longer than that; operations that the filesystem refuses are in ``without``."""

    def __init__(self, path, seed, model=None, *, length_max=LENGTH_MAX):
        self.path = path
        self.rng = random.Random(seed)
        self.model = model if model is not None else Model()
        self.length_max = length_max
        self.recent = collections.deque(maxlen=RECENT)
        self.counts = collections.Counter()
        self.without = set()
        self._descriptors = self._open()

    # -------------------------------------------------------------------------------------------- running

    def run(self, steps):
        """Do so many operations; raises Mismatch with the last ones."""
        for number in range(steps):
            try:
                self.step()
            except (Mismatch, OSError) as error:
                told = "\n".join(self.recent)
                raise Mismatch(f"operation {number}: {error}\nthe last operations:\n{told}") from error

    def step(self):
        """Do one operation and look at the length."""
        operations = self._OPERATIONS
        operation = self.rng.choices(list(operations), list(operations.values()))[0]
        self.counts[operation] += 1
        getattr(self, operation)()
        length = os.fstat(self.descriptor()).st_size
        self._require(length == len(self.model), f"the length is {length}, not {len(self.model)}")

    def reopen(self, path=None):
        """Close everything, compare the whole, and open it again, perhaps by another path."""
        self._say("reopen", 0, 0)
        self.close()
        if path is not None:
            self.path = path
        self._descriptors = self._open()

    def close(self):
        """Close it, and read it as a whole."""
        for one in self._descriptors:
            os.close(one)
        content = self.path.read_bytes()
        self._require(len(content) == len(self.model), f"{len(content)} bytes after closing, not {len(self.model)}")
        self._compare(0, content, "after closing")

    def descriptor(self):
        """Return one of the two plain descriptors."""
        return self.rng.choice(self._descriptors)

    # ----------------------------------------------------------------------------------------- operations

    def write(self):
        """pwrite, up to a little past the end."""
        offset, data = min(self._offset(), len(self.model) + 100_000), self._data()
        self._say("write", offset, len(data))
        self._write(self.descriptor(), offset, data)

    def write_synchronously(self):
        """The same with O_SYNC or O_DSYNC."""
        offset, data = min(self._offset(), len(self.model)), self._data()[:5000]
        flag = self.rng.choice((os.O_SYNC, os.O_DSYNC))
        self._say("write synchronously", offset, len(data))
        with _opened(self.path, os.O_WRONLY | flag) as descriptor:
            self._write(descriptor, offset, data)

    def write_directly(self):
        """The same with O_DIRECT, which wants alignment."""
        offset = min(self._offset(), len(self.model)) // DIRECT_ALIGNMENT * DIRECT_ALIGNMENT
        size = DIRECT_ALIGNMENT * self.rng.choice((1, 3, 33))
        self._say("write directly", offset, size)
        with mmap.mmap(-1, size) as memory, _opened(self.path, os.O_WRONLY | os.O_DIRECT) as descriptor:
            data = self.rng.randbytes(size)
            memory[:] = data
            self._require(os.pwrite(descriptor, memory, offset) == size, "a short write")
        self.model.write(offset, data)

    def append(self):
        """Write with O_APPEND."""
        data = self._data()[:5000]
        self._say("append", len(self.model), len(data))
        with _opened(self.path, os.O_WRONLY | os.O_APPEND) as descriptor:
            self._require(os.write(descriptor, data) == len(data), "a short append")
        self.model.append(data)

    def read(self):
        """Pread."""
        offset, size = self._offset(), self.rng.choice(SIZES)
        self._say("read", offset, size)
        self._compare(offset, os.pread(self.descriptor(), size, offset), "read", size)

    def read_directly(self):
        """The same with O_DIRECT."""
        offset = self._offset() // DIRECT_ALIGNMENT * DIRECT_ALIGNMENT
        size = DIRECT_ALIGNMENT * self.rng.choice((1, 3, 33))
        self._say("read directly", offset, size)
        with mmap.mmap(-1, size) as memory, _opened(self.path, os.O_RDONLY | os.O_DIRECT) as descriptor:
            got = os.preadv(descriptor, [memory], offset)
            self._compare(offset, memory[:got], "read directly", size)

    def read_uncached(self):
        """Read after the kernel was told to forget the file."""
        offset, size = self._offset(), self.rng.choice(SIZES)
        self._say("forget and read", offset, size)
        descriptor = self.descriptor()
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self._compare(offset, os.pread(descriptor, size, offset), "read afresh", size)

    def truncate(self):
        """Cut it, or make it longer."""
        length = self._offset()
        self._say("truncate", length, 0)
        os.ftruncate(self.descriptor(), length)
        self.model.truncate(length)

    def open_truncating(self):
        """Cut it to nothing by O_TRUNC."""
        self._say("open with O_TRUNC", 0, 0)
        with _opened(self.path, os.O_WRONLY | os.O_TRUNC):
            self.model.truncate(0)

    def write_mapped(self):
        """Change it through a shared mapping."""
        if not self.model:
            return
        offset = self._offset() % len(self.model)
        data = self._data()[: len(self.model) - offset]
        self._say("write mapped", offset, len(data))
        with mmap.mmap(self._descriptors[0], len(self.model)) as memory:
            memory[offset : offset + len(data)] = data
            if self.rng.randrange(2):
                memory.flush()
        self.model.write(offset, data)

    def read_mapped(self):
        """Read it through a mapping."""
        if not self.model:
            return
        offset, size = self._offset() % len(self.model), self.rng.choice(SIZES)
        self._say("read mapped", offset, size)
        with mmap.mmap(self.descriptor(), len(self.model), prot=mmap.PROT_READ) as memory:
            self._compare(offset, memory[offset : offset + size], "mapped", size)

    def zero(self):
        """fallocate: punch a hole, or zero a range, where the filesystem can."""
        offset, size = min(self._offset(), len(self.model)), self.rng.choice(SIZES)
        punch = self.rng.randrange(2)
        keep_size = bool(punch or self.rng.randrange(2))
        self._say("punch" if punch else "zero", offset, size)
        mode = _PUNCH_HOLE if punch else _ZERO_RANGE
        if fallocate(self.descriptor(), mode | (_KEEP_SIZE if keep_size else 0), offset, size):
            self.model.zero(offset, size, keep_size=keep_size)
        else:
            self.without.add("fallocate")

    def list_folder(self):
        """List the folder, attributes and all: that tells the kernel about the file while it is written."""
        self._say("list", 0, 0)
        for entry in os.scandir(self.path.parent):
            entry.stat()

    def copy_within(self):
        """copy_file_range between two places that do not overlap."""
        size = self.rng.choice(SIZES)
        source, target = self._offset(), self._offset()
        if abs(source - target) < size or not self.model:
            return
        source, target = source % len(self.model), min(target, len(self.model))
        size = min(size, len(self.model) - source, abs(source - target))
        if not size:
            return
        self._say("copy", source, size)
        done = 0
        while done < size:
            copied = os.copy_file_range(
                self._descriptors[0], self._descriptors[1], size - done, source + done, target + done
            )
            self._require(copied > 0, f"copied {done} of {size}")
            done += copied
        self.model.write(target, self.model.read(source, size))

    def sync(self):
        """Fsync or fdatasync."""
        self._say("sync", 0, 0)
        self.rng.choice((os.fsync, os.fdatasync))(self.descriptor())

    _OPERATIONS = {
        write: 30, read: 18, truncate: 8, write_mapped: 8, read_mapped: 8, append: 6, zero: 6, sync: 5,
        read_uncached: 4, write_directly: 3, read_directly: 3, write_synchronously: 2, copy_within: 3, reopen: 4,
        open_truncating: 1, list_folder: 3,
    }  # fmt: skip
    _OPERATIONS = {operation.__name__: weight for operation, weight in _OPERATIONS.items()}

    # ------------------------------------------------------------------------------------------ internals

    def _open(self):
        return [os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644) for _ in range(2)]

    def _offset(self):
        return self.rng.randrange(self.length_max if self.rng.randrange(4) else 20_000)

    def _data(self):
        return self.rng.randbytes(self.rng.choice(SIZES))

    def _write(self, descriptor, offset, data):
        self._require(os.pwrite(descriptor, data, offset) == len(data), "a short write")
        self.model.write(offset, data)

    def _say(self, what, offset, size):
        self.recent.append(f"{what} [{offset}, {offset + size}) of {len(self.model)}")

    def _compare(self, offset, got, how, size=None):
        wanted = self.model.read(offset, len(got) if size is None else size)
        if got == wanted:
            return
        differ = next((i for i, (one, two) in enumerate(zip(got, wanted, strict=False)) if one != two), None)
        where = f"{len(got)} bytes, not {len(wanted)}" if differ is None else f"byte {offset + differ} differs"
        raise Mismatch(f"{how} at {offset}: {where}")

    @staticmethod
    def _require(holds, what):
        if not holds:
            raise Mismatch(what)


@contextlib.contextmanager
def _opened(path, flags):
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
