"""Slice metadata in memory, with the real rules: order, lengths, cuts, chunk ids used once, sessions that end.

It also holds what must be true of every publication: each object of a published slice is in the store by then and
decodes (rule 3), a slice lies within its chunk, an id is leased and published once (rule 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import AlreadyDone, CurveFSError, IdRefused, InvalidArgument, NotFound, QuotaExceeded
from curvefs.src.object.protocol import ObjectStore
from curvefs.src.slices.codec import BlockCodec
from curvefs.src.slices.geometry import PIECES_PER_PUBLICATION, Geometry, pieces
from curvefs.src.slices.names import block_name
from curvefs.src.slices.overlay import overlay

T = TypeVar("T", pb.Slice, pb.Inode)


@dataclass(slots=True)
class Failure:
    """Planned for the next call of a method. applied: it is done, and only its answer is lost."""

    method: str
    error: CurveFSError
    applied: bool = False


@dataclass(slots=True)
class Publication:
    """One AppendSlices that was applied."""

    inode_id: int
    slices: list[pb.Slice]
    length: int
    at_end: bool


@dataclass(slots=True)
class FakeSliceMetadata:
    """``store``: where published objects must be; not the one with faults. ``delay_s``: of every call."""

    geometry: Geometry
    store: ObjectStore
    delay_s: float = 0.0
    codec: BlockCodec = field(default_factory=lambda: BlockCodec(b"", bytes))
    inodes: dict[int, pb.Inode] = field(default_factory=dict)
    slices: dict[int, list[pb.Slice]] = field(default_factory=dict)
    publications: list[Publication] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    room: int | None = None  # bytes that may still be reserved; None: nothing limits
    room_used: int = 0
    epoch: int = 0
    given_up: set[int] = field(default_factory=set)
    _next_id: int = 1000
    _leased: set[int] = field(default_factory=set)
    _published: set[int] = field(default_factory=set)

    def limits(self, inode_id: int, quotas: tuple[int, ...]) -> bool:
        return self.room is not None

    async def take_room(self, inode_id: int, size: int, quotas: tuple[int, ...]) -> pb.Reservation:
        await trio.sleep(self.delay_s)
        assert self.room is not None
        if size > self.room:
            raise QuotaExceeded
        self.room -= size
        return pb.Reservation(quotas=[7], bytes=size)

    def put_room_back(self, inode_id: int, reserved: pb.Reservation) -> None:
        assert self.room is not None
        self.room += reserved.bytes

    # ---------------------------------------------------------------------------------- SliceMetadata

    async def append_slices(
        self,
        inode_id: int,
        slices: Sequence[pb.Slice],
        length: int,
        mtime_ns: int,
        *,
        at_end: bool = False,
        reserved: pb.Reservation | None = None,
    ) -> tuple[pb.Inode, int]:
        if reserved is not None:
            self.room_used += reserved.bytes
        lost = await self._begin("append_slices")
        inode = self._inode(inode_id)
        if sum(pieces(one.length, self.geometry.chunk_size) for one in slices) > PIECES_PER_PUBLICATION:
            raise InvalidArgument
        ids = {one.chunk_id for one in slices}
        done = ids & self._published
        if done == ids:
            raise AlreadyDone
        if done or not ids <= self._leased:
            raise IdRefused
        base = inode.length if at_end else 0
        placed = self._placed(slices, base) if at_end else [_copy(one) for one in slices]
        for one in placed:
            self._check(one)
        self._published |= ids
        self.slices[inode_id] += placed
        inode.length = max(inode.length, base + length)
        inode.mtime_ns = mtime_ns
        inode.change += 1
        self.publications.append(Publication(inode_id, placed, length, at_end))
        if lost is not None:
            raise lost
        return _copy(inode), base

    async def read_slices(self, inode_id: int, first_chunk: int, count: int) -> tuple[pb.Inode, list[pb.Slice]]:
        lost = await self._begin("read_slices")
        inode = self._inode(inode_id)
        chunks = range(first_chunk, first_chunk + count)
        found = [_copy(one) for one in self.slices[inode_id] if one.chunk_index in chunks]
        if lost is not None:
            raise lost
        return _copy(inode), found

    async def take_chunk_id(self, inode_id: int) -> int:
        lost = await self._begin("take_chunk_id")
        if lost is not None:
            raise lost
        self._next_id += 1
        self._leased.add(self._next_id)
        return self._next_id

    def give_up_id(self, chunk_id: int) -> None:
        assert chunk_id, "no id"
        if chunk_id in self._leased - self._published:
            self._published.add(chunk_id)
            self.given_up.add(chunk_id)

    async def set_length(self, inode_id: int, length: int) -> pb.Inode:
        lost = await self._begin("set_length")
        inode = self._inode(inode_id)
        if length < inode.length:
            self._cut(inode, length)
        inode.length = length
        inode.change += 1
        if lost is not None:
            raise lost
        return _copy(inode)

    # -------------------------------------------------------------------------------------- for tests

    def create(self, inode_id: int = 2) -> pb.Inode:
        """Make an empty file."""
        self.inodes[inode_id] = pb.Inode(inode_id=inode_id, mode=0o100644, nlink=1, change=1)
        self.slices[inode_id] = []
        return _copy(self.inodes[inode_id])

    def inode(self, inode_id: int = 2) -> pb.Inode:
        """Return the attributes as a fresh lookup would."""
        return _copy(self.inodes[inode_id])

    def remove(self, inode_id: int = 2) -> None:
        """Purge a file."""
        del self.inodes[inode_id], self.slices[inode_id]

    def fail(self, method: str, error: CurveFSError, *, applied: bool = False, times: int = 1) -> None:
        """Plan failures for the next calls of a method."""
        self.failures += [Failure(method, error, applied)] * times

    def end_session(self) -> None:
        """Void every id that was taken and not published."""
        self._leased.clear()

    @property
    def open_ids(self) -> set[int]:
        """Return ids that are taken, and neither published nor given up."""
        return self._leased - self._published

    def count(self, method: str) -> int:
        """Return how often a method was called."""
        return self.calls.count(method)

    def content(self, inode_id: int = 2) -> bytes:
        """Return what another mount would read, straight from the store."""
        result = bytearray()
        for part in self.geometry.chunks(0, self.inodes[inode_id].length):
            mine = [one for one in self.slices[inode_id] if one.chunk_index == part.chunk_index]
            for extent in overlay(mine, part.offset, part.offset + part.length):
                if extent.slice is None:
                    result += bytes(extent.length)
                else:
                    run = self._run(extent.slice)
                    result += run[extent.run_offset : extent.run_offset + extent.length]
        return bytes(result)

    def object_names(self, inode_id: int = 2) -> list[str]:
        """Return the objects of a file's slices."""
        return [name for one in self.slices[inode_id] if not one.zero for name, _ in self._blocks(one)]

    # ---------------------------------------------------------------------------------------- private

    async def _begin(self, method: str) -> CurveFSError | None:
        """Note a call and let others run; a planned failure is raised, or returned to be raised when it is done."""
        self.calls.append(method)
        await trio.sleep(self.delay_s)
        failure = next((one for one in self.failures if one.method == method), None)
        if failure is None:
            return None
        self.failures.remove(failure)
        if failure.applied:
            return failure.error
        raise failure.error

    def _inode(self, inode_id: int) -> pb.Inode:
        if inode_id not in self.inodes:
            raise NotFound
        return self.inodes[inode_id]

    def _check(self, one: pb.Slice) -> None:
        assert one.length > 0
        assert one.offset + one.length <= self.geometry.chunk_size
        assert one.object.offset + one.length <= one.size
        assert one.object.block_format == self.geometry.block_format
        self._run(one)

    def _run(self, one: pb.Slice) -> bytes:
        run = bytearray()
        for name, size in self._blocks(one):
            fetch = partial(self.store.get, name)
            run += b"".join(self.codec.read(one.object.block_format, name, 0, size, size, fetch=fetch))
        assert len(run) == one.size
        return bytes(run)

    def _blocks(self, one: pb.Slice) -> list[tuple[str, int]]:
        return [
            (block_name(self.geometry.uuid, one.chunk_id, one.compaction, block.block), block.block_length)
            for block in self.geometry.blocks(0, one.size, one.size)
        ]

    def _placed(self, slices: Sequence[pb.Slice], base: int) -> list[pb.Slice]:
        placed = []
        for one in slices:
            done = 0
            start = base + one.chunk_index * self.geometry.chunk_size + one.offset
            for part in self.geometry.chunks(start, one.length):
                piece = _copy(one)
                piece.chunk_index, piece.offset, piece.length = part
                piece.object.offset = one.object.offset + done
                done += part.length
                placed.append(piece)
        return placed

    def _cut(self, inode: pb.Inode, length: int) -> None:
        chunk, within = divmod(length, self.geometry.chunk_size)
        kept = [one for one in self.slices[inode.inode_id] if one.chunk_index < chunk + bool(within)]
        if within and any(one.chunk_index == chunk for one in kept):
            high = min(self.geometry.chunk_size, inode.length - chunk * self.geometry.chunk_size)
            kept.append(pb.Slice(chunk_index=chunk, offset=within, length=high - within, zero=True))
        self.slices[inode.inode_id] = kept


def _copy(message: T) -> T:
    return type(message).FromString(message.SerializeToString())
