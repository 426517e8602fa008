"""Blocks in their objects, in every format: encoded whole, read in any part, verified. Reads by a function it is given.

Format 1 is framing.py. In the others an object is an index, where segments are compressed, and the sealed segments
(seals.py) of 64 KiB of data each. Without compression all segments but the last have one size, and where one lies is
known. With it, the index says the size of each payload: 4 bytes big-endian each, and a CRC-32 of them; a payload as
large as its data is the data, not compressed, because that would have been no smaller.

The index lies in front. Reading all of a block, or its beginning, fetches it along; else it is fetched first, once for
a block: some thousands are remembered. So a part costs one additional request of a few hundred bytes at most.

Shared between threads: the remembered indexes; each step on them is one operation of a dictionary, which is atomic.
"""

import contextlib
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from ..common.errors import CorruptData, IOFailure
from . import framing
from .block_formats import BlockFormat, block_format
from .compression import Compression, compressor, decompressor
from .framing import SEGMENT_SIZE
from .seals import NONCE_SIZE, Checksum, Encryption, Seal

# Offset and size in the object, shorter at its end only. None: to its end. All of a block is asked for as all of its
# object, which is what a cache below keeps.
Fetch = Callable[[int, int | None], bytes]
Offsets = list[int]  # where each sealed segment begins in the object, and where the last one ends

INDEXES_MAX = 4096
# A part that ends within so many bytes is fetched with the index in front of it.
_GUESS_SIZE = 256 << 10
_ENTRY_SIZE = 4


class BlockCodec:
    """Blocks of one filesystem. data_key: b'' where nothing is encrypted. random_bytes: for nonces."""

    def __init__(self, data_key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._data_key = data_key
        self._random_bytes = random_bytes
        self._indexes: OrderedDict[str, Offsets] = OrderedDict()

    def encode(self, number: int, name: str, parts: Iterable[bytes | bytearray | memoryview]) -> bytes | bytearray:
        """Return the object of a block, in a format, that will have this name; parts: its bytes, consecutive."""
        chosen = block_format(number)
        if number == framing.FORMAT:
            return framing.encode(parts)
        seal = self._seal(chosen, name, self._random_bytes(NONCE_SIZE) if chosen.encrypted else b"")
        compress = None if chosen.compression is Compression.NONE else compressor(chosen.compression)
        made = bytearray()  # grows as it is filled, so that all of the block is there in one copy only
        sizes: list[int] = []
        segments = list(_segments(parts))
        if compress is not None:
            made += bytes(_ENTRY_SIZE * (len(segments) + 1))
        for place, data in enumerate(segments):
            payload: bytes | memoryview = data
            if compress is not None and len(compressed := compress(data)) < len(data):
                payload = compressed
            sizes.append(len(payload))
            for piece in seal.seal(place, payload, len(data)):
                made += piece
        if compress is not None:
            index = _index(sizes)
            made[: len(index)] = index
        return made

    def read(
        self, number: int, name: str, start: int, size: int, block_length: int, *, fetch: Fetch
    ) -> list[memoryview]:
        """Return data bytes [start, start + size) of a block, verified, in segments (the last may be shorter).

        ``start`` is at a segment; ``size`` ends at one, or at the end of the block. Raises CorruptData, which names the
        segment, IOFailure (a format that is not known here, no key), and what ``fetch`` raises.
        """
        assert start % SEGMENT_SIZE == 0, start
        assert 0 < size <= block_length - start, (start, size, block_length)
        chosen = block_format(number)
        whole = size == block_length
        if number == framing.FORMAT:
            at, framed_size = framing.framed_range(start, size, block_length)
            return framing.decode(fetch(at, None if whole else framed_size), size)
        seal = self._seal(chosen, name)
        first = start // SEGMENT_SIZE
        sizes = [min(SEGMENT_SIZE, start + size - at) for at in range(start, start + size, SEGMENT_SIZE)]
        if chosen.compression is Compression.NONE:
            at = first * (SEGMENT_SIZE + seal.overhead)
            borders = list(accumulate((one + seal.overhead for one in sizes), initial=at))
            stored = memoryview(fetch(at, None if whole else borders[-1] - at))
        else:
            borders, stored = self._fetch_compressed(name, seal, (first, len(sizes)), block_length, fetch)
        expected = borders[-1] - borders[0]
        if len(stored) != expected:
            self._forget(name)
            raise CorruptData(f"{len(stored)} bytes from byte {borders[0]} on, where {expected} are expected")
        try:
            return _opened(chosen.compression, seal, first, sizes, borders=borders, stored=stored)
        except CorruptData:
            self._forget(name)
            raise

    def _seal(self, chosen: BlockFormat, name: str, nonce: bytes = b"") -> Seal:
        if not chosen.encrypted:
            return Checksum()
        if not self._data_key:
            raise IOFailure(f"{name} is encrypted, and there is no key")
        return Encryption(self._data_key, name, nonce)

    # ------------------------------------------------------------------------------------------- indexes

    def _fetch_compressed(
        self, name: str, seal: Seal, wanted: tuple[int, int], block_length: int, fetch: Fetch
    ) -> tuple[Offsets, memoryview]:
        """Return the borders of some segments (first and count), and their bytes."""
        first, count = wanted
        whole = (first, count) == (0, _count(block_length))
        head = _index_size(block_length)
        offsets = self._known(name)
        if offsets is None:
            end = (first + count) * SEGMENT_SIZE
            guessed = whole or end <= _GUESS_SIZE
            most = head + min(end, block_length) + (first + count) * seal.overhead
            begun = memoryview(fetch(0, None if whole else most if guessed else head))
            offsets = _offsets(begun[:head], block_length, seal.overhead)
            self._remember(name, offsets)
            if guessed:
                borders = offsets[first : first + count + 1]
                # What follows the last segment of a block must be nothing; what follows another is not looked at.
                last = first + count == len(offsets) - 1
                return borders, begun[borders[0] : None if last else borders[-1]]
        borders = offsets[first : first + count + 1]
        if whole:
            return borders, memoryview(fetch(0, None))[borders[0] :]
        return borders, memoryview(fetch(borders[0], borders[-1] - borders[0]))

    def _known(self, name: str) -> Offsets | None:
        found = self._indexes.get(name)
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread forgot it meanwhile
                self._indexes.move_to_end(name)
        return found

    def _remember(self, name: str, offsets: Offsets) -> None:
        self._indexes[name] = offsets
        if len(self._indexes) > INDEXES_MAX:
            self._indexes.popitem(last=False)

    def _forget(self, name: str) -> None:
        self._indexes.pop(name, None)


def object_size_max(number: int, block_length: int) -> int:
    """Return how many bytes the object of a block takes at most; exactly so many without compression."""
    chosen = block_format(number)
    overhead = Encryption.overhead if chosen.encrypted else Checksum.overhead
    head = 0 if chosen.compression is Compression.NONE else _index_size(block_length)
    return head + block_length + _count(block_length) * overhead


def _segments(parts: Iterable[bytes | bytearray | memoryview]) -> Iterator[memoryview]:
    """Cut consecutive pieces into segments; only a segment that several pieces make up is copied."""
    begun = bytearray()
    for part in parts:
        view = memoryview(part)
        if begun:
            taken = view[: SEGMENT_SIZE - len(begun)]
            begun += taken
            view = view[len(taken) :]
            if len(begun) == SEGMENT_SIZE:
                yield memoryview(begun)
                begun = bytearray()
        while len(view) >= SEGMENT_SIZE:
            yield view[:SEGMENT_SIZE]
            view = view[SEGMENT_SIZE:]
        begun += view
    if begun:
        yield memoryview(begun)


def _opened(
    kind: Compression, seal: Seal, first: int, sizes: list[int], *, borders: Offsets, stored: memoryview
) -> list[memoryview]:
    """Verify segments, and return their data."""
    decompress = None if kind is Compression.NONE else decompressor(kind)
    found = []
    for place, size in enumerate(sizes):
        start, end = borders[place] - borders[0], borders[place + 1] - borders[0]
        try:
            payload = seal.open(first + place, stored[start:end], size)
            if decompress is not None and len(payload) < size:
                payload = memoryview(decompress(payload, size))
        except CorruptData as error:
            raise CorruptData(f"segment {first + place}, at byte {borders[place]}: {error}") from error
        found.append(payload)
    return found


def _count(block_length: int) -> int:
    return -(-block_length // SEGMENT_SIZE)


def _index_size(block_length: int) -> int:
    return _ENTRY_SIZE * (_count(block_length) + 1)


def _index(sizes: list[int]) -> bytes:
    entries = struct.pack(f">{len(sizes)}I", *sizes)
    return entries + struct.pack(">I", zlib.crc32(entries))


def _offsets(index: memoryview, block_length: int, overhead: int) -> Offsets:
    """Read an index. Raises CorruptData."""
    count = _count(block_length)
    if len(index) != _index_size(block_length):
        raise CorruptData(f"the index of the segments has {len(index)} bytes, not {_index_size(block_length)}")
    *sizes, checksum = struct.unpack(f">{count + 1}I", index)
    if zlib.crc32(index[:-_ENTRY_SIZE]) != checksum:
        raise CorruptData("the index of the segments does not match its checksum")
    data_sizes = [min(SEGMENT_SIZE, block_length - at) for at in range(0, block_length, SEGMENT_SIZE)]
    if any(not 0 < size <= most for size, most in zip(sizes, data_sizes, strict=True)):
        raise CorruptData("the index of the segments says impossible sizes")
    return list(accumulate((size + overhead for size in sizes), initial=len(index)))
