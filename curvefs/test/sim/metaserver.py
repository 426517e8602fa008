"""A simulated metaserver with a replica of one group: the group, its recovery and its log are the real ones.

Mirrored here, because the real ones are tasks on an event loop: the ticks of copyset/manager.py, the rounds of
copyset/checkpointing.py, and the reads and batches of session_stream.py.
"""

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.status import failure_of
from curvefs.src.metaserver.copyset import awaiting, folders, recovery
from curvefs.src.metaserver.copyset import group as group_module
from curvefs.src.metaserver.copyset.group import Group, Tools
from curvefs.src.metaserver.metastore import reads
from curvefs.src.metaserver.storage.checkpoint import KEPT
from curvefs.src.metaserver.wal import recovery as wal
from curvefs.src.metaserver.wal.format import RecordType
from curvefs.src.metaserver.wal.segments import LogSettings, SegmentFiles
from curvefs.src.raft import follower
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.core import Raft
from curvefs.src.raft.log import Base
from curvefs.src.raft.messages import HardState
from curvefs.test.sim.checkers import Violation
from curvefs.test.sim.disk import Crashed, SimDisk
from curvefs.test.sim.log import ProcessEnds, SimLog
from curvefs.test.sim.server import Server
from curvefs.test.sim.snapshots import SimSnapshots
from curvefs.test.sim.state import MemoryCheckpoints, MemoryEnvironment

GROUP, FS = 7, 1
_RESERVE_BYTES = 4096
_WAITING_BYTES_MAX = 1000  # some ten entries
_ROUND_S = 1.0
_ENDS_PAUSE_S = 0.3
_STOPS_AT_START = 0.03


def _fatal(reason):
    raise AssertionError(reason)


class NoMetrics:
    """Counts nothing."""

    def taken(self, operations):
        pass

    def applied(self, seconds):
        pass


class SimMetaserver(Server):
    """See the module. It is also what its group calls Outside."""

    def __init__(self, world, id_):
        super().__init__(world, id_)
        schedule = world.schedule
        self.random_disk = world.random_of(f"disk {id_}")
        self._jitter = world.random_of(f"jitter {id_}").random
        self.disk = SimDisk(self.random_disk, name=f"s{id_}")
        self.disk_slow_s = 0.0
        self.disk_full = False
        self.end_at_write = None  # called in the middle of the next write
        self.environment = None
        self.checkpoints = MemoryCheckpoints()
        self.first = Configuration(tuple(range(1, schedule.voters + 1)) if id_ <= schedule.voters else ())
        self.group = self.log = self.snapshots = None
        self.changing = False
        self._last_written = self._last_before = 0
        self._heard = {}  # of each peer: (incarnation, when it was last reachable)
        group_module.LOG_ENTRIES_SOFT, group_module.LOG_ENTRIES_HARD = schedule.log_keep * 2, schedule.log_max
        group_module.WAITING_BYTES_MAX = follower.UNWRITTEN_BYTES_MAX = _WAITING_BYTES_MAX
        group_module._APPLY_ENTRIES_MAX = schedule.apply_max
        recovery._KEPT_ENTRIES = schedule.log_keep

        self._note_disk(0, ())
        self._make(0)

    def _make(self, term):
        """See CopysetManager.create()."""
        settings = LogSettings(self.world.schedule.segment_bytes, _RESERVE_BYTES)
        files = SegmentFiles(
            self.disk, wal.recover(self.disk), settings, salt=lambda: self.random_disk.getrandbits(64), fatal=_fatal
        )
        hard_state = HardState(term, joining=not self.first.members)
        files.append(folders.beginning(GROUP, Base(), hard_state))
        files.close()

    def make_anew(self, term):
        """Throw the replica away, and make an empty one in its place; perhaps on another disk. term: the leader's."""
        self.disk_recovers()
        if self.random_disk.random() < 0.5:
            self.disk = SimDisk(self.random_disk, name=f"s{self.id}")
        self.environment = None
        self.checkpoints = MemoryCheckpoints()
        self.first = Configuration()
        self._note_disk(0, ())
        self._make(term)

    # -------------------------------------------------------------------------------------------- disk

    def disk_delay(self):
        """Return how long the disk takes now."""
        disk, rand = self.world.schedule.disk, self.random_disk.random
        delay = disk.write_s * rand() + self.disk_slow_s
        if disk.slow and rand() < disk.slow:
            delay += disk.slow_s * rand()
        return delay

    def _disk_used(self):
        return sum(self.disk.size(name) for name in self.disk.names())

    def fill_disk(self):
        """No room is left; or so little that a write is cut short."""
        self.disk_full = True
        self.disk.capacity_bytes = self._disk_used() + self.random_disk.choice((0, _RESERVE_BYTES + 40))
        if self.environment is not None:
            self.environment.full = self.random_disk.random() < 0.5

    def disk_recovers(self):
        self.disk_slow_s = 0.0
        self.disk_full = False
        self.disk.capacity_bytes = 1 << 40
        if self.environment is not None:
            self.environment.full = False

    def fail_sync(self):
        """The next sync fails."""
        self.disk.fail_next("sync")

    # --------------------------------------------------------------------------------- life and death

    def start(self):
        try:
            found, start, outline = self._recover()
        except (StartupError, CurveFSError) as error:
            raise Violation("recovery", f"{self} cannot start: {error}") from error
        except Crashed:
            self._machine_stops()
            self.start()
            return
        world = self.world
        environment = found.environment
        self.log = SimLog(self, outline, LogSettings(world.schedule.segment_bytes, _RESERVE_BYTES))
        if found.begins_anew:  # see GroupFolders._finish(), and CopysetManager._begin()
            world.counters["logs begun anew"] += 1
            for _ in range(KEPT):
                self.checkpoints.make(environment, adopted=True)
                if self.random_disk.random() < _STOPS_AT_START:
                    self._machine_stops()
                    self.start()
                    return
            found.bytes_since_checkpoint = 0
            self.log.files.append(folders.beginning(GROUP, start.base, start.hard_state))
        now = self.clock.boottime_s
        self.snapshots = SimSnapshots(self)
        self.changing = False
        raft = self.raft = Raft(self.id, world.schedule.raft, start, now=now(), jitter=self._jitter)
        compact = raft.compact

        def look_and_compact(index):
            world.look(self)  # what is compacted cannot be looked at any more
            compact(index)

        raft.compact = look_and_compact
        self.group = Group(GROUP, raft, environment, self.checkpoints, Tools(self.clock, NoMetrics(), self))
        self.group.bytes_since_checkpoint = found.bytes_since_checkpoint
        self._heard = {}
        self._last_written = raft.log.last_index
        self._note_disk(start.base.index, start.entries)
        self.group.act()
        self.later(_ROUND_S * self.random_disk.random(), self._checkpoint_where_due)

    def _recover(self):
        """Find what is there. Raises Crashed when the machine stops in the middle of it."""
        if self.random_disk.random() < _STOPS_AT_START:
            self.disk.crash_in = self.random_disk.choice((1, 2, 3))
        before = self._disk_used()
        outline = wal.recover(self.disk)
        self.disk.crash_in = None
        if self._disk_used() < before:
            self.world.counters["torn tails cut"] += 1
        environment = self._open_environment()
        found = recovery.Recovering(GROUP, self.id, environment, self.checkpoints, self.first)
        recovery.replay({GROUP: found}, outline)
        if found.damage is not None:
            raise found.damage
        return found, found.finish(), outline

    def _machine_stops(self):
        """The machine stops during the start, and starts again."""
        self.world.counters["stops during a start"] += 1
        self.disk.crash()
        self.environment = None
        self.clock.reboot()

    def stop(self, *, machine):
        self.end_at_write = None
        self.log.stop()
        if machine:
            self.disk.crash()
            self.environment = None
        else:
            self.disk.kill()
        self.group = self.log = self.snapshots = None

    def do(self, action, *args):
        try:
            super().do(action, *args)
        except ProcessEnds as end:
            self.world.note("ends", self, end)
            self.world.counters["processes that ended themselves"] += 1
            self.die(machine=False)
            self.world.events.after(_ENDS_PAUSE_S, self.world.plan.start, self)

    def _open_environment(self):
        environment = self.environment
        if environment is None:
            environment = self.environment = MemoryEnvironment()
            newest = self.checkpoints.newest_good()
            if newest is not None:
                environment.restore(newest.path)
        environment.on_applied = self._note_applied
        return environment

    def _note_applied(self, applied, digest):
        if self.raft is not None:
            self.world.look(self)
        self.world.checkers.applied(self.id, applied.index, applied.term, digest)

    @property
    def applied_index(self):
        return self.environment.applied.index

    def state(self):
        """Return all of its state."""
        return self.environment.applied, dict(self.environment.pairs)

    # ----------------------------------------------------------------------------------------- the log

    def writes(self):
        """The log gave the disk something to do."""
        if self.end_at_write is not None:
            end, self.end_at_write = self.end_at_write, None
            self.later(self.disk_delay() / 2, end)

    def wrote(self, records):
        """Records are about to be written."""
        entries = [record for record in records if record.type is RecordType.ENTRY]
        if entries:
            log = self.raft.log
            self.world.checkers.log_matching(self.id, log.term_of(entries[0].index - 1), entries)
            if entries[0].index <= self._last_written:
                self.world.counters["truncations"] += 1
            self._last_written = entries[-1].index

    def synced(self, records):
        """Records are durable, so the log says."""
        for record in records:
            if record.type is RecordType.ENTRY:
                for index in range(record.index + 1, self._disk_last + 1):
                    del self._on_disk[index]
                self._on_disk[record.index] = record.term
                self._disk_last = record.index
            elif record.type is RecordType.BEGIN:
                self._note_disk(record.index, ())

    def _note_disk(self, base_index, entries):
        """Everything up to an index is in the state; entries follow."""
        self._on_disk = {entry.index: entry.term for entry in entries}
        self._disk_base, self._disk_last = base_index, base_index + len(entries)

    def has_on_disk(self, index, term):
        """Say whether an entry is durable here, in the log or in the state."""
        return index <= self._disk_base or self._on_disk.get(index) == term

    def before_refused(self):
        self._last_before = self.raft.log.last_index
        self.world.counters["writes refused"] += 1

    def after_refused(self):
        log = self.raft.log
        if log.last_index < self._last_before:
            self.world.checkers.dropped(self.id, self.raft.term, log.last_index)
            self.led_last = (log.last_index, log.last_term)
            self.world.counters["entries dropped"] += 1

    # ------------------------------------------------------------------------------------------ driving

    def step(self, message):
        self.group.step(message)
        self.group.act()

    def tick(self):
        """See CopysetManager.tick()."""
        group = self.group
        if group.broken is not None:
            raise Violation("broken", f"{self}: {group.broken}")
        leader = group.raft.leader
        peer = self.world.servers.get(leader)
        # A process that is killed closes its connections; of a machine that is gone nobody hears for a while.
        if peer is not None and peer is not self and not peer.running and peer.environment is not None:
            group.suspect_leader()
        if not group.needs_ticks:
            if leader == self.id or self._is_the_same(leader):
                return
            group.wake()
        group.tick()

    def _is_the_same(self, leader):
        """See CopysetManager._is_the_same()."""
        now = self.clock.boottime_s()
        peer = self.world.servers.get(leader)
        if peer is None:
            return False
        known, heard_at = self._heard.get(leader, (peer.incarnation, now))
        if peer.running and not peer.paused and (leader, self.id) not in self.world.network.cut:
            heard_at = now
        self._heard[leader] = (peer.incarnation, heard_at)
        return known == peer.incarnation and now - heard_at < self.world.schedule.raft.election_timeout_s

    def campaign(self):
        self.group.campaign()

    def transfer(self, to):
        self.raft.transfer(to, self.clock.boottime_s())
        self.group.act()

    def change(self, voters, learners):
        self.raft.change(voters, learners, (), self.clock.boottime_s())
        self.group.act()

    # ------------------------------------------------------------------------------------- checkpoints

    def _checkpoint_where_due(self):
        self.later(_ROUND_S, self._checkpoint_where_due)
        group = self.group
        if self.changing or self.disk_full or group.bytes_since_checkpoint <= self.world.schedule.checkpoint_bytes:
            return
        self.changing = True
        self.later(self.disk_delay(), self._checkpointed, group.environment.copy(), group.bytes_since_checkpoint)

    def _checkpointed(self, copy, before):
        self.changing = False
        self.checkpoints.add(copy)
        self.group.bytes_since_checkpoint -= before
        self.world.counters["checkpoints"] += 1
        self.log.trim({GROUP: self.checkpoints.base_index})

    # --------------------------------------------------------------------------- what groups need: Outside

    def announce(self, group):
        self.log.ready(group)

    def send(self, _group_id, messages):
        self.world.send(self, messages)

    def address_of(self, metaserver_id):
        return str(metaserver_id)

    def snapshot_work(self, _group, work):
        self.snapshots.add(work)

    def go_on_soon(self, group):
        self.later(0.0001, group.act)

    # ------------------------------------------------------------------------------------------ clients

    def propose(self, entry, reply):
        """Propose an entry that is no client's batch."""
        try:
            self.group.propose(entry, reply)
        except CurveFSError as error:
            reply(error)

    def propose_batch(self, batch, reply):
        """Take a batch; ``reply`` is called with OperationResults, as SessionStream would send them."""
        first = batch.first_sequence

        def refuse(error):
            reply(
                pb.OperationResults(group_id=GROUP, failure=failure_of(error), first_sequence=first, not_appended=True)
            )

        def complete(outcome):
            if isinstance(outcome, CurveFSError):
                refuse(outcome)
            elif outcome.results is not None:
                reply(outcome.results)
            else:
                reply(pb.OperationResults(group_id=GROUP, first_sequence=first, failure=outcome.failure))

        try:
            self.group.propose_batch(batch, complete)
        except CurveFSError as error:
            refuse(error)

    def read(self, request, reply):
        """Answer a read: at once under the lease, else when it is confirmed. ``reply``: (result or error, index)."""

        def look(view):
            answer = reads.read(view, FS, request), self.applied_index
            # The process may stand still at any point; the answer must not go out when the lease is over by then.
            if self.random_disk.random() < self.world.schedule.read_pauses:
                self.clock.ahead_s = 2.0 * self.random_disk.random()
            return answer

        asked = awaiting.read(self.group, look, 5.0)
        try:
            asked.send(None)
        except StopIteration as done:
            self._after_pause(self._reply_read, reply, done.value, "lease reads")
        except CurveFSError as error:
            reply(error, 0)
        except RuntimeError as error:  # it would wait on an event loop: the lease does not hold
            assert "event loop" in str(error)
            self._after_pause(self._confirm, request, reply)
        finally:
            self.clock.ahead_s = 0.0

    def _after_pause(self, action, *args):
        ahead_s = self.clock.ahead_s
        if ahead_s:
            self.pause()
            self.world.events.after(ahead_s, self.resume)
        self.do(action, *args)

    def _reply_read(self, reply, answer, how):
        self.world.counters[how] += 1
        reply(*answer)

    def _confirm(self, request, reply):
        def confirmed(error):
            if error is not None:
                reply(error, 0)
                return
            with self.group.view() as view:
                answer = reads.read(view, FS, request), self.applied_index
            self._reply_read(reply, answer, "ReadIndex reads")

        try:
            self.group.confirm_read(confirmed)
        except CurveFSError as error:
            reply(error, 0)
        else:
            self.group.act()
