"""A session with the groups of several metaservers, on asyncio: it follows leaders, and asks until it is answered.

One operation at a time in each group (the lane), one transaction at a time in each group, any number of reads. What a
lane refuses as spanning partitions is sent as a transaction, as the real client does it.
"""

import asyncio
import itertools

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Unreachable
from curvefs.src.common.ids import partition_of
from curvefs.src.metaserver.transactions.plan import home_of
from curvefs.src.rpc.asyncio_frames import open_frames

from .metaservers import FS, GROUPS, LAYOUT, PATIENCE_S

_PAUSE_S = 0.02
_ANSWER_S = 25.0


class Refused(Exception):
    """The operation or read failed, for good."""

    def __init__(self, code, message=""):
        super().__init__(f"{common_pb2.StatusCode.Name(code)} {message}")
        self.code = code


class _Gone(Exception):
    """The stream is broken."""


class _Stream:
    """One connection: requests by key, answered in any order."""

    def __init__(self, address, hello):
        self.address = address
        self.is_open = True
        self._frames = None
        self._ready = asyncio.Event()
        self._waiting = {}
        self._writing = asyncio.Lock()
        self._hello = hello
        self._welcome, self._lanes_due = None, set()
        self._reader = asyncio.create_task(self._read())

    async def hello(self):
        """Return the Welcome, once all groups were opened or have refused."""
        return await self.ask("hello", pb.ClientFrame(hello=self._hello))

    async def ask(self, key, frame):
        """Send a frame and return the answer of this key. Raises _Gone, TimeoutError."""
        await self._ready.wait()
        if not self.is_open:
            raise _Gone
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            async with self._writing:
                await self._frames.write(frame)
            async with asyncio.timeout(_ANSWER_S):
                return await future
        except ConnectionError as error:
            raise _Gone from error
        finally:
            self._waiting.pop(key, None)

    async def _read(self):
        try:
            async with open_frames(self.address) as self._frames:
                self._ready.set()
                while True:
                    self._take(await self._frames.read())
        except (OSError, Unreachable):
            pass
        finally:
            self.is_open = False
            self._ready.set()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(_Gone())

    def _take(self, frame):
        if frame.HasField("welcome"):
            self._welcome = frame.welcome
            self._lanes_due = set() if frame.welcome.HasField("failure") else set(self._hello.groups)
        self._lanes_due -= {lane.group_id for lane in frame.lanes}
        if (frame.HasField("welcome") or frame.lanes) and not self._lanes_due:
            self._answer("hello", self._welcome)
        for results in frame.operations:
            if results.HasField("failure"):
                self._answer((results.group_id, "operation", results.first_sequence), results)
            for result in results.results:
                self._answer((results.group_id, "operation", result.sequence), result)
        for batch in frame.reads:
            for result in batch.results:
                self._answer(("read", result.read_id), result)
        for reply in frame.transactions:
            self._answer((reply.group_id, "transaction", reply.number), reply)

    def _answer(self, key, value):
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(value)

    async def close(self):
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


class FleetClient:
    """See the module. Use as a context manager; from several tasks only for reads."""

    def __init__(self, servers, session_id):
        self._servers = servers
        self._session_id = session_id
        self._hello = pb.Hello(
            protocol_version=1,
            fs_id=FS,
            session_id=session_id,
            token=servers.mds.token(FS, session_id),
            groups=GROUPS,
        )
        self._streams = {}
        self._opening = {}
        self._leaders = {group_id: n for n, group_id in enumerate(GROUPS, 1)}
        self._sequences = dict.fromkeys(GROUPS, 0)
        self._numbers = dict.fromkeys(GROUPS, 0)
        self._busy = {group_id: asyncio.Lock() for group_id in GROUPS}
        self._read_ids = itertools.count(1)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for stream in self._streams.values():
            await stream.close()

    # ----------------------------------------------------------------------------------------- operations

    async def operate(self, operation):
        """Return the result of an operation, which is final. Raises TimeoutError: not known."""
        if operation.create.HasField("partition_id"):
            return await self.transact(operation)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                result = await self._in_lane(operation)
                match result.status:
                    case common_pb2.LOCKED:
                        await asyncio.sleep(_PAUSE_S)
                    case common_pb2.CROSS_PARTITION:
                        return await self.transact(operation)
                    case _:
                        return result

    async def transact(self, operation):
        """Return the result of an operation across partitions, which is final. Raises TimeoutError: not known."""
        group_id = LAYOUT[home_of(operation)]
        async with asyncio.timeout(PATIENCE_S), self._busy[group_id]:
            self._numbers[group_id] += 1
            return await self._transaction(group_id, operation)

    async def transact_again(self, operation):
        """Return the result of the last transaction in its group, which is sent once more."""
        group_id = LAYOUT[home_of(operation)]
        async with asyncio.timeout(PATIENCE_S), self._busy[group_id]:
            return await self._transaction(group_id, operation)

    async def _transaction(self, group_id, operation):
        number = self._numbers[group_id]
        request = pb.TransactionRequest(
            fs_id=FS,
            session_id=self._session_id,
            group_id=group_id,
            number=number,
            acknowledged=number - 1,
            operation=operation,
        )
        frame = pb.ClientFrame(transactions=[request])
        return (await self._ask(group_id, (group_id, "transaction", number), frame)).result

    async def _in_lane(self, operation):
        group_id = LAYOUT[home_of(operation)]
        async with self._busy[group_id]:
            self._sequences[group_id] += 1
            sequence = self._sequences[group_id]
            batch = pb.OperationBatch(
                fs_id=FS,
                session_id=self._session_id,
                group_id=group_id,
                first_sequence=sequence,
                acknowledged=sequence - 1,
                operations=[operation],
            )
            frame = pb.ClientFrame(operations=[batch])
            return await self._ask(group_id, (group_id, "operation", sequence), frame)

    # --------------------------------------------------------------------------------------------- reads

    async def read(self, inode_id, **wanted):
        """Return what the leader of an inode's group says. Raises Refused."""
        group_id = LAYOUT[partition_of(inode_id)]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                read_id = next(self._read_ids)
                batch = pb.ReadBatch(fs_id=FS, group_id=group_id, reads=[pb.Read(read_id=read_id, **wanted)])
                result = await self._ask(group_id, ("read", read_id), pb.ClientFrame(reads=[batch]))
                if not result.HasField("failure"):
                    return result
                if result.failure.code != common_pb2.LOCKED:
                    raise Refused(result.failure.code, result.failure.message)
                await asyncio.sleep(_PAUSE_S)

    async def lookup(self, parent, name):
        """Return the inode number that a name leads to, or 0."""
        return (await self.read(parent, lookup=pb.Lookup(parent=parent, name=name))).inode.inode_id

    async def inode(self, inode_id):
        """Return an inode, or None."""
        try:
            return (await self.read(inode_id, get_attr=pb.GetAttr(inode_id=inode_id))).inode
        except Refused as refused:
            if refused.code != common_pb2.NOT_FOUND:
                raise
            return None

    # ---------------------------------------------------------------------------------------- the network

    async def _ask(self, group_id, key, frame):
        """Ask the leader, whoever it is, until there is an answer that decides something."""
        while True:
            self._servers.check_alive()
            number = self._leaders[group_id]
            try:
                reply = await (await self._stream(number)).ask(key, frame)
            except _Gone:
                self._next_leader(group_id, number)
                await asyncio.sleep(_PAUSE_S)
                continue
            failure = reply.failure if hasattr(reply, "failure") and reply.HasField("failure") else None
            if failure is None or (key[0] == "read" and failure.code not in _ABOUT_THE_GROUP):
                return reply
            await self._refused(group_id, number, failure)

    async def _refused(self, group_id, number, failure):
        match failure.code:
            case common_pb2.REDIRECT:
                known = {address: n for n, address in self._servers.addresses.items()}
                if failure.leader in known:
                    self._leaders[group_id] = known[failure.leader]
                else:
                    self._next_leader(group_id, number)
            case common_pb2.SESSION_UNKNOWN:
                await (await self._stream(number)).hello()
            case common_pb2.WRONG_PARTITION:
                self._next_leader(group_id, number)
            case code if code not in _ABOUT_THE_GROUP:
                raise Refused(code, failure.message)
        await asyncio.sleep(_PAUSE_S)

    def _next_leader(self, group_id, number):
        self._leaders[group_id] = number % len(self._servers.servers) + 1

    async def _stream(self, number):
        async with self._opening.setdefault(number, asyncio.Lock()):
            address = self._servers.servers[number].address
            stream = self._streams.get(number)
            if stream is not None and stream.is_open and stream.address == address:
                return stream
            if stream is not None:
                await stream.close()
            stream = self._streams[number] = _Stream(address, self._hello)
            welcome = await stream.hello()
            if welcome.HasField("failure"):
                if welcome.failure.code in _ABOUT_THE_GROUP:  # it begins, or is about to end
                    raise _Gone
                raise Refused(welcome.failure.code, welcome.failure.message)
            return stream


_ABOUT_THE_GROUP = frozenset(
    (
        common_pb2.REDIRECT,
        common_pb2.UNAVAILABLE,
        common_pb2.OVERLOADED,
        common_pb2.SESSION_UNKNOWN,
        common_pb2.SEQUENCE_GAP,
        common_pb2.WRONG_PARTITION,
    )
)
