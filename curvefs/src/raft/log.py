"""The log of one server: what is kept in memory of it, how far it is durable, committed, and handed out to be applied.

Entries from ``base.index + 1`` on are here; what is before was compacted into the state. The write-ahead log keeps them
on disk: take_write() hands out what is not there yet, written() says that it is; one write is under way at a time.

A server uses the latest configuration in its log, committed or not (section 6 of the paper), so that a configuration
goes when its entry is replaced.

Invariants:
    base.index <= applied <= min(committed, durable);  durable <= last_index;  taken <= last_index
    committed entries are never replaced
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .codec import decode_configuration
from .configuration import Configuration
from .messages import Entry, EntryKind


@dataclass(frozen=True, slots=True)
class Base:
    """Where the log kept in memory begins: the index and term before its first entry."""

    index: int = 0
    term: int = 0


class Log:
    """See the module."""

    __slots__ = (
        "_configurations",
        "_entries",
        "_taken",
        "applied",
        "base",
        "committed",
        "durable",
        "size_bytes",
        "unwritten_bytes",
    )

    def __init__(
        self, base: Base, configuration: Configuration, entries: Sequence[Entry], *, committed: int, applied: int
    ) -> None:
        """Go on with what recovery found, all of it durable.

        configuration: in force at ``applied``. applied: what the state has.
        """
        self.base = base
        self._entries = list(entries)
        self._configurations = [(base.index, configuration)]
        self.size_bytes = self.unwritten_bytes = 0  # of all entries; of those that are not durable
        for entry in entries:
            self._note(entry)
        self.unwritten_bytes = 0
        self._taken = self.durable = self.last_index
        self.committed = max(min(committed, self.last_index), applied)
        self.applied = applied
        assert base.index <= applied <= self.last_index, "the log follows the state"

    # ------------------------------------------------------------------------------------------- looking

    @property
    def last_index(self) -> int:
        """Return the index of the last entry, or of the base."""
        return self.base.index + len(self._entries)

    @property
    def last_term(self) -> int:
        """Return the term of the last entry, or of the base."""
        return self._entries[-1].term if self._entries else self.base.term

    @property
    def configuration(self) -> Configuration:
        """Return the configuration in force."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """Return the index of its entry; 0 when the group began with it."""
        return self.configuration.since

    def configuration_at(self, index: int) -> Configuration:
        """Return the configuration that was in force at an index, not before the base."""
        return next(value for at, value in reversed(self._configurations) if at <= index or at == self.base.index)

    def term_of(self, index: int) -> int | None:
        """Return the term of the entry at an index; None when it is not known (compacted, or not there yet)."""
        at = index - self.base.index
        if at == 0:
            return self.base.term
        return self._entries[at - 1].term if 0 < at <= len(self._entries) else None

    def entries(self, first: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from ``first`` on: at least one if there is one, then as many as fit."""
        at = first - self.base.index - 1
        assert at >= 0, "compacted"
        chosen: list[Entry] = []
        size = 0
        for entry in self._entries[at : at + _ENTRIES_MAX]:
            size += len(entry.data)
            if chosen and size > bytes_max:
                break
            chosen.append(entry)
        return tuple(chosen)

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Say whether a log that ends so is at least as up to date as this one (section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def agreement(self, index: int, term: int) -> tuple[int, int]:
        """Return (index, term) of the last entry up to ``index`` whose term is at most ``term``.

        Where a log that disagrees at ``index`` may agree: whole terms are skipped at once (end of section 5.3).
        """
        index = min(index, self.last_index)
        while index > self.base.index and (self.term_of(index) or 0) > term:
            index -= 1
        return index, self.term_of(index) or 0

    # ------------------------------------------------------------------------------------------ changing

    def append(self, entry: Entry) -> None:
        """Append a leader's own entry."""
        assert entry.index == self.last_index + 1, "no holes"
        self._entries.append(entry)
        self._note(entry)

    def accept(self, entries: Sequence[Entry]) -> None:
        """Take a leader's entries, whose predecessor agrees; what conflicts goes, with all that follows it."""
        for i, entry in enumerate(entries):
            term = self.term_of(entry.index)
            if term == entry.term or entry.index <= self.base.index:
                continue
            if term is not None:
                self._truncate(entry.index)
            for new in entries[i:]:
                self._entries.append(new)
                self._note(new)
            return

    def commit(self, index: int) -> bool:
        """Raise the commit index; says whether it rose."""
        index = min(index, self.last_index)
        if index <= self.committed:
            return False
        self.committed = index
        return True

    def compact(self, index: int) -> None:
        """Forget entries up to ``index``, which are applied."""
        assert index <= self.applied, "the state must have it"
        count = index - self.base.index
        if count <= 0:
            return
        base = Base(index, self._entries[count - 1].term)
        self.size_bytes -= sum(len(entry.data) for entry in self._entries[:count])
        del self._entries[:count]
        at_base = self.configuration_at(index)
        self.base = base
        self._configurations = [(index, at_base), *(one for one in self._configurations if one[0] > index)]

    def reset(self, base: Base, configuration: Configuration) -> None:
        """A snapshot was installed: the log begins behind it."""
        self.base = base
        self._entries = []
        self._configurations = [(base.index, configuration)]
        self.size_bytes = self.unwritten_bytes = 0
        self._taken = self.durable = self.committed = self.applied = base.index

    # ------------------------------------------------------------------------------------------- writing

    @property
    def has_unwritten(self) -> bool:
        """True when there are entries that were never handed out to be written."""
        return self._taken < self.last_index

    @property
    def last_taken(self) -> tuple[int, int]:
        """Return index and term of the last entry handed out to be written."""
        return self._taken, self.term_of(self._taken) or 0

    def take_unwritten(self) -> list[Entry]:
        """Hand out what is to be written."""
        entries = self._entries[self._taken - self.base.index :]
        self._taken = self.last_index
        return entries

    def written(self, index: int, term: int) -> None:
        """Everything handed out up to this entry is durable; unless it was replaced meanwhile."""
        if index > self.durable and self.term_of(index) == term:
            self.unwritten_bytes -= self._bytes_between(self.durable, index)
            self.durable = index

    def not_written(self) -> None:
        """What was handed out was not written: it will be handed out again."""
        self._taken = self.durable

    def drop_unwritten(self) -> int:
        """Forget every entry that is not durable; nobody was told of them. Returns how many."""
        count = self.last_index - self.durable
        if count:
            self._truncate(self.durable + 1)
        return count

    # ------------------------------------------------------------------------------------------ applying

    def take_committed(self) -> list[Entry]:
        """Hand out what is to be applied: committed, and in this server's own log (rule 24)."""
        end = min(self.committed, self.durable)
        if end <= self.applied:
            return []
        entries = self._entries[self.applied - self.base.index : end - self.base.index]
        self.applied = end
        return entries

    # ----------------------------------------------------------------------------------------- internals

    def _note(self, entry: Entry) -> None:
        self.size_bytes += len(entry.data)
        self.unwritten_bytes += len(entry.data)
        if entry.kind is EntryKind.CONFIGURATION:
            self._configurations.append((entry.index, decode_configuration(entry.data)))

    def _truncate(self, index: int) -> None:
        assert index > self.committed, "a committed entry is never replaced"
        self.size_bytes -= self._bytes_between(index - 1, self.last_index)
        self.unwritten_bytes -= self._bytes_between(max(index - 1, self.durable), self.last_index)
        del self._entries[index - self.base.index - 1 :]
        self._taken = min(self._taken, index - 1)
        self.durable = min(self.durable, index - 1)
        while self._configurations[-1][0] >= index:
            self._configurations.pop()

    def _bytes_between(self, before: int, last: int) -> int:
        """Return the size of the entries behind ``before``, up to ``last``."""
        return sum(len(entry.data) for entry in self._entries[before - self.base.index : last - self.base.index])


_ENTRIES_MAX = 1024  # in one message
