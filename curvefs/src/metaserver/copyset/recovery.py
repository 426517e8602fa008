"""A group after a restart: from its environment, else its newest good checkpoint, and the log behind it. Blocks.

The environment is used when the machine has not stopped since, or it was closed cleanly; otherwise it is gone already
(storage/environment.py) and the newest good checkpoint takes its place, or the empty state. Then the log's entries are
applied as far as they are known to be committed; what is behind stays for raft to decide. The last ones applied are
kept in memory too, for followers that lag. What cannot be applied, for want of room or by a bug, is left to the group,
which meets it again while it runs: it waits, or is stopped, alone.

A log that does not reach back to the state, or that ends before it, is damage: what this replica promised its peers may
be lost, so it serves nothing until it is rebuilt from them. A replica that is alone in its group has promised nobody
anything: what its state has was acknowledged, so it goes on with that.
"""

from collections import deque
from dataclasses import dataclass, field

import structlog

from ...common.errors import CorruptData, NoSpace
from ...raft.codec import decode_configuration, decode_hard_state
from ...raft.configuration import Configuration
from ...raft.core import Start
from ...raft.log import Base
from ...raft.messages import Entry, HardState
from ..storage.checkpoint import Checkpoints
from ..storage.environment import Applied, Environment
from ..wal import recovery as wal
from ..wal.format import Record, RecordType
from .applying import apply_entries, entry_of

_log = structlog.get_logger()

_APPLY_ENTRIES = 512
_APPLY_BYTES = 8 << 20
# Of what is applied already, so much is kept in memory.
_KEPT_BYTES = 2 << 20
_KEPT_ENTRIES = 2048


@dataclass(slots=True)
class Recovering:
    """A group that is being recovered. me: this metaserver. first: the configuration before any entry.

    damage: why it cannot be recovered.
    """

    group_id: int
    me: int
    environment: Environment
    checkpoints: Checkpoints
    first: Configuration
    damage: CorruptData | None = None
    bytes_since_checkpoint: int = 0
    hard_state: HardState = field(default_factory=HardState)
    base: Base = field(default_factory=Base)  # before the first of entries
    entries: deque[Entry] = field(default_factory=deque)
    begins_anew: bool = False  # the log must be told so
    _stands_still: bool = False  # nothing more is applied here
    _seen: bool = False  # a group that was made has something in the log
    _size_bytes: int = 0

    @property
    def _last_index(self) -> int:
        return self.base.index + len(self.entries)

    def take(self, record: Record) -> None:
        """Take the next record of the log. Raises CorruptData."""
        if not self._seen and not self.first.members:
            self.hard_state = HardState(joining=True)  # until the log says that it has caught up
        self._seen = True
        match record.type:
            case RecordType.BEGIN:
                self._begin(Base(record.index, record.term))
            case RecordType.HARD_STATE:
                self.hard_state = decode_hard_state(record.payload)
                self._apply(self.hard_state.committed)
            case RecordType.ENTRY:
                self._append(entry_of(record))

    def finish(self) -> Start:
        """Return what raft goes on with. Raises CorruptData."""
        applied = self.environment.applied
        if not self._seen and not applied.index:
            raise self._damaged("it has neither a log nor a state")
        self._apply(self.hard_state.committed)
        applied = self.environment.applied
        if self._last_index < applied.index or self._term_of(applied.index) != applied.term:
            self._ends_early(applied)
        term = max(self.hard_state.term, applied.term, self.entries[-1].term if self.entries else 0)
        vote = self.hard_state.vote if term == self.hard_state.term else 0
        joining = self.hard_state.joining
        hard_state = HardState(term, vote, max(self.hard_state.committed, applied.index), joining)
        return Start(hard_state, self.base, applied.index, self._configuration(), tuple(self.entries))

    def _begin(self, base: Base) -> None:
        """The log begins behind ``base``: it was trimmed, or a snapshot was installed."""
        self._reset(base)
        if base.index <= self.environment.applied.index:
            return
        # A snapshot becomes a checkpoint first; perhaps the process ended before it took the state's place.
        newest = self.checkpoints.newest_good()
        if newest is None or newest.index < base.index:
            raise self._damaged(f"its log begins behind entry {base.index}, and no checkpoint reaches so far")
        self.environment.restore(newest.path)
        self._stands_still = False

    def _reset(self, base: Base) -> None:
        self.entries.clear()
        self._size_bytes = 0
        self.base = base

    def _append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._size_bytes += len(entry.data)
        if entry.index > self.checkpoints.newest_index:
            self.bytes_since_checkpoint += len(entry.data)

    def _apply(self, committed: int) -> None:
        """Apply what is known to be committed, and forget what is not needed any more."""
        if self._stands_still:
            return
        try:
            self._bring_up(committed)
        except NoSpace as error:
            self._stands_still = True
            _log.error("applying waits for room", group=self.group_id, reason=str(error))
        except CorruptData:
            raise
        except Exception:  # noqa: BLE001  # a bug, contained
            self._stands_still = True
            _log.exception("an entry cannot be applied", group=self.group_id)
        # The state may be further than what was read of the log so far.
        applied = min(self.environment.applied.index, self._last_index)
        while applied - self.base.index > _KEPT_ENTRIES or (
            applied > self.base.index and self._size_bytes > _KEPT_BYTES
        ):
            gone = self.entries.popleft()
            self._size_bytes -= len(gone.data)
            self.base = Base(gone.index, gone.term)

    def _bring_up(self, committed: int) -> None:
        """Apply what is known to be committed. Raises NoSpace."""
        todo: list[Entry] = []
        size = 0
        first = max(self.environment.applied.index, self.base.index) + 1
        for index in range(first, min(committed, self._last_index) + 1):
            entry = self.entries[index - self.base.index - 1]
            todo.append(entry)
            size += len(entry.data)
            if len(todo) >= _APPLY_ENTRIES or size >= _APPLY_BYTES:
                apply_entries(self.environment, todo)
                todo, size = [], 0
        if todo:
            apply_entries(self.environment, todo)

    def _term_of(self, index: int) -> int | None:
        if index == self.base.index:
            return self.base.term
        return self.entries[index - self.base.index - 1].term if index > self.base.index else None

    def _ends_early(self, applied: Applied) -> None:
        newest = self.checkpoints.newest_good()
        if newest is not None and newest.adopted and newest.index == applied.index:
            # The process stopped after a snapshot had become the durable base, and before the log was told.
            self._reset(Base(applied.index, applied.term))
            self.begins_anew = True
            return
        if self._configuration().members != (self.me,):
            raise self._damaged(f"its log ends with entry {self._last_index}, its state with {applied.index}")
        _log.warning(
            "the log ends before the state does; the state is kept and checkpointed",
            group=self.group_id,
            log_ends=self._last_index,
            state_ends=applied.index,
        )
        self._reset(Base(applied.index, applied.term))
        self.begins_anew = True

    def _damaged(self, why: str) -> CorruptData:
        return CorruptData(f"the replica of group {self.group_id} is damaged: {why}; it must be rebuilt from its peers")

    def _configuration(self) -> Configuration:
        with self.environment.read() as view:
            said = self.environment.configuration_in(view)
        return decode_configuration(said) if said else self.first


def replay(groups: dict[int, Recovering], outline: wal.Outline) -> None:
    """Bring every group up to the end of the log."""
    for record in wal.replay(outline):
        group = groups.get(record.group_id)
        if group is None or group.damage is not None:
            continue  # a group that is not known was removed
        try:
            group.take(record)
        except CorruptData as error:
            group.damage = error
