"""Moving a cluster's state from one key-value store into another, empty one, while no MDS runs on either.

What has begun is written into the target first, and what makes a cluster of it, its id, last: an MDS refuses a store in
between (authority.check_cluster). Begun again after a crash, it begins from the start. When the target is to be used
the source is told so in one key, and from then on no MDS serves from it: two stores that both go on would be two
clusters.

Keys that hang on a lease (who stands for election) stay behind, and so do revisions: nothing that the MDS writes means
a revision of the store.
"""

from collections.abc import AsyncIterator, Sequence

from ..common.errors import StartupError
from ..common.exits import ExitCode
from .authority import CLUSTER_ID, MOVED
from .storage.protocol import TXN_OPERATIONS_MAX, Compare, Delete, KeyValue, KeyValueStore, Put, Relation, Target

_BEGUN = b"migration/of"
_BATCH_BYTES = 1 << 20  # etcd takes requests up to 1.5 MiB
_ALL = (b"\0", b"\xff")


async def copy_state(source: KeyValueStore, target: KeyValueStore) -> int:
    """Copy everything and return how many keys; the source stays as it is.

    Raises StartupError: DATA_FOLDER when the source holds no cluster or the target something else, FAILED when somebody
    else writes to the target; CurveFSError of the stores.
    """
    cluster = await source.get(CLUSTER_ID)
    if cluster is None:
        raise StartupError("there is nothing to move: the store holds no cluster", ExitCode.DATA_FOLDER)
    kept = [item async for item in _items(source) if item.key not in (CLUSTER_ID, MOVED)]
    if not await _is_there(target, cluster):
        await _begin(target, cluster)
        for batch in _batches(kept):
            await target.txn([], [Put(item.key, item.value) for item in batch])
        await _check(kept, target)
        await target.txn([], [Put(CLUSTER_ID, cluster.value), Delete(_BEGUN)])
    return len(kept) + 1


async def retire_store(source: KeyValueStore, name: str) -> None:
    """Have no MDS serve from it any more. name: of the store that took its place."""
    await source.txn([], [Put(MOVED, name.encode())])


async def _items(store: KeyValueStore) -> AsyncIterator[KeyValue]:
    start, end = _ALL
    while True:
        page = await store.range(start, end)
        for item in page.items:
            if not item.lease:
                yield item
        if not page.more:
            return
        start = page.items[-1].key + b"\0"


async def _is_there(target: KeyValueStore, cluster: KeyValue) -> bool:
    """Say whether all was copied already. Raises StartupError (DATA_FOLDER)."""
    found = await target.get(CLUSTER_ID)
    if found is not None and found.value != cluster.value:
        raise StartupError(f"the new store holds another cluster, {_text(found.value)}", ExitCode.DATA_FOLDER)
    return found is not None


async def _begin(target: KeyValueStore, cluster: KeyValue) -> None:
    """Take the target for this cluster and empty it of what an earlier attempt left."""
    begun = await target.get(_BEGUN)
    if begun is None:
        for item in (await target.range(*_ALL, limit=1)).items:
            raise StartupError(
                f"the new store is not empty: it holds keys such as {_text(item.key)}", ExitCode.DATA_FOLDER
            )
    elif begun.value != cluster.value:
        raise StartupError(f"cluster {_text(begun.value)} is being moved into the new store", ExitCode.DATA_FOLDER)
    taken = Compare(_BEGUN, Target.VALUE, Relation.EQUAL, cluster.value)
    if begun is None:
        taken = Compare(_BEGUN, Target.CREATE_REVISION, Relation.EQUAL, 0)
    if not (await target.txn([taken], [Put(_BEGUN, cluster.value)])).succeeded:
        raise StartupError("somebody else moves a cluster into the new store", ExitCode.DATA_FOLDER)
    await target.txn([], [Delete(_ALL[0], _BEGUN), Delete(_BEGUN + b"\0", _ALL[1])])


async def _check(kept: Sequence[KeyValue], target: KeyValueStore) -> None:
    """Compare what is there with what was copied. Raises StartupError (FAILED)."""
    wanted = {item.key: item.value for item in kept} | {_BEGUN: None}
    async for item in _items(target):
        if item.key not in wanted or wanted.pop(item.key) not in (None, item.value):
            raise StartupError(f"the new store differs at {_text(item.key)}: does an MDS use it?", ExitCode.FAILED)
    if wanted:
        raise StartupError(f"the new store lacks {_text(min(wanted))}: does an MDS use it?", ExitCode.FAILED)


def _batches(items: Sequence[KeyValue]) -> list[list[KeyValue]]:
    batches: list[list[KeyValue]] = [[]]
    size = 0
    for item in items:
        added = len(item.key) + len(item.value)
        if batches[-1] and (len(batches[-1]) == TXN_OPERATIONS_MAX or size + added > _BATCH_BYTES):
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += added
    return batches


def _text(value: bytes) -> str:
    return value[:60].decode(errors="backslashreplace")
