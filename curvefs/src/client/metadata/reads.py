"""Reads of the metadata, through the cache; what lies in another partition than its name is asked for there.

A name may lead to an inode of another partition, of which the directory's group knows only number and type. Between the
two answers it may be removed or replaced: then the name is looked up again.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio

from ....proto import common_pb2
from ....proto import metaserver_pb2 as pb
from ...common.counters import total
from ...common.errors import IOFailure, NotFound, StaleHandle
from ...common.ids import partition_of
from ...common.status import error_of
from ...slices.geometry import SMALL_FILE_MAX
from .cache import ABSENT, MetadataCache
from .hints import SliceHints
from .listings import PAGE_ENTRIES, Listing, Page, Siblings
from .router import Router

STATFS_MAX_AGE_S = 1.0
LOOKUPS_MAX = 8  # of one name whose inode is gone each time we ask for it
LISTING_ROUNDS_MAX = 4
OVERTAKEN_MAX = 100  # answers, each time we ask
SLICES_AT_OPEN = 16  # with a small file's attributes

T = TypeVar("T")


class Reads:
    """See the module. Every call raises FilesystemError with the server's answer, IOFailure when there was none."""

    def __init__(self, router: Router, cache: MetadataCache) -> None:
        self._router = router
        self._cache = cache
        self._siblings = Siblings()
        self.hints = SliceHints()
        self._stat_fs: tuple[float, pb.StatFsResult] | None = None

    # --------------------------------------------------------------------------------------------- names

    async def lookup(self, parent: int, name: bytes, *, fresh: bool = False) -> pb.Inode:
        """Return the attributes of what a name leads to. Raises NotFound, NotADirectory, StaleHandle."""
        if not fresh:
            known = self._known(parent, name)
            if not known and self._worth_listing(parent):
                await self._list(parent)
                known = self._known(parent, name)
            if known:
                with suppress(NotFound):
                    inode = await self.get_attr(known)
                    if inode.nlink:  # else it is in the trash, or open somewhere: the name is old
                        return inode
                self._cache.forget_name(parent, name)
        for _ in range(LOOKUPS_MAX):
            inode = await self._look_up(parent, name)
            here = partition_of(inode.inode_id) == partition_of(parent)
            if here and inode.change >= self._cache.newest_change(inode.inode_id):
                self._cache.learn_attributes(inode, trio.current_time())
                return inode
            try:
                return await self.get_attr(inode.inode_id)
            except NotFound:
                self._cache.forget_name(parent, name)
        raise IOFailure(f"a name in {parent} leads to an inode that is not there")

    def _known(self, parent: int, name: bytes) -> int:
        """Return the inode that the cache knows a name to lead to; 0 when it does not know. Raises NotFound."""
        known = self._cache.lookup(parent, name, trio.current_time())
        if known is ABSENT:
            raise NotFound
        return known if isinstance(known, int) else 0

    def _worth_listing(self, directory: int) -> bool:
        entries = self._cache.last_entry_count(directory)
        return entries is not None and self._siblings.worth_listing(directory, entries, trio.current_time())

    async def _list(self, directory: int) -> None:
        """List a directory, so that its names are known for a while, unless it changes meanwhile."""
        listing = Listing(self._cache, directory, trio.current_time())
        after_hash, after_name = 0, b""
        while listing.generation:
            page = await self.read_dir(
                directory,
                after_hash,
                after_name,
                limit=PAGE_ENTRIES,
                generation=listing.generation,
                elsewhere=False,  # who asks for one name does not wait for other groups than that of its inode
            )
            listing.note(page)
            if page.end or not page.entries:
                return
            after_hash, after_name = page.entries[-1].hash, page.entries[-1].name

    async def _look_up(self, parent: int, name: bytes) -> pb.Inode:
        """Ask what a name leads to. Of another partition's inode only number and type are known.

        Raises StaleHandle when the directory itself is gone.
        """
        try:
            result = await self._router.read(partition_of(parent), _lookup(parent, name))
        except NotFound:
            self._cache.forget_attributes(parent)
            self._cache.forget_name(parent, name)
            raise StaleHandle from None
        now = trio.current_time()
        if result.parent_change >= self._cache.newest_change(parent):  # else something newer is known here
            if result.HasField("inode"):
                self._cache.learn_name(parent, name, result.inode.inode_id, now)
            else:
                self._cache.learn_absent(parent, name, result.parent_change, now)
        if not result.HasField("inode"):
            raise NotFound
        self._siblings.found(parent, now)
        for one in result.slices:
            self.hints.learn(result.inode.inode_id, one)
        return result.inode

    async def read_dir(
        self,
        inode_id: int,
        after_hash: int,
        after_name: bytes,
        *,
        limit: int,
        generation: int,
        elsewhere: bool = True,
    ) -> Page:
        """Return one page of a directory, with attributes; its entries are taken into the cache.

        elsewhere: also those of inodes in other partitions than the directory's.
        """
        request = pb.ReadDir(
            inode_id=inode_id,
            after_hash=after_hash,
            after_name=after_name,
            limit=limit,
            with_attributes=True,
            small_max=SMALL_FILE_MAX,
        )
        result = await self._router.read(partition_of(inode_id), pb.Read(read_dir=request))
        now = trio.current_time()
        if result.inode.change >= self._cache.newest_change(inode_id):
            self._cache.learn_attributes(result.inode, now)
            self._cache.learn_page(inode_id, result.entries, generation, now)
        entries = list(result.entries)
        for entry in entries:
            if entry.HasField("only_slice"):
                self.hints.learn(entry.inode_id, entry.only_slice)
        missing = [entry for entry in entries if elsewhere and not entry.HasField("inode")]
        as_read = await self._add_attributes(inode_id, missing)
        return Page(entries, result.end, result.inode.change, as_read)

    async def _add_attributes(self, directory: int, entries: list[pb.DirectoryEntry]) -> bool:
        """Get the attributes of entries in other partitions. False when some had changed meanwhile."""
        as_read = True
        for _ in range(LISTING_ROUNDS_MAX):
            vanished = await self._fill(entries)
            if not vanished:
                break
            # A name that was replaced must not be missing from the listing: it was there all the time.
            as_read = False
            entries = await self._look_up_again(directory, vanished)
        return as_read

    async def _fill(self, entries: Iterable[pb.DirectoryEntry]) -> list[pb.DirectoryEntry]:
        """Put attributes into entries, by one request to each partition; return those whose inode is not there."""
        now = trio.current_time()
        wanted: defaultdict[int, list[pb.DirectoryEntry]] = defaultdict(list)
        for entry in entries:
            known = self._cache.attributes(entry.inode_id, now)
            if known is not None:
                entry.inode.CopyFrom(known)
            else:
                wanted[partition_of(entry.inode_id)].append(entry)
        calls = [partial(self._fill_from, partition_id, some) for partition_id, some in wanted.items()]
        return [entry for some in await together(calls) for entry in some]

    async def _fill_from(self, partition_id: int, entries: list[pb.DirectoryEntry]) -> list[pb.DirectoryEntry]:
        results = await self._router.read_many(partition_id, [_get_attr(entry.inode_id) for entry in entries])
        now = trio.current_time()
        vanished = []
        for entry, result in zip(entries, results, strict=True):
            if result.failure.code == common_pb2.NOT_FOUND:
                self._cache.forget_attributes(entry.inode_id)
                vanished.append(entry)
            elif result.HasField("failure"):
                raise error_of(result.failure)
            else:
                entry.inode.CopyFrom(result.inode)
                self._cache.learn_attributes(result.inode, now)
        return vanished

    async def _look_up_again(self, directory: int, entries: list[pb.DirectoryEntry]) -> list[pb.DirectoryEntry]:
        """Find out what names lead to now, by one request. Returns those that lead to another partition."""
        reads = [_lookup(directory, entry.name) for entry in entries]
        elsewhere = []
        for entry, result in zip(entries, await self._router.read_many(partition_of(directory), reads), strict=True):
            self._cache.forget_name(directory, entry.name)
            if result.HasField("failure") or not result.HasField("inode"):
                continue
            entry.inode_id, entry.type = result.inode.inode_id, result.inode.mode >> 12  # type: ignore[assignment]
            if partition_of(entry.inode_id) == partition_of(directory):
                entry.inode.CopyFrom(result.inode)
            else:
                elsewhere.append(entry)
        return elsewhere

    # ---------------------------------------------------------------------------------------- attributes

    async def get_attr(self, inode_id: int, *, fresh: bool = False) -> pb.Inode:
        """Return an inode's attributes; ``fresh``: as they are now, not from the cache. Raises NotFound."""
        if not fresh:
            known = self._cache.attributes(inode_id, trio.current_time())
            if known is not None:
                return known
        return (await self._newest_attributes(inode_id)).inode

    async def get_attr_and_slices(self, inode_id: int) -> tuple[pb.Inode, list[pb.Slice] | None]:
        """Return attributes as they are now, and the slices of a small file; None for another. Raises NotFound."""
        result = await self._newest_attributes(inode_id, SLICES_AT_OPEN)
        return result.inode, list(result.slices) if result.end else None

    async def _newest_attributes(self, inode_id: int, slices_max: int = 0) -> pb.ReadResult:
        """Ask until the answer was not overtaken by that of a change which this mount has made meanwhile."""
        for _ in range(OVERTAKEN_MAX):
            try:
                result = await self._router.read(partition_of(inode_id), _get_attr(inode_id, slices_max))
            except NotFound:
                self._cache.forget_attributes(inode_id)
                raise
            if result.inode.change >= self._cache.newest_change(inode_id):
                break
        self._cache.learn_attributes(result.inode, trio.current_time())
        return result

    async def get_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        """Return an inode and the slices of some of its chunks, in commit order."""
        request = pb.GetSlices(inode_id=inode_id, first_chunk=first_chunk, count=count)
        result = await self._router.read(partition_of(inode_id), pb.Read(get_slices=request))
        self._cache.learn_attributes(result.inode, trio.current_time())
        return result.inode, list(result.slices)

    async def get_xattr(self, inode_id: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises NoAttribute."""
        read = pb.Read(get_xattr=pb.GetXattr(inode_id=inode_id, name=name))
        return (await self._router.read(partition_of(inode_id), read)).value

    async def list_xattr(self, inode_id: int) -> list[bytes]:
        """Return the names of the extended attributes."""
        read = pb.Read(list_xattr=pb.ListXattr(inode_id=inode_id))
        return list((await self._router.read(partition_of(inode_id), read)).names)

    async def stat_fs(self) -> pb.StatFsResult:
        """Return the counters of all partitions together, and the filesystem's quota, at most a second old."""
        now = trio.current_time()
        if self._stat_fs is None or now - self._stat_fs[0] > STATFS_MAX_AGE_S:
            said = pb.StatFsResult()
            calls = [
                partial(self._router.read, partition_id, pb.Read(stat_fs=pb.StatFs()))
                for partition_id in self._router.one_of_each_group
            ]
            parts = [one.stat_fs for one in await together(calls)]
            said.inode_count = total(part.inode_count for part in parts)
            said.used_bytes = total(part.used_bytes for part in parts)
            for part in parts:
                if part.HasField("limit"):  # from the group of the root directory
                    said.limit.CopyFrom(part.limit)
            self._stat_fs = now, said
        return self._stat_fs[1]


def _lookup(parent: int, name: bytes) -> pb.Read:
    return pb.Read(lookup=pb.Lookup(parent=parent, name=name, small_max=SMALL_FILE_MAX))


def _get_attr(inode_id: int, slices_max: int = 0) -> pb.Read:
    return pb.Read(get_attr=pb.GetAttr(inode_id=inode_id, slices_max=slices_max))


async def together(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Make calls at the same time; the results in their order. Raises the first error when all have ended."""
    if len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}
    errors: list[Exception] = []

    async def one(index: int) -> None:
        try:
            results[index] = await calls[index]()
        except Exception as error:  # noqa: BLE001  # raised below, without the nursery's group around it
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(one, index)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(calls))]
