"""Random schedules over a few servers: the invariants hold at every moment, and in quiet weather the group works again.

Small on purpose: hypothesis makes short schedules shorter. The long ones are the simulator's (curvefs/test/sim).
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from curvefs.src.common.errors import CurveFSError
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.messages import EntryKind
from curvefs.src.raft.state import Settings

from .invariants import Invariants
from .servers import Disk, Network, Server

VOTERS = (1, 2, 3)
IDS = st.sampled_from(VOTERS)
STEP_S = 0.05


class Schedule(RuleBasedStateMachine):
    """acknowledged: the highest index that a leader applied, and so may have told a client of."""

    @initialize(append_bytes_max=st.sampled_from([1, 1 << 20]), quiet_after_s=st.sampled_from([0, 0.2]))
    def begin(self, append_bytes_max, quiet_after_s):
        self.now = 0.0
        self.network = Network()
        self.figure_3 = Invariants()
        self.acknowledged = 0
        self.reads = {}
        self.asked = 0
        given = Settings(append_bytes_max=append_bytes_max, quiet_after_s=quiet_after_s, chunk_timeout_s=1)
        self.servers = {n: Server(n, given, Disk(Configuration(VOTERS)), n / 10, self.now) for n in VOTERS}
        self.servers[1].raft.campaign(self.now)
        self.run(0.2)

    # ---------------------------------------------------------------------------------------------- rules

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.2, 3]))
    def run(self, seconds):
        for _ in range(round(seconds / STEP_S)):
            self.tick(1)
            for _ in range(3):
                self.deliver(0, 1000)

    @rule(steps=st.integers(1, 30))
    def tick(self, steps):
        for _ in range(steps):
            self.now = round(self.now + STEP_S, 6)
            for server in self.up():
                server.raft.tick(self.now)
            self.pump()

    @rule(first=st.integers(0, 5), count=st.integers(1, 5))
    def deliver(self, first, count):
        for message in self.network.messages[first : first + count]:
            self.network.remove(message)
            if self.servers[message.to].is_up:
                self.servers[message.to].raft.step(message, self.now)
                self.pump()

    @rule(n=IDS)
    def lose(self, n):
        self.network.take(lambda one: one.to == n)

    @rule(n=IDS)
    def duplicate(self, n):
        if len(self.network.messages) < 50:
            self.network.duplicate(lambda one: one.to == n)

    @rule(n=IDS, other=IDS)
    def cut(self, n, other):
        self.network.cut([(n, at) for at in (other if other != n else 1, 2, 3)] + [(other, n)])

    @rule()
    def heal(self):
        self.network.heal()

    @rule(n=IDS)
    def crash(self, n):
        self.servers[n].crash()
        self.reads = {read: asked for read, asked in self.reads.items() if asked[0] != n}

    @rule()
    def restart(self):
        for server in self.servers.values():
            if not server.is_up:
                server.start(self.now)
        self.pump()

    @rule(n=IDS, fast=st.booleans())
    def disk(self, n, fast):
        server = self.servers[n]
        server.writes_at_once = fast
        if server.is_up and server.writing is not None and fast:
            server.written(self.now)
        elif server.is_up:
            server.write()
        self.pump()

    @rule(n=IDS, refused=st.booleans())
    def finish_write(self, n, refused):
        server = self.servers[n]
        if server.is_up and server.writing is not None:
            if refused:
                server.refused()
            else:
                server.written(self.now)
            self.pump()

    @rule(n=IDS, count=st.integers(1, 3))
    def propose(self, n, count):
        self.ask(n, lambda raft: raft.propose([b"x"] * count, self.now))

    @rule(n=IDS)
    def read(self, n):
        self.asked += 1
        before = self.acknowledged
        if self.ask(n, lambda raft: raft.ask_read(self.asked, self.now), pump=False):
            self.reads[self.asked] = (n, before)
        self.pump()

    @rule(n=IDS, voters=st.lists(IDS, unique=True, min_size=1), learners=st.lists(IDS, unique=True))
    def change(self, n, voters, learners):
        self.ask(n, lambda raft: raft.change(voters, [one for one in learners if one not in voters], (), self.now))

    @rule(n=IDS, to=IDS)
    def transfer(self, n, to):
        self.ask(n, lambda raft: raft.transfer(to, self.now))

    @rule(n=IDS)
    def campaign(self, n):
        self.ask(n, lambda raft: raft.campaign(self.now))

    @rule(n=IDS)
    def wake(self, n):
        self.ask(n, lambda raft: raft.wake(self.now))

    @precondition(lambda self: self.acknowledged > 2)
    @rule(n=IDS)
    def compact(self, n):
        server = self.servers[n]
        if server.is_up and server.raft.log.applied > server.raft.log.base.index:
            server.compact(server.raft.log.applied)

    # ----------------------------------------------------------------------------------------- invariants

    @invariant()
    def a_lease_sees_all_that_was_acknowledged(self):
        for server in self.up():
            if server.raft.holds_lease(self.now):
                assert server.raft.log.applied >= self.acknowledged, f"{server.id} would answer from the past"

    def teardown(self):
        """In quiet weather the group works again."""
        if not hasattr(self, "servers"):
            return
        self.heal()
        self.restart()
        for n in VOTERS:
            self.disk(n, fast=True)
        self.run(8)
        leaders = [server for server in self.up() if server.raft.is_leader]
        assert leaders, "somebody leads"
        leader = max(leaders, key=lambda server: server.raft.term)
        index = leader.raft.propose([b"last"], self.now)
        self.run(8)
        for member in leader.raft.log.configuration.members:
            assert self.servers[member].raft.log.applied >= index, f"{member} has everything"

    # ------------------------------------------------------------------------------------------ internals

    def up(self):
        return [server for server in self.servers.values() if server.is_up]

    def ask(self, n, what, *, pump=True):
        """Ask a server; says whether it agreed."""
        server = self.servers[n]
        if not server.is_up:
            return False
        try:
            what(server.raft)
        except CurveFSError:
            return False
        if pump:
            self.pump()
        return True

    def pump(self):
        for server in self.up():
            happened = server.pump(self.now)
            self.figure_3.applied(server, happened.applied)
            for message in happened.sent:
                self.figure_3.said(server, message)
                self.network.send(message)
            for read, index in happened.reads:
                assert index >= self.reads.pop(read)[1], "a read sees all that was acknowledged before it was asked"
            mine = [entry.index for entry in happened.applied if entry.kind is EntryKind.NORMAL]
            if server.raft.is_leader:
                self.acknowledged = max([self.acknowledged, *mine])
        self.figure_3.look(self.servers.values(), self.now)


Schedule.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSchedules = Schedule.TestCase
