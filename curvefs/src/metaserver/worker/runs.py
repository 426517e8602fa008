"""The job of compaction: runs of bytes are put together from pieces of others, and stored.

Block by block: what a block is made of is read, at most READS_AT_ONCE objects at the same time, every byte verified by
its checksum, in whatever format it is stored; then the block is stored in the filesystem's. So a job needs the memory
of one block, of its stored form, and of the reads under way, however large its runs are.

Pieces that lie close together in one object are read at once, with what lies between them.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeVar
from uuid import UUID

from ....proto import worker_pb2 as pb
from ...common.errors import CorruptData, NotFound
from ...object.protocol import ObjectNotFound, ObjectStore, StoreUnavailable
from ...slices.codec import BlockCodec
from ...slices.framing import SEGMENT_SIZE
from ...slices.geometry import Geometry
from ...slices.names import block_name

READS_AT_ONCE = 4
_GAP_MAX = 256 << 10  # bytes read in vain rather than asked for apart
_PAUSES_S = (0.2, 0.6, 1.8)

T = TypeVar("T")


class _Part(NamedTuple):
    """Bytes of a block to be stored that lie in one stored block."""

    name: str
    offset: int  # in the stored block
    length: int
    block_length: int
    block_format: int
    at: int  # in the block to be stored


def store_runs(store: ObjectStore, job: pb.StoreRuns, reply: pb.JobReply) -> None:
    """Store the runs of a job. Raises NotFound, CorruptData, IOFailure (format, key), ObjectStoreError."""
    codec = BlockCodec(job.data_key, os.urandom)
    geometry = Geometry(UUID(bytes=job.filesystem), 0, job.block_size, job.block_format)
    done = reply.store_runs
    done.SetInParent()
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="read") as threads:
        for run in job.runs:
            for index, (length, parts) in enumerate(_blocks(geometry, run)):
                block = bytearray(length)
                reads = list(_together(parts))
                # The lambda is over before the next block is made.
                for size in threads.map(lambda read: _read(store, codec, read, block), reads):  # noqa: B023
                    done.read_bytes += size
                name = block_name(geometry.uuid, run.chunk_id, run.compaction, index)
                stored = codec.encode(job.block_format, name, [block])
                _patiently(lambda: store.put(name, stored))  # noqa: B023
                done.written_bytes += length


def _blocks(geometry: Geometry, run: pb.RunToStore) -> Iterator[tuple[int, list[_Part]]]:
    """Cut a run into blocks: the length of each, and what it is made of besides zeros."""
    filled, parts = 0, list[_Part]()
    for piece in run.pieces:
        offset, left = piece.offset, piece.length
        while left:
            taken = min(left, geometry.block_size - filled)
            if piece.chunk_id:
                at = filled
                for source in geometry.blocks(offset, taken, piece.size):
                    name = block_name(geometry.uuid, piece.chunk_id, piece.compaction, source.block)
                    where = source.offset, source.length, source.block_length
                    parts.append(_Part(name, *where, piece.block_format, at))
                    at += source.length
            offset += taken
            left -= taken
            filled += taken
            if filled == geometry.block_size:
                yield filled, parts
                filled, parts = 0, []
    if filled:
        yield filled, parts


def _together(parts: list[_Part]) -> Iterator[list[_Part]]:
    """Group parts that are read with one request: of one object, with small gaps, in their order in it."""
    for _, of_object in groupby(sorted(parts), key=lambda part: part.name):
        group: list[_Part] = []
        for part in of_object:
            if group and part.offset - (group[-1].offset + group[-1].length) > _GAP_MAX:
                yield group
                group = []
            group.append(part)
        yield group


def _read(store: ObjectStore, codec: BlockCodec, parts: list[_Part], block: bytearray) -> int:
    """Read parts of one object into a block; returns how many bytes of data that took."""
    first, last = parts[0], max(parts, key=lambda part: part.offset + part.length)
    begin = first.offset // SEGMENT_SIZE * SEGMENT_SIZE
    end = min(-(-(last.offset + last.length) // SEGMENT_SIZE) * SEGMENT_SIZE, first.block_length)
    fetch = partial(store.get, first.name)

    def get() -> list[memoryview]:
        return codec.read(first.block_format, first.name, begin, end - begin, first.block_length, fetch=fetch)

    try:
        segments = _patiently(get)
    except ObjectNotFound as error:
        raise NotFound(f"object {first.name} is missing") from error
    except CorruptData as error:
        raise CorruptData(f"object {first.name}: {error}") from error
    for part in parts:
        _copy(segments, part.offset - begin, part.length, memoryview(block)[part.at : part.at + part.length])
    return end - begin


def _copy(segments: list[memoryview], offset: int, length: int, into: memoryview) -> None:
    """Copy bytes [offset, offset + length) of segments that follow one another."""
    done = 0
    while done < length:
        number, within = divmod(offset + done, SEGMENT_SIZE)
        taken = segments[number][within : within + length - done]
        into[done : done + len(taken)] = taken
        done += len(taken)


def _patiently(call: Callable[[], T]) -> T:
    """Call, and again after what may pass: the store does not answer, or the bytes were damaged on their way."""
    for pause_s in _PAUSES_S:
        try:
            return call()
        except (StoreUnavailable, CorruptData):
            time.sleep(pause_s)
    return call()
