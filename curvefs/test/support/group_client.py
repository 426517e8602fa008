"""A session with the root's group of a real cluster: follows the group's leader, and keeps what was acknowledged.

    async with GroupClient(mds) as client:
        await client.create("a", "b")       # returns when both are answered, whoever leads

One task at a time. What was submitted and not answered stays in the lane, and is asked for again at the next leader.
"""

import asyncio
import contextlib
import time
from collections import deque

import grpc.aio
from curvefs_tool.copyset.access import Copysets

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError

from .metaserver_client import SessionClient
from .real_servers import open_session

PATIENCE_S = 60.0
_CONNECT_S = 2.0
_ANSWER_S = 3.0
_PAUSE_S = 0.05
_REMEMBERED = 40
BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, ConnectionError, TimeoutError, CurveFSError)


class NotLed(ConnectionError):
    """A metaserver does not lead the group."""


class GroupClient:
    """See the module. acknowledged: names whose creation was."""

    def __init__(self, mds, session=None):
        self.mds = mds
        session = session or open_session(mds)
        self.group_id = session.group_id
        self.session = SessionClient(session.fs_id, session.session_id, session.group_id, session.token)
        self.acknowledged = set()
        self.address = ""  # of whom it is connected with
        self._stack = None
        self._addresses = []
        self._met = deque(maxlen=_REMEMBERED)  # what went wrong last, for who gives up

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.disconnect()

    # ------------------------------------------------------------------------------------------ operations

    async def create(self, *names, patience=PATIENCE_S):
        """Create files in the root; returns when all are acknowledged. Raises TimeoutError."""
        self.submit(*names)
        await self.settle(patience)

    def submit(self, *names):
        """Put creations into the lane; those that succeed are noted as acknowledged."""
        for name in names:
            operation = pb.Create(parent=1, name=name.encode(), mode=0o100644, exclusive=True)
            self.session.lane.submit(pb.Operation(create=operation), lambda result, name=name: self._done(name, result))

    def _done(self, name, result):
        assert isinstance(result, pb.OperationResult), result
        assert result.status == 0, (name, result)
        assert name not in self.acknowledged
        self.acknowledged.add(name)

    async def settle(self, patience=PATIENCE_S):
        """Have all that is in the lane answered, whoever leads. Raises TimeoutError."""
        try:
            async with asyncio.timeout(patience):
                await self._settle()
        except TimeoutError as error:
            raise TimeoutError("\n".join(["no answer; what was met last:", *self._met])) from error

    async def _settle(self):
        while not self.session.lane.idle:
            try:
                if self._stack is None:
                    await self._find_leader()
                while not self.session.lane.idle:
                    before = self.session.lane.acknowledged
                    await self._advance(before)
            except BROKEN as error:
                self._note(error, f"at {self.address}")
                await self.disconnect()
                await asyncio.sleep(_PAUSE_S)

    def _note(self, error, where):
        self._met.append(f"{time.strftime('%H:%M:%S')} {where}: {error!r}")

    async def _advance(self, before):
        """Send and take answers until something is acknowledged. Raises TimeoutError when nothing is for long."""
        async with asyncio.timeout(_ANSWER_S):
            while self.session.lane.acknowledged == before:
                await self.session.exchange()
        self.session.frames.clear()

    async def names(self):
        """Return the names in the root, as the leader has them."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._stack is None:
                    await self._find_leader()
                async with asyncio.timeout(PATIENCE_S):
                    return set(await self.session.names())
            except BROKEN:
                await self.disconnect()
                assert time.monotonic() < end
                await asyncio.sleep(_PAUSE_S)

    # ------------------------------------------------------------------------------------------ connections

    async def connect(self, address):
        """Present the session at one metaserver. Raises NotLed, or what is in BROKEN."""
        await self.disconnect()
        stack = contextlib.AsyncExitStack()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await stack.enter_async_context(self.session.connected(address, wait=False))
            welcome = self.session.welcome
            refusal = welcome.failure if welcome.HasField("failure") else self.session.lanes[self.group_id].failure
            if refusal.code:
                raise NotLed(f"{address}: {refusal}")
        except BaseException:
            await stack.aclose()
            raise
        self._stack, self.address = stack, address

    async def disconnect(self):
        """Let go of the connection; the lane stays."""
        stack, self._stack, self.address = self._stack, None, ""
        if stack is not None:
            await stack.aclose()

    async def _find_leader(self):
        for address in self._addresses or await self._peers():
            try:
                await self.connect(address)
            except BROKEN as error:
                self._note(error, f"to {address}")
            else:
                return
        self._addresses = []  # members may have changed
        raise NotLed("no metaserver leads the group")

    async def _peers(self):
        def ask():
            with Copysets([self.mds]) as copysets:
                found = copysets.known(self.group_id)
                return [peer.address for peer in found.peers if peer.address]

        self._addresses = await asyncio.to_thread(ask)
        return self._addresses
