"""The embedded store's tables, as one transaction sees and changes them. Blocking; in the store's worker thread only.

Tables: `meta` (format, revision, compacted: the newest revision that the history no longer has whole), `keys` (key ->
revisions, lease, value), `history` (revision, ordinal -> event), `leases` (id -> seconds granted), `attached` (lease,
key -> nothing). A transaction and a table handle are the LMDB binding's objects; opening them is lmdb_store.py.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...common.errors import NotFound
from . import records
from .protocol import (
    PAGE_SIZE_MAX,
    Delete,
    Deleted,
    Event,
    EventKind,
    Get,
    HistoryCompacted,
    KeyValue,
    Operation,
    Page,
    Put,
    PutDone,
    Response,
)

FORMAT = 1
_EVENTS_MAX = 256
_U64 = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Tables:
    """The handles."""

    meta: Any
    keys: Any
    history: Any
    leases: Any
    attached: Any


class View:
    """What a transaction reads."""

    def __init__(self, txn: Any, tables: Tables) -> None:
        self._txn = txn
        self._tables = tables

    def number(self, name: bytes) -> int | None:
        """Return a number of `meta`."""
        value = self._txn.get(name, db=self._tables.meta)
        return None if value is None else int(_U64.unpack(value)[0])

    def get(self, key: bytes) -> KeyValue | None:
        """Return a key."""
        record = self._txn.get(key, db=self._tables.keys)
        return None if record is None else records.decode_key_value(key, record)

    def items(self, start: bytes, end: bytes) -> Iterator[KeyValue]:
        """Yield the keys in [start, end)."""
        for key, record in self._from(self._tables.keys, start):
            if key >= end:
                return
            yield records.decode_key_value(key, record)

    def page(self, start: bytes, end: bytes, limit: int) -> Page:
        """Return the first keys in [start, end)."""
        limit = min(limit, PAGE_SIZE_MAX)
        items: list[KeyValue] = []
        for item in self.items(start, end):
            if len(items) == limit:
                return Page(tuple(items), more=True, revision=self.revision)
            items.append(item)
        return Page(tuple(items), more=False, revision=self.revision)

    def events(self, since: tuple[int, int]) -> tuple[list[Event], tuple[int, int]]:
        """Return some changes from (revision, ordinal) on, and where to go on. Raises HistoryCompacted."""
        if since[0] <= (self.number(b"compacted") or 0):
            raise HistoryCompacted(f"changes from revision {since[0]} on are no longer known")
        events: list[Event] = []
        for position, record in self._from(self._tables.history, records.encode_position(*since)):
            if len(events) == _EVENTS_MAX:
                break
            events.append(records.decode_event(record))
            revision, ordinal = records.decode_position(position)
            since = (revision, ordinal + 1)
        return events, since

    def leases(self) -> Iterator[tuple[int, int]]:
        """Yield the id and the seconds granted of each lease."""
        for lease, granted_s in self._from(self._tables.leases, b"\0"):
            yield _U64.unpack(lease)[0], _U64.unpack(granted_s)[0]

    def granted_s(self, lease: int) -> int:
        """Return the seconds granted to a lease. Raises NotFound."""
        value = self._txn.get(_U64.pack(lease), db=self._tables.leases)
        if value is None:
            raise NotFound(f"no lease {lease}")
        return int(_U64.unpack(value)[0])

    def attached(self, lease: int) -> Iterator[bytes]:
        """Yield the keys that end with a lease."""
        prefix = _U64.pack(lease)
        for key, _ in self._from(self._tables.attached, prefix):
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :]

    @property
    def revision(self) -> int:
        """Return the store's revision."""
        return self.number(b"revision") or 0

    def _from(self, table: Any, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._txn.cursor(db=table)
        if cursor.set_range(start):
            yield from cursor


class Change(View):
    """What a write transaction does besides: its changes have one revision, and go into the history in order."""

    def __init__(self, txn: Any, tables: Tables, history_limit: int) -> None:
        super().__init__(txn, tables)
        self._history_limit = history_limit
        self._before = super().revision
        self.event_count = 0
        self.ended_leases: list[int] = []

    @property
    def revision(self) -> int:
        """Return the store's revision as this transaction leaves it, so far."""
        return self._before + 1 if self.event_count else self._before

    def set_number(self, name: bytes, value: int) -> None:
        """Set a number of `meta`."""
        self._txn.put(name, _U64.pack(value), db=self._tables.meta)

    def do(self, operation: Operation) -> Response:
        """Carry out one operation of a transaction."""
        match operation:
            case Put(key, value, lease):
                self._put(key, value, lease)
                return PutDone()
            case Delete(key, end):
                return Deleted(self._delete(key, key + b"\0" if end is None else end))
            case Get(key, end, limit):
                return self.page(key, key + b"\0" if end is None else end, limit)

    def grant(self, lease: int, granted_s: int) -> None:
        """Make a lease."""
        self._txn.put(_U64.pack(lease), _U64.pack(granted_s), db=self._tables.leases)

    def end_lease(self, lease: int) -> None:
        """Delete a lease and its keys."""
        for key in list(self.attached(lease)):
            self._delete(key, key + b"\0")
        self._txn.delete(_U64.pack(lease), db=self._tables.leases)
        self.ended_leases.append(lease)

    def finish(self) -> None:
        """Write the revision and forget the oldest history; last of all."""
        if not self.event_count:
            return
        self.set_number(b"revision", self.revision)
        surplus = self._txn.stat(db=self._tables.history)["entries"] - self._history_limit
        cursor = self._txn.cursor(db=self._tables.history)
        while surplus > 0 and cursor.first():
            self.set_number(b"compacted", records.decode_position(cursor.key())[0])
            cursor.delete()
            surplus -= 1

    def _put(self, key: bytes, value: bytes, lease: int) -> None:
        old = self.get(key)
        if lease:
            self.granted_s(lease)
        if old is not None and old.lease and old.lease != lease:
            self._txn.delete(_U64.pack(old.lease) + key, db=self._tables.attached)
        if lease:
            self._txn.put(_U64.pack(lease) + key, b"", db=self._tables.attached)
        revision = self._before + 1
        item = (
            KeyValue(key, value, revision, revision, 1, lease)
            if old is None
            else KeyValue(key, value, old.create_revision, revision, old.version + 1, lease)
        )
        self._txn.put(key, records.encode_key_value(item), db=self._tables.keys)
        self._remember(Event(EventKind.PUT, item))

    def _delete(self, start: bytes, end: bytes) -> int:
        doomed = list(self.items(start, end))
        for item in doomed:
            self._txn.delete(item.key, db=self._tables.keys)
            if item.lease:
                self._txn.delete(_U64.pack(item.lease) + item.key, db=self._tables.attached)
            self._remember(Event(EventKind.DELETE, KeyValue(item.key, b"", 0, self._before + 1, 0)))
        return len(doomed)

    def _remember(self, event: Event) -> None:
        position = records.encode_position(self._before + 1, self.event_count)
        self._txn.put(position, records.encode_event(event), db=self._tables.history)
        self.event_count += 1
