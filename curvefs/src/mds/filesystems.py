"""Filesystems: made whole or not at all, deleted in the background.

A creation stores its record as CREATING with its partitions' places, has the partitions made, then turns ACTIVE. One
that fails, or whose MDS dies in between, loses its name at once and is removed by the queue: partitions, then record.
A deletion takes the name away, marks the record DELETING and leaves the rest to the same queue: the end of the last
sessions, partitions, objects, record. Everything the queue does may be repeated, so it simply begins again after a
restart. What is put below its prefix later goes later (late_objects.py).

Invariants:
    a name leads to exactly one filesystem, CREATING or ACTIVE
    a filesystem with a session is ACTIVE, or DELETING with only ending sessions
    a record goes last: while something of a filesystem may be left, its record is there

Shared across awaits: `_making`, the ids whose creation is under way in this process.
"""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import structlog

from ...proto import mds_pb2 as pb
from ...proto import metaserver_pb2
from ..common.clock import Clock
from ..common.data_keys import CHECK_SIZE
from ..common.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    Overloaded,
    ResourceBusy,
    Unavailable,
)
from ..common.fsname import check_fs_name
from ..object.url import parse_store_url
from ..slices.block_formats import format_number
from ..slices.names import filesystem_prefix
from .fleet import Fleet
from .late_objects import LateObjects
from .object_stores import ObjectStores
from .parallel import run_all
from .recovery.recovery import Recovery
from .retries import RetryQueue
from .state import FORMAT, Change, State, changed
from .topology.copysets import Copysets
from .topology.views import Views

_log = structlog.get_logger()

CHUNK_SIZE = 64 << 20
BLOCK_SIZE = 4 << 20
CHUNK_SIZE_MAX = 1 << 30
BLOCK_SIZE_MAX = 64 << 20
BLOCK_UNIT = 64 << 10  # a block's checksums are one per segment of this size
_SEED_SIZE = _UUID_SIZE = 16
# Readers ask again for a slice list older than a minute: ten is long enough for a read with a slow store (rule 5).
DELETE_GRACE_S = 600
DELETE_GRACE_S_MAX = 366 * 24 * 3600
TRASH_RETENTION_S = 24 * 3600
TRASH_RETENTION_S_MAX = 366 * 24 * 3600
_UNDO_S = 5.0
_PARALLEL = 8  # calls to metaservers at a time, of one filesystem


class Filesystems:
    """All filesystems. Its background work is ``removals.run()``.

    count_max: filesystems at a time. partition_count: of each one, at its creation.
    """

    def __init__(
        self,
        state: State,
        views: Views,
        copysets: Copysets,
        fleet: Fleet,
        stores: ObjectStores,
        *,
        late: LateObjects,
        recovery: Recovery,
        clock: Clock,
        count_max: int,
        partition_count: int,
        random_bytes: Callable[[int], bytes],
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self._views = views
        self._copysets = copysets
        self._fleet = fleet
        self._stores = stores
        self._late = late
        self._recovery = recovery
        self._clock = clock
        self._count_max = count_max
        self._partition_count = partition_count
        self._random_bytes = random_bytes
        self._making: set[int] = set()
        self.removals: RetryQueue[int] = RetryQueue("remove filesystem", self._remove, random=random, parallel=4)

    def resume(self) -> None:
        """Take up what an earlier MDS left: creations that never finished, deletions under way."""
        for fs_id, filesystem in self._state.filesystems.items():
            if filesystem.state != pb.ACTIVE:
                _log.warning("remains of a filesystem are removed", fs=filesystem.name, fs_id=fs_id)
                self.removals.add(fs_id)

    # ------------------------------------------------------------------------------------------- queries

    def get(self, name: str) -> pb.Filesystem:
        """Return the filesystem of a name. Raises NotFound."""
        fs_id = self._state.fs_names.get(name)
        filesystem = self._state.filesystems.get(fs_id) if fs_id else None
        if filesystem is None:
            self._recovery.check()
            was = "; one was deleted, and is swept again for what came later" if self._late.are_expected(name) else ""
            raise NotFound(f"no filesystem '{name}'{was}")
        return filesystem

    def all(self) -> list[pb.Filesystem]:
        """Return the filesystems by name, also those being made or deleted; no remains of failed creations."""
        shown = [
            filesystem
            for fs_id, filesystem in self._state.filesystems.items()
            if filesystem.state != pb.CREATING or self._state.fs_names.get(filesystem.name) == fs_id
        ]
        return sorted(shown, key=lambda filesystem: (filesystem.name, filesystem.fs_id))

    def session_count(self, fs_id: int) -> int:
        """Return how many sessions a filesystem has that are not ending."""
        return sum(not session.ending for session in self._state.sessions_of(fs_id))

    # ------------------------------------------------------------------------------------------ creation

    async def create(self, request: pb.CreateFilesystemRequest) -> pb.Filesystem:
        """Make a filesystem and return it, ACTIVE.

        Raises InvalidArgument (name, sizes, URL, compression), AlreadyExists, what ObjectStores.check raises,
        Unavailable (too few metaservers, or one does not answer). After an error nothing of it is left, or what a
        metaserver that is away still holds is being removed; the name is free.
        """
        self._recovery.check()
        check_fs_name(request.name)
        if len(request.uuid) not in (0, _UUID_SIZE):
            raise InvalidArgument(f"a UUID has {_UUID_SIZE} bytes, not {len(request.uuid)}")
        chunk_size, block_size = check_sizes(request.chunk_size, request.block_size)
        parse_store_url(request.object_store)
        if request.delete_grace_s > DELETE_GRACE_S_MAX:
            raise InvalidArgument("the delete grace is at most 366 days")
        if request.trash_retention_s > TRASH_RETENTION_S_MAX:
            raise InvalidArgument("the trash keeps things for at most 366 days")
        _check_encoding(request)
        if (made := self._made_before(request)) is not None:
            return made
        self._check_free(request.name)
        await self._copysets.plan()
        self._copysets.choose_groups(self._partition_count)
        await self._stores.check(request.object_store)
        filesystem = await self._state.change(lambda change: self._reserve(change, request, chunk_size, block_size))
        self._making.add(filesystem.fs_id)
        try:
            await self._make_partitions(filesystem)
            active = changed(filesystem, state=pb.ACTIVE)
            await self._state.change(lambda change: change.put(self._state.filesystems, active.fs_id, active))
        except Exception:
            self._making.discard(filesystem.fs_id)
            self.removals.add(filesystem.fs_id)
            if self._state.authority.holds:  # else the next MDS does it
                await self.removals.finished(filesystem.fs_id, _UNDO_S)
            raise
        self._making.discard(filesystem.fs_id)
        _log.info("a filesystem was created", fs=active.name, fs_id=active.fs_id, object_store=active.object_store)
        return active

    def _made_before(self, request: pb.CreateFilesystemRequest) -> pb.Filesystem | None:
        """Return what an earlier call with the same UUID has made. Raises Overloaded, AlreadyExists."""
        known = [one for one in self._state.filesystems.values() if request.uuid and one.uuid == request.uuid]
        for one in known:
            if one.name != request.name or one.state == pb.DELETING:
                raise AlreadyExists(f"there is another filesystem with the UUID {UUID(bytes=one.uuid)}")
            if one.state == pb.ACTIVE:
                return one
            raise Overloaded(f"filesystem '{one.name}' is being made, or its remains removed", retry_after_ms=500)
        if request.uuid and self._late.knows(request.uuid):  # what comes late of that one would be swept
            raise AlreadyExists(f"a filesystem with the UUID {UUID(bytes=request.uuid)} was deleted")
        return None

    def _check_free(self, name: str) -> None:
        if name in self._state.fs_names:
            raise AlreadyExists(f"filesystem '{name}' exists already")

    def _reserve(
        self, change: Change, request: pb.CreateFilesystemRequest, chunk_size: int, block_size: int
    ) -> pb.Filesystem:
        self._recovery.check()
        if self._made_before(request) is not None:
            raise Overloaded(f"filesystem '{request.name}' was just made by another call", retry_after_ms=100)
        self._check_free(request.name)
        if len(self._state.filesystems) >= self._count_max:
            raise Overloaded(f"there are {self._count_max} filesystems already", retry_after_ms=5000)
        fs_id = change.next_number("fs")
        filesystem = pb.Filesystem(
            format=FORMAT,
            fs_id=fs_id,
            name=request.name,
            uuid=request.uuid or UUID(bytes=self._random_bytes(_UUID_SIZE), version=4).bytes,
            object_store=request.object_store,
            chunk_size=chunk_size,
            block_size=block_size,
            capacity_bytes=request.capacity_bytes,
            capacity_inodes=request.capacity_inodes,
            state=pb.CREATING,
            created_ns=self._clock.time_ns(),
            delete_grace_s=request.delete_grace_s if request.HasField("delete_grace_s") else DELETE_GRACE_S,
            trash_retention_s=request.trash_retention_s if request.HasField("trash_retention_s") else TRASH_RETENTION_S,
            trash_replaced=request.trash_replaced,
            block_format=format_number(request.compression, encrypted=bool(request.key_check)),
            hash_seed=self._random_bytes(_SEED_SIZE),
            key_check=request.key_check,
        )
        change.put(self._state.filesystems, fs_id, filesystem)
        change.put(self._state.fs_names, filesystem.name, fs_id)
        for number, group_id in enumerate(self._copysets.choose_groups(self._partition_count)):
            partition = pb.Partition(fs_id=fs_id, partition_id=number, group_id=group_id)
            change.put(self._state.partitions, (fs_id, number), partition)
        return filesystem

    async def _make_partitions(self, filesystem: pb.Filesystem) -> None:
        partitions = self._state.partitions_of(filesystem.fs_id)
        await self._copysets.make_usable({partition.group_id for partition in partitions})
        await run_all(
            (partial(self._make_partition, filesystem, partition) for partition in partitions), limit=_PARALLEL
        )

    async def _make_partition(self, filesystem: pb.Filesystem, partition: pb.Partition) -> None:
        spec = metaserver_pb2.PartitionSpec(
            fs_id=filesystem.fs_id,
            partition_id=partition.partition_id,
            group_id=partition.group_id,
            hash_seed=filesystem.hash_seed,
            chunk_size=filesystem.chunk_size,
            block_size=filesystem.block_size,
            # It may have a quota, of which those who set it will not tell partitions they never heard of.
            limited=filesystem.state == pb.ACTIVE,
            trash_retention_s=filesystem.trash_retention_s,
            trash_replaced=filesystem.trash_replaced,
        )
        if partition.partition_id == 0:
            spec.filesystem.CopyFrom(_info(filesystem, len(self._state.partitions_of(filesystem.fs_id))))
        await self._fleet.create_partition(self._views.addresses(partition.group_id), spec)

    async def _delete_partition(self, partition: pb.Partition) -> None:
        if self._views.is_lost(partition.group_id):
            _log.warning("a partition is deleted whose copyset is lost", group_id=partition.group_id)
            return
        addresses = self._views.addresses(partition.group_id)
        await self._fleet.delete_partition(addresses, partition.group_id, partition.fs_id, partition.partition_id)

    def _free_name(self, change: Change, fs_id: int) -> None:
        filesystem = self._state.filesystems.get(fs_id)
        if filesystem is not None and self._state.fs_names.get(filesystem.name) == fs_id:
            change.delete(self._state.fs_names, filesystem.name)

    # ------------------------------------------------------------------------------------------ deletion

    async def delete(self, name: str, uuid: bytes = b"") -> pb.Filesystem:
        """Begin to delete a filesystem and return it, DELETING; its name is free at once.

        uuid: of the one that is meant, so that the call may be sent again; empty: whichever has the name.
        Raises NotFound, ResourceBusy (mounted, or just being made), Unavailable (in recovery).
        """
        for one in self._state.filesystems.values():
            if uuid and (one.uuid, one.name, one.state) == (uuid, name, pb.DELETING):
                return one
        filesystem = await self._state.change(lambda change: self._mark(change, name, uuid))
        _log.info("a filesystem is being deleted", fs=name, fs_id=filesystem.fs_id)
        self.removals.add(filesystem.fs_id)
        return filesystem

    def _mark(self, change: Change, name: str, uuid: bytes) -> pb.Filesystem:
        self._recovery.check()
        filesystem = self.get(name)
        if uuid not in (b"", filesystem.uuid):
            raise NotFound(f"filesystem '{name}' was deleted, and another one made since")
        if filesystem.state == pb.CREATING:
            raise ResourceBusy(f"filesystem '{name}' is just being made")
        live = [session for session in self._state.sessions_of(filesystem.fs_id) if not session.ending]
        if live:
            places = ", ".join(f"{session.host}:{session.mountpoint}" for session in live[:3])
            more = f" and {len(live) - 3} more places" if len(live) > 3 else ""
            raise ResourceBusy(f"filesystem '{name}' is mounted at {places}{more}")
        deleting = changed(filesystem, state=pb.DELETING)
        change.put(self._state.filesystems, filesystem.fs_id, deleting)
        change.delete(self._state.fs_names, name)
        return deleting

    async def _remove(self, fs_id: int) -> None:
        filesystem = self._state.filesystems.get(fs_id)
        if filesystem is None or filesystem.state == pb.ACTIVE or fs_id in self._making:
            return
        await self._state.change(lambda change: self._free_name(change, fs_id))
        # A session that is ending could still publish; its groups are told by their own queue.
        if self._state.sessions_of(fs_id):
            raise Unavailable(f"sessions of filesystem {fs_id} are still ending")
        partitions = self._state.partitions_of(fs_id)
        await run_all((partial(self._delete_partition, partition) for partition in partitions), limit=_PARALLEL)
        count = 0
        if filesystem.state == pb.DELETING:  # one that was never ACTIVE has no objects
            prefix = filesystem_prefix(UUID(bytes=filesystem.uuid))
            count = await self._stores.remove_all(filesystem.object_store, prefix)
        await self._state.change(lambda change: self._forget(change, filesystem))
        _log.info("a filesystem was removed", fs=filesystem.name, fs_id=fs_id, objects=count)

    def _forget(self, change: Change, filesystem: pb.Filesystem) -> None:
        for partition in self._state.partitions_of(filesystem.fs_id):
            change.delete(self._state.partitions, (filesystem.fs_id, partition.partition_id))
        change.delete(self._state.filesystems, filesystem.fs_id)
        if filesystem.state == pb.DELETING:
            self._late.expect(change, filesystem)


def _info(filesystem: pb.Filesystem, partition_count: int) -> metaserver_pb2.FilesystemInfo:
    """Return what is kept with the first partition, should the MDS's store be lost (rule 6)."""
    return metaserver_pb2.FilesystemInfo(
        name=filesystem.name,
        uuid=filesystem.uuid,
        object_store=filesystem.object_store,
        created_ns=filesystem.created_ns,
        capacity_bytes=filesystem.capacity_bytes,
        capacity_inodes=filesystem.capacity_inodes,
        block_format=filesystem.block_format,
        trash_retention_s=filesystem.trash_retention_s,
        delete_grace_s=filesystem.delete_grace_s,
        partition_count=partition_count,
        trash_replaced=filesystem.trash_replaced,
        key_check=filesystem.key_check,
    )


def _check_encoding(request: pb.CreateFilesystemRequest) -> None:
    """Raise InvalidArgument for an unknown compression, and for what is no check value of a key."""
    format_number(request.compression, encrypted=bool(request.key_check))
    if len(request.key_check) not in (0, CHECK_SIZE):
        raise InvalidArgument(f"a key's check value has {CHECK_SIZE} bytes, not {len(request.key_check)}")


def check_sizes(chunk_size: int, block_size: int) -> tuple[int, int]:
    """Return chunk and block size in bytes, 0 replaced by the default. Raises InvalidArgument."""
    chunk_size, block_size = chunk_size or CHUNK_SIZE, block_size or BLOCK_SIZE
    if block_size % BLOCK_UNIT or block_size > BLOCK_SIZE_MAX:
        raise InvalidArgument(f"the block size must be a multiple of 64 KiB up to 64 MiB, not {block_size} bytes")
    if chunk_size % block_size or chunk_size > CHUNK_SIZE_MAX:
        raise InvalidArgument(
            f"the chunk size must be a multiple of the block size ({block_size} bytes) up to 1 GiB, "
            f"not {chunk_size} bytes"
        )
    return chunk_size, block_size
