"""The embedded key-value store: storage/protocol.py over LMDB, for one MDS on one machine.

All LMDB work runs in one worker thread, so transactions are serial without locks; each that changes something is one
durable LMDB commit. The history of changes is stored beside the keys and bounded, so that a watch can begin before a
restart; a watch reads it at its own pace and holds no queue. Of a lease, the granted seconds are stored; its deadline
is counted in memory, and opening the store gives every lease its full time again.

Shared across awaits: `_changed`, replaced at each change. Touched by the worker thread alone: `_deadlines`.
"""

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from ...common.clock import Clock
from ...common.errors import IOFailure, NoSpace, StartupError, Unavailable
from ...common.exits import ExitCode
from .protocol import (
    PAGE_SIZE_MAX,
    Compare,
    Event,
    KeyValue,
    LeaseStatus,
    Operation,
    Page,
    Relation,
    Target,
    TxnResult,
    check_operations,
)
from .tables import FORMAT, Change, Tables, View

# Below this much room a failed commit is taken for a full disk, whatever LMDB called it: it reports a short write()
# as EIO.
_ROOM_BYTES = 1 << 20

T = TypeVar("T")


class LmdbStore:
    """A KeyValueStore in a folder. One process at a time may use it: the caller holds the folder's lock."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        size_bytes_max: int = 4 << 30,
        history_limit: int = 10_000,
        deadline_s: float = 30.0,
    ) -> None:
        """Open or make the store in ``folder``; blocks.

        history_limit: changes kept for watches. deadline_s: after which a call raises Unavailable.
        Raises StartupError: DATA_FOLDER for a newer format, DAMAGED for what is no store, FAILED for a full disk.
        """
        self._folder = folder
        self._clock = clock
        self._history_limit = history_limit
        self._deadline_s = deadline_s
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lmdb")
        self._changed = asyncio.Event()
        self._closed = False
        self._deadlines: dict[int, float] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._environment: Any = lmdb.open(str(folder), map_size=size_bytes_max, max_dbs=8)
            self._tables = self._open_tables()
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.PageNotFoundError) as error:
            raise StartupError(f"the store in {folder} is damaged: {error}", ExitCode.DAMAGED) from error
        except (lmdb.Error, OSError) as error:
            reason = os.strerror(errno.ENOSPC) if _is_full(folder) else str(error)
            raise StartupError(f"cannot open the store in {folder}: {reason}", ExitCode.FAILED) from error

    # ------------------------------------------------------------------------------------------- calls

    async def get(self, key: bytes) -> KeyValue | None:
        """See the protocol."""
        return await self._read(lambda view: view.get(key))

    async def range(self, start: bytes, end: bytes, *, limit: int = PAGE_SIZE_MAX) -> Page:
        """See the protocol."""
        return await self._read(lambda view: view.page(start, end, limit))

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        """See the protocol."""
        check_operations(then)
        check_operations(otherwise)

        def work(change: Change) -> TxnResult:
            succeeded = all(_holds(compare, change.get(compare.key)) for compare in compares)
            responses = tuple(change.do(operation) for operation in (then if succeeded else otherwise))
            return TxnResult(succeeded, responses, change.revision)

        return await self._change(work)

    async def lease_grant(self, ttl_s: int) -> int:
        """See the protocol."""
        assert ttl_s > 0, ttl_s
        lease = secrets.randbits(62) + 1
        await self._change(lambda change: change.grant(lease, ttl_s))
        await self.lease_keep_alive(lease)
        return lease

    async def lease_keep_alive(self, lease: int) -> int:
        """See the protocol."""
        return await self._read(lambda view: self._restart_lease(lease, view.granted_s(lease)))

    async def lease_revoke(self, lease: int) -> None:
        """See the protocol."""

        def work(change: Change) -> None:
            change.granted_s(lease)
            change.end_lease(lease)

        await self._change(work)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """See the protocol."""

        def work(view: View) -> LeaseStatus:
            granted_s = view.granted_s(lease)
            left_s = max(0.0, self._deadlines[lease] - self._clock.boottime_s())
            return LeaseStatus(left_s, granted_s, tuple(view.attached(lease)))

        return await self._read(work)

    async def watch(self, start: bytes, end: bytes, *, from_revision: int) -> AsyncIterator[Event]:
        """See the protocol."""
        position = (from_revision, 0)
        while not self._closed:
            changed = self._changed
            events, position = await self._read(lambda view, since=position: view.events(since))  # type: ignore[misc] # mypy infers no type for a lambda's default
            for event in events:
                if start <= event.item.key < end:
                    yield event
            if not events:
                await changed.wait()

    async def expire(self) -> None:
        """End the leases whose time is over; to be called about once a second."""

        def due(_: View) -> list[int]:
            now = self._clock.boottime_s()
            return [lease for lease, deadline in self._deadlines.items() if deadline <= now]

        def end(change: Change, lease: int) -> None:
            # It may have been kept alive or revoked meanwhile.
            if self._deadlines.get(lease, float("inf")) <= self._clock.boottime_s():
                change.end_lease(lease)

        for lease in await self._read(due):
            await self._change(lambda change, lease=lease: end(change, lease))  # type: ignore[misc] # as above

    async def close(self) -> None:
        """See the protocol."""
        self._closed = True
        self._changed.set()
        await asyncio.to_thread(self._worker.shutdown)
        self._environment.close()

    # ------------------------------------------------------------------------------- in the worker thread

    def _open_tables(self) -> Tables:
        environment = self._environment
        try:
            tables = Tables(
                *(environment.open_db(name) for name in (b"meta", b"keys", b"history", b"leases", b"attached"))
            )
            with environment.begin(write=True) as txn:
                change = Change(txn, tables, self._history_limit)
                found = change.number(b"format")
                if found is None:
                    change.set_number(b"format", FORMAT)
                elif found > FORMAT:
                    raise StartupError(
                        f"the store in {self._folder} is of format {found}; this version knows up to {FORMAT}",
                        ExitCode.DATA_FOLDER,
                    )
                for lease, granted_s in change.leases():
                    self._restart_lease(lease, granted_s)
        except BaseException:
            environment.close()
            raise
        return tables

    def _restart_lease(self, lease: int, granted_s: int) -> int:
        self._deadlines[lease] = self._clock.boottime_s() + granted_s
        return granted_s

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except lmdb.PanicError as error:
            # The last commit failed while its root page was written: what of it lasts shows only at the next start.
            raise Unavailable(f"the store in {self._folder} must be opened again: {error}") from error
        except lmdb.Error as error:
            if isinstance(error, lmdb.MapFullError) or _is_full(self._folder):
                raise NoSpace(f"no space left for the store in {self._folder}") from error
            raise IOFailure(f"the store in {self._folder} failed: {error}") from error

    # ------------------------------------------------------------------------------------ to that thread

    async def _read(self, work: Callable[[View], T]) -> T:
        def read() -> T:
            with self._translated(), self._environment.begin() as txn:
                return work(View(txn, self._tables))

        return await self._run(read)

    async def _change(self, work: Callable[[Change], T]) -> T:
        loop = asyncio.get_running_loop()

        def commit() -> T:
            with self._translated(), self._environment.begin(write=True) as txn:
                change = Change(txn, self._tables, self._history_limit)
                result = work(change)
                change.finish()
            # Memory follows what is committed, also when the caller has stopped waiting.
            for lease in change.ended_leases:
                self._deadlines.pop(lease, None)
            if change.event_count:
                loop.call_soon_threadsafe(self._announce)
            return result

        return await self._run(commit)

    async def _run(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._worker, work)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await future
        except TimeoutError as error:
            raise Unavailable(f"the store in {self._folder} did not answer within {self._deadline_s:.0f} s") from error

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _holds(compare: Compare, item: KeyValue | None) -> bool:
    match compare.target:
        case Target.VALUE:
            assert compare.relation in {Relation.EQUAL, Relation.NOT_EQUAL}, compare.relation
            return item is not None and (item.value == compare.operand) is (compare.relation is Relation.EQUAL)
        case Target.VERSION:
            found = item.version if item else 0
        case Target.CREATE_REVISION:
            found = item.create_revision if item else 0
        case Target.MOD_REVISION:
            found = item.mod_revision if item else 0
    assert isinstance(compare.operand, int), "a number is compared with a number"
    match compare.relation:
        case Relation.EQUAL:
            return found == compare.operand
        case Relation.NOT_EQUAL:
            return found != compare.operand
        case Relation.GREATER:
            return found > compare.operand
        case Relation.LESS:
            return found < compare.operand


def _is_full(folder: Path) -> bool:
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _ROOM_BYTES
