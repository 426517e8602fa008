"""The right to serve: what an MDS that was elected has of the cluster, and the fence around every write.

Being elected (election.py) is the right; every write compares the key that won the election, so an MDS that another one
has replaced can write nothing. A write that is refused so, or whose outcome stays unknown, ends the candidacy for good:
memory may no longer agree with the store, and the MDS must begin anew. The epoch is the number of the term, told with
every answer and order (rule 25): `cluster/epoch`, raised by the first write of each term, never lowered.

Every write is counted, in the store (`cluster/changes`), and compares the count with that of the write before. So an
MDS whose store was replaced by an older copy while it served finds that out at its next write, and begins anew.
Metaservers are told the number and report it: so the next one finds out that the copy lacks something (recovery/).

Cluster id and session secret are made once, by the same write, and never change.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..common.errors import StaleEpoch, StartupError, Unavailable
from ..common.exits import ExitCode
from .election import PREFIX, Candidacy
from .storage.protocol import Compare, KeyValueStore, Operation, Put, Relation, Target, prefix_end

CLUSTER_ID = b"cluster/id"
MOVED = b"cluster/moved"  # in a store whose state was moved elsewhere: where
_SECRET = b"cluster/secret"
_EPOCH = b"cluster/epoch"
_CHANGES = b"cluster/changes"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What all MDS of a cluster share. secret: signs session tokens; never logged, never in a repr."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Cluster({self.id})"


class Authority:
    """The right to write, while it lasts. changes: writes that the store has had; found: when this term began."""

    def __init__(
        self, store: KeyValueStore, candidacy: Candidacy, cluster: Cluster, epoch: int, *, changes_found: int
    ) -> None:
        self.store = store
        self.cluster = cluster
        self.epoch = epoch
        self.changes_found = changes_found
        self.changes = changes_found + 1
        self._stored = self.changes  # the count as it was written last
        self._candidacy = candidacy

    @property
    def holds(self) -> bool:
        """Return whether this MDS may still serve, as far as it knows."""
        return self._candidacy.holds

    async def write(self, operations: Sequence[Operation]) -> None:
        """Write, if this MDS may still; one write at a time.

        Raises NoSpace or IOFailure (nothing is written, go on), StaleEpoch or Unavailable (authority is lost).
        """
        changes = self.changes + 1
        await _write(self.store, self._candidacy, _counted(self._stored), [*operations, _count(changes)])
        self._stored = changes
        self.changes = max(changes, self.changes)

    def count_from(self, changes: int) -> None:
        """Go on counting from a number that is in use already."""
        self.changes = max(changes, self.changes)

    async def begin_anew(self, operations: Sequence[Operation], epoch: int, reason: str) -> None:
        """Write, and end the term; the next one's epoch will be above ``epoch``. Raises as write()."""
        assert epoch >= self.epoch, "epochs are never lowered"
        await self.write([*operations, Put(_EPOCH, b"%d" % epoch)])
        self._candidacy.end(reason)

    async def lost(self) -> str:
        """Wait until authority is lost and return why."""
        return await self._candidacy.over()


async def begin_serving(
    store: KeyValueStore,
    candidacy: Candidacy,
    random_bytes: Callable[[int], bytes],
    also: Sequence[Operation] = (),
) -> Authority:
    """Raise the epoch and return the right to write under it; the first time, make the cluster.

    candidacy: elected. also: what else is to be written at once. Raises as Authority.write does.
    """
    stored = {key: await store.get(key) for key in (CLUSTER_ID, _SECRET, _EPOCH, _CHANGES)}
    epoch = int(found.value) + 1 if (found := stored[_EPOCH]) else 1
    changes = int(found.value) if (found := stored[_CHANGES]) else 0
    new = {
        CLUSTER_ID: str(uuid.UUID(bytes=random_bytes(16), version=4)).encode(),
        _SECRET: random_bytes(32),
    }
    missing = [Put(key, value) for key, value in new.items() if stored[key] is None]
    written = [*missing, Put(_EPOCH, b"%d" % epoch), _count(changes + 1), *also]
    await _write(store, candidacy, _counted(changes), written)
    values = {key: item.value if (item := stored[key]) else new[key] for key in new}
    cluster = Cluster(values[CLUSTER_ID].decode(), values[_SECRET])
    return Authority(store, candidacy, cluster, epoch, changes_found=changes)


async def check_cluster(store: KeyValueStore, belongs_to: str) -> str:
    """Return the id of the cluster whose store it is, '' for an empty one; changes nothing.

    belongs_to: the cluster of this MDS, '' if it has none yet. Raises StartupError (DATA_FOLDER) when the store is
    another cluster's or something else's, or its state was moved.
    """
    if moved := await store.get(MOVED):
        where = moved.value.decode(errors="replace")
        raise StartupError(f"the state of this cluster was moved to {where}", ExitCode.DATA_FOLDER)
    item = await store.get(CLUSTER_ID)
    found = item.value.decode(errors="replace") if item else ""
    if belongs_to and found != belongs_to:
        holds = f"holds cluster {found}" if found else "holds no cluster"
        raise StartupError(f"the store {holds}; this MDS belongs to cluster {belongs_to}", ExitCode.DATA_FOLDER)
    if found:
        return found
    others = (await store.range(b"\0", PREFIX, limit=1)).items + (
        await store.range(prefix_end(PREFIX), b"\xff", limit=1)
    ).items
    if others and await store.get(CLUSTER_ID):
        return await check_cluster(store, belongs_to)  # another MDS has made the cluster in between
    if others:
        raise StartupError(
            f"the store holds no cluster but other data, such as {others[0].key[:60]!r}", ExitCode.DATA_FOLDER
        )
    return ""


def _count(changes: int) -> Put:
    return Put(_CHANGES, b"%d" % changes)


def _counted(changes: int) -> Compare:
    """Return the condition that the store has had so many writes."""
    if not changes:
        return Compare(_CHANGES, Target.VERSION, Relation.EQUAL, 0)
    return Compare(_CHANGES, Target.VALUE, Relation.EQUAL, b"%d" % changes)


async def _write(store: KeyValueStore, candidacy: Candidacy, counted: Compare, operations: Sequence[Operation]) -> None:
    if not candidacy.holds:
        candidacy.end("its lease was not renewed in time")
        raise Unavailable(f"this MDS no longer serves: {await candidacy.over()}")
    try:
        result = await store.txn([candidacy.fence, counted], operations)
    except Unavailable as error:
        candidacy.end(f"the outcome of a write is unknown: {error}")
        raise
    except asyncio.CancelledError:
        candidacy.end("a write was abandoned")
        raise
    if not result.succeeded:
        reason = "another MDS has taken over, or the store was replaced by an older copy"
        candidacy.end(reason)
        raise StaleEpoch(reason)
