"""The files of the log: written, synced, rotated and deleted. Blocking; used by one thread at a time.

Invariants:
    the file's size is `size` of the last segment, except inside append()
    a segment's header is durable before its first record; each segment begins with the newest hard state of every
        group, so that only entries keep old segments
    a failed write changes nothing; a failed sync ends the process, because what the disk holds then is unknown
"""

import errno
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...common.errors import NoSpace
from . import format as fmt
from .format import Record, RecordType
from .recovery import Outline, Segment, segment_path, sync_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes. reserve_bytes: free space that appends leave, so that what is in the log can still be applied."""

    segment_size_bytes: int = 64 << 20
    reserve_bytes: int = 16 << 20


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@dataclass(frozen=True, slots=True)
class Syscalls:
    """What touches the disk; tests replace it."""

    write: Callable[[int, bytes | memoryview], int] = os.write
    sync: Callable[[int], None] = os.fdatasync
    free_bytes: Callable[[Path], int] = _free_bytes


class SegmentFiles:
    """The segments of one log folder, the last of them open for appending."""

    def __init__(
        self,
        folder: Path,
        outline: Outline,
        settings: LogSettings,
        *,
        salt: Callable[[], int],
        fatal: Callable[[str], NoReturn],
        syscalls: Syscalls | None = None,
    ) -> None:
        """Go on where ``outline`` ends. Raises NoSpace, OSError.

        salt: random 64-bit numbers. fatal: ends the process, after a failed sync.
        """
        self._folder = folder
        self._settings = settings
        self._salt = salt
        self._fatal = fatal
        self._syscalls = syscalls or Syscalls()
        self._segments = list(outline.segments)
        self._hard_states = {id_: group.hard_state for id_, group in outline.groups.items() if group.hard_state}
        self._fd = -1
        if self._segments:
            self._fd = os.open(self._segments[-1].path, os.O_WRONLY | os.O_APPEND)
        else:
            self._add_segment()

    @property
    def size_bytes(self) -> int:
        """Return the size of all segments."""
        return sum(segment.size for segment in self._segments)

    @property
    def segment_count(self) -> int:
        """Return the number of segments."""
        return len(self._segments)

    def append(self, records: list[Record]) -> float:
        """Make records durable, all in one write and one sync. Returns how many seconds the sync took.

        Raises NoSpace when nothing of it was kept.
        """
        if self._syscalls.free_bytes(self._folder) < self._settings.reserve_bytes:
            raise NoSpace("the disk below the metaserver is full")
        rotated = self._segments[-1].size >= self._settings.segment_size_bytes
        if rotated:
            self._add_segment()
            records = [*self._hard_states.values(), *records]
        segment = self._segments[-1]
        data = fmt.encode(records, segment.size, segment.seed)
        self._write(segment, data)
        began = time.perf_counter()
        self._sync(segment)
        took = time.perf_counter() - began
        segment.size += len(data)
        for record in records:
            if record.type is RecordType.ENTRY:
                segment.last_index[record.group_id] = record.index
            elif record.type is RecordType.HARD_STATE:
                self._hard_states[record.group_id] = record
            else:
                self.forget(record.group_id)
        return took

    def forget(self, group_id: int) -> None:
        """The group is gone: its entries keep no segment."""
        self._hard_states.pop(group_id, None)
        for segment in self._segments:
            segment.last_index.pop(group_id, None)

    def trim(self, bases: Mapping[int, int]) -> int:
        """Delete the oldest segments that no group needs; returns how many.

        bases: of each group, the index up to which entries are not needed any more.
        """
        count = 0
        while len(self._segments) > 1 and all(
            index <= bases.get(group_id, 0) for group_id, index in self._segments[0].last_index.items()
        ):
            self._segments[0].path.unlink()
            del self._segments[0]
            count += 1
        if count:
            sync_folder(self._folder)
        return count

    def oldest_needed_by(self, bases: Mapping[int, int]) -> list[int]:
        """Return the groups that keep the oldest segment, unless it is the only one."""
        if len(self._segments) == 1:
            return []
        return [id_ for id_, index in self._segments[0].last_index.items() if index > bases.get(id_, 0)]

    def close(self) -> None:
        """Close the open file."""
        os.close(self._fd)

    def _write(self, segment: Segment, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._syscalls.write(self._fd, rest) :]
        except OSError as error:
            try:
                os.ftruncate(self._fd, segment.size)
            except OSError as second:
                self._fatal(f"cannot take back a failed write to {segment.path}: {second}")
            if error.errno not in _FULL:
                self._fatal(f"cannot write to {segment.path}: {error}")
            raise NoSpace("the disk below the metaserver is full") from error

    def _sync(self, segment: Segment) -> None:
        try:
            self._syscalls.sync(self._fd)
        except OSError as error:
            self._fatal(f"cannot sync {segment.path}: {error}")

    def _add_segment(self) -> None:
        """Make the next segment and write to it from now on. Raises NoSpace, and then nothing changed."""
        number = self._segments[-1].number + 1 if self._segments else 1
        path = segment_path(self._folder, number)
        data = fmt.encode_header(number, self._salt())
        header = fmt.decode_header(data)
        assert header is not None, "what was just encoded"
        old = self._fd
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        segment = Segment(number, path, header.seed, 0)
        try:
            self._write(segment, data)
        except NoSpace:
            os.close(self._fd)
            self._fd = old
            path.unlink()
            raise
        self._sync(segment)
        segment.size = len(data)
        sync_folder(self._folder)
        self._segments.append(segment)
        if old >= 0:
            os.close(old)
