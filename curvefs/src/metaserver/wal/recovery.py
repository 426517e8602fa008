"""What a log folder holds after a stop: torn ends are cut, damage refuses to start.

Only the last write of the last segment can be torn: everything before it was synced before it began. So bad bytes at
the end of the last segment are cut off, unless a record behind them proves that they were durable once; bad bytes
anywhere else are damage. Damage is never skipped: what the replica promised may be in it.

The log is read twice, so that memory does not grow with it: here for its outline, then by entries() for the entries.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ...common.errors import StartupError
from ...common.exits import ExitCode
from . import format as fmt
from .format import Record, RecordType

_log = structlog.get_logger()
SUFFIX = ".wal"


@dataclass(slots=True)
class Segment:
    """A segment file. last_index: of each group with entries in it."""

    number: int
    path: Path
    seed: int
    size: int
    last_index: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class GroupOutline:
    """What the log holds of one group. Its entries are first_index to last_index; first_index 0: none."""

    first_index: int = 0
    last_index: int = 0
    last_term: int = 0
    hard_state: Record | None = None
    begin: tuple[int, int] = (0, 0)  # number of the segment and offset behind the BEGIN record


@dataclass(slots=True)
class Outline:
    """What the log holds."""

    segments: list[Segment] = field(default_factory=list)
    groups: dict[int, GroupOutline] = field(default_factory=dict)


def segment_path(folder: Path, number: int) -> Path:
    """Return the file of a segment."""
    return folder / f"{number:016x}{SUFFIX}"


def recover(folder: Path) -> Outline:
    """Check every segment, cut a torn end, and return the outline; blocks.

    Raises StartupError: DAMAGED, naming file and byte offset; DATA_FOLDER for a newer version.
    """
    outline = Outline()
    numbers = sorted(int(path.stem, 16) for path in folder.glob(f"*{SUFFIX}"))
    for number in numbers:
        path = segment_path(folder, number)
        last = number == numbers[-1]
        if outline.segments and outline.segments[-1].number + 1 != number:
            missing = segment_path(folder, outline.segments[-1].number + 1)
            raise _damaged(missing, 0, "the segment is missing")
        header = _header(path, number, last=last)
        if header is None:
            continue
        segment = Segment(number, path, header.seed, path.stat().st_size)
        _read(segment, outline.groups, last=last)
        outline.segments.append(segment)
    return outline


def entries(outline: Outline) -> Iterator[Record]:
    """Yield the entries that recover() found, in the order they were written; blocks."""
    for segment in outline.segments:
        with _mapped(segment.path, segment.size) as data:
            for end, record in fmt.decode(data, segment.seed):
                if record.type is RecordType.ENTRY:
                    group = outline.groups[record.group_id]
                    if (segment.number, end) > group.begin:
                        yield record


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; blocks."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _header(path: Path, number: int, *, last: bool) -> fmt.Header | None:
    """Return the header; None when the last segment's making was interrupted, and it is removed."""
    with path.open("rb") as file:
        data = file.read(fmt.HEADER_SIZE)
    header = fmt.decode_header(data)
    if header is not None and header.version > fmt.VERSION:
        raise StartupError(
            f"{path} is of version {header.version}; this version of curvefs-metaserver knows up to {fmt.VERSION}",
            ExitCode.DATA_FOLDER,
        )
    if header is not None and header.number == number:
        return header
    # The header is durable before the first record is written.
    if last and path.stat().st_size <= fmt.HEADER_SIZE:
        _log.warning("removed a segment that was being made when the process ended", file=str(path), offset=0)
        path.unlink()
        sync_folder(path.parent)
        return None
    raise _damaged(path, 0, "the header is not a segment's")


def _read(segment: Segment, groups: dict[int, GroupOutline], *, last: bool) -> None:
    """Take in a segment's records and cut its torn end."""
    with _mapped(segment.path, segment.size) as data:
        try:
            for end, record in fmt.decode(data, segment.seed):
                _note(record, segment, end, groups)
            bad = segment.size
        except fmt.BadRecord as error:
            bad = error.offset
            later = fmt.written_later(data, segment.seed, bad)
            if not last:
                raise _damaged(segment.path, bad, "and it is not the newest segment") from None
            if later is not None:
                raise _damaged(segment.path, bad, f"and a good record that was written later is at {later}") from None
    if not last:
        return
    fd = os.open(segment.path, os.O_RDWR)
    try:
        if bad < segment.size:
            _log.warning(
                "cut a torn record off the log", file=str(segment.path), offset=bad, bytes_cut=segment.size - bad
            )
            os.ftruncate(fd, bad)
            segment.size = bad
        # What the process wrote last may not have been synced; from here on it is relied upon.
        os.fsync(fd)
    finally:
        os.close(fd)


def _note(record: Record, segment: Segment, end: int, groups: dict[int, GroupOutline]) -> None:
    group = groups.setdefault(record.group_id, GroupOutline())
    match record.type:
        case RecordType.BEGIN:
            groups[record.group_id] = GroupOutline(begin=(segment.number, end))
            segment.last_index.pop(record.group_id, None)
        case RecordType.HARD_STATE:
            group.hard_state = record
        case RecordType.ENTRY:
            if group.first_index and record.index > group.last_index + 1:
                raise _damaged(
                    segment.path,
                    end - fmt.RECORD_OVERHEAD - len(record.payload),
                    f"group {record.group_id} goes from entry {group.last_index} to {record.index}",
                )
            if not group.first_index or record.index < group.first_index:
                group.first_index = record.index
            group.last_index, group.last_term = record.index, record.term
            segment.last_index[record.group_id] = max(record.index, segment.last_index.get(record.group_id, 0))


@contextmanager
def _mapped(path: Path, size: int) -> Iterator[fmt.Bytes]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        yield data


def _damaged(path: Path, offset: int, why: str) -> StartupError:
    return StartupError(f"the log is damaged: {path} has no valid record at byte {offset}, {why}", ExitCode.DAMAGED)
