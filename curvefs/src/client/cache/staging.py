"""What a write-back mount has taken and not published yet, durably, in one folder of its cache disk (rule 9).

    identity                            the mount's, as long as something here belongs to it
    place                               the folder's own inode number: a copy of the folder has another one
    <chunk id>_<compaction>_<index>     a block, as in the read cache, but synced
    <number>.slice                      the record of a slice; numbers go up in the order of flushing

A slice counts once its record is complete and synced, after all its blocks; whatever else lies here is of a flush that
nobody was told of, and is removed at the beginning. A record that is damaged, or lacks a block, is put aside and
reported, never published; it is kept for some days. What is a copy of another folder is refused while it holds slices:
two mounts would publish them, and end each other's sessions.

Blocking calls; what the disk does is raised as StagingFailed.

Shared between threads: the table of blocks, the records and those that should be gone with theirs, under the lock.
"""

import contextlib
import errno
import itertools
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from ....proto import staging_pb2 as pb
from ...common.ids import SESSION_ID_SIZE
from ...common.machine import sync_folder
from ...object.protocol import ObjectStoreError
from . import block_files
from .block_files import DamagedFile

log = structlog.get_logger()

_HEADER = struct.Struct(">4sIII")
_MAGIC, _FORMAT = b"CvSl", 1
_SUFFIX = ".slice"
_DAMAGED = ".damaged"
_ANY_NUMBER = "[0-9a-f]" * 16
ASIDE_KEPT_S = 7 * 24 * 3600.0
SLICES_MAX = 32_768  # staged: some 1.7 KB of memory each, and work for whoever publishes them


class StagingFailed(ObjectStoreError):
    """The staging disk did not do it: it is full, failing or gone."""


class StagingFull(StagingFailed):
    """As much is staged as may be; the disk is well."""


class StagedBlockDamaged(ObjectStoreError):
    """What is staged is not what was staged."""


@dataclass(frozen=True, slots=True)
class _Block:
    size: int
    checksum: int


class Staging:
    """See the module. The folder that holds it is locked by the cache. Raises StagingFailed."""

    def __init__(
        self,
        path: Path,
        *,
        size_max: int,
        free_space: float,
        random_bytes: Callable[[int], bytes],
        time_s: Callable[[], float] = time.time,
    ) -> None:
        """time_s: as the disk's file system counts."""
        self.path = path
        self.bytes = 0
        self._reserved = 0
        self._size_max = size_max
        self._free_space = free_space
        self._random_bytes = random_bytes
        self._time_s = time_s
        self._blocks: dict[str, _Block] = {}  # by the last part of the name
        self._records: set[int] = set()
        self._dropped: list[Path] = []  # blocks that are nobody's, for clean()
        self._unforgotten: dict[int, list[Path]] = {}  # records that should be gone, and blocks that wait for that
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        with _translated():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._place = path.stat()
            self.identity, self.found_identity = self._settle()

    # ------------------------------------------------------------------------------------------ identity

    def _settle(self) -> tuple[bytes, bool]:
        """Return the identity, and whether something may be staged under it. Raises StagingFailed for a copy."""
        here, place = str(self._place.st_ino), self.path / "place"
        try:
            said = place.read_text(encoding="ascii")
        except (FileNotFoundError, ValueError):
            said = ""
        if said == here:
            return self._identity()
        if not said:
            with contextlib.suppress(OSError):  # a full disk: what is staged is published all the same
                self._write("place", here.encode())
            return self._identity()
        if any(self.path.glob(f"*{_SUFFIX}")):
            told = f"{self.path} is a copy, and what is staged in it may be published by the mount of what was copied"
            raise StagingFailed(f"{told}: remove the folder, or only {place} if there is no such mount any more")
        identity = self.renew_identity()
        self._write("place", here.encode())
        return identity, False

    def _identity(self) -> tuple[bytes, bool]:
        """Return the identity, and whether something may be staged under it."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = bytes.fromhex((self.path / "identity").read_text(encoding="ascii"))
            if len(found) == SESSION_ID_SIZE:
                return found, True
        return self.renew_identity(), False

    def renew_identity(self) -> bytes:
        """Take another identity: the one before is over. It is not taken before the disk has it."""
        identity = self._random_bytes(SESSION_ID_SIZE)
        with _translated():
            self._write("identity", identity.hex().encode())
        self.identity = identity
        return identity

    def forget_identity(self) -> None:
        """Nothing is staged any more, and the identity is over."""
        with _translated():
            for name in ("identity", "place"):
                (self.path / name).unlink(missing_ok=True)

    # -------------------------------------------------------------------------------------------- blocks

    def reserve(self, size: int) -> bool:
        """Take room for a block that is put next; then release() it. False: there is none."""
        try:
            said = os.statvfs(self.path)
        except OSError:
            return False
        with self._lock:
            wanted = self._reserved + size
            free = said.f_bavail * said.f_frsize - wanted
            # Half of what the read cache leaves free is for what must not be refused.
            if (
                len(self._records) >= SLICES_MAX
                or self.bytes + wanted > self._size_max
                or free < said.f_blocks * said.f_frsize * self._free_space / 2
            ):
                return False
            self._reserved = wanted
        return True

    def release(self, size: int) -> None:
        """Give back what was reserved: it is staged by now, or was not."""
        with self._lock:
            self._reserved -= size

    @property
    def slices(self) -> int:
        """Return the number of slices staged."""
        return len(self._records)

    @property
    def blocks(self) -> int:
        """Return the number of blocks staged."""
        return len(self._blocks)

    def put(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Stage a block; it is on disk when this returns, its name once a record is."""
        last = _last(name)
        with _translated():
            (self.path / last).unlink(missing_ok=True)
            try:
                block_files.write(self.path / last, name, data, durable=True)
                self._check_place()
            except OSError:
                with contextlib.suppress(OSError):
                    (self.path / last).unlink()
                raise
        with self._lock:
            self._blocks[last] = _Block(len(data), zlib.crc32(data))
            self.bytes += len(data)

    def has(self, name: str) -> bool:
        """Say whether a block is staged."""
        return _last(name) in self._blocks

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of a staged block."""
        try:
            with _translated():
                return block_files.read(self.path / _last(name), name, start, size)
        except DamagedFile as error:
            raise StagedBlockDamaged(str(error)) from error

    def whole(self, name: str) -> bytes:
        """Return a staged block, checked as a whole."""
        data = self.get(name)
        known = self._blocks.get(_last(name))
        if known is None or (len(data), zlib.crc32(data)) != (known.size, known.checksum):
            raise StagedBlockDamaged(f"{name}: what is staged does not match its checksum")
        return data

    def block(self, name: str, index: int) -> pb.StagedBlock | None:
        """Return what a record says of a block if it is staged."""
        known = self._blocks.get(_last(name))
        return None if known is None else pb.StagedBlock(index=index, size=known.size, checksum=known.checksum)

    def remove(self, name: str, move: Callable[[str, Path, int], bool] = lambda *_: False) -> None:
        """Forget a block. move: may take its file over."""
        known = self._forget_block(name)
        path = self.path / _last(name)
        if known and not move(name, path, known.size + block_files.HEADER_SIZE):
            with contextlib.suppress(OSError):
                path.unlink()

    def drop(self, name: str) -> None:
        """Forget a block that will not be staged again, without touching the disk: clean() removes it."""
        if self._forget_block(name):
            with self._lock:
                self._dropped.append(self.path / _last(name))

    def _forget_block(self, name: str) -> _Block | None:
        with self._lock:
            known = self._blocks.pop(_last(name), None)
            self.bytes -= known.size if known else 0
        return known

    # ------------------------------------------------------------------------------------------- records

    def commit(self, slices: list[pb.StagedSlice]) -> list[int]:
        """Make slices count whose blocks are staged; returns the numbers of their records."""
        with self._lock:
            if len(self._records) + len(slices) > SLICES_MAX:
                raise StagingFull(f"staging: {SLICES_MAX} slices are staged")
            numbers = [next(self._numbers) for _ in slices]
            self._records.update(numbers)
        try:
            with _translated():
                for number, one in zip(numbers, slices, strict=True):
                    self._write(_record(number), _encode(one), sync_name=False)
                sync_folder(self.path)
                self._check_place()
        except StagingFailed:
            for number in numbers:
                self.forget(number)
            raise
        return numbers

    def replace(self, number: int, one: pb.StagedSlice) -> bool:
        """Let a record say something else; False: it does, but may say what it said before after a crash."""
        with _translated():
            self._check_place()
            self._write(_record(number), _encode(one), sync_name=False)
        try:
            sync_folder(self.path)
        except OSError as error:
            log.warning("a record of the staging disk is not synced", reason=str(error))
            return False
        return True

    def forget(self, number: int, blocks: Sequence[str] = ()) -> None:
        """Remove a record: it is published, or nobody wants it. It may come back after a crash.

        What the disk does not remove is left for clean(). blocks: names of those that then stay as long as the record:
        without them the next mount would take what is published for lost.
        """
        with self._lock:
            self._records.discard(number)
        try:
            (self.path / _record(number)).unlink(missing_ok=True)
        except OSError as error:
            waiting = [self.path / _last(name) for name in blocks if self._forget_block(name)]
            with self._lock:
                is_new = number not in self._unforgotten
                self._unforgotten.setdefault(number, []).extend(waiting)
            if is_new:
                log.warning("a staged slice is done with, but its record stays", record=number, reason=error.strerror)
        else:
            with self._lock:
                self._dropped += self._unforgotten.pop(number, [])

    def clean(self) -> None:
        """Try again to remove records that the disk did not, and remove blocks that were dropped."""
        with self._lock:
            left = sorted(self._unforgotten)
        for number in left:
            self.forget(number)
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for path in dropped:
            with contextlib.suppress(OSError):
                path.unlink()

    def put_aside(self, number: int) -> None:
        """Keep a record that cannot be published, out of the way."""
        with self._lock:
            self._records.discard(number)
        with contextlib.suppress(OSError):
            path = self.path / _record(number)
            path.rename(path.with_suffix(_DAMAGED))

    def look(self, names_of: Callable[[pb.StagedSlice], list[tuple[int, str]]]) -> list[tuple[int, pb.StagedSlice]]:
        """Return what is staged, in order; names_of gives (index, name) of a slice's blocks.

        Only at the beginning. What belongs to no slice is removed, and what was put aside long ago.
        """
        found: list[tuple[int, pb.StagedSlice]] = []
        wanted = {"identity", "place"}
        with _translated():
            self._remove_aside()
            # What is put aside next must not replace what was put aside before.
            used = [int(path.name.partition(".")[0], 16) for path in self.path.glob(f"{_ANY_NUMBER}.*")]
            self._numbers = itertools.count(max(used, default=0) + 1)
            for path in sorted(self.path.glob(f"*{_SUFFIX}")):
                number = int(path.stem, 16)
                try:
                    one = _decode(path.read_bytes())
                    if one.identity != self.identity:
                        raise DamagedFile("its identity is over")
                    self._take(one, dict(names_of(one)))
                except (DamagedFile, DecodeError, KeyError, FileNotFoundError) as error:
                    log.error("a staged slice is not published, but put aside", record=str(path), reason=str(error))
                    self.put_aside(number)
                else:
                    found.append((number, one))
                    self._records.add(number)
                    wanted |= {path.name, *(_last(name) for _, name in names_of(one))}
            aside = [*self.path.glob(f"*{_DAMAGED}")]
            for path in self.path.iterdir():
                # With something put aside, what seems to belong to nothing may belong to that.
                if path.name not in wanted and path.suffix != _DAMAGED and not aside:
                    path.unlink()
        return found

    def _remove_aside(self) -> None:
        """Remove records that were put aside so long ago that nobody will look at them; their blocks go with them."""
        for path in self.path.glob(f"*{_DAMAGED}"):
            if path.stat().st_ctime + ASIDE_KEPT_S < self._time_s():
                log.warning("a staged slice that was put aside is removed", record=str(path))
                path.unlink()

    def _take(self, one: pb.StagedSlice, names: dict[int, str]) -> None:
        for block in one.blocks:
            name = names[block.index]
            if block_files.object_size(self.path / _last(name), name) != block.size:
                raise DamagedFile(f"{name} has another size")
        for block in one.blocks:
            self._blocks[_last(names[block.index])] = _Block(block.size, block.checksum)
            self.bytes += block.size

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is left here that counts or was put aside. Raises nothing.

        Another folder that lies where the disk was does not count: what is on the disk is published when it is back.
        """
        if self._records:
            return False
        try:
            self._check_place()
            return not any(path.suffix in (_SUFFIX, _DAMAGED) for path in self.path.iterdir())
        except OSError:
            return False

    def _check_place(self) -> None:
        """Raise OSError when this is not the folder that was opened: the disk is gone, and this lies where it was."""
        if not os.path.samestat(self.path.stat(), self._place):
            raise FileNotFoundError(errno.ENOENT, "the folder is another one than at the beginning", str(self.path))

    def _write(self, name: str, data: bytes, *, sync_name: bool = True) -> None:
        beside = self.path / f"{name}.new"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self.path / name)
        if sync_name:
            sync_folder(self.path)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StagingFailed(f"staging: {error.filename or ''} {error.strerror}") from error


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _record(number: int) -> str:
    return f"{number:016x}{_SUFFIX}"


def _encode(one: pb.StagedSlice) -> bytes:
    said = one.SerializeToString(deterministic=True)
    return _HEADER.pack(_MAGIC, _FORMAT, len(said), zlib.crc32(said)) + said


def _decode(data: bytes) -> pb.StagedSlice:
    if len(data) < _HEADER.size:
        raise DamagedFile("the record is torn")
    magic, form, length, checksum = _HEADER.unpack_from(data)
    said = data[_HEADER.size :]
    if (magic, form) != (_MAGIC, _FORMAT) or (len(said), zlib.crc32(said)) != (length, checksum):
        raise DamagedFile("the record is torn or damaged")
    return pb.StagedSlice.FromString(said)
