"""Runs of written bytes that are not published yet. Pure.

A run is what becomes one slice: consecutive bytes, kept in blocks that are counted from its start. A write goes into an
existing run when it touches or overlaps it, the bytes are not frozen (handed to an upload), and no newer run covers
the same bytes; else it begins a new run. Runs are published in the order in which they were begun, so a newer one
wins over an older one, here and in the published list.

Runs of O_APPEND writes carry no offset of their own: the metadata says where they lie when they are published. Until
then they are read at the end as this mount knows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

RUNS_MAX = 4096  # per file; a writer waits beyond


@dataclass(slots=True, eq=False)
class Run:
    """Consecutive written bytes. Offsets in the file; ``frozen``: so many bytes from the start never change any more."""

    number: int
    start: int
    at_end: bool
    block_size: int
    began_s: float
    blocks: list[bytearray] = field(default_factory=list)
    length: int = 0
    frozen: int = 0
    sealed: bool = False
    chunk_id: int = 0
    stored: set[int] = field(default_factory=set)  # blocks

    @property
    def end(self) -> int:
        """Return the offset after the last byte."""
        return self.start + self.length

    def put(self, offset: int, data: bytes | memoryview) -> int:
        """Write into the run, extending it; returns by how much it grew."""
        at = offset - self.start
        assert self.frozen <= at <= self.length, "only unfrozen bytes, without a gap"
        view = memoryview(data)
        while view:
            index, within = divmod(at, self.block_size)
            if index == len(self.blocks):
                self.blocks.append(bytearray())
            block = self.blocks[index]
            taken = min(len(view), self.block_size - within)
            block[within : within + taken] = view[:taken]
            view = view[taken:]
            at += taken
        grown = max(0, at - self.length)
        self.length += grown
        return grown

    def read(self, start: int, end: int) -> Iterator[tuple[int, memoryview]]:
        """Yield (offset, bytes) of what the run has of file range [start, end)."""
        at, last = max(start, self.start), min(end, self.end)
        while at < last:
            index, within = divmod(at - self.start, self.block_size)
            taken = min(last - at, self.block_size - within)
            yield at, memoryview(self.blocks[index])[within : within + taken]
            at += taken

    def trim(self, end: int) -> int:
        """Give up unfrozen bytes at and past a file offset; returns how many."""
        keep = max(self.frozen, min(self.length, end - self.start), 0)
        removed = self.length - keep
        if removed:
            full, within = divmod(keep, self.block_size)
            del self.blocks[full + (within > 0) :]
            if within:
                del self.blocks[full][within:]
            self.length = keep
        return removed

    def full_blocks(self) -> range:
        """Return the indices of blocks that are complete."""
        return range(self.length // self.block_size)

    def all_blocks(self) -> range:
        """Return the indices of all blocks."""
        return range(len(self.blocks))


class DirtyRuns:
    """The runs of one file, oldest first."""

    def __init__(self, chunk_size: int, block_size: int) -> None:
        self._chunk_size = chunk_size
        self._block_size = block_size
        self._numbers = count(1)
        self.runs: list[Run] = []
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def last_number(self) -> int:
        """Return the number of the newest run; 0 when there is none."""
        return self.runs[-1].number if self.runs else 0

    def write(self, offset: int, data: bytes | memoryview, now_s: float) -> Run:
        """Take bytes that lie within one chunk; returns the run they went into."""
        run = self._run_for(offset, len(data)) or self._begin(offset, now_s, at_end=False)
        self.bytes += run.put(offset, data)
        if run.end % self._chunk_size == 0:
            run.sealed = True
        return run

    def append(self, end: int, data: bytes | memoryview, now_s: float) -> Run:
        """Take bytes of an O_APPEND write; ``end`` is the end of the file as known here."""
        last = self.runs[-1] if self.runs else None
        if last is None or not last.at_end or last.sealed or last.length + len(data) > self._chunk_size:
            if last is not None:
                last.sealed = True
            last = self._begin(end, now_s, at_end=True)
        self.bytes += last.put(last.end, data)
        return last

    def remove(self, runs: list[Run]) -> int:
        """Forget runs; returns the bytes they held."""
        gone = set(map(id, runs))
        self.runs = [run for run in self.runs if id(run) not in gone]
        size = sum(run.length for run in runs)
        self.bytes -= size
        return size

    def trim(self, end: int) -> int:
        """Give up what is not frozen at and past a file offset; returns the bytes given up."""
        size = sum(run.trim(end) for run in self.runs)
        self.runs = [run for run in self.runs if run.length]
        self.bytes -= size
        return size

    def end(self) -> int:
        """Return the highest end of any run; 0 without runs."""
        return max((run.end for run in self.runs), default=0)

    def pieces(self, start: int, end: int) -> list[tuple[int, memoryview]]:
        """Return (offset, bytes) in file range [start, end), older first: to be laid over what was published."""
        return [piece for run in self.runs if run.start < end and run.end > start for piece in run.read(start, end)]

    def seal_all(self) -> None:
        """Let no run grow any more."""
        for run in self.runs:
            run.sealed = True

    def _run_for(self, offset: int, size: int) -> Run | None:
        chunk = offset // self._chunk_size
        for run in reversed(self.runs):
            if run.at_end:
                if run.start < offset + size and run.end > offset:
                    return None
                continue
            if run.start // self._chunk_size != chunk:
                continue
            if not run.sealed and run.start + run.frozen <= offset <= run.end:
                return run
            if run.start < offset + size and run.end > offset:
                return None  # older runs must not take bytes that this one covers
        return None

    def _begin(self, offset: int, now_s: float, *, at_end: bool) -> Run:
        run = Run(next(self._numbers), offset, at_end, self._block_size, now_s)
        self.runs.append(run)
        return run
