"""A group after a restart: from its environment, else its newest good checkpoint, and the log behind it. Blocks.

The environment is used when the machine has not stopped since, or it was closed cleanly; otherwise it is gone already
(storage/environment.py) and the newest good checkpoint takes its place, or the empty state. Then the log is applied
from there on. A log that does not reach back so far is damage.

The log can end before the state does: a torn end was cut, or somebody cut it. What the state has was acknowledged,
so it stays; the group's log begins anew behind it, and checkpoints bridge the hole.
"""

from dataclasses import dataclass
from pathlib import Path

import structlog

from ....proto import common_pb2
from ...common.clock import Clock
from ...common.errors import NoSpace, StartupError
from ...common.exits import ExitCode
from ..metrics import Metrics
from ..storage.checkpoint import KEPT, Checkpoints
from ..storage.environment import Environment
from ..wal import recovery as wal
from ..wal.format import Record
from .group import Group

_log = structlog.get_logger()

_REPLAY_RECORDS = 512
_REPLAY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Recovered:
    """A group whose state is up to date. begin: its log must begin anew."""

    group: Group
    last_term: int
    begin: bool


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What every group is opened with. map_size: bytes its state may take. boot_id: the kernel's."""

    map_size: int
    boot_id: str
    clock: Clock
    metrics: Metrics


def open_group(folder: Path, group_id: int, peers: list[common_pb2.Peer], settings: GroupSettings) -> Group:
    """Open a group's state, restoring it if it cannot be trusted. Raises StartupError, OSError."""
    checkpoints = Checkpoints(folder / "checkpoints")
    environment = Environment(folder, map_size=settings.map_size, boot_id=settings.boot_id)
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
    return Group(group_id, peers, environment, checkpoints, clock=settings.clock, metrics=settings.metrics)


def replay(groups: dict[int, Group], outline: wal.Outline) -> list[Recovered]:
    """Bring every group up to the end of the log. Raises StartupError (DAMAGED, or FAILED on a full disk)."""
    for group in groups.values():
        _check_reach(group, outline.groups.get(group.group_id))
    waiting: dict[int, list[Record]] = {}
    sizes: dict[int, int] = {}
    for record in wal.entries(outline):
        group_id = record.group_id
        known = groups.get(group_id)
        if known is None:
            continue  # it was removed
        if record.index > known.checkpoints.newest_index:
            known.bytes_since_checkpoint += len(record.payload)
        if record.index <= known.applied_index:
            continue
        waiting.setdefault(group_id, []).append(record)
        sizes[group_id] = sizes.get(group_id, 0) + len(record.payload)
        if len(waiting[group_id]) >= _REPLAY_RECORDS or sizes[group_id] >= _REPLAY_BYTES:
            _apply(known, waiting.pop(group_id))
            sizes[group_id] = 0
    for group_id, records in waiting.items():
        _apply(groups[group_id], records)
    return [_finish(group, outline.groups.get(group.group_id)) for group in groups.values()]


def _check_reach(group: Group, outline: wal.GroupOutline | None) -> None:
    first = outline.first_index if outline else 0
    if first > group.applied_index + 1:
        raise StartupError(
            f"group {group.group_id} is damaged: its state ends with entry {group.applied_index}, "
            f"and the log begins with entry {first}",
            ExitCode.DAMAGED,
        )


def _apply(group: Group, records: list[Record]) -> None:
    try:
        group.replay(records)
    except NoSpace as error:
        raise StartupError(f"group {group.group_id} cannot be brought up to date: {error}", ExitCode.FAILED) from error
    except Exception:  # noqa: BLE001  # a bug, contained as in Group
        _log.exception("an entry cannot be applied", group=group.group_id, after_index=group.applied_index)
        group.break_("an entry of its log cannot be applied")


def _finish(group: Group, outline: wal.GroupOutline | None) -> Recovered:
    logged = outline.last_index if outline else 0
    term = group.environment.applied.term
    if outline is not None:
        term = max(term, outline.last_term, outline.hard_state.term if outline.hard_state else 0)
    hole = group.applied_index > max(logged, group.checkpoints.base_index)
    if hole:
        _log.warning(
            "the log ends before the state does; the state is kept and checkpointed",
            group=group.group_id,
            log_ends=logged,
            state_ends=group.applied_index,
        )
        try:
            for _ in range(KEPT):
                group.checkpoints.make(group.environment)
        except OSError as error:
            raise StartupError(
                f"group {group.group_id} cannot be checkpointed: {error.strerror}", ExitCode.FAILED
            ) from error
        group.bytes_since_checkpoint = 0
    # With entries in the log, only a log that begins anew may go on behind the state's last one.
    return Recovered(group, term, begin=logged < group.applied_index and logged > 0)
