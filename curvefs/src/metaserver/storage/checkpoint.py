"""Checkpoints: durable copies of a group's state, from which (and the log) it can be rebuilt (rule 24).

A checkpoint is a compacted copy of the LMDB environment, synced, with a sidecar that is written last and says size,
CRC-32 and applied index. The last two are kept, and the log from the older one.
"""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import structlog

from .environment import Environment

log = structlog.get_logger()

KEPT = 2
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk."""

    path: Path
    applied_index: int
    size: int
    crc: int


class Checkpoints:
    """The checkpoints of one group. All methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = self._load()

    def base_index(self) -> int:
        """Return the index from which the log must be kept: that of the older of the two; 0 with fewer."""
        return self.kept[0].applied_index if len(self.kept) == KEPT else 0

    def make(self, environment: Environment) -> Checkpoint:
        """Copy the state and make the copy durable. Raises OSError."""
        temporary = self._folder / "making"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            applied = environment.applied_index  # at least this is in the copy; the rest is applied again
            environment.copy(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        crc, size = _checksum(temporary)
        path = self._folder / f"{applied:020d}.mdb"
        temporary.rename(path)
        sidecar = path.with_suffix(".json")
        beside = sidecar.with_suffix(".new")
        with beside.open("w") as file:
            json.dump({"format": 1, "applied_index": applied, "size": size, "crc": crc}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(sidecar)
        _sync_folder(self._folder)
        made = Checkpoint(path, applied, size, crc)
        self.kept = [*(one for one in self.kept if one.path != path), made]
        for old in self.kept[:-KEPT]:
            old.path.with_suffix(".json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
        self.kept = self.kept[-KEPT:]
        return made

    def newest_good(self) -> Checkpoint | None:
        """Return the newest checkpoint whose bytes are what was written; None when there is none."""
        for one in reversed(self.kept):
            if one.path.exists() and _checksum(one.path) == (one.crc, one.size):
                return one
            log.error("a checkpoint is damaged; trying an older one", file=str(one.path))
        return None

    def _load(self) -> list[Checkpoint]:
        found = []
        for sidecar in sorted(self._folder.glob("*.json")):
            said = json.loads(sidecar.read_text())
            found.append(Checkpoint(sidecar.with_suffix(".mdb"), said["applied_index"], said["size"], said["crc"]))
        return sorted(found, key=lambda one: one.applied_index)[-KEPT:]


def _checksum(path: Path) -> tuple[int, int]:
    crc = size = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
            size += len(piece)
    return crc, size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
