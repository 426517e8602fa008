"""The plan of a run: which faults happen when, and what the operator asks for. Drawn as it goes, from the seed."""

from curvefs.src.common.errors import CurveFSError
from curvefs.src.metaserver.copyset import membership
from curvefs.test.sim.checkers import Violation

_CHANGE_STEP_S, _CHANGE_S_MAX = 0.2, 15.0


class Plan:
    """See the module."""

    def __init__(self, world):
        self._world = world
        self._random = world.random_plan
        self._actions = [name for name, _ in world.schedule.actions]
        self._target = None  # the members that are to be: (voters, learners)
        self._weights = [weight for _, weight in world.schedule.actions]

    def begin(self):
        """Begin with the first fault."""
        self._world.events.after(2.0 * self._random.random(), self._next)

    def _next(self):
        world = self._world
        if world.calm:
            return
        world.events.after(self._random.expovariate(1 / world.schedule.pause_s), self._next)
        (name,) = self._random.choices(self._actions, self._weights)
        done = getattr(self, "_" + name)()
        if done:
            world.counters[name] += 1
            world.note("fault", name, done)

    def heal(self):
        """No more faults."""
        for server in self._world.servers.values():
            server.disk_recovers()
            server.end_at_write = None
            server.resume()
            if server.running:
                server.raft.may_lead = True
            else:
                self.start(server)

    # ------------------------------------------------------------------------------------------ choosing

    @property
    def _lasts_s(self):
        return 0.05 + self._world.schedule.lasts_s * self._random.random()

    def _running(self):
        return [server for server in self._world.servers.values() if server.running and not server.paused]

    def _one(self):
        running = self._running()
        return self._random.choice(running) if running else None

    def _leader(self):
        leader = self._world.leader()
        return leader if leader is not None and not leader.paused else None

    def _halves(self):
        ids = list(self._world.servers)
        self._random.shuffle(ids)
        at = self._random.randrange(1, len(ids))
        return ids[:at], ids[at:]

    # ----------------------------------------------------------------------------------------- partitions

    def _cut(self, pairs):
        cut = self._world.network.cut
        new = [pair for pair in pairs if pair not in cut]
        cut.update(new)
        self._world.events.after(self._lasts_s, self._mend, new)
        return len(new)

    def _mend(self, pairs):
        self._world.network.cut.difference_update(pairs)

    def _split(self):
        one, other = self._halves()
        self._cut([pair for a in one for b in other for pair in ((a, b), (b, a))])
        return one, other

    def _isolate(self):
        server = self._leader() if self._random.random() < 0.7 else self._one()
        if server is None:
            return None
        self._cut([pair for b in self._world.servers if b != server.id for pair in ((server.id, b), (b, server.id))])
        return server

    def _one_way(self):
        server = self._leader() if self._random.random() < 0.5 else self._one()
        if server is None:
            return None
        pairs = [(server.id, b) for b in self._world.servers if b != server.id]
        if self._random.random() < 0.5:
            pairs = [(b, a) for a, b in pairs]
        self._cut(pairs)
        return pairs

    def _cut_link(self):
        leader = self._leader()
        one = (
            leader.id
            if leader is not None and self._random.random() < 0.7
            else self._random.choice([*self._world.servers])
        )
        other = self._random.choice([id_ for id_ in self._world.servers if id_ != one])
        self._cut([(one, other), (other, one)])
        return one, other

    def _bridge(self):
        one, other = self._halves()
        shared = self._random.choice(one)
        self._cut([pair for a in one if a != shared for b in other for pair in ((a, b), (b, a))])
        return one, other, shared

    def _lag(self):
        """Cut one off for long."""
        followers = [server for server in self._running() if not server.raft.is_leader]
        if not followers:
            return None
        server = self._random.choice(followers)
        pairs = [pair for b in self._world.servers if b != server.id for pair in ((server.id, b), (b, server.id))]
        self._world.network.cut.update(pairs)
        self._world.events.after(3.0 + 6.0 * self._random.random(), self._mend, pairs)
        return server

    # ------------------------------------------------------------------------------------ servers and disks

    def _end(self, server, *, machine):
        if server is None or not server.running or self._world.calm:
            return None
        if server.raft.is_leader:
            self._world.counters["leader crashes"] += 1
        server.die(machine=machine)
        self._world.events.after(self._lasts_s, self.start, server)
        return server

    def start(self, server):
        """Start a server again."""
        if not server.running:
            self._world.note("boot", server)
            server.boot()

    def _end_at_write(self, server, *, machine):
        """End it in the middle of its next write."""
        if server is None or self._random.random() < 0.4:
            return self._end(server, machine=machine)
        server.end_at_write = lambda: self._end(server, machine=machine)
        return server

    def _kill(self):
        return self._end_at_write(self._one(), machine=False)

    def _kill_leader(self):
        return self._end_at_write(self._leader(), machine=self._random.random() < 0.3)

    def _power_cut(self):
        return self._end_at_write(self._one(), machine=True)

    def _power_cut_all(self):
        running = [server for server in self._world.servers.values() if server.running]
        for server in running:
            self._end(server, machine=True)
        return running

    def _pause(self):
        return self._stand_still(self._one())

    def _pause_leader(self):
        return self._stand_still(self._leader())

    def _stand_still(self, server):
        if server is None:
            return None
        server.pause()
        self._world.events.after(self._lasts_s, server.resume)
        return server

    def _slow_disk(self):
        server = self._one()
        if server is None:
            return None
        server.disk_slow_s = self._random.choice((0.05, 0.3, 1.5))
        self._world.events.after(self._lasts_s, server.disk_recovers)
        return server

    def _full_disk(self):
        server = self._one()
        if server is None:
            return None
        server.fill_disk()
        self._world.events.after(self._lasts_s, server.disk_recovers)
        return server

    def _failing_disk(self):
        """The next sync fails, which ends the process."""
        server = self._one()
        if server is None:
            return None
        server.fail_sync()
        return server

    # -------------------------------------------------------------------------------------- the operator

    def _transfer(self):
        leader = self._leader()
        if leader is None:
            return None
        others = [id_ for id_ in leader.raft.log.configuration.voters if id_ != leader.id]
        if not others:
            return None
        return self._ask(leader, "transfer", self._random.choice(others))

    def _change(self):
        """Have one member added or removed, or changed in what it is."""
        leader = self._leader()
        if leader is None:
            return None
        now = leader.raft.log.configuration
        voters, learners = set(now.voters), set(now.learners)
        server = self._random.choice(list(self._world.servers))
        if server in voters and len(voters) > 1:
            voters.discard(server)
            if self._random.random() < 0.3:
                learners.add(server)
        elif server in learners or self._random.random() < 0.6:
            learners.discard(server)
            voters.add(server)
        else:
            learners.add(server)
        return self._begin_change(voters, learners - voters)

    def _swap(self):
        """Have other voters, all at once."""
        ids = list(self._world.servers)
        voters = self._random.sample(ids, self._random.choice((1, 2, 3, 3, min(5, len(ids)))))
        learners = [id_ for id_ in ids if id_ not in voters and self._random.random() < 0.2]
        return self._begin_change(voters, learners)

    def _begin_change(self, voters, learners):
        target = sorted(voters), sorted(learners)
        self._target = target
        self._pursue(target, self._world.events.now + _CHANGE_S_MAX)
        return target

    def _pursue(self, target, until):
        """Get on with a change, as Membership.change() does: who joins learns first, until it has caught up."""
        world = self._world
        if world.calm or world.events.now > until or target is not self._target:
            return
        world.events.after(_CHANGE_STEP_S, self._pursue, target, until)
        leader = self._leader()
        if leader is None or not leader.group.is_leader or not membership._is_settled(leader.group):
            return
        now, (voters, learners) = leader.raft.log.configuration, target
        joining = [id_ for id_ in voters if id_ not in now.voters]
        if any(id_ not in now.learners for id_ in joining):
            self._ask(leader, "change", list(now.voters), sorted({*now.learners, *joining}))
        elif all(membership._has_caught_up(leader.group, id_) for id_ in joining):
            self._target = None
            if (list(now.voters), list(now.learners)) != target:
                self._ask(leader, "change", voters, learners)

    def _rebuild(self):
        """Throw away a replica that has left, and make an empty one, which may join again (Membership.rebuild)."""
        leader = self._leader()
        if leader is None or not leader.raft.is_established:
            return None
        log = leader.raft.log
        left = [id_ for id_ in self._world.servers if id_ not in log.configuration.members]
        if not left:
            return self._change()
        if log.configuration.is_joint or log.committed < log.configuration_index:
            return None
        server = self._world.servers[self._random.choice(left)]
        if server.running:
            server.die(machine=self._random.random() < 0.5)
        server.make_anew(leader.raft.term)
        self._world.events.after(self._lasts_s, self.start, server)
        return server

    def _ask(self, leader, what, *args):
        try:
            leader.do(getattr(leader, what), *args)
        except CurveFSError:
            return None
        return leader, args

    def _campaign(self):
        server = self._one()
        if server is None:
            return None
        server.do(server.campaign)
        return server

    def _clock_off(self):
        """A server's wall clock is set, and it notices."""
        server = self._one()
        if server is None:
            return None
        server.clock.wall_offset_ns += int(self._random.uniform(-20e9, 20e9))
        server.raft.may_lead = False
        self._world.events.after(self._lasts_s, self._may_lead_again, server, server.incarnation)
        return server

    def _may_lead_again(self, server, incarnation):
        if server.running and server.incarnation == incarnation:
            server.raft.may_lead = True

    def _silence(self):
        """Nobody asks for anything for a while; then everybody at once."""
        silent_s = 0.5 + 4.0 * self._random.random()
        for client in self._world.clients:
            client.be_silent(silent_s)
        return silent_s

    def _burst(self):
        count = self._random.randrange(4, 12)
        for client in self._world.clients:
            client.burst(count)
        return count

    # ---------------------------------------------------------------------------------------- at the end

    def is_settled(self):
        """Say whether one leads, everybody has everything, and no change of members is under way."""
        leader = self._world.leader()
        if leader is None or not leader.raft.is_established:
            return False
        log = leader.raft.log
        if log.configuration.is_joint or log.committed < log.last_index:
            return False
        members = [self._world.servers[id_] for id_ in log.configuration.members]
        return all(server.applied_index == log.last_index for server in members)

    def check_settled(self, settled):
        """Check that the group recovered, and that its states are the same."""
        if not settled:
            raise Violation("liveness", f"without faults the group did not settle: {self._world.describe()}")
        leader = self._world.leader()
        for id_ in leader.raft.log.configuration.members:
            server = self._world.servers[id_]
            if server.state() != leader.state():
                raise Violation("state-machine safety", f"{server} and {leader} have different states in the end")
