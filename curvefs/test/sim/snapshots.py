"""Snapshots of a simulated server: what copyset/snapshots.py does with tasks and files, done with events and bytes.

The order is its: what comes in is made a checkpoint, then the log is told that it begins behind it, then it takes the
state's place. A stop may come between any two.
"""

import marshal
from collections import deque

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.storage.environment import Applied
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.raft.codec import decode_configuration, encode_hard_state
from curvefs.src.raft.leader import MakeSnapshot, ReadChunk
from curvefs.src.raft.log import Base

_QUEUE_MAX = 64
_CHUNKS_MAX = 8


class SimSnapshots:
    """See the module."""

    def __init__(self, server):
        self._server = server
        self._queue = deque()
        self._busy = False
        self._made = None  # (Base, configuration, bytes)
        self._incoming = bytearray()

    def add(self, work):
        """Have work done."""
        for one in work:
            if len(self._queue) < _QUEUE_MAX:
                self._queue.append(one)
        if not self._busy and self._queue:
            self._busy = True
            self._server.later(self._server.disk_delay(), self._serve)

    def _serve(self):
        work = self._queue.popleft()
        if isinstance(work, MakeSnapshot):
            self._make(work.to)
        elif isinstance(work, ReadChunk):
            self._read(work)
        else:
            self._store(work.chunk)

    def _done(self):
        self._busy = False
        self._server.group.act()
        self.add(())

    # ------------------------------------------------------------------------------------------- sending

    def _make(self, to):
        group = self._server.group
        if self._made is None or self._made[0].index < group.raft.log.base.index:
            environment = group.environment
            applied = environment.applied
            configuration = environment.configuration_in(None)
            pairs = sorted(environment.pairs.items())
            data = marshal.dumps((applied.index, applied.term, applied.time_ns, pairs))
            self._made = (Base(applied.index, applied.term), decode_configuration(configuration), data)
            self._server.world.counters["snapshots made"] += 1
        self._server.later(self._server.disk_delay(), self._tell_made, to)

    def _tell_made(self, to):
        base, configuration, _ = self._made
        self._server.group.raft.snapshot_made(to, base, configuration)
        self._done()

    def _read(self, work):
        raft = self._server.group.raft
        made = self._made
        if made is None or made[0].index != work.index or self._server.random_disk.random() < 0.01:
            self._made = None
            raft.snapshot_gone(work.to, work.index)
        else:
            size = max(self._server.world.schedule.chunk_bytes, -(-len(made[2]) // _CHUNKS_MAX))
            data = made[2][work.offset : work.offset + size]
            raft.chunk_read(work.to, work.index, work.offset, data, last=work.offset + len(data) >= len(made[2]))
        self._done()

    # ----------------------------------------------------------------------------------------- receiving

    def _store(self, chunk):
        server = self._server
        if not server.group.raft.expects(chunk):
            self._done()
            return
        del self._incoming[chunk.offset :]
        if len(self._incoming) < chunk.offset or server.disk_full:
            self._failed(chunk)
            return
        self._incoming += chunk.data
        if chunk.last:
            self._install(chunk)
        else:
            server.later(server.disk_delay(), self._stored, chunk)

    def _stored(self, chunk):
        self._server.group.raft.chunk_stored(chunk)
        self._done()

    def _failed(self, chunk):
        self._server.group.raft.snapshot_failed(chunk)
        self._done()

    def _install(self, chunk):
        server = self._server
        if server.changing:
            server.later(server.disk_delay(), self._install, chunk)
            return
        server.changing = True
        index, term, time_ns, pairs = marshal.loads(bytes(self._incoming))
        digest = 0
        for pair in pairs:
            digest ^= hash(pair)
        copy = (Applied(index, term, time_ns), digest, dict(pairs))
        server.checkpoints.add(copy, adopted=True)
        server.later(server.disk_delay(), self._tell_log, chunk, copy)

    def _tell_log(self, chunk, copy):
        group = self._server.group
        applied = copy[0]
        state = group.raft.hard_state.at(applied.index)
        records = [
            Record(RecordType.BEGIN, group.group_id, applied.term, applied.index),
            Record(RecordType.HARD_STATE, group.group_id, state.term, 0, encode_hard_state(state)),
        ]
        self._server.log.append(records, lambda error: self._logged(chunk, copy, error))

    def _logged(self, chunk, copy, error):
        if isinstance(error, NoSpace):
            self._server.changing = False
            self._failed(chunk)
            return
        self._server.later(self._server.disk_delay(), self._replace, copy)

    def _replace(self, copy):
        server, group = self._server, self._server.group
        environment = group.environment
        environment.restore(copy)
        applied = environment.applied
        server.world.checkers.same_state(server.id, applied.index, environment.digest)
        group.bytes_since_checkpoint = 0
        group.installed(Base(applied.index, applied.term), decode_configuration(environment.configuration_in(None)))
        server.world.counters["snapshots installed"] += 1
        server.world.note("installed", server, applied.index)
        server.changing = False
        self._done()
