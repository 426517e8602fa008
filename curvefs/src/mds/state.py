"""What the MDS knows and must not forget: tables in memory, mirrored key by key in the store.

The leading MDS is the only writer (authority.py fences every other), so it decides from memory. A change is a
synchronous function of the tables: State.change() runs it under one lock, writes what it put and deleted as one
transaction, and only then lets memory show it. So decisions are serial, all or nothing, and a refused write leaves no
trace.

Invariants:
    after each change, memory is what the store holds
    a record out of a table is never modified: copy it, change the copy, put that

Keys: ``fs/<id>``, ``fs-name/<name>``, ``partition/<fs>/<n>``, ``session/<hex>``, ``metaserver/<id>``, ``copyset/<id>``,
``pool/<id>``, ``zone/<id>``, ``server/<id>``, ``scheduler/<name>``, ``counter/<name>``, ``cluster/recovery``,
``deleted-fs/<id>``; numbers are 20 decimal digits, so that keys sort as numbers do.

Shared across awaits: the tables; they change between a change's write and its return.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from ...proto import mds_pb2, topology_pb2
from ..common.errors import VersionUnsupported
from .authority import Authority
from .storage.protocol import Delete, KeyValueStore, Operation, Put, scan

FORMAT = 1
RECOVERY = b"cluster/recovery"
ONLY = ""  # the key of the table that this one record is
_DIGITS = 20

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Codec(Generic[K, V]):
    """How the keys and values of one table are written."""

    def __init__(
        self,
        prefix: str,
        write_key: Callable[[K], str],
        read_key: Callable[[str], K],
        write: Callable[[V], bytes],
        read: Callable[[bytes], V],
    ) -> None:
        self.prefix = prefix.encode()
        self.write = write
        self.read = read
        self._write_key = write_key
        self._read_key = read_key

    def stored_key(self, key: K) -> bytes:
        """Return the key of the store."""
        return self.prefix + self._write_key(key).encode()

    def key_of(self, stored: bytes) -> K:
        """Return the key of the table; the inverse of stored_key."""
        return self._read_key(stored[len(self.prefix) :].decode())


class Table(Generic[K, V]):
    """One kind of record, by key."""

    def __init__(self, codec: Codec[K, V]) -> None:
        self.codec = codec
        self._rows: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return a record; not to be modified."""
        return self._rows.get(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """Iterate over all records in no particular order; without an await in between."""
        return iter(self._rows.items())

    def values(self) -> Iterator[V]:
        """Iterate over all records in no particular order; without an await in between."""
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    async def load(self, store: KeyValueStore) -> None:
        """Read the table from the store."""
        async for item in scan(store, self.codec.prefix):
            self._rows[self.codec.key_of(item.key)] = self.codec.read(item.value)

    def apply(self, key: K, record: V | None) -> None:
        """Show a record that was written, or with None its deletion. For Change only."""
        if record is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = record


class Change:
    """What one decision puts and deletes. Reads through it see its own puts."""

    def __init__(self, counters: Table[str, int]) -> None:
        self._counters = counters
        self._pending: dict[bytes, tuple[Table[Any, Any], Any, Any]] = {}

    def put(self, table: Table[K, V], key: K, record: V) -> None:
        """Set a record."""
        self._pending[table.codec.stored_key(key)] = (table, key, record)

    def delete(self, table: Table[K, V], key: K) -> None:
        """Remove a record."""
        self._pending[table.codec.stored_key(key)] = (table, key, None)

    def next_number(self, counter: str) -> int:
        """Return the next number of a counter; they begin at 1 and none is used twice."""
        pending = self._pending.get(self._counters.codec.stored_key(counter))
        number = int((pending[2] if pending else self._counters.get(counter)) or 0) + 1
        self.put(self._counters, counter, number)
        return number

    def raise_number(self, counter: str, number: int) -> None:
        """Have a counter go on above a number that is in use."""
        if number > (self._counters.get(counter) or 0):
            self.put(self._counters, counter, number)

    def operations(self) -> list[Operation]:
        """Return the transaction to write."""
        return [
            Delete(stored) if record is None else Put(stored, table.codec.write(record))
            for stored, (table, _, record) in self._pending.items()
        ]

    def apply(self) -> None:
        """Let memory show it."""
        for table, key, record in self._pending.values():
            table.apply(key, record)


class State:
    """All tables, and the one way to change them."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.filesystems: Table[int, mds_pb2.Filesystem] = Table(_records("fs/", mds_pb2.Filesystem))
        self.deleted_filesystems: Table[int, mds_pb2.DeletedFilesystem] = Table(
            _records("deleted-fs/", mds_pb2.DeletedFilesystem)
        )
        self.fs_names: Table[str, int] = Table(
            Codec("fs-name/", str, str, lambda number: b"%d" % number, int)  # only ACTIVE and CREATING ones have a name
        )
        self.partitions: Table[tuple[int, int], mds_pb2.Partition] = Table(
            Codec("partition/", _write_pair, _read_pair, _write_record, _reader(mds_pb2.Partition))
        )
        self.sessions: Table[bytes, mds_pb2.MountSession] = Table(
            Codec("session/", bytes.hex, bytes.fromhex, _write_record, _reader(mds_pb2.MountSession))
        )
        self.metaservers: Table[int, topology_pb2.Metaserver] = Table(_records("metaserver/", topology_pb2.Metaserver))
        self.copysets: Table[int, topology_pb2.Copyset] = Table(_records("copyset/", topology_pb2.Copyset))
        self.pools: Table[int, topology_pb2.Pool] = Table(_records("pool/", topology_pb2.Pool))
        self.zones: Table[int, topology_pb2.Zone] = Table(_records("zone/", topology_pb2.Zone))
        self.servers: Table[int, topology_pb2.Server] = Table(_records("server/", topology_pb2.Server))
        self.switches: Table[str, bool] = Table(  # those of schedulers that somebody has set
            Codec("scheduler/", str, str, lambda on: b"%d" % on, lambda stored: stored == b"1")
        )
        self.counters: Table[str, int] = Table(Codec("counter/", str, str, lambda number: b"%d" % number, int))
        self.recovery: Table[str, mds_pb2.RecoveryMark] = Table(
            Codec(RECOVERY.decode(), str, str, _write_record, _reader(mds_pb2.RecoveryMark))
        )
        self._lock = asyncio.Lock()

    @classmethod
    async def load(cls, authority: Authority) -> "State":
        """Read everything. Raises VersionUnsupported for records of a newer format."""
        state = cls(authority)
        tables: list[Table[Any, Any]] = [
            state.filesystems,
            state.deleted_filesystems,
            state.fs_names,
            state.partitions,
            state.sessions,
            state.metaservers,
            state.copysets,
            state.pools,
            state.zones,
            state.servers,
            state.switches,
            state.counters,
            state.recovery,
        ]
        for table in tables:
            await table.load(authority.store)
        return state

    async def change(self, decide: Callable[[Change], T]) -> T:
        """Run a decision, make what it put and deleted durable, and return its result.

        decide: reads the tables, raises to refuse, must not keep the Change. Raises what it raises and what
        Authority.write raises; then nothing has changed.
        """
        async with self._lock:
            change = Change(self.counters)
            result = decide(change)
            operations = change.operations()
            if operations:
                await self.authority.write(operations)
                change.apply()
            return result

    def partitions_of(self, fs_id: int) -> list[mds_pb2.Partition]:
        """Return a filesystem's partitions as stored, in order."""
        found = [partition for (owner, _), partition in self.partitions.items() if owner == fs_id]
        return sorted(found, key=lambda partition: partition.partition_id)

    def sessions_of(self, fs_id: int) -> list[mds_pb2.MountSession]:
        """Return a filesystem's sessions as stored, the oldest first; also those that are ending."""
        found = [session for session in self.sessions.values() if session.fs_id == fs_id]
        return sorted(found, key=lambda session: (session.opened_ns, session.session_id))


def changed(record: M, **fields: Any) -> M:
    """Return a copy of a record with some plain fields set."""
    copy = type(record)()
    copy.CopyFrom(record)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def _write_number(number: int) -> str:
    return f"{number:0{_DIGITS}d}"


def _write_pair(pair: tuple[int, int]) -> str:
    return "/".join(map(_write_number, pair))


def _read_pair(text: str) -> tuple[int, int]:
    one, two = text.split("/")
    return int(one), int(two)


def _write_record(record: Message) -> bytes:
    return record.SerializeToString(deterministic=True)


def _reader(kind: type[M]) -> Callable[[bytes], M]:
    def read(stored: bytes) -> M:
        record = kind.FromString(stored)
        found = getattr(record, "format", FORMAT)
        if found > FORMAT:
            raise VersionUnsupported(f"a {kind.__name__} of format {found} is stored; this version knows {FORMAT}")
        return record

    return read


def _records(prefix: str, kind: type[M]) -> Codec[int, M]:
    return Codec(prefix, _write_number, int, _write_record, _reader(kind))
