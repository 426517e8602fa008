"""A client: one session with its lane (the real one), and reads; sent to whoever may lead, until they are answered."""

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError, Redirect, SequenceGap, SessionUnknown
from curvefs.src.common.ids import ROOT_INODE
from curvefs.src.rpc.lane import Lane
from curvefs.test.sim.checkers import Violation
from curvefs.test.sim.metaserver import FS, GROUP

_ANSWER_S = 2.0
_AGAIN_S = 0.3
_DOUBLINGS_MAX = 3  # of the pause, while it is refused again and again
_PATIENCE_S = 60.0  # a run that takes longer has few messages: whoever goes on asking at that rate learns no more
_UNANSWERED_MAX = 12
_READS_MAX = 3  # of one client at a time
_MODE = 0o100644


def partition():
    """Return the entry that makes the partition the clients work in."""
    spec = pb.PartitionSpec(fs_id=FS, group_id=GROUP, hash_seed=b"h" * 16, chunk_size=1 << 20, block_size=1 << 18)
    spec.trash_retention_s = 60
    return state_pb2.Entry(format=1, create_partition=state_pb2.CreatePartitionCommand(partition=spec))


class Client:
    """See the module. idle: everything was answered."""

    def __init__(self, world, number):
        self._world = world
        self._number = number
        self._random = world.random_of(f"client {number}")
        self._session = bytes([number + 1]) * 16
        self._lane = Lane(FS, self._session, GROUP)
        self._server = 1 + number % world.schedule.servers
        self._connection = 0
        self._last_arrival = 0.0  # on the present connection: a stream keeps the order
        self._opening = [partition(), self._open()]
        self._opening_on = 0  # the connection that the first of them is under way on
        self._answers = 0
        self._readings = {}  # place -> (call, request, the index that was known when it began)
        self._silent_until = 0.0
        self._reads = 0
        self._refusals = 0  # since the last answer
        self._names = [b"%c" % (97 + i) for i in range(world.schedule.names)]
        self._finishing = False

    @property
    def idle(self):
        return self._lane.idle and not self._readings and not self._opening

    def begin(self):
        """Begin."""
        self._connect(self._server)
        self._watch(0)
        self._think_later()

    def finish(self):
        """Ask for nothing more."""
        self._finishing = True

    def burst(self, count):
        """Ask for much at once."""
        for _ in range(count):
            self._ask()

    def be_silent(self, seconds):
        """Ask for nothing for a while, then for several things at once."""
        self._silent_until = self._world.events.now + seconds
        self._world.events.after(seconds, self._break_silence)

    def _break_silence(self):
        if not self._finishing:
            self._ask()
            for _ in range(_READS_MAX):
                self._look_up()
            self._later(_AGAIN_S, self._look_up)

    def _open(self):
        command = state_pb2.OpenSessionCommand(fs_id=FS, session_id=self._session)
        return state_pb2.Entry(format=1, open_session=command)

    def _later(self, up_to_s, action, *args):
        self._world.events.after(self._random.random() * up_to_s, action, *args)

    # ------------------------------------------------------------------------------------------ asking

    def _think(self):
        if self._finishing:
            return
        if self._world.events.now < self._silent_until:
            self._think_later()
            return
        if self._random.random() < self._world.schedule.wander:
            self._connect(self._random.choice(list(self._world.servers)))
        if self._random.random() < self._world.schedule.reads:
            self._look_up()
        else:
            self._ask()
        self._think_later()

    def _think_later(self):
        self._later(self._world.schedule.think_s * max(1.0, self._world.events.now / _PATIENCE_S), self._think)

    def _again(self, hint=0):
        """Begin anew after a pause, which is longer each time."""
        self._later(_AGAIN_S * (1 << min(self._refusals, _DOUBLINGS_MAX)), self._reconnect, self._connection, hint)
        self._refusals += 1

    def _ask(self):
        if self._lane.last - self._lane.acknowledged >= _UNANSWERED_MAX:
            return
        rand, choice = self._random.random(), self._random.choice
        name = choice(self._names)
        if rand < 0.5:
            exclusive = self._random.random() < 0.7
            args = ("create", name, exclusive)
            operation = pb.Operation(create=pb.Create(parent=ROOT_INODE, name=name, mode=_MODE, exclusive=exclusive))
        elif rand < 0.8:
            args = ("unlink", name)
            operation = pb.Operation(unlink=pb.Unlink(parent=ROOT_INODE, name=name))
        else:
            other = choice(self._names)
            args = ("rename", name, other)
            operation = pb.Operation(
                rename=pb.Rename(parent=ROOT_INODE, name=name, new_parent=ROOT_INODE, new_name=other)
            )
        call = self._world.history.begin(self._number, args[0], args[1:])
        self._lane.submit(operation, lambda outcome: self._answered(call, outcome))
        self._pump()

    def _answered(self, call, outcome):
        world = self._world
        if isinstance(outcome, CurveFSError):
            world.counters["operations refused for certain"] += 1
            world.history.never_happened(call)
            return
        if outcome.status == common_pb2.RESULT_FORGOTTEN:
            raise Violation("every operation once", f"the result of {call} was forgotten before it was acknowledged")
        world.counters["operations answered"] += 1
        inode = outcome.replaced if call.kind == "unlink" else outcome.inode
        world.history.end(call, outcome.status, inode.inode_id, outcome.parent.change)

    # --------------------------------------------------------------------------------------- the stream

    def _connect(self, server):
        """Begin anew with a server: nothing of what was sent before counts."""
        self._server = server
        self._connection += 1
        self._last_arrival = 0.0
        self._lane.rewind()
        self._pump()
        for place in self._readings:
            self._send_read(place)

    def _reconnect(self, connection, hint=0):
        if connection != self._connection:
            return
        servers = list(self._world.servers)
        if hint and self._random.random() < 0.9:
            self._connect(hint)
        else:
            self._connect(self._random.choice(servers))

    def _send(self, action, *args):
        """Have something done on the server, in the order of the stream."""
        world = self._world
        at = max(world.events.now + world.network.delay(), self._last_arrival)
        self._last_arrival = at
        world.events.after(at - world.events.now, self._arrive, self._connection, self._server, action, args)

    def _arrive(self, connection, number, action, args):
        # What was sent on a connection that is gone may arrive all the same: the lane has to bear it.
        server = self._world.servers[number]
        if server.running:
            server.do(action, server, connection, *args)

    def _reply(self, action, connection, *args):
        world = self._world
        world.events.after(world.network.delay(), self._on_reply, connection, action, args)

    def _on_reply(self, connection, action, args):
        if connection == self._connection:
            self._answers += 1
            action(*args)

    def _pump(self):
        if self._opening:
            if self._opening_on != self._connection:
                self._opening_on = self._connection
                entry = state_pb2.Entry()
                entry.CopyFrom(self._opening[0])
                self._send(self._serve_open, entry)
            return
        while (batch := self._lane.next_batch()) is not None:
            self._send(self._serve_batch, batch)

    def _watch(self, answers):
        """Begin anew elsewhere when nothing comes."""
        if answers == self._answers and not self.idle:
            self._reconnect(self._connection)
        self._world.events.after(_ANSWER_S, self._watch, self._answers)

    # ----------------------------------------------------------------------------------- on the server

    def _serve_open(self, server, connection, entry):
        server.propose(entry, lambda outcome: self._reply(self._on_opened, connection, outcome))

    def _serve_batch(self, server, connection, batch):
        def reply(results):
            self._reply(self._on_results, connection, results, server.applied_index)

        server.propose_batch(batch, reply)

    # ------------------------------------------------------------------------------------ what comes back

    def _on_opened(self, outcome):
        self._opening_on = 0
        if isinstance(outcome, CurveFSError):
            self._refused(outcome)
        elif outcome.failure is not None and outcome.failure.code:
            self._again()
        else:
            self._refusals = 0
            self._opening.pop(0)
            self._pump()

    def _on_results(self, results, index):
        checkers = self._world.checkers
        if results.results:
            self._refusals = 0
            checkers.answered_index = max(checkers.answered_index, index)
        error = self._lane.on_results(results)
        if error is None:
            self._pump()
        else:
            self._refused(error)

    def _refused(self, error):
        match error:
            case Redirect():
                self._again(int(error.leader or 0))
            case SequenceGap():
                self._pump()
            case SessionUnknown():
                self._opening = [self._open()]
                self._pump()
            case _:
                self._again(self._server)

    # -------------------------------------------------------------------------------------------- reads

    def _look_up(self):
        free = [place for place in range(_READS_MAX) if place not in self._readings]
        if self._finishing or self._opening or not free:
            return
        place = free[0]
        name = self._random.choice(self._names)
        call = self._world.history.begin(1000 * (1 + place) + self._number, "lookup", (name,))
        self._reads += 1
        request = pb.Read(read_id=self._reads, lookup=pb.Lookup(parent=ROOT_INODE, name=name))
        self._readings[place] = (call, request, self._world.checkers.answered_index)
        self._send_read(place)

    def _send_read(self, place):
        self._send(self._serve_read, place, self._readings[place][1])

    def _serve_read(self, server, connection, place, request):
        server.read(
            request, lambda result, index: self._reply(self._on_read, connection, place, request, result, index)
        )

    def _on_read(self, place, request, result, index):
        if place not in self._readings or self._readings[place][1].read_id != request.read_id:
            return
        if isinstance(result, CurveFSError):
            self._again(int(result.leader or 0) if isinstance(result, Redirect) else self._server)
            return
        self._refusals = 0
        call, _, asked = self._readings.pop(place)
        self._world.checkers.read_is_fresh(self._number, asked, index)
        if result.failure.code:
            raise Violation("answers are true", f"a lookup in the root directory fails: {result.failure}")
        self._world.counters["reads answered"] += 1
        self._world.history.end(call, common_pb2.OK, result.inode.inode_id, result.parent_change)
