"""A machine with one process on it: it can stand still, die, and start again; what happens in it is one event each."""

from curvefs.test.sim.clocks import RATE_ERROR_MAX, SimClock

BACKLOG_MAX = 10_000


class Server:
    """What is the same whatever runs on it. Subclasses: start(), stop(), step(), tick(), raft."""

    def __init__(self, world, id_):
        self.world = world
        self.id = id_
        rand = world.random_of(f"clock {id_}").uniform
        self.clock = SimClock(world.events, 1 + rand(-RATE_ERROR_MAX, RATE_ERROR_MAX), int(rand(-1e9, 1e9)))
        self.incarnation = 0
        self.running = False
        self.paused = False
        self.raft = None
        self.led_term = 0  # in which it was seen to lead, and the end of its log then
        self.led_last = (0, 0)
        self.seen_committed = 0
        self._backlog = []
        self._tick_s = world.schedule.tick_s

    def __repr__(self):
        return f"s{self.id}"

    # ------------------------------------------------------------------------------------------ events

    def later(self, delay_s, action, *args):
        """Have something done in this process, if it lives then, when it does not stand still."""
        self.world.events.after(delay_s, self._due, self.incarnation, action, args)

    def _due(self, incarnation, action, args):
        if incarnation == self.incarnation and self.running:
            self.do(action, *args)

    def do(self, action, *args):
        """Do something in this process now, or when it goes on."""
        if self.paused:
            if len(self._backlog) < BACKLOG_MAX:
                self._backlog.append((action, args))
            return
        action(*args)
        if self.running:
            self.world.look(self)

    def _ticks(self):
        self.tick()
        self.later(self._tick_s, self._ticks)

    # ------------------------------------------------------------------------------------- life and death

    def boot(self):
        """Start the process."""
        assert not self.running, "it is down"
        self.disk_recovers()
        self.running = True
        self.seen_committed = self.led_term = 0
        self.start()
        self.world.look(self)
        self.later(self._tick_s * self.world.random_plan.random(), self._ticks)

    def die(self, *, machine):
        """End the process at once; machine: what was not synced may be gone."""
        self.stop(machine=machine)  # first: what it leaves behind belongs to this incarnation
        self.running = self.paused = False
        self.incarnation += 1
        self._backlog = []
        self.raft = None
        self.led_term = 0
        if machine:
            self.clock.reboot()

    def pause(self):
        """Let it stand still: nothing happens in it, whatever arrives waits."""
        self.paused = True

    def resume(self):
        """Let it go on."""
        if not self.paused:
            return
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for action, args in backlog:
            if self.running:
                self.do(action, *args)
