"""Faults in the code, one at a time: each breaks a rule on which the data path stands, and the machine must find it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from unittest.mock import patch

import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.cache.folder import CacheFolder
from curvefs.src.client.cache.staging import Staging
from curvefs.src.client.data.file_data import FileData
from curvefs.src.client.data.publishing import Publisher
from curvefs.src.client.data.slice_lists import SliceLists
from curvefs.src.common.errors import CurveFSError
from curvefs.src.metaserver.metastore import compaction, data, ids, sessions
from curvefs.src.metaserver.reclaim import reclaimer
from curvefs.src.metaserver.reclaim.passing import Pass
from curvefs.src.metaserver.storage import keys
from curvefs.src.slices import framing

from .machine import KINDS, Script
from .server import GEOMETRY


@dataclass(frozen=True, slots=True)
class Fault:
    """plant: patches it in. kinds: of mounts that can meet it. only: the steps that it takes, where it is rare else.

    script: the one that meets it, where drawing it takes long.
    """

    plant: Callable[[], AbstractContextManager]
    kinds: tuple[str, ...] = tuple(KINDS)
    only: tuple[str, ...] = ()
    script: Script | None = None


def publication_before_upload():
    store = Publisher._store

    async def too_late(self, batch, deadline):
        for run in batch:
            await self._chunk_id(run)

        async def later():
            await trio.sleep(1)
            with suppress(CurveFSError, KeyError):
                await store(self, batch, deadline)

        trio.lowlevel.spawn_system_task(later)

    return patch.object(Publisher, "_store", too_late)


def fsync_that_does_not_wait():
    async def flush(self):
        if self._runs:
            self._services.start(self._drain_quietly, self._runs.last_number)

    return patch.object(FileData, "flush", flush)


def fsync_that_tells_of_no_error():
    flush = FileData.flush

    async def silent(self):
        with suppress(CurveFSError):
            await flush(self)

    return patch.object(FileData, "flush", silent)


def compaction_without_its_condition():
    def commit(scope, commit, applied):
        inode = scope.inode(commit.inode_id)
        for order in commit.orders:
            key = keys.slice_(scope.fs_id, commit.inode_id, commit.chunk_index, order)
            value = scope.txn.get(key)
            if value is not None:
                data.queue_slice(scope, key, value)
        ids.publish(scope, [one.chunk_id for one in commit.replacement if not one.zero], pb.OperationResult())
        orders = commit.orders[len(commit.orders) - len(commit.replacement) :]
        for order, one in zip(orders, commit.replacement, strict=True):
            data.put_slice(scope, inode, one, chunk_size=GEOMETRY.chunk_size, order=order)

    return patch.object(compaction, "_commit", commit)


def truncate_that_does_not_cut():
    return patch.object(data, "_cut", lambda scope, inode, length: None)


def truncate_that_cuts_whole_chunks_only():
    return patch.object(data, "_put_zeros", lambda *arguments: None)


def bytes_that_are_not_verified():
    return patch.object(framing, "decode", lambda framed, size: [memoryview(framed)[:size]])


def reclamation_without_grace():
    ask = reclaimer.ask

    async def without_grace(mds):
        told = await ask(mds)
        filesystems = {fs_id: replace(one, grace_ns=0) for fs_id, one in told.filesystems.items()}
        return replace(told, filesystems=filesystems)

    return patch.object(reclaimer, "ask", without_grace)


def ids_that_may_be_published_twice():
    return patch.object(ids, "publish", lambda scope, chunk_ids, result: None)


def ended_sessions_whose_ids_nobody_looks_for():
    return patch.object(sessions, "_close_range", lambda scope, _, key, value: scope.txn.delete(key) or 2)


def objects_of_slices_that_stay():
    async def done(self, waiting):
        await self._done([one.key for one in waiting])

    return patch.object(Pass, "_delete_slices", done)


def slice_lists_that_are_not_revalidated():
    def revalidate(self, inode):
        if inode.change > self.change:
            self.change, self.length = inode.change, inode.length

    return patch.object(SliceLists, "revalidate", revalidate)


def staging_without_records():
    def commit(self, slices):
        return [next(self._numbers) for _ in slices]

    return patch.object(Staging, "commit", commit)


def staged_slices_that_come_back_in_another_order():
    look = Staging.look
    return patch.object(Staging, "look", lambda self, names_of: look(self, names_of)[::-1])


def cached_blocks_under_wrong_names():
    get = CacheFolder.get

    def first(self, name, start, size):
        return get(self, name.rpartition("_")[0] + "_0", start, size)

    return patch.object(CacheFolder, "get", first)


STAGING = ("write-back", "two write-back")
DISKS = ("disk cache", *STAGING)
CUT_WHILE_MERGED: Script = (
    "plain",
    0.01,
    [
        ("write", 0, 0, 0, 3000),
        ("fsync", 0, 0),
        ("write", 0, 0, 500, 100),
        ("fsync", 0, 0),
        ("compact", 0, 0, "after"),
        ("truncate", 0, 0, 0),
        ("release",),
        ("truncate", 0, 0, 5000),
        ("read_all", 1, 0),
    ],
)
NOT_PUBLISHED: Script = (
    "plain",
    0.01,
    [("write", 0, 0, 0, 100), ("metadata_fails", 0, "append_slices", "before"), ("fsync", 0, 0)],
)
BASIC = ("write", "fsync", "read_all")
FAULTS = {
    "publication before upload": Fault(publication_before_upload, ("plain", "disk cache")),
    "fsync that does not wait": Fault(fsync_that_does_not_wait),
    "fsync that tells of no error": Fault(fsync_that_tells_of_no_error, script=NOT_PUBLISHED),
    "compaction without its condition": Fault(compaction_without_its_condition, script=CUT_WHILE_MERGED),
    "truncate that does not cut": Fault(truncate_that_does_not_cut, only=(*BASIC, "truncate")),
    "truncate that cuts whole chunks only": Fault(truncate_that_cuts_whole_chunks_only, only=(*BASIC, "truncate")),
    "bytes that are not verified": Fault(bytes_that_are_not_verified, DISKS),
    "reclamation without grace": Fault(
        reclamation_without_grace, ("plain",), (*BASIC, "truncate", "compact", "background")
    ),
    "ids that may be published twice": Fault(
        ids_that_may_be_published_twice, ("plain",), ("append", "fsync_log", "read_log", "metadata_fails")
    ),
    "ended sessions whose ids nobody looks for": Fault(
        ended_sessions_whose_ids_nobody_looks_for, ("plain",), (*BASIC, "kill", "start", "metadata_fails")
    ),
    "objects of slices that stay": Fault(objects_of_slices_that_stay),
    "slice lists that are not revalidated": Fault(slice_lists_that_are_not_revalidated, only=(*BASIC, "close")),
    "staging without records": Fault(staging_without_records, STAGING, (*BASIC, "kill", "start", "store_away")),
    "staged slices that come back in another order": Fault(
        staged_slices_that_come_back_in_another_order, STAGING, ("write", "fsync", "kill", "start", "store_away")
    ),
    "cached blocks under wrong names": Fault(
        cached_blocks_under_wrong_names, DISKS, (*BASIC, "truncate", "continue_write", "drop_caches", "kill", "start")
    ),
}
