"""Which MDS serves: an election by keys of the store, and the lease on which the one that won serves.

Every MDS that runs keeps a key ``election/<its id>`` with its address under a lease of its own. Of those keys the one
that was created first belongs to the leader; the others stand by and watch. A key ends with its lease, so a leader that
died is followed by the next in the order of creation, and who died while standing by is missed by nobody.

Invariants:
    create revisions are never used twice, and keys only come behind those there are: once a key was the first, it is
        the first for as long as it exists. So a write that compares the key's create revision (``fence``) is a
        leader's, whatever its process believes
    a leader serves only until ``until_s``, which is before its lease can be over in the store: counted on the boot-time
        clock from before the renewal was sent, for 0.8 of what was granted (clock rates within 5 %)
    a candidacy that is over never comes back: the MDS stands again, behind the others

The key of a former life of this MDS is removed at once: the caller holds the lock of the data folder the id is from.

The ballot is a value; Candidacy is the shell around it. Shared across awaits: the ballot, ``until_s`` and the end,
changed between awaits.
"""

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from ..common.clock import Clock
from ..common.errors import CurveFSError, NotFound, Unavailable
from .storage.protocol import (
    Compare,
    Delete,
    Event,
    EventKind,
    KeyValue,
    KeyValueStore,
    Put,
    Relation,
    Target,
    prefix_end,
)

_log = structlog.get_logger()

PREFIX = b"election/"
_SERVED_SHARE = 0.8
_RENEWALS_PER_LEASE = 5
_PAUSE_S = 0.2
_RESIGN_DEADLINE_S = 2.0


def serves_until_s(sent_s: float, granted_s: float) -> float:
    """Return until when a leader may serve on a lease that was granted or renewed by a request sent then."""
    return sent_s + _SERVED_SHARE * granted_s


class Ballot:
    """The candidates, as the store had them at some revision."""

    def __init__(self, items: Iterable[KeyValue] = ()) -> None:
        self._items = {item.key: item for item in items}

    def apply(self, event: Event) -> None:
        """Follow a change of the store."""
        if event.kind is EventKind.DELETE:
            self._items.pop(event.item.key, None)
        else:
            self._items[event.item.key] = event.item

    @property
    def first(self) -> KeyValue | None:
        """Return the key of the leader, None while there is none."""
        return min(self._items.values(), key=lambda item: item.create_revision, default=None)

    def has(self, key: bytes, create_revision: int) -> bool:
        """Return whether a candidate is still there, and is not another one under the same key."""
        item = self._items.get(key)
        return item is not None and item.create_revision == create_revision


class Candidacy:
    """One candidacy of one MDS: stand(), run() in a task of its own, elected(), and in the end resign()."""

    def __init__(self, store: KeyValueStore, clock: Clock, mds_id: str, address: str, *, lease_s: int) -> None:
        self._store = store
        self._clock = clock
        self._key = PREFIX + mds_id.encode()
        self._address = address
        self._lease_s = lease_s
        self._lease = 0
        self._create_revision = 0
        self._ballot = Ballot()
        self._observed = asyncio.Event()
        self._elected = asyncio.Event()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.until_s = float("-inf")

    @property
    def holds(self) -> bool:
        """Return whether this MDS may serve now, as far as it knows."""
        return self._elected.is_set() and not self._over.done() and self._clock.boottime_s() < self.until_s

    @property
    def fence(self) -> Compare:
        """Return the condition that holds in the store only while this MDS is a candidate, elected or not."""
        return Compare(self._key, Target.CREATE_REVISION, Relation.EQUAL, self._create_revision)

    @property
    def leader(self) -> str:
        """Return the address of the MDS that serves, as far as is known; '' for none, and for this one."""
        first = self._ballot.first
        if first is None or first.key == self._key or self._over.done():
            return ""
        return first.value.decode()

    async def stand(self) -> None:
        """Become a candidate, the last of them. Raises what the store raises; then try again anew."""
        former = await self._store.get(self._key)
        if former is not None:
            _log.info("this MDS stood before and ended without a word; its key is removed")
            await self._remove(former)
        sent_s = self._clock.boottime_s()
        self._lease = await self._store.lease_grant(self._lease_s)
        absent = Compare(self._key, Target.CREATE_REVISION, Relation.EQUAL, 0)
        result = await self._store.txn([absent], [Put(self._key, self._address.encode(), self._lease)])
        if not result.succeeded:
            raise Unavailable(
                "another process stands for election under the id of this MDS: is its data folder a copy?"
            )
        self._create_revision = result.revision
        self.until_s = serves_until_s(sent_s, self._lease_s)

    async def run(self) -> None:
        """Renew the lease and watch the others until the candidacy is over."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._renew(), name="election lease"),
                group.create_task(self._observe(), name="election watch"),
            ]
            await self.over()
            for task in tasks:
                task.cancel()

    async def observed(self) -> None:
        """Wait until it is known who the candidates are."""
        await self._observed.wait()

    async def elected(self) -> None:
        """Wait until this MDS is the leader; for ever if the candidacy is over before."""
        await self._elected.wait()

    async def over(self) -> str:
        """Wait until the candidacy is over and return why."""
        return await asyncio.shield(self._over)

    def end(self, reason: str) -> None:
        """End it: this MDS serves no more."""
        if not self._over.done():
            self._over.set_result(reason)

    async def resign(self) -> None:
        """End it and let the next one lead at once; if the store does not hear it, the lease runs out."""
        self.end("it resigned")
        if self._lease:
            with contextlib.suppress(CurveFSError, TimeoutError):
                async with asyncio.timeout(_RESIGN_DEADLINE_S):
                    await self._store.lease_revoke(self._lease)

    async def _remove(self, former: KeyValue) -> None:
        if former.lease:
            with contextlib.suppress(NotFound):
                await self._store.lease_revoke(former.lease)
        unchanged = Compare(self._key, Target.CREATE_REVISION, Relation.EQUAL, former.create_revision)
        await self._store.txn([unchanged], [Delete(self._key)])

    async def _renew(self) -> None:
        renewed = True
        while True:
            now_s = self._clock.boottime_s()
            if now_s >= self.until_s:
                self.end("its lease was not renewed in time")
                return
            await asyncio.sleep(min(self._lease_s / _RENEWALS_PER_LEASE, self.until_s - now_s))
            sent_s = self._clock.boottime_s()
            if sent_s >= self.until_s:
                continue
            try:
                async with asyncio.timeout(self.until_s - sent_s):
                    granted_s = await self._store.lease_keep_alive(self._lease)
            except NotFound:
                self.end("its lease is over")
                return
            except (CurveFSError, TimeoutError) as error:
                if renewed:
                    _log.warning("the election lease could not be renewed", reason=str(error) or "no answer in time")
                renewed = False
            else:
                renewed = True
                self.until_s = max(self.until_s, serves_until_s(sent_s, granted_s))

    async def _observe(self) -> None:
        end = prefix_end(PREFIX)
        while True:
            try:
                page = await self._store.range(PREFIX, end)
                self._ballot = Ballot(page.items)
                self._count()
                async for event in self._store.watch(PREFIX, end, from_revision=page.revision + 1):
                    self._ballot.apply(event)
                    self._count()
            except CurveFSError as error:  # also a history that does not reach back: read again
                _log.warning("the election cannot be followed", reason=str(error))
            await asyncio.sleep(_PAUSE_S)

    def _count(self) -> None:
        self._observed.set()
        first = self._ballot.first
        if not self._ballot.has(self._key, self._create_revision):
            self.end("its key is gone from the store: another MDS takes over")
        elif first is not None and first.key == self._key:
            self._elected.set()
