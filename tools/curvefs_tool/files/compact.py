"""``compact``: has the slices of files merged, whatever that costs, and waits for it."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import click

from curvefs.proto import files_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError, NotFound
from curvefs.src.common.exits import ExitCode

from ..cluster import cluster_options, command, mds_addresses, print_json
from ..quota.access import path_argument, place_of, size
from .access import Failed, Files

_AT_ONCE = 4
_PROGRESS_S = 2.0
_PATIENCE_S = 30.0  # with what is unavailable
_ERRORS_MAX = 20


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a chunk, and its slices as they are then. Neither compacted nor an error: the deadline passed."""

    slices: list[pb.Slice]
    compacted: files_pb2.CompactedChunk | None = None
    error: CurveFSError | None = None


@dataclass(slots=True)
class _Totals:
    """What was found and done so far. Slices and bytes before and after: as listed, in the store's sizes."""

    files: int = 0
    chunks: int = 0
    compacted: int = 0
    slices_before: int = 0
    slices_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    written_bytes: int = 0
    failed: int = 0
    late: bool = False
    errors: list[str] = field(default_factory=list)

    def found(self, slices: list[pb.Slice]) -> None:
        """Count a chunk as it is."""
        self.chunks += 1
        self.slices_before += len(slices)
        self.bytes_before += _stored(slices)

    def left(self, slices: list[pb.Slice]) -> None:
        """Count a chunk as it stays."""
        self.slices_after += len(slices)
        self.bytes_after += _stored(slices)

    def add(self, chunk: "_Chunk", outcome: _Outcome) -> None:
        """Count what came of a chunk."""
        self.left(outcome.slices)
        if outcome.error is not None:
            self.fail(chunk.path + b", chunk %d" % chunk.index, outcome.error)
        elif outcome.compacted is None:
            self.late = True
        else:
            self.compacted += outcome.compacted.slices_after < len(chunk.slices)
            self.written_bytes += outcome.compacted.written_bytes

    def fail(self, what: bytes, error: CurveFSError) -> None:
        """Count what cannot be read or compacted."""
        self.failed += 1
        if len(self.errors) < _ERRORS_MAX:
            self.errors.append(f"{os.fsdecode(what)}: {error}")

    def line(self) -> str:
        return (
            f"{self.files} files, {self.compacted} of {self.chunks} chunks compacted: "
            f"slices {self.slices_before} -> {self.slices_after}, "
            f"bytes {size(self.bytes_before)} -> {size(self.bytes_after)}"
        )


@click.command()
@path_argument
@click.option("--deadline", type=float, default=0.0, help="Seconds to wait at most; 0: until it is done.")
@cluster_options
@command
def compact(path: str, fs: str | None, deadline: float, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Merge the slices of the file PATH, or of all files below the directory PATH.

    Each chunk of 64 MiB that has several slices gets as few as it can: one, unless it has holes. The metaservers do it,
    no faster than they are told (compaction_bytes_per_s); files may be used meanwhile. The bytes that are no longer
    needed leave the object store when the filesystem's delete grace is over. What fails, or stays unavailable for half
    a minute, is left as it is, and it goes on with the rest.
    """
    place = place_of(path, fs)
    ends_at = time.monotonic() + deadline if deadline else None
    files = Files(mds_addresses(mds, data), place.fs, patience_s=_PATIENCE_S, ends_at=ends_at)
    root = files.find(place.path)
    totals = _Totals()
    progress = _Progress(totals, quiet=json)
    _run(files, files.regular_files(root, place.path, totals.fail), totals, ends_at, progress)
    if json:
        names = ("files", "chunks", "compacted", "slices_before", "slices_after", "bytes_before", "bytes_after")
        said = {name: getattr(totals, name) for name in (*names, "written_bytes", "failed", "late")}
        print_json(said | {"errors": totals.errors})
    else:
        click.echo(totals.line())
        for line in totals.errors:
            click.echo(line, err=True)
        if totals.late:
            click.echo("the deadline passed before all was done", err=True)
    if totals.failed or totals.late:
        sys.exit(ExitCode.FAILED)


class _Progress:
    """A line now and then, on standard error."""

    def __init__(self, totals: _Totals, *, quiet: bool) -> None:
        self._totals = totals
        self._quiet = quiet
        self._next = time.monotonic() + _PROGRESS_S

    def show(self) -> None:
        if not self._quiet and time.monotonic() >= self._next:
            click.echo(self._totals.line(), err=True)
            self._next = time.monotonic() + _PROGRESS_S


def _run(
    files: Files,
    found: Iterator[tuple[bytes, pb.Inode]],
    totals: _Totals,
    ends_at: float | None,
    progress: _Progress,
) -> None:
    """Ask for each chunk, _AT_ONCE at the same time."""
    waiting: dict[Future[_Outcome], _Chunk] = {}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for path, inode in found:
            totals.files += 1
            for chunk_index, slices in _chunks(files, path, inode, totals.fail):
                totals.found(slices)
                if len(slices) < 2:
                    totals.left(slices)
                    continue
                one = _Chunk(files, path, inode.inode_id, chunk_index, slices)
                waiting[threads.submit(one.compact, ends_at)] = one
                while len(waiting) >= 2 * _AT_ONCE:
                    _count_some(waiting, totals, progress)
            if ends_at is not None and time.monotonic() >= ends_at:
                totals.late = True
                break
        while waiting:
            _count_some(waiting, totals, progress)


def _count_some(waiting: "dict[Future[_Outcome], _Chunk]", totals: _Totals, progress: _Progress) -> None:
    """Wait for a chunk, or a moment."""
    done, _ = wait(waiting, timeout=_PROGRESS_S, return_when=FIRST_COMPLETED)
    for one in done:
        totals.add(waiting.pop(one), one.result())
    progress.show()


def _chunks(files: Files, path: bytes, inode: pb.Inode, failed: Failed) -> Iterator[tuple[int, list[pb.Slice]]]:
    try:
        yield from files.slices(inode)
    except NotFound:
        return  # it was removed meanwhile
    except CurveFSError as error:
        failed(path, error)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk to be compacted."""

    files: Files
    path: bytes
    inode_id: int
    index: int
    slices: list[pb.Slice]

    def compact(self, ends_at: float | None) -> _Outcome:
        """Ask until it is done, has failed, or the deadline has passed; then look at what is there."""
        if ends_at is not None and time.monotonic() >= ends_at:
            return _Outcome(self.slices)
        try:
            compacted = self._ask(ends_at)
        except CurveFSError as error:
            return _Outcome(self._look(), error=error)
        return _Outcome(self._look(), compacted)

    def _ask(self, ends_at: float | None) -> files_pb2.CompactedChunk | None:
        request = files_pb2.CompactChunkRequest(inode_id=self.inode_id, chunk_index=self.index)
        while ends_at is None or time.monotonic() < ends_at:
            reply = self.files.call("CompactChunk", request)
            if not reply.pending:
                compacted: files_pb2.CompactedChunk = reply.compacted
                return compacted
        return None

    def _look(self) -> list[pb.Slice]:
        try:
            return self.files.slices_of(self.inode_id, self.index)
        except NotFound:
            return []  # it was removed meanwhile
        except CurveFSError:
            return self.slices


def _stored(slices: list[pb.Slice]) -> int:
    return sum(one.size for one in slices if not one.zero)
