"""Runs of written bytes that are not published yet. Pure.

A run is what becomes one slice: consecutive bytes, kept in blocks that are counted from its start. A write goes into an
existing run when it touches or overlaps it, the bytes are not frozen (handed to an upload), and no newer run covers
the same bytes; else it begins a new run. Runs are published in the order in which they were begun, so a newer one
wins over an older one, here and in the published list.

Runs of O_APPEND writes carry no offset of their own: the metadata says where they lie when they are published. Until
then they are read at the end as this mount knows it.

``memory`` is what the runs really take, growth in advance included; room_for() is the most a write can add to it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from .outcomes import Before

RUN_OVERHEAD = 1024  # bytes of memory for the run itself
_BLOCK_OVERHEAD = 128


@dataclass(slots=True, eq=False)
class Run:
    """Consecutive written bytes of a file. ``frozen``: so many bytes from the start never change any more."""

    number: int
    start: int
    at_end: bool
    block_size: int
    began_s: float
    blocks: list[bytearray] = field(default_factory=list)
    length: int = 0
    memory: int = RUN_OVERHEAD
    frozen: int = 0
    sealed: bool = False
    chunk_id: int = 0
    stored: set[int] = field(default_factory=set)  # blocks
    before: Before | None = None  # its publication was tried
    direct: bool = False  # never to be staged again: its staged blocks are on their way out, under the same names

    @property
    def end(self) -> int:
        """Return the offset after the last byte."""
        return self.start + self.length

    def put(self, offset: int, data: memoryview) -> int:
        """Write into the run, extending it; returns by how much its memory grew."""
        at = offset - self.start
        assert self.frozen <= at <= self.length, "only unfrozen bytes, without a gap"
        before = self.memory
        while data:
            index, within = divmod(at, self.block_size)
            if index == len(self.blocks):
                self.blocks.append(bytearray())
                self.memory += _BLOCK_OVERHEAD
            block = self.blocks[index]
            allocated = sys.getsizeof(block)
            part = data[: self.block_size - within]
            block[within : within + len(part)] = part
            self.memory += sys.getsizeof(block) - allocated
            data = data[len(part) :]
            at += len(part)
        self.length = max(self.length, at)
        return self.memory - before

    def read(self, start: int, end: int) -> Iterator[tuple[int, memoryview]]:
        """Yield (offset, bytes) of what the run has of file range [start, end)."""
        at, last = max(start, self.start), min(end, self.end)
        while at < last:
            index, within = divmod(at - self.start, self.block_size)
            taken = min(last - at, self.block_size - within)
            yield at, memoryview(self.blocks[index])[within : within + taken]
            at += taken

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
        self.memory = 0

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def last_number(self) -> int:
        """Return the number of the newest run; 0 when there is none."""
        return self.runs[-1].number if self.runs else 0

    @property
    def tried_at_end(self) -> int:
        """Return the bytes of appends of which it is not known whether they were published."""
        return sum(run.length for run in self.runs if run.at_end and run.before is not None)

    def last_in_doubt(self, change: int) -> int:
        """Return the number of the last append that was tried before the file became as it is known now; 0: none."""
        doubted = (run.number for run in self.runs if run.at_end and run.before and run.before.change < change)
        return max(doubted, default=0)

    def room_for(self, size: int) -> int:
        """Return the most memory that taking so many bytes can cost: a bytearray grows by an eighth in advance."""
        return size + self._block_size // 8 + _BLOCK_OVERHEAD * (2 + size // self._block_size) + RUN_OVERHEAD

    def write(self, offset: int, data: memoryview, now_s: float) -> Run:
        """Take bytes that lie within one chunk; returns the run they went into."""
        run = self._run_for(offset, len(data)) or self._begin(offset, now_s, at_end=False)
        self.memory += run.put(offset, data)
        if run.end % self._chunk_size == 0:
            run.sealed = True
        return run

    def append(self, end: int, data: memoryview, now_s: float) -> Run:
        """Take bytes of an O_APPEND write; ``end`` is the end of the file as known here."""
        last = self.runs[-1] if self.runs else None
        if last is None or not last.at_end or last.sealed or last.length + len(data) > self._chunk_size:
            if last is not None:
                last.sealed = True
            last = self._begin(end, now_s, at_end=True)
        self.memory += last.put(last.end, data)
        return last

    def place_appends(self, end: int) -> bool:
        """Assume anew where appends will lie: ``end`` is the end of all that comes before the runs. True if one moved.

        One whose publication was tried stays where it is if the file has grown to its end: it was probably done.
        """
        moved = False
        for run in self.runs:
            if run.at_end and (run.before is None or end < run.end):
                moved = moved or run.start != end
                run.start = end
            end = max(end, run.end)
        return moved

    def remove(self, runs: list[Run]) -> int:
        """Forget runs that are still here; returns the memory they held."""
        gone = {run.number for run in runs}
        before = self.memory
        self.memory -= sum(run.memory for run in self.runs if run.number in gone)
        self.runs = [run for run in self.runs if run.number not in gone]
        return before - self.memory

    def end(self) -> int:
        """Return the highest end of any run; 0 without runs."""
        return max((run.end for run in self.runs), default=0)

    def pieces(self, start: int, end: int) -> list[tuple[int, memoryview]]:
        """Return (offset, bytes) in file range [start, end), older first: to be laid over what was published."""
        return [piece for run in self.runs if run.start < end and run.end > start for piece in run.read(start, end)]

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
        self.memory += run.memory
        return run
