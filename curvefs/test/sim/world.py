"""One run: servers, network, clients and the plan of faults, from one seed.

Everything that is drawn comes from generators seeded with the schedule's seed and a name each, so that what one part
draws does not depend on how often another one does. Nothing here iterates over a set or asks for the time: the same
seed gives the same events.
"""

from collections import Counter, deque
from random import Random

from curvefs.src.raft.leader import Leader
from curvefs.src.raft.messages import (
    Append,
    AppendReply,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from curvefs.test.sim.checkers import Checkers
from curvefs.test.sim.events import Events
from curvefs.test.sim.history import History, check_generally
from curvefs.test.sim.network import Network

TRACE_KEPT = 40
RUN_S_MAX = 600.0
HEAL_S_MAX = 60.0


class World:
    """See the module. trace: called with each line of the event trace, or None."""

    def __init__(self, schedule, make_server, make_client, make_plan, trace=None):
        self.schedule = schedule
        self.events = Events()
        self.checkers = Checkers()
        self.history = History()
        self.counters = Counter()
        self.random_plan = self.random_of("plan")
        self.random_disk = self.random_of("disk")
        self.network = Network(self.events, schedule.network, self.random_of("network"), self._deliver)
        self.recent = deque(maxlen=TRACE_KEPT)
        self._trace = trace
        self._configuration = None
        self.calm = False
        self.servers = {id_: make_server(self, id_) for id_ in range(1, schedule.servers + 1)}
        self.clients = [make_client(self, number) for number in range(schedule.clients)]
        self.plan = make_plan(self)

    def random_of(self, name):
        """Return a generator of its own for something."""
        return Random(f"{name} of {self.schedule.seed}")

    # ------------------------------------------------------------------------------------------ running

    def run(self):
        """Run it all. Raises Violation, and whatever the code under test raises."""
        for server in self.servers.values():
            server.boot()
        for client in self.clients:
            client.begin()
        self.plan.begin()
        wanted = self.schedule.messages
        network = self.network
        self.events.run(RUN_S_MAX, lambda: network.delivered >= wanted)
        self.note("calm")
        self.calm = True
        self.plan.heal()
        network.calm()
        for client in self.clients:
            client.finish()
        self.events.run(self.events.now + HEAL_S_MAX, self._is_settled)
        self.plan.check_settled(self._is_settled())
        self.history.check()
        decided = check_generally(self.history)
        self.counters["histories explained by the general search" if decided else "histories too wide for it"] += 1
        self.counters["messages"] += network.delivered
        self.counters["seconds"] += int(self.events.now)

    def _is_settled(self):
        return all(client.idle for client in self.clients) and self.plan.is_settled()

    # ------------------------------------------------------------------------------------------- events

    def note(self, what, *about):
        """Put a line into the trace."""
        line = (self.events.now, what, about)
        self.recent.append(line)
        if self._trace is not None:
            self._trace(line_of(line))

    def send(self, server, messages):
        """Take a server's messages."""
        if self._trace is not None:
            for message in messages:
                self.note("send", message)
        self.network.send(messages)

    def _deliver(self, message):
        server = self.servers[message.to]
        if not server.running:
            return
        self.network.delivered += 1
        self.note("deliver", message)
        server.do(server.step, message)

    # ------------------------------------------------------------------------------------------- looking

    def look(self, server):
        """Check what is new on a server."""
        raft, checkers = server.raft, self.checkers
        state = raft._state
        log, term = state.log, state.term
        if type(raft._role) is Leader:
            if server.led_term != term:
                checkers.election_safety(term, server.id, server.incarnation)
                checkers.leader_completeness(server.id, log, term)
                server.led_term = term
                self.counters["elections"] += 1
                self.note("leads", server, term)
            else:
                checkers.leader_append_only(server.id, log, *server.led_last)
            server.led_last = (log.last_index, log.last_term)
        else:
            server.led_term = 0
        committed = log.committed
        if committed > server.seen_committed:
            before = checkers.commit_index
            checkers.committed_stays(server.id, term, log, server.seen_committed, committed)
            server.seen_committed = committed
            if checkers.commit_index > before:
                if raft.is_leader:
                    for index in range(max(before, log.base.index) + 1, committed + 1):
                        checkers.committed_is_durable(log.configuration, index, self.servers)
                        _, kind, data = checkers.committed[index]
                        if kind is EntryKind.CONFIGURATION and data != self._configuration:  # else it opens a term
                            self._configuration = data
                            self.counters["configurations committed"] += 1
                for other in self.servers.values():
                    if other.led_term > term:
                        checkers.leader_completeness(other.id, other.raft.log, other.led_term)

    def describe(self):
        """Return what everybody is at."""
        return f"clients {[client.idle for client in self.clients]}; " + "; ".join(
            f"{one} {one.raft.role} term {one.raft.term} leader {one.raft.leader} last {one.raft.log.last_index} "
            f"committed {one.raft.log.committed} applied {one.applied_index} {one.raft.log.configuration}"
            if one.running
            else f"{one} down"
            for one in self.servers.values()
        )

    def leader(self):
        """Return the server that leads in the highest term, or None."""
        leaders = [server for server in self.servers.values() if server.running and server.raft.is_leader]
        return max(leaders, key=lambda server: server.raft.term, default=None)


def line_of(event):
    """Return an event of the trace as text."""
    now, what, about = event
    return f"{now:11.6f} {what} " + " ".join(_text(one) for one in about)


def _text(value):
    match value:
        case Append():
            entries = " ".join(f"{entry.index}:{entry.term}" for entry in value.entries)
            behind = f"{value.previous_index}:{value.previous_term}"
            return f"{_way(value)} Append behind {behind} [{entries}] committed {value.committed}"
        case SnapshotChunk():
            return f"{_way(value)} SnapshotChunk of {value.index} at {value.offset} last={value.last}"
        case Vote() | VoteReply() | AppendReply() | Heartbeat() | HeartbeatReply() | SnapshotReply() | TimeoutNow():
            fields = (name for name in value.__slots__ if name not in {"source", "to", "term"})
            said = " ".join(f"{name}={getattr(value, name)}" for name in fields)
            return f"{_way(value)} {type(value).__name__} {said}"
        case _:
            return str(value)


def _way(message):
    return f"{message.source}->{message.to} term {message.term}"
