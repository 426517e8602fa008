"""The right to serve: the epoch this MDS raised when it began, and the fence around every write.

`cluster/epoch` is raised by a transaction at each start of serving (rule 25). Every later write compares the revision
of that key with the one this MDS made, so an MDS that another one has replaced can write nothing. A write that is
refused so, or whose outcome stays unknown, ends this MDS's authority for good: its memory may no longer agree with the
store, and the process must begin anew.

Cluster id and session secret are made once, by a transaction, and never change.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..common.errors import StaleEpoch, Unavailable
from .storage.protocol import Compare, KeyValueStore, Operation, Put, Relation, Target

_ID = b"cluster/id"
_SECRET = b"cluster/secret"
_EPOCH = b"cluster/epoch"
_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Cluster:
    """What all MDS of a cluster share. secret: signs session tokens; never logged, never in a repr."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Cluster({self.id})"


class Authority:
    """The right to write, while it lasts."""

    def __init__(self, store: KeyValueStore, cluster: Cluster, epoch: int, fence_revision: int) -> None:
        self.store = store
        self.cluster = cluster
        self.epoch = epoch
        self._fence = Compare(_EPOCH, Target.MOD_REVISION, Relation.EQUAL, fence_revision)
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def holds(self) -> bool:
        """Return whether this MDS may still write, as far as it knows."""
        return not self._lost.done()

    async def write(self, operations: Sequence[Operation]) -> None:
        """Write, if this MDS may still.

        Raises NoSpace or IOFailure (nothing is written, go on), StaleEpoch or Unavailable (authority is lost).
        """
        if self._lost.done():
            raise Unavailable(f"this MDS no longer serves: {self._lost.result()}")
        try:
            result = await self.store.txn([self._fence], operations)
        except Unavailable as error:
            self._lose(f"the outcome of a write is unknown: {error}")
            raise
        except asyncio.CancelledError:
            self._lose("a write was abandoned")
            raise
        if not result.succeeded:
            self._lose("another MDS has taken over")
            raise StaleEpoch(f"epoch {self.epoch} has passed: another MDS has taken over")

    async def lost(self) -> str:
        """Wait until authority is lost and return why."""
        return await asyncio.shield(self._lost)

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)


async def begin_serving(store: KeyValueStore, random_bytes: Callable[[int], bytes]) -> Authority:
    """Raise the epoch and return the right to write under it; the first time, make the cluster.

    Raises what the store raises, and Unavailable when others keep raising the epoch at the same time.
    """
    for _ in range(_ATTEMPTS_MAX):
        stored = {key: await store.get(key) for key in (_ID, _SECRET, _EPOCH)}
        epoch = int(found.value) + 1 if (found := stored[_EPOCH]) else 1
        new = {
            _ID: str(uuid.UUID(bytes=random_bytes(16), version=4)).encode(),
            _SECRET: random_bytes(32),
        }
        unchanged = [
            Compare(key, Target.MOD_REVISION, Relation.EQUAL, item.mod_revision if item else 0)
            for key, item in stored.items()
        ]
        missing = [Put(key, value) for key, value in new.items() if stored[key] is None]
        result = await store.txn(unchanged, [*missing, Put(_EPOCH, b"%d" % epoch)])
        if result.succeeded:
            values = {key: item.value if (item := stored[key]) else new[key] for key in new}
            cluster = Cluster(values[_ID].decode(), values[_SECRET])
            return Authority(store, cluster, epoch, result.revision)
    raise Unavailable("the epoch is being raised by other MDS again and again")
