"""What a log folder holds after a stop: torn ends are cut, damage refuses to start.

Only the last write of the last segment can be torn: everything before it was synced before it began. So bad bytes at
the end of the last segment are cut off, unless a record behind them proves that they were durable once; bad bytes
anywhere else are damage, and so are bytes that the disk cannot read. Damage is never skipped: what the replica promised
may be in it.

The sync of that last write may be what ended the process: it failed, and then the kernel shows the bytes, calls them
clean, and never writes them. So they are written once more before anybody relies on them.

The log is read twice, so that memory does not grow with it: here for its outline, then by entries() or replay(). A
segment is read, not mapped: a mapping answers a sector that cannot be read with SIGBUS.
"""

import errno
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import structlog

from ...common.errors import StartupError
from ...common.exits import ExitCode
from . import format as fmt
from .disk import Disk, disk_of
from .format import Record, RecordType
from .outline import GroupOutline, Inconsistent, Outline, Position, Segment

__all__ = [
    "GroupOutline",
    "Outline",
    "Segment",
    "entries",
    "recover",
    "replay",
    "segment_name",
    "segment_path",
]

_log = structlog.get_logger()
_PIECE = 1 << 20
_NAME = re.compile(r"([0-9a-f]{16})\.wal")


def segment_name(number: int) -> str:
    """Return the name of a segment's file."""
    return f"{number:016x}.wal"


def segment_path(folder: Path, number: int) -> Path:
    """Return the file of a segment."""
    return folder / segment_name(number)


def recover(folder: Path | Disk) -> Outline:
    """Check every segment, cut a torn end, and return the outline, all of it durable; blocks.

    Raises StartupError: DAMAGED, naming file and byte offset; DATA_FOLDER for a newer version. OSError.
    """
    disk = disk_of(folder)
    outline = Outline(disk)
    numbers = sorted(int(found[1], 16) for name in disk.names() if (found := _NAME.fullmatch(name)))
    for number in numbers:
        name = segment_name(number)
        last = number == numbers[-1]
        if outline.segments and outline.segments[-1].number + 1 != number:
            missing = segment_name(outline.segments[-1].number + 1)
            raise _damaged(disk.path(missing), 0, "the segment is missing")
        header = _header(disk, name, number, last=last)
        if header is None:
            continue
        outline.segments.append(Segment(number, name, header.seed, disk.size(name)))
        _read(outline, last=last)
    # The process may have ended between making or removing a segment and syncing its name.
    disk.sync_folder()
    return outline


def entries(outline: Outline, groups: Collection[int] | None = None) -> Iterator[Record]:
    """Yield the entries that recover() found and that still count, in the order they were written; blocks.

    groups: of these only. Of each group they come by index, from its first_index to its last_index.
    """
    for record in replay(outline, groups):
        if record.type is RecordType.ENTRY:
            yield record


def replay(outline: Outline, groups: Collection[int] | None = None) -> Iterator[Record]:
    """Yield what recover() found and what still counts, in the order it was written; blocks.

    groups: of these only. Of each group comes first a BEGIN with its begin_index and begin_term (none when its first
    record is an entry or a hard state), then the hard state of then if there was one, then hard states and entries. An
    entry that was replaced or cut off later does not come: so one that came may be applied once a hard state that came
    says that its index is committed.
    """
    wanted = {id_: group for id_, group in outline.groups.items() if groups is None or id_ in groups}
    counts = {id_: _counting(group) for id_, group in wanted.items()}
    for segment in outline.segments:
        for end, record in fmt.decode(_content(outline.disk, segment.name, segment.size), segment.seed):
            group = wanted.get(record.group_id)
            position = (segment.number, end)
            if group is None or position < group.begin:
                continue
            if position == group.begin:
                yield Record(RecordType.BEGIN, record.group_id, group.begin_term, group.begin_index)
                if group.hard_state_before is not None:
                    yield group.hard_state_before
            elif record.type is RecordType.HARD_STATE or (
                record.type is RecordType.ENTRY and counts[record.group_id](position, record.index)
            ):
                yield record


def _counting(group: GroupOutline) -> Callable[[Position, int], bool]:
    """Return what says whether an entry counts, asked in the order of positions."""
    cuts = iter(group.cuts)
    cut = next(cuts, None)

    def counts(position: Position, index: int) -> bool:
        nonlocal cut
        while cut is not None and cut[0] <= position:
            cut = next(cuts, None)
        # The next cut is the lowest of all that are still to come.
        return cut is None or index <= cut[1]

    return counts


def _header(disk: Disk, name: str, number: int, *, last: bool) -> fmt.Header | None:
    """Return the header; None when the last segment's making was interrupted, and it is removed."""
    header = fmt.decode_header(_content(disk, name, fmt.HEADER_SIZE))
    if header is not None and header.version > fmt.VERSION:
        raise StartupError(
            f"{disk.path(name)} is of version {header.version}; "
            f"this version of curvefs-metaserver knows up to {fmt.VERSION}",
            ExitCode.DATA_FOLDER,
        )
    if header is not None and header.number == number:
        return header
    # The header is durable before the first record is written.
    if last and disk.size(name) <= fmt.HEADER_SIZE:
        _log.warning("removed a segment that was being made when the process ended", file=disk.path(name), offset=0)
        disk.unlink(name)
        return None
    raise _damaged(disk.path(name), 0, "the header is not a segment's")


def _read(outline: Outline, *, last: bool) -> None:
    """Take in the newest segment's records and cut its torn end."""
    disk, segment = outline.disk, outline.segments[-1]
    path = disk.path(segment.name)
    data = _content(disk, segment.name, segment.size)
    begin, end = 0, fmt.HEADER_SIZE  # of the last good record; without any there is the header
    try:
        for next_end, record in fmt.decode(data, segment.seed):
            _note(outline, record, next_end, path)
            begin, end = end, next_end
    except fmt.BadRecord as error:
        later = fmt.written_later(data, segment.seed, error.offset)
        if not last:
            raise _damaged(path, error.offset, "and it is not the newest segment") from None
        if later is not None:
            raise _damaged(path, error.offset, f"and a good record that was written later is at {later}") from None
    if not last:
        return
    if end < segment.size:
        _log.warning("cut a torn record off the log", file=path, offset=end, bytes_cut=segment.size - end)
        file = disk.open(segment.name)
        try:
            disk.truncate(file, end)
        finally:
            disk.close(file)
        segment.size = end
    # What the process wrote last may not have been synced, or in vain; from here on it is relied upon.
    write = fmt.write_of(data, segment.seed, begin) if begin else 0
    disk.rewrite(segment.name, write, data[write:end])


def _content(disk: Disk, name: str, size: int) -> bytes:
    """Return the first bytes of a file, fewer if it has not so many. Raises StartupError when they cannot be read."""
    try:
        return disk.read(name, 0, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise _damaged(disk.path(name), _unreadable(disk, name, size), "it cannot be read") from error


def _unreadable(disk: Disk, name: str, size: int) -> int:
    """Return where the piece begins that cannot be read."""
    for offset in range(0, size, _PIECE):
        try:
            disk.read(name, offset, _PIECE)
        except OSError:
            return offset
    return 0  # now it could


def _note(outline: Outline, record: Record, end: int, path: str) -> None:
    try:
        outline.note(record, end)
    except Inconsistent as error:
        raise _damaged(path, end - fmt.RECORD_OVERHEAD - len(record.payload), str(error)) from None


def _damaged(path: str, offset: int, why: str) -> StartupError:
    return StartupError(f"the log is damaged: {path} has no valid record at byte {offset}, {why}", ExitCode.DAMAGED)
