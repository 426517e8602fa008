"""A follower: takes what the leader of its term sends (section 5.3), and its snapshots (section 7).

Snapshots come in chunks, one after the other; the shell stores each and installs the whole. While one is being
installed the log is left alone.

While nothing can be written, because the disk is full, entries are taken into memory up to a bound; what comes then is
dropped, as if lost on its way. The leader probes at each heartbeat, and goes on when what was taken is acknowledged.
"""

from typing import NamedTuple

from .configuration import Configuration
from .log import Base
from .messages import Append, AppendReply, Entry, Heartbeat, HeartbeatReply, SnapshotChunk, SnapshotReply
from .progress import WINDOW_BYTES
from .state import State

# A leader sends a window, and then a message with each heartbeat: it must not be reached by a disk that is only slow.
UNWRITTEN_BYTES_MAX = 2 * WINDOW_BYTES


class StoreChunk(NamedTuple):
    """Work for the shell: store a chunk; with the last, install the snapshot. Then chunk_stored(), or installed().

    Only if expects() says so then: the work may have waited longer than what it is for.
    """

    chunk: SnapshotChunk


class Follower:
    """Also a server that knows no leader yet."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._receiving: SnapshotChunk | None = None  # a chunk of the snapshot that is coming in
        self._offset = 0  # its bytes stored
        self._storing = False
        self.quiet = False
        self.work: list[StoreChunk] = []

    @property
    def is_installing(self) -> bool:
        """True while the last chunk is with the shell."""
        return self._storing and self._receiving is not None and self._receiving.last

    def on_append(self, message: Append) -> None:
        """Take entries, or say where the logs may agree."""
        self.quiet = False
        if self.is_installing:
            return
        state, log = self._state, self._state.log
        if message.previous_index < log.committed:
            # Committed entries agree with every later leader's: no need to look.
            self._accept(message, log.committed)
        elif log.term_of(message.previous_index) == message.previous_term:
            self._accept(message, message.previous_index)
        else:
            hint_index, hint_term = log.agreement(message.previous_index, message.previous_term)
            state.send(
                AppendReply(
                    state.id,
                    message.source,
                    state.term,
                    message.previous_index,
                    message.token,
                    rejected=True,
                    hint_index=hint_index,
                    hint_term=hint_term,
                )
            )

    def _accept(self, message: Append, agreed: int) -> None:
        state, log = self._state, self._state.log
        entries = [entry for entry in message.entries if entry.index > agreed]
        if log.unwritten_bytes > UNWRITTEN_BYTES_MAX and self._only_lengthen(entries):
            return
        log.accept(entries)
        last = max(agreed, message.previous_index + len(message.entries))
        log.commit(min(message.committed, last))
        state.remember()
        state.send_when_durable(AppendReply(state.id, message.source, state.term, last, message.token))

    def _only_lengthen(self, entries: list[Entry]) -> bool:
        """Say whether entries make the log longer, and take the place of none: that would make it shorter first."""
        log = self._state.log
        if not entries or entries[-1].index <= log.last_index:
            return False
        return all(log.term_of(entry.index) in (None, entry.term) for entry in entries)

    def on_heartbeat(self, message: Heartbeat) -> None:
        """Note the commit index and answer."""
        state, log = self._state, self._state.log
        if not self.is_installing:
            log.commit(message.committed)
            state.remember()
        self.quiet = message.quiet and state.may_vote and log.last_index == log.committed == message.committed
        joining = not state.may_vote
        reply = HeartbeatReply(state.id, message.source, state.term, message.round, self.quiet, joining)
        if state.is_term_durable:
            state.send(reply)
        else:
            state.send_when_durable(reply)  # a server that restarts without a term has promised nothing (rule 20)

    # ----------------------------------------------------------------------------------------- snapshots

    def on_chunk(self, message: SnapshotChunk) -> None:
        """Have the next chunk stored; say how much is there when it is another one."""
        self.quiet = False
        state = self._state
        if state.log.term_of(message.index) == message.snapshot_term:
            state.log.commit(message.index)  # it has all of it
        if message.index <= state.log.committed:
            state.send_when_durable(
                AppendReply(state.id, message.source, state.term, state.log.committed, message.token)
            )
            return
        if self._storing:
            return  # it is answered when it is stored
        if not self._is_of_the_same(message):
            self._receiving, self._offset = message, 0
        if message.offset != self._offset:
            self._say_offset(message)
            return
        self._receiving = message
        self._storing = True
        self.work.append(StoreChunk(message))

    def expects(self, chunk: SnapshotChunk) -> bool:
        """Say whether the shell is to store this very chunk now: one of an earlier snapshot counts for nothing."""
        return self._storing and self._receiving is chunk

    def chunk_stored(self, chunk: SnapshotChunk) -> None:
        """The chunk is stored (and it was not the last)."""
        if self.expects(chunk):
            self._storing = False
            self._offset += len(chunk.data)
            self._say_offset(chunk)

    def installed(self, base: Base, configuration: Configuration) -> None:
        """The snapshot has replaced the state, durably, and the log begins behind it."""
        assert self.is_installing, "the shell has asked whether it is expected"
        message = self._receiving
        self.forget_snapshot()
        assert base.index > self._state.log.committed, "nothing is committed while a snapshot is being installed"
        self._state.log.reset(base, configuration)
        if message is not None and message.term == self._state.term:
            state = self._state
            state.send_when_durable(AppendReply(state.id, message.source, state.term, base.index, message.token))

    def snapshot_failed(self, chunk: SnapshotChunk) -> None:
        """The snapshot that the chunk belongs to cannot be used: it was damaged on its way, or there is no room."""
        if self.expects(chunk):
            self.forget_snapshot()
            state = self._state
            state.send(SnapshotReply(state.id, chunk.source, state.term, chunk.index, 0, rejected=True))

    def forget_snapshot(self) -> None:
        """Nothing is coming in."""
        self._receiving = None
        self._offset = 0
        self._storing = False

    def _is_of_the_same(self, message: SnapshotChunk) -> bool:
        current = self._receiving
        return current is not None and (current.source, current.term, current.index) == (
            message.source,
            message.term,
            message.index,
        )

    def _say_offset(self, message: SnapshotChunk) -> None:
        state = self._state
        state.send(SnapshotReply(state.id, message.source, state.term, message.index, self._offset))
