"""A disk in memory for the write-ahead log: it forgets, tears, fills, fails and is damaged, as ``rng`` or a test says.

What is not synced when the machine stops, crash(), is lost, kept or torn: cut at any byte, or page by page kept, zeroed
or noise. Names that were made or removed since the folder was synced come and go one by one. When only the process
stops, kill(), the disk goes on with what it was given. After either, files that were open are not open any more.

Like OsDisk it is for one process at a time. Deterministic: the same calls with the same ``rng`` give the same bytes.
"""

import errno
import os
import random
from dataclasses import dataclass, field

_PAGES = (512, 4096)


class Crashed(BaseException):
    """The machine stopped in the middle of something. No Exception: nobody handles it but who planned it."""


@dataclass(slots=True)
class _File:
    """A file. The first ``synced`` bytes are durable, unless it was cut since: then ``older`` is what it was.

    clean_from: from there on a sync failed, and none will write what is there, unless it is written once more.
    """

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    older: tuple[bytes, int] | None = None  # the bytes before it was cut, and how many of them were durable
    clean_from: int | None = None


class SimDisk:
    """One folder. Implements wal.disk.Disk.

    capacity_bytes: set it lower and the disk is full. crash_in: set it, and the machine stops in so many operations
    that change something, in the middle of the last: Crashed is raised, by everything, until crash() or kill().
    """

    def __init__(self, rng: random.Random, *, name: str = "disk", capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes = capacity_bytes
        self.crash_in: int | None = None
        self.writes = 0
        self.syncs = 0
        self._rng = rng
        self._name = name
        self._used = 0
        self._down = False
        self._files: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._changed: dict[str, list[_File | None]] = {}  # what each name stood for since the folder was synced
        self._open: dict[int, _File] = {}
        self._next_file = 3
        self._failing: dict[str, list[int]] = {}

    # -------------------------------------------------------------------------------------------- the disk

    def path(self, name: str) -> str:
        return f"{self._name}:{name}"

    def names(self) -> list[str]:
        self._look()
        return list(self._files)

    def size(self, name: str) -> int:
        return len(self._found(name).data)

    def read(self, name: str, offset: int, size: int) -> bytes:
        return bytes(self._found(name).data[offset : offset + size])

    def open(self, name: str) -> int:
        return self._opened(self._found(name))

    def create(self, name: str) -> int:
        late = self._begin("create")
        if name in self._files:
            raise _error(errno.EEXIST)
        made = _File()
        self._change(name, made)
        self._end(late)
        return self._opened(made)

    def write(self, file: int, data: memoryview) -> int:
        late = self._begin("write")
        target = self._target(file)
        taken = min(len(data), self.free_bytes())
        if taken == 0:
            raise _error(errno.ENOSPC)
        target.data += data[:taken]
        self._used += taken
        self.writes += 1
        self._end(late)
        return taken

    def truncate(self, file: int, size: int) -> None:
        late = self._begin("truncate")
        target = self._target(file)
        if size < len(target.data):
            if target.older is None:
                target.older = (bytes(target.data), target.synced)
            self._used -= len(target.data) - size
            del target.data[size:]
            target.synced = min(target.synced, size)
            if target.clean_from is not None and size <= target.clean_from:
                target.clean_from = None
        self._end(late)

    def rewrite(self, name: str, offset: int, data: bytes) -> None:
        late = self._begin("rewrite")
        target = self._found(name)
        assert target.data[offset:] == data, "what is there"
        if target.clean_from is not None and offset <= target.clean_from:
            target.clean_from = None
        self._sync(target)
        self._end(late)

    def sync(self, file: int) -> None:
        target = self._target(file)
        try:
            late = self._begin("sync")
        except OSError:
            if target.clean_from is None:
                target.clean_from = target.synced
            raise
        self._sync(target)
        self._end(late)

    def _sync(self, target: _File) -> None:
        target.synced = len(target.data) if target.clean_from is None else target.clean_from
        target.older = None
        self.syncs += 1

    def close(self, file: int) -> None:
        self._target(file)
        del self._open[file]

    def unlink(self, name: str) -> None:
        late = self._begin("unlink")
        self._used -= len(self._found(name).data)
        self._change(name, None)
        self._end(late)

    def sync_folder(self) -> None:
        late = self._begin("sync_folder")
        if self._changed:
            self._durable = dict(self._files)
            self._changed.clear()
        self._end(late)

    def free_bytes(self) -> int:
        return max(0, self.capacity_bytes - self._used)

    # --------------------------------------------------------------------------------------- what goes wrong

    def fail_next(self, operation: str, error: int = errno.EIO) -> None:
        """The next of an operation raises OSError, and does nothing; what a sync does not write, no later one does."""
        assert operation in {"create", "write", "rewrite", "truncate", "sync", "unlink", "sync_folder"}
        self._failing.setdefault(operation, []).append(error)

    def crash(self) -> None:
        """The machine stops and starts again."""
        for name, stages in self._changed.items():
            left = self._rng.choice([self._durable.get(name), *stages])
            if left is None:
                self._durable.pop(name, None)
            else:
                self._durable[name] = left
        self._changed.clear()
        self._files = dict(self._durable)
        for file in self._files.values():
            if file.older is not None or file.synced < len(file.data):
                self._tear(file)
        self._used = sum(len(file.data) for file in self._files.values())
        self.kill()

    def kill(self) -> None:
        """The process stops; what it wrote is there, as durable as it was."""
        self._open.clear()
        self._failing.clear()
        self.crash_in = None
        self._down = False

    def flip(self, name: str, offset: int, bit: int = 0) -> None:
        """Damage a durable byte."""
        file = self._files[name]
        assert offset < file.synced, "what is not durable is torn, not damaged"
        file.data[offset] ^= 1 << bit

    def flip_any(self) -> tuple[str, int]:
        """Damage any durable byte; return where. There must be one."""
        place = self._rng.randrange(sum(file.synced for file in self._files.values()))
        for name, file in self._files.items():
            if place < file.synced:
                self.flip(name, place, self._rng.randrange(8))
                return name, place
            place -= file.synced
        raise AssertionError("the place is in one of them")

    def unsynced_bytes(self) -> int:
        """Return how many bytes a crash may take."""
        return sum(len(file.data) - file.synced for file in self._files.values())

    # ----------------------------------------------------------------------------------------------- inside

    def _look(self) -> None:
        if self._down:
            raise Crashed

    def _begin(self, operation: str) -> bool:
        """Begin a change; return whether the machine stops at its end."""
        self._look()
        if self._failing and (errors := self._failing.get(operation)):
            error = errors.pop(0)
            raise _error(error)
        if self.crash_in is None:
            return False
        self.crash_in -= 1
        if self.crash_in > 0:
            return False
        if self._rng.random() < 0.5:
            self._end(late=True)
        return True

    def _end(self, late: bool) -> None:
        if late:
            self._down = True
            raise Crashed

    def _found(self, name: str) -> _File:
        self._look()
        file = self._files.get(name)
        if file is None:
            raise _error(errno.ENOENT)
        return file

    def _target(self, file: int) -> _File:
        self._look()
        target = self._open.get(file)
        if target is None:
            raise _error(errno.EBADF)
        return target

    def _opened(self, file: _File) -> int:
        number = self._next_file
        self._next_file += 1
        self._open[number] = file
        return number

    def _change(self, name: str, file: _File | None) -> None:
        self._changed.setdefault(name, []).append(file)
        if file is None:
            del self._files[name]
        else:
            self._files[name] = file

    def _tear(self, file: _File) -> None:
        """Decide what is left of a file."""
        rng = self._rng
        data, synced, over = bytes(file.data), file.synced, b""
        if file.older is not None and rng.random() < 0.5:
            # That it was cut is not durable; what was written since may be, where nothing durable is.
            over = data
            data, synced = file.older
        tail = bytearray(data[synced:])
        match rng.randrange(5):
            case 0:
                tail.clear()
            case 1 if tail:
                del tail[rng.randrange(len(tail)) :]
            case 2 | 3:
                self._mix(tail, over[synced:], synced)
        file.data = bytearray(data[:synced]) + tail
        file.synced = len(file.data)
        file.older = file.clean_from = None

    def _mix(self, tail: bytearray, over: bytes, begin: int) -> None:
        """Keep some pages, and put others in the place of the rest."""
        rng = self._rng
        page = rng.choice(_PAGES)
        at = 0
        while at < len(tail):
            end = min(len(tail), at + page - (begin + at) % page)
            match rng.randrange(8):
                case 0 | 1:
                    tail[at:end] = bytes(end - at)
                case 2:
                    tail[at:end] = rng.randbytes(end - at)
                case 3 | 4 | 5 if over:
                    tail[at:end] = over[at:end].ljust(end - at, b"\0")
            at = end


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
