"""What the log holds of each group and in which segment: followed record by record, by reader and writer alike. Pure.

A group's log goes from behind (begin_index, begin_term) to (last_index, last_term). What a record may say next:

    BEGIN       anything: the log begins anew there. Index 0 is a new group, and nothing of before counts. A higher one
                is a snapshot: the entries of before do not count, but the hard state does, or a vote would be forgotten
    ENTRY       an index behind begin_index, at most last_index + 1
    TAIL        an index and term that the log has: it ends there now
    HARD_STATE  anything

The first record that is found of a group may also be a TAIL: older segments are deleted, the log begins there. If it
was then cut below that, to an index that the deleted segments held, it is a TAIL again that says where it begins.

Invariants:
    begin_index <= last_index; the entries between are in the log, without gaps
    Segment.last_index: of the entries in it that still count none is higher
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .disk import Disk
from .format import Record, RecordType

# Number of a segment, and the offset behind a record in it.
Position = tuple[int, int]


class Inconsistent(Exception):
    """A record that cannot follow those before it."""


@dataclass(slots=True)
class Segment:
    """A segment file. last_index: of each group with entries in it."""

    number: int
    name: str
    seed: int
    size: int
    last_index: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class GroupOutline:
    """What the log holds of one group. Without entries its last index and term are those it begins behind.

    begin: the position of the record that says so; what is before does not count, but for the hard state of then.
    cuts: where entries of before stopped to count, and above which index; of both, each is higher than the last.
    terms: the first index of every run of entries of one term.
    """

    begin_index: int = 0
    begin_term: int = 0
    last_index: int = 0
    last_term: int = 0
    hard_state: Record | None = None
    begin: Position = (0, 0)
    hard_state_before: Record | None = None
    cuts: list[tuple[Position, int]] = field(default_factory=list)
    terms: list[tuple[int, int]] = field(default_factory=list)

    @property
    def first_index(self) -> int:
        """Return the index of the first entry; 0 when there is none."""
        return self.begin_index + 1 if self.last_index > self.begin_index else 0

    def copy(self) -> "GroupOutline":
        """Return one that changes by itself."""
        return replace(self, cuts=list(self.cuts), terms=list(self.terms))

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, or of what the log begins behind; None when it is not known."""
        if index == self.last_index:
            return self.last_term
        if index == self.begin_index:
            return self.begin_term
        if not self.begin_index < index < self.last_index:
            return None
        return next((term for first, term in reversed(self.terms) if first <= index), None)

    def forget_terms(self, below: int) -> None:
        """Terms of entries below an index are not asked for again."""
        while len(self.terms) > 1 and self.terms[1][0] <= below:
            del self.terms[0]

    def note(self, record: Record, position: Position | None = None) -> None:
        """Follow a record. position: kept for who reads again. Raises Inconsistent, and then nothing changed."""
        match record.type:
            case RecordType.ENTRY:
                self._append(record, position)
            case RecordType.HARD_STATE:
                self.hard_state = record
            case RecordType.BEGIN:
                if record.index == 0:
                    self.hard_state = None
                self.begin_at(record, position)
            case RecordType.TAIL if record.index < self.begin_index:
                self.begin_at(record, position)
            case RecordType.TAIL:
                found = self.term_at(record.index)
                if found != record.term:
                    raise Inconsistent(
                        f"group {record.group_id} goes on behind entry {record.index} of term {record.term}, and its "
                        f"log ends with entry {self.last_index} of term {self.last_term}"
                    )
                self._cut(record.index, record.term, position)

    def begin_at(self, record: Record, position: Position | None) -> None:
        """The log begins behind a record's index and term."""
        self.begin_index = self.last_index = record.index
        self.begin_term = self.last_term = record.term
        self.hard_state_before = self.hard_state
        self.begin = position or self.begin
        self.cuts.clear()
        self.terms.clear()

    def _append(self, record: Record, position: Position | None) -> None:
        if not self.begin_index < record.index <= self.last_index + 1:
            raise Inconsistent(f"group {record.group_id} goes from entry {self.last_index} to {record.index}")
        if record.index <= self.last_index:
            self._cut(record.index - 1, 0, position)
        if not self.terms or self.terms[-1][1] != record.term:
            self.terms.append((record.index, record.term))
        self.last_index, self.last_term = record.index, record.term

    def _cut(self, index: int, term: int, position: Position | None) -> None:
        if index == self.last_index:
            return
        while self.terms and self.terms[-1][0] > index:
            self.terms.pop()
        self.last_index, self.last_term = index, term
        if position is not None:
            while self.cuts and self.cuts[-1][1] >= index:
                self.cuts.pop()
            self.cuts.append((position, index))


@dataclass(slots=True)
class Outline:
    """What the log holds. disk: where it was found."""

    disk: Disk = field(compare=False, repr=False)
    segments: list[Segment] = field(default_factory=list)
    groups: dict[int, GroupOutline] = field(default_factory=dict)

    def copy(self) -> "Outline":
        """Return one that changes by itself."""
        segments = [replace(one, last_index=dict(one.last_index)) for one in self.segments]
        return Outline(self.disk, segments, {id_: group.copy() for id_, group in self.groups.items()})

    def note(self, record: Record, end: int | None = None) -> None:
        """Follow a record of the newest segment. Raises Inconsistent.

        end: the offset behind it, for who reads again.
        """
        segment = self.segments[-1]
        position = None if end is None else (segment.number, end)
        group = self.groups.get(record.group_id)
        if group is None:
            group = GroupOutline()
            if record.type is RecordType.TAIL:
                group.begin_at(record, position)
            else:
                group.note(record, position)
            self.groups[record.group_id] = group
            before = 0
        else:
            before = group.last_index
            group.note(record, position)
        match record.type:
            case RecordType.ENTRY:
                if record.index <= before:
                    _lower(self.segments, record.group_id, record.index - 1)
                segment.last_index[record.group_id] = record.index
            case RecordType.TAIL:
                if record.index < before:
                    _lower(self.segments, record.group_id, record.index)
            case RecordType.BEGIN:
                self._drop(record.group_id)

    def forget(self, group_id: int) -> None:
        """The group is gone: its entries keep no segment."""
        self.groups.pop(group_id, None)
        self._drop(group_id)

    def _drop(self, group_id: int) -> None:
        for segment in self.segments:
            segment.last_index.pop(group_id, None)


def _lower(segments: Sequence[Segment], group_id: int, index: int) -> None:
    """What a group had above an index does not count any more."""
    for segment in segments:
        if segment.last_index.get(group_id, 0) > index:
            segment.last_index[group_id] = index
