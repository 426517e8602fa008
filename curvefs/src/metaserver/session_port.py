"""The port of session streams: who connects is served by a SessionStream, until he goes or the metaserver stops.

Who has not presented a session within ADMISSION_S is cut off, and sends small frames only until then.

Shared across awaits: the table of streams.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ...proto import metaserver_pb2 as pb
from ..common.errors import Overloaded
from ..common.status import failure_of
from ..rpc.asyncio_frames import ServerFrames, serve_frames
from .copyset.manager import CopysetManager
from .metrics import Metrics
from .session_stream import SessionStream

STREAMS_MAX = 10_000
ADMISSION_S = 30.0


class SessionPort:
    """See the module. instance: INSTANCE_SIZE bytes. secret: returns what verifies session tokens; empty while unknown.

    transact: carries out operations across partitions.
    """

    def __init__(
        self,
        copysets: CopysetManager,
        instance: bytes,
        *,
        secret: Callable[[], bytes],
        mds_time_ns: Callable[[], int],
        metrics: Metrics,
        transact: Callable[[pb.TransactionRequest], Awaitable[pb.OperationResult]],
    ) -> None:
        self.port = 0  # until it is open
        self.instance = instance
        self._copysets = copysets
        self._secret = secret
        self._mds_time_ns = mds_time_ns
        self._metrics = metrics
        self._transact = transact
        self._server: asyncio.Server | None = None
        self._streams: dict[SessionStream, asyncio.Task[None]] = {}
        self._stopping = False

    async def open(self, address: str) -> None:
        """Listen on HOST:PORT (0: any). Raises StartupError."""
        self._server, self.port = await serve_frames(address, self.instance, self._serve)

    async def _serve(self, frames: ServerFrames) -> None:
        if self._stopping or len(self._streams) >= STREAMS_MAX:
            busy = Overloaded("too many streams, or stopping", retry_after_ms=1000)
            await frames.write(pb.ServerFrame(welcome=pb.Welcome(failure=failure_of(busy))))
            return
        stream = SessionStream(
            self._copysets,
            frames,
            secret=self._secret,
            mds_time_ns=self._mds_time_ns,
            metrics=self._metrics,
            transact=self._transact,
        )
        task = self._streams[stream] = asyncio.create_task(stream.run(), name="stream")
        self._metrics.streams.inc()
        patience = asyncio.get_running_loop().call_later(
            ADMISSION_S, lambda: None if stream.is_admitted else frames.abort()
        )
        try:
            await asyncio.wait([task])
        finally:
            patience.cancel()
            del self._streams[stream]
            self._metrics.streams.dec()
        if not task.cancelled():
            task.result()

    async def stop(self, deadline_s: float) -> None:
        """Take no more streams; end every one after what is under way on it is answered, at most so long."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        tasks = list(self._streams.values())
        for stream in list(self._streams):
            stream.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=deadline_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
