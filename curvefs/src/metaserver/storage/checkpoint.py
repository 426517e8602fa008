"""Checkpoints: durable copies of a group's state, from which, with the log, it can be rebuilt (rule 24).

A checkpoint is a compacted copy of the LMDB environment, synced, and a sidecar that is written last: size, CRC-32 and
the index up to which the log is in it. The last two are kept; the log is kept from the lower one, so that a damaged
newest one costs nothing.
"""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from ...common.errors import StartupError
from ...common.exits import ExitCode
from .environment import Environment, write_durably

_log = structlog.get_logger()

FORMAT = 1
KEPT = 2
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk. index: everything up to it is in the copy, perhaps more.

    adopted: it is of exactly this index and this server's own log may end before it: it came from peers as a snapshot.
    """

    number: int
    path: Path
    index: int
    size: int
    crc: int
    adopted: bool = False


class Checkpoints:
    """The checkpoints of one group, oldest first in ``kept``. One method at a time; all of them block."""

    def __init__(self, folder: Path) -> None:
        """Find what is there. Raises StartupError (DATA_FOLDER) for a newer format, OSError."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        found = [one for sidecar in folder.glob("*.json") if (one := _read_sidecar(sidecar)) is not None]
        self.kept = sorted(found, key=lambda one: one.number)[-KEPT:]

    @property
    def base_index(self) -> int:
        """Return the index up to which the log is not needed: the lower one of the two; 0 with fewer.

        The older one is ahead of the newer if it was adopted from peers, and then not installed.
        """
        return min(one.index for one in self.kept) if len(self.kept) == KEPT else 0

    @property
    def newest_index(self) -> int:
        """Return the index of the newest checkpoint, or 0."""
        return self.kept[-1].index if self.kept else 0

    def make(self, environment: Environment, *, adopted: bool = False) -> Checkpoint:
        """Copy the state and make the copy durable; then forget all but the last two. Raises OSError."""
        return self._make(environment.applied.index, environment.copy, adopted=adopted)

    def adopt(self, state: Path, index: int) -> Checkpoint:
        """Make a checkpoint of a state folder that is not in use yet. Raises OSError."""

        def copy(descriptor: int) -> None:
            with (state / "data.mdb").open("rb") as source, open(descriptor, "wb", closefd=False) as file:
                shutil.copyfileobj(source, file, _PIECE)

        return self._make(index, copy, adopted=True)

    def _make(self, index: int, copy: Callable[[int], None], *, adopted: bool) -> Checkpoint:
        number = self.kept[-1].number + 1 if self.kept else 1
        path = self._folder / f"{number:010d}.mdb"
        path.unlink(missing_ok=True)  # of a making that was interrupted
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            copy(descriptor)
            os.fsync(descriptor)
            crc, size = _checksum(path)
            said = {"format": FORMAT, "index": index, "size": size, "crc": crc, "adopted": adopted}
            write_durably(path.with_suffix(".json"), json.dumps(said).encode("ascii"))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        made = Checkpoint(number, path, index, size, crc, adopted)
        self.kept = [*self.kept, made][-KEPT:]
        self._remove_others()
        return made

    def newest_good(self) -> Checkpoint | None:
        """Return the newest checkpoint whose bytes are what was written; forget damaged ones."""
        while self.kept:
            newest = self.kept[-1]
            if _is_good(newest):
                return newest
            _log.error("a checkpoint is damaged; an older one is tried", file=str(newest.path))
            newest.path.with_suffix(".json").unlink()
            self.kept.pop()
        return None

    def _remove_others(self) -> None:
        stay = {path for one in self.kept for path in (one.path, one.path.with_suffix(".json"))}
        for path in self._folder.iterdir():
            if path not in stay:
                path.unlink()


def _read_sidecar(sidecar: Path) -> Checkpoint | None:
    try:
        said = json.loads(sidecar.read_text(encoding="ascii"))
        if said["format"] > FORMAT:
            raise StartupError(
                f"{sidecar} is of version {said['format']}; this version of curvefs-metaserver knows up to {FORMAT}",
                ExitCode.DATA_FOLDER,
            )
        return Checkpoint(
            int(sidecar.stem),
            sidecar.with_suffix(".mdb"),
            said["index"],
            said["size"],
            said["crc"],
            said.get("adopted", False),
        )
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        _log.error("a checkpoint's description cannot be read; the checkpoint is not used", file=str(sidecar))
        return None
    except (ValueError, KeyError, TypeError):
        _log.error("a checkpoint's description is damaged; the checkpoint is not used", file=str(sidecar))
        return None


def _is_good(checkpoint: Checkpoint) -> bool:
    """Say whether a checkpoint's bytes are what was written. Raises OSError, but for bytes that the disk has lost."""
    try:
        return _checksum(checkpoint.path) == (checkpoint.crc, checkpoint.size)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False


def _checksum(path: Path) -> tuple[int, int]:
    """Return (CRC-32, size) of a file."""
    crc = size = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
            size += len(piece)
    return crc, size
