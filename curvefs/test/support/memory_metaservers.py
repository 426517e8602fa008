"""Metaservers in memory, under trio's clock: groups with leaders that change, and connections that break or go silent.

What a group holds is replicated without effort: whoever leads it answers from the same state. A test moves leaders,
kills and freezes servers, and looks at what arrived: nothing may be applied twice or out of order.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

import trio

from curvefs.proto import common_pb2, mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import FilesystemGone, Unavailable, Unreachable
from curvefs.src.common.ids import partition_of
from curvefs.src.rpc.trio_stream import Credentials
from curvefs.test.support.memory_namespace import MemoryNamespace

LATENCY_S = 0.001


@dataclass
class SessionState:
    """What a group keeps of a session."""

    expected: int = 1
    results: dict[int, pb.OperationResult] = field(default_factory=dict)
    transacted: dict[int, pb.OperationResult] = field(default_factory=dict)
    forgotten: int = 0  # transactions up to here are acknowledged


@dataclass
class MemoryGroup:
    """One group. ``leader``: who answers; ``told``: whom the others name."""

    group_id: int
    peers: list[str]
    leader: str = ""
    told: str = ""
    also_leading: str = ""  # another one that answers as well
    sessions: dict[bytes, SessionState] = field(default_factory=dict)
    ended: set[bytes] = field(default_factory=set)
    applied: list[tuple[bytes, int, pb.Operation]] = field(default_factory=list)
    transacted: list[tuple[bytes, int, pb.Operation]] = field(default_factory=list)

    def led_by(self, address):
        """Change the leader; everybody knows."""
        self.leader = self.told = address


@dataclass(eq=False)
class MemoryServer:
    """One metaserver. ``failing``: what it answers, for the given number of times, to batches, reads, transactions."""

    address: str
    alive: bool = True
    frozen: bool = False
    connections: list["MemoryConnection"] = field(default_factory=list)
    failing: deque[common_pb2.Failure] = field(default_factory=deque)
    frames: list[tuple[float, pb.ClientFrame]] = field(default_factory=list)

    @property
    def hellos(self):
        """Return the groups of each Hello that arrived."""
        return [list(frame.hello.groups) for _, frame in self.frames if frame.HasField("hello")]


class MemoryConnection:
    """One stream; a frame takes LATENCY_S each way."""

    def __init__(self, cluster, server, deliver):
        self._ended = trio.Event()
        self.deliver = deliver
        self.server = server
        self._cluster = cluster
        self.to_server, self._requests = trio.open_memory_channel(float("inf"))
        server.connections.append(self)
        cluster.nursery.start_soon(self._carry)

    def send(self, frame):
        if not self._ended.is_set():
            copy = pb.ClientFrame.FromString(frame.SerializeToString())
            self.to_server.send_nowait((trio.current_time() + LATENCY_S, copy))

    async def run(self):
        try:
            await self._ended.wait()
        finally:
            self.deliver = None
            self.break_off()

    def break_off(self):
        self._ended.set()
        if self in self.server.connections:
            self.server.connections.remove(self)

    async def _carry(self):
        async for due, frame in self._requests:
            await trio.sleep_until(due)
            if self._ended.is_set():
                return
            while self.server.frozen:
                await self._cluster.thawed.wait()
            self.server.frames.append((trio.current_time(), frame))
            reply = self._cluster.handle(self.server, frame)
            self._cluster.nursery.start_soon(self._answer, reply)

    async def _answer(self, reply):
        await trio.sleep(LATENCY_S)
        if self.deliver is not None and not self._ended.is_set() and not self.server.frozen:
            self.deliver(reply)


class MemoryMetaservers:
    """Servers and groups; ``connect`` makes connections, as rpc/connection.py does."""

    def __init__(self, nursery, addresses, partitions_of_group):
        self.nursery = nursery
        self.thawed = trio.Event()
        self.servers = {address: MemoryServer(address) for address in addresses}
        self.groups = {group_id: MemoryGroup(group_id, list(addresses)) for group_id in partitions_of_group}
        self.partitions = {p: group_id for group_id, some in partitions_of_group.items() for p in some}
        self.namespace = MemoryNamespace()
        self.reads = Counter()  # kind -> how many
        self.read_batches = []  # (group, kinds)
        self.busy: defaultdict[str, int] = defaultdict(int)  # kind of operation -> how often it answers LOCKED
        self.on_read = lambda read: None
        self.refused_token = False
        self.used_bytes = 0  # told by each group
        self.deaf_transactions = 0  # how many are done without an answer

    async def connect(self, address, deliver):
        server = self.servers.get(address)
        if server is None or not server.alive:
            raise Unreachable
        return MemoryConnection(self, server, deliver)

    def kill(self, address):
        """The process is gone; its connections break."""
        server = self.servers[address]
        server.alive = False
        for connection in list(server.connections):
            connection.break_off()

    def freeze(self, address):
        """The process hangs; its connections stay open."""
        self.servers[address].frozen = True

    def thaw(self, address):
        self.servers[address].frozen = False
        thawed, self.thawed = self.thawed, trio.Event()
        thawed.set()

    # ------------------------------------------------------------------------------------------ answering

    def handle(self, server, frame):
        """Answer a frame, all of it at once."""
        reply = pb.ServerFrame()
        if frame.HasField("hello"):
            reply.welcome.SetInParent()
            if self.refused_token:
                reply.welcome.failure.code = common_pb2.TOKEN_REFUSED
                return reply
            for group_id in frame.hello.groups:
                self._open(server, frame.hello.session_id, reply.lanes.add(group_id=group_id))
        for batch in frame.operations:
            self._operate(server, batch, reply.operations.add(group_id=batch.group_id))
        for request in frame.transactions:
            answer = pb.TransactionReply(group_id=request.group_id, number=request.number)
            if self._transact(server, request, answer):
                reply.transactions.append(answer)
        for batch in frame.reads:
            self._read(server, batch, reply.reads.add())
        return reply

    def _refusal(self, server, group, session_id=None):
        if session_id in group.ended:
            return common_pb2.Failure(code=common_pb2.SESSION_ENDED)
        if server.address not in (group.leader, group.also_leading):
            return common_pb2.Failure(code=common_pb2.REDIRECT, leader=group.told)
        if session_id is not None and session_id not in group.sessions:
            return common_pb2.Failure(code=common_pb2.SESSION_UNKNOWN)
        return server.failing.popleft() if server.failing else None

    def _open(self, server, session_id, lane):
        group = self.groups[lane.group_id]
        if session_id in group.ended:
            lane.failure.code = common_pb2.SESSION_ENDED
        elif server.address not in (group.leader, group.also_leading):
            lane.failure.code = common_pb2.REDIRECT
            lane.failure.leader = group.told
        else:
            lane.expected_sequence = group.sessions.setdefault(session_id, SessionState()).expected

    def _operate(self, server, batch, answer):
        group = self.groups[batch.group_id]
        answer.first_sequence = batch.first_sequence
        refusal = self._refusal(server, group, batch.session_id)
        if refusal is not None:
            answer.failure.CopyFrom(refusal)
            return
        session = group.sessions[batch.session_id]
        for known in [one for one in session.results if one <= batch.acknowledged]:
            del session.results[known]
        for sequence, operation in enumerate(batch.operations, batch.first_sequence):
            if sequence > session.expected:
                answer.failure.code = common_pb2.SEQUENCE_GAP
                answer.failure.expected_sequence = session.expected
                return
            if sequence == session.expected:
                session.expected += 1
                kind = operation.WhichOneof("operation")
                if self.busy[kind] > 0:
                    self.busy[kind] -= 1
                    result = pb.OperationResult(status=common_pb2.LOCKED)
                else:
                    group.applied.append((batch.session_id, sequence, operation))
                    result = self.namespace.apply(operation, spanning=False)
                result.sequence = sequence
                session.results[sequence] = result
            answer.results.append(session.results[sequence])
        assert len(session.results) <= 256

    def _transact(self, server, request, answer):
        group = self.groups[request.group_id]
        refusal = self._refusal(server, group, request.session_id)
        if refusal is not None:
            answer.failure.CopyFrom(refusal)
            return True
        session = group.sessions[request.session_id]
        assert request.number > session.forgotten, "a transaction whose answer was acknowledged comes again"
        session.forgotten = max(session.forgotten, request.acknowledged)
        for known in [one for one in session.transacted if one <= session.forgotten]:
            del session.transacted[known]
        if request.number not in session.transacted:
            group.transacted.append((request.session_id, request.number, request.operation))
            if request.operation.HasField("noop"):  # nobody waits for the operation that had the number
                result = pb.OperationResult(status=common_pb2.UNSUPPORTED)
            else:
                result = self._as_prepared(request.operation, self.namespace.apply(request.operation, spanning=True))
            session.transacted[request.number] = result
        assert len(session.transacted) <= 256
        if self.deaf_transactions:
            self.deaf_transactions -= 1
            return False
        answer.result.CopyFrom(session.transacted[request.number])
        return True

    @staticmethod
    def _as_prepared(operation, result):
        """Make what lies outside the coordinator's partition differ from what it is: it is said before the commit."""
        request = getattr(operation, operation.WhichOneof("operation"))
        home = partition_of(request.new_parent if operation.HasField("link") else request.parent)
        for about in ("parent", "new_parent", "replaced", *(() if operation.HasField("create") else ("inode",))):
            if result.HasField(about) and partition_of(getattr(result, about).inode_id) != home:
                getattr(result, about).length = 999
        return result

    def _read(self, server, batch, answer):
        group = self.groups[batch.group_id]
        refusal = self._refusal(server, group)
        self.read_batches.append((batch.group_id, [read.WhichOneof("read") for read in batch.reads]))
        for read in batch.reads:
            if refusal is not None:
                answer.results.add(read_id=read.read_id, failure=refusal)
                continue
            kind = read.WhichOneof("read")
            self.reads[kind] += 1
            self.on_read(read)
            if kind == "stat_fs":
                own = [p for p, g in self.partitions.items() if g == batch.group_id]
                count = sum(partition_of(inode) in own for inode in self.namespace.inodes)
                numbers = pb.StatFsResult(inode_count=count, used_bytes=self.used_bytes)
                answer.results.add(read_id=read.read_id, stat_fs=numbers)
            else:
                answer.results.append(self.namespace.read(read))


class MemorySession:
    """A mount's session with an MDS that may be away; stands for MountSession."""

    def __init__(self, metaservers):
        self._metaservers = metaservers
        self.filesystem = mds_pb2.Filesystem(fs_id=1, name="demo")
        self.session_id = b"s" * 15 + b"0"
        self.counts = {}
        self.away = False
        self.gone = False
        self.opened = 0
        self.listed = 0
        self.hurried = 0
        self.over = trio.Event()

    @property
    def partitions(self):
        """Return where the partitions are."""
        return [
            mds_pb2.Partition(
                partition_id=partition_id,
                group_id=group_id,
                leader=self._metaservers.groups[group_id].told,
                peers=[common_pb2.Peer(address=address) for address in self._metaservers.groups[group_id].peers],
                inode_count=self.counts.get(partition_id, 0),
            )
            for partition_id, group_id in self._metaservers.partitions.items()
        ]

    def credentials(self):
        return Credentials(1, self.session_id, b"token")

    async def open(self):
        await trio.sleep(LATENCY_S)
        if self.gone:
            raise FilesystemGone
        if self.away:
            raise Unavailable
        self.opened += 1
        self.session_id = b"s" * 15 + b"%d" % self.opened

    async def list_partitions(self):
        await trio.sleep(LATENCY_S)
        self.listed += 1
        if self.away:
            raise Unavailable
        return self.partitions

    async def renew_until_over(self):
        await self.over.wait()
        self.over = trio.Event()

    def renew_soon(self):
        self.hurried += 1
