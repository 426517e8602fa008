"""The files of the log: written, synced, rotated and deleted. Blocking; used by one thread at a time.

Invariants:
    the file's size is `size` of the last segment, except inside append()
    a segment's header and name are durable before its first record
    each segment has, in its first write, the tail and the newest hard state of every group, so that only entries keep
        old segments; it is repeated in the first write after a start, because the one before may have been torn, and
        until then no segment is deleted
    a failed write changes nothing; a failed sync ends the process, because what the disk holds then is unknown
"""

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ...common.errors import NoSpace
from . import format as fmt
from .disk import Disk
from .format import Record, RecordType
from .outline import GroupOutline, Inconsistent, Outline, Segment
from .recovery import segment_name

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE = "the disk below the metaserver is full"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes. reserve_bytes: free space that appends leave, so that what is in the log can still be applied."""

    segment_size_bytes: int = 64 << 20
    reserve_bytes: int = 16 << 20


class SegmentFiles:
    """The segments of one log folder, the last of them open for appending."""

    def __init__(
        self,
        disk: Disk,
        outline: Outline,
        settings: LogSettings,
        *,
        salt: Callable[[], int],
        fatal: Callable[[str], NoReturn],
    ) -> None:
        """Go on where ``outline`` ends; it stays as it is. Raises NoSpace, OSError.

        salt: random 64-bit numbers. fatal: ends the process, after a failed sync.
        """
        self._disk = disk
        self._settings = settings
        self._salt = salt
        self._fatal = fatal
        self._outline = outline.copy()
        self._segments = self._outline.segments
        self._has_head = not outline.groups
        self._file = -1
        if self._segments:
            self._file = disk.open(self._segments[-1].name)
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

        Raises NoSpace when nothing of it was kept. A record that cannot follow those before it (outline.py), and any
        other failure of the disk, is fatal.
        """
        try:
            return self._append(records)
        except Inconsistent as error:
            self._fatal(f"what is to be appended does not fit the log: {error}")
        except OSError as error:
            self._fatal(f"cannot append to {self._disk.path(self._segments[-1].name)}: {error}")

    def forget(self, group_id: int) -> None:
        """The group is gone: its entries keep no segment."""
        self._outline.forget(group_id)

    def trim(self, bases: Mapping[int, int]) -> int:
        """Delete the oldest segments that no group needs; returns how many. Raises OSError.

        bases: of each group, the index up to which entries are not needed any more.
        """
        count = 0
        while (
            self._has_head
            and len(self._segments) > 1
            and all(index <= bases.get(group_id, 0) for group_id, index in self._segments[0].last_index.items())
        ):
            self._disk.unlink(self._segments[0].name)
            del self._segments[0]
            count += 1
            # One by one: a crash that kept an older one and not a newer one would look like a missing segment.
            self._sync_folder()
        for group_id, group in self._outline.groups.items():
            group.forget_terms(bases.get(group_id, 0))
        return count

    def oldest_needed_by(self, bases: Mapping[int, int]) -> list[int]:
        """Return the groups that keep the oldest segment, unless it is the only one."""
        if len(self._segments) == 1:
            return []
        return [id_ for id_, index in self._segments[0].last_index.items() if index > bases.get(id_, 0)]

    def close(self) -> None:
        """Close the open file."""
        self._disk.close(self._file)

    def _append(self, records: list[Record]) -> float:
        records = self._with_tails(records)
        if self._disk.free_bytes() < self._settings.reserve_bytes:
            raise NoSpace(_NO_SPACE)
        if self._segments[-1].size >= self._settings.segment_size_bytes:
            self._add_segment()
        if not self._has_head:
            records = [*self._head(), *records]
        segment = self._segments[-1]
        data = fmt.encode(records, segment.size, segment.seed)
        self._write(self._file, segment, data)
        began = time.perf_counter()
        self._sync(self._file, segment)
        took = time.perf_counter() - began
        segment.size += len(data)
        self._has_head = True
        for record in records:
            self._outline.note(record)
        return took

    def _head(self) -> list[Record]:
        """Return what older segments say of every group but for entries."""
        head: list[Record] = []
        for group_id, group in self._outline.groups.items():
            head.append(Record(RecordType.TAIL, group_id, group.last_term, group.last_index))
            if group.hard_state is not None:
                head.append(group.hard_state)
        return head

    def _is_plain(self, records: list[Record]) -> bool:
        """Say whether every entry follows the one before, which is nearly always so."""
        groups = self._outline.groups
        last: dict[int, int] = {}
        for record in records:
            id_ = record.group_id
            if record.type is RecordType.ENTRY:
                before = last.get(id_)
                if before is None:
                    before = groups[id_].last_index if id_ in groups else 0
                if record.index != before + 1:
                    return False
                last[id_] = record.index
            elif record.type is not RecordType.HARD_STATE:
                return False
        return True

    def _with_tails(self, records: list[Record]) -> list[Record]:
        """Return the records, with a TAIL where entries are replaced. Raises Inconsistent.

        The TAIL comes before hard states that come before the entry: see format.py.
        """
        if self._is_plain(records):
            return records
        groups: dict[int, GroupOutline] = {}  # as they are after the records looked at
        places: dict[int, int] = {}  # of each group's hard states since its last entry
        found: list[Record] = []
        for record in records:
            id_ = record.group_id
            group = groups.get(id_)
            if group is None:
                known = self._outline.groups.get(id_)
                group = groups[id_] = known.copy() if known is not None else GroupOutline()
            if record.type is RecordType.ENTRY and group.begin_index < record.index <= group.last_index:
                term = group.term_at(record.index - 1)
                if term is None:
                    raise Inconsistent(f"group {id_} replaces entry {record.index}, which was trimmed")
                at = places.get(id_, len(found))
                found.insert(at, Record(RecordType.TAIL, id_, term, record.index - 1))
                places = {other: place + (place >= at) for other, place in places.items()}
            group.note(record)
            if record.type is RecordType.HARD_STATE:
                places.setdefault(id_, len(found))
            else:
                places.pop(id_, None)
            found.append(record)
        return found

    def _write(self, file: int, segment: Segment, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._disk.write(file, rest) :]
        except OSError as error:
            try:
                self._disk.truncate(file, segment.size)
                # Or a crash could show pieces of it among what is written next.
                self._disk.sync(file)
            except OSError as second:
                self._fatal(f"cannot take back a failed write to {self._disk.path(segment.name)}: {second}")
            if error.errno not in _FULL:
                self._fatal(f"cannot write to {self._disk.path(segment.name)}: {error}")
            raise NoSpace(_NO_SPACE) from error

    def _sync(self, file: int, segment: Segment) -> None:
        try:
            self._disk.sync(file)
        except OSError as error:
            self._fatal(f"cannot sync {self._disk.path(segment.name)}: {error}")

    def _sync_folder(self) -> None:
        try:
            self._disk.sync_folder()
        except OSError as error:
            self._fatal(f"cannot sync the folder of {self._disk.path(self._segments[-1].name)}: {error}")

    def _add_segment(self) -> None:
        """Make the next segment and write to it from now on. Raises NoSpace, and then nothing changed."""
        number = self._segments[-1].number + 1 if self._segments else 1
        data = fmt.encode_header(number, self._salt())
        header = fmt.decode_header(data)
        assert header is not None, "what was just encoded"
        segment = Segment(number, segment_name(number), header.seed, 0)
        try:
            file = self._disk.create(segment.name)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise NoSpace(_NO_SPACE) from error
        try:
            self._write(file, segment, data)
        except NoSpace:
            self._disk.close(file)
            self._disk.unlink(segment.name)
            raise
        self._sync(file, segment)
        segment.size = len(data)
        if self._file >= 0:
            self._disk.close(self._file)
        self._file = file
        self._segments.append(segment)
        self._sync_folder()
        self._has_head = not self._outline.groups
