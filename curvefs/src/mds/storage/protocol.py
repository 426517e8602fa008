"""What the MDS needs of a key-value store: a part of etcd's v3 semantics, nothing that etcd cannot do.

One key space, ordered by bytes. Every transaction that changes something raises the store's revision by one; a key
knows the revisions of its creation and of its last change, and its version (1 at creation, raised by each put).
A transaction compares, then does one of two lists of operations, all at one revision. Leases take their keys along
when they end. A watch yields changes in order, from a revision on, as far back as the history reaches.

Invariants:
    create_revision <= mod_revision <= the store's revision
    an operation list names no key in two writes
    a transaction that returned is durable

Errors of every call: NoSpace (not applied, nothing damaged), Unavailable (outcome unknown), IOFailure (the store is
broken; not applied).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ...common.errors import ClusterError

KEY_SIZE_MAX = 400
VALUE_SIZE_MAX = 1 << 20
TXN_OPERATIONS_MAX = 128  # etcd's default --max-txn-ops
PAGE_SIZE_MAX = 1000


class HistoryCompacted(ClusterError):
    """The history does not reach back that far: read the present state and watch from there."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it is. lease: 0 if none."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Target(Enum):
    """What of a key is compared. An absent key has version, create and mod revision 0, and no value."""

    VERSION = 0
    CREATE_REVISION = 1
    MOD_REVISION = 2
    VALUE = 3


class Relation(Enum):
    """How it is compared. VALUE takes only EQUAL and NOT_EQUAL; an absent key's value fails both, as in etcd."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition on one key."""

    key: bytes
    target: Target
    relation: Relation
    operand: int | bytes


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key. lease: 0 or a lease that exists; a put without one detaches the key."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key, or with ``end`` the keys in [key, end)."""

    key: bytes
    end: bytes | None = None


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key, or with ``end`` up to ``limit`` keys in [key, end)."""

    key: bytes
    end: bytes | None = None
    limit: int = PAGE_SIZE_MAX


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class Page:
    """Keys in order. more: the range holds further keys. revision: of the store when it was read."""

    items: tuple[KeyValue, ...]
    more: bool
    revision: int


@dataclass(frozen=True, slots=True)
class PutDone:
    """The answer to a Put."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The answer to a Delete."""

    count: int


Response = PutDone | Deleted | Page


@dataclass(frozen=True, slots=True)
class TxnResult:
    """succeeded: every compare held and ``then`` was done, else ``otherwise``. revision: of the store afterwards."""

    succeeded: bool
    responses: tuple[Response, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """Seconds left, seconds granted, and the keys attached, in order."""

    left_s: float
    granted_s: int
    keys: tuple[bytes, ...]


class EventKind(Enum):
    """What happened to a key."""

    PUT = 0
    DELETE = 1


@dataclass(frozen=True, slots=True)
class Event:
    """A change. Of a deleted key only key and mod_revision (that of the deletion) are set."""

    kind: EventKind
    item: KeyValue


class KeyValueStore(Protocol):
    """See the module's docstring."""

    async def get(self, key: bytes) -> KeyValue | None:
        """Return a key, or None."""
        ...

    async def range(self, start: bytes, end: bytes, *, limit: int = PAGE_SIZE_MAX) -> Page:
        """Return the first keys in [start, end): at most ``limit`` and PAGE_SIZE_MAX."""
        ...

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        """Compare and do, atomically. Raises NotFound for a lease that does not exist (nothing is applied)."""
        ...

    async def lease_grant(self, ttl_s: int) -> int:
        """Return the id of a new lease that ends ``ttl_s`` seconds after its last keep-alive."""
        ...

    async def lease_keep_alive(self, lease: int) -> int:
        """Give a lease its full time again and return that, in seconds. Raises NotFound once it has ended."""
        ...

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and delete its keys. Raises NotFound."""
        ...

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """Return how a lease stands. Raises NotFound."""
        ...

    def watch(self, start: bytes, end: bytes, *, from_revision: int) -> AsyncIterator[Event]:
        """Yield the changes of keys in [start, end) with mod_revision >= from_revision, in order, without end.

        Raises HistoryCompacted when changes from there on are no longer known.
        """
        ...

    async def close(self) -> None:
        """Release everything. Watches end; no call may be under way or follow."""
        ...


def prefix_end(prefix: bytes) -> bytes:
    """Return the end of the range that holds exactly the keys with a prefix."""
    stem = prefix.rstrip(b"\xff")
    assert stem, "a prefix of at least one byte below 0xff"
    return stem[:-1] + bytes([stem[-1] + 1])


async def scan(store: KeyValueStore, prefix: bytes, *, page_size: int = PAGE_SIZE_MAX) -> AsyncIterator[KeyValue]:
    """Yield every key with a prefix, page by page. Not a snapshot: a later page may show later changes."""
    start, end = prefix, prefix_end(prefix)
    while True:
        page = await store.range(start, end, limit=page_size)
        for item in page.items:
            yield item
        if not page.more:
            return
        start = page.items[-1].key + b"\0"


def check_operations(operations: Sequence[Operation]) -> None:
    """Assert what every implementation relies on: bounds, and no key in two writes."""
    assert len(operations) <= TXN_OPERATIONS_MAX, len(operations)
    written: set[bytes] = set()
    for operation in operations:
        assert 0 < len(operation.key) <= KEY_SIZE_MAX, operation.key
        if isinstance(operation, Get):
            continue
        assert operation.key not in written, operation.key
        written.add(operation.key)
        if isinstance(operation, Put):
            assert len(operation.value) <= VALUE_SIZE_MAX, operation.key
