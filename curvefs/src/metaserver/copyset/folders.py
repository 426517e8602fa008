"""The folders of the groups of a metaserver: found and recovered at a start, made, removed. Everything here blocks.

DATA/wal/                        the log that all groups share
DATA/groups/<id>/group.json      that the group is here, and its first configuration; written last when it is made
DATA/groups/<id>/state/          its environment
DATA/groups/<id>/checkpoints/    its durable base
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ...common.errors import CorruptData, StartupError
from ...common.exits import ExitCode
from ...common.machine import sync_folder
from ...raft.configuration import Configuration
from ...raft.core import Raft, Start
from ...raft.log import Base
from ...raft.messages import HardState
from ...raft.state import Settings as RaftSettings
from ..storage.checkpoint import KEPT, Checkpoints
from ..storage.environment import Environment, write_durably
from ..wal import recovery as wal_recovery
from ..wal.format import Record, RecordType
from .group import Group, Tools
from .recovery import Recovering, replay

_log = structlog.get_logger()

FORMAT = 1
GROUP_FILE = "group.json"


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What every group is opened with. map_size: bytes its state may take. boot_id: the kernel's."""

    map_size: int
    boot_id: str
    raft: RaftSettings
    jitter: Callable[[], float]


@dataclass(slots=True)
class Recovered:
    """What a start found. damaged: replicas that must be rebuilt. records: to be appended before anything else."""

    outline: wal_recovery.Outline
    groups: dict[int, Group] = field(default_factory=dict)
    damaged: dict[int, CorruptData] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)


class GroupFolders:
    """See the module. tools: what every group uses."""

    def __init__(self, folder: Path, settings: GroupSettings, tools: Tools) -> None:
        self.wal = folder / "wal"
        self.map_size = settings.map_size
        self._folder = folder
        self._groups = folder / "groups"
        self._settings = settings
        self._tools = tools

    def recover(self, me: int) -> Recovered:
        """Find every group and bring it up to the end of the log. me: this metaserver's id.

        Raises StartupError (DAMAGED, DATA_FOLDER, FAILED), NoSpace, OSError.
        """
        for made in (self.wal, self._groups):
            made.mkdir(parents=True, exist_ok=True)
        sync_folder(self._folder)
        found = Recovered(wal_recovery.recover(self.wal))
        recovering: dict[int, Recovering] = {}
        for folder in sorted(self._groups.iterdir()):
            if (folder / GROUP_FILE).exists():
                group_id, first = _read(folder / GROUP_FILE)
                recovering[group_id] = self._recovering(group_id, me, first)
            else:
                shutil.rmtree(folder)  # its making or its removal was interrupted
        replay(recovering, found.outline)
        for group_id, one in recovering.items():
            self._finish(group_id, one, found)
        for group_id in found.outline.groups.keys() - recovering.keys():
            found.outline.forget(group_id)
        return found

    def make(self, group_id: int, me: int, first: Configuration, hard_state: HardState) -> Group:
        """Make the folder of a new group, of which the log says this hard state. Raises OSError, NoSpace."""
        folder = self._groups / str(group_id)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        one = self._recovering(group_id, me, first)
        said = {
            "format": FORMAT,
            "group_id": group_id,
            "peers": [{"metaserver_id": id_, "address": address} for id_, address in first.addresses],
        }
        write_durably(folder / GROUP_FILE, json.dumps(said).encode("ascii"))
        sync_folder(folder.parent)
        return self._group(one, Start(hard_state, configuration=first))

    def remove(self, group_id: int) -> None:
        """Remove the folder of a group that is not open, or what is left of it. Raises OSError."""
        folder = self._groups / str(group_id)
        if not folder.exists():
            return
        (folder / GROUP_FILE).unlink(missing_ok=True)
        sync_folder(folder)
        shutil.rmtree(folder)

    def snapshots(self, group_id: int) -> Path:
        """Return where a group keeps snapshots that come and go; emptied at each start."""
        return self._groups / str(group_id) / "snapshots"

    def _recovering(self, group_id: int, me: int, first: Configuration) -> Recovering:
        folder = self._groups / str(group_id)
        shutil.rmtree(self.snapshots(group_id), ignore_errors=True)
        checkpoints = Checkpoints(folder / "checkpoints")
        environment = Environment(folder, map_size=self._settings.map_size, boot_id=self._settings.boot_id)
        newest = None
        if environment.discarded:
            newest = checkpoints.newest_good()
            if newest is not None:
                environment.restore(newest.path)
            _log.warning(
                "the machine stopped uncleanly; the state is rebuilt",
                group=group_id,
                from_checkpoint=newest is not None,
                from_index=environment.applied.index,
            )
        return Recovering(group_id, me, environment, checkpoints, first)

    def _finish(self, group_id: int, one: Recovering, found: Recovered) -> None:
        try:
            if one.damage is not None:
                raise one.damage
            start = one.finish()
            if one.begins_anew:
                for _ in range(KEPT):
                    one.checkpoints.make(one.environment, adopted=True)  # until the log begins behind it
                one.bytes_since_checkpoint = 0
                found.records += beginning(group_id, start.base, start.hard_state)
        except CorruptData as error:
            _log.error("a replica is damaged", group=group_id, reason=str(error))
            one.environment.close()
            found.damaged[group_id] = error
            return
        except OSError as error:
            raise StartupError(f"group {group_id} cannot be checkpointed: {error.strerror}", ExitCode.FAILED) from error
        found.groups[group_id] = self._group(one, start)

    def _group(self, one: Recovering, start: Start) -> Group:
        raft = Raft(
            one.me, self._settings.raft, start, now=self._tools.clock.boottime_s(), jitter=self._settings.jitter
        )
        group = Group(one.group_id, raft, one.environment, one.checkpoints, self._tools)
        group.bytes_since_checkpoint = one.bytes_since_checkpoint
        return group


def beginning(group_id: int, base: Base, hard_state: HardState) -> list[Record]:
    """Return what the log of a group begins with."""
    from ...raft.codec import encode_hard_state

    return [
        Record(RecordType.BEGIN, group_id, base.term, base.index),
        Record(RecordType.HARD_STATE, group_id, hard_state.term, 0, encode_hard_state(hard_state)),
    ]


def _read(file: Path) -> tuple[int, Configuration]:
    try:
        said = json.loads(file.read_text(encoding="ascii"))
        if said["format"] > FORMAT:
            raise StartupError(
                f"{file} is of version {said['format']}; this version of curvefs-metaserver knows up to {FORMAT}",
                ExitCode.DATA_FOLDER,
            )
        addresses = [(int(one["metaserver_id"]), str(one["address"])) for one in said["peers"]]
        return int(said["group_id"]), first_configuration(addresses)
    except (ValueError, KeyError, TypeError) as error:
        raise StartupError(f"{file} is damaged: {error}", ExitCode.DAMAGED) from error


def first_configuration(addresses: list[tuple[int, str]]) -> Configuration:
    """Return the configuration a group begins with; that of a replica which joins later is empty."""
    return Configuration(tuple(sorted(id_ for id_, _ in addresses)), addresses=tuple(sorted(addresses)))
