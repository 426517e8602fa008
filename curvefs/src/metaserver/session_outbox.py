"""What waits to be sent to one mount, counted, and cut into frames.

Everything is taken that is put. Who could put without end waits for room() before he makes more; room is made by the
writer alone, who waits for nobody but the mount.

Shared across awaits: all of it; touched between awaits only.
"""

import asyncio
from collections import deque
from typing import TypeVar

from ...proto import metaserver_pb2 as pb

FRAME_BYTES = 4 << 20
UNSENT_BYTES_MAX = 16 << 20
# A message and its place in the queue, so that many small ones count as what they take.
OVERHEAD_SIZE = 256

Message = TypeVar("Message", pb.Welcome, pb.Lane, pb.TransactionReply, pb.OperationResults, pb.ReadResult)


class SessionOutbox:
    """See the module."""

    def __init__(self) -> None:
        self._welcomes: deque[tuple[pb.Welcome, int]] = deque()
        self._lanes: deque[tuple[pb.Lane, int]] = deque()
        self._transactions: deque[tuple[pb.TransactionReply, int]] = deque()
        self._results: deque[tuple[pb.OperationResults, int]] = deque()
        self._reads: deque[tuple[pb.ReadResult, int]] = deque()
        self._size_bytes = 0
        self._something = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        answers = len(self._transactions) + len(self._results) + len(self._reads)
        return len(self._welcomes) + len(self._lanes) + answers

    def put_welcome(self, welcome: pb.Welcome) -> None:
        """Take the answer to a Hello."""
        self._put(self._welcomes, welcome)

    def put_lane(self, lane: pb.Lane) -> None:
        """Take where a lane stands."""
        self._put(self._lanes, lane)

    def put_transaction(self, reply: pb.TransactionReply) -> None:
        """Take the answer to an operation across partitions."""
        self._put(self._transactions, reply)

    def put_results(self, results: pb.OperationResults) -> None:
        """Take the answer to a batch of operations."""
        self._put(self._results, results)

    def put_read(self, result: pb.ReadResult) -> None:
        """Take the answer to a read."""
        self._put(self._reads, result)

    async def something(self) -> None:
        """Wait until something may have been put since the last time."""
        await self._something.wait()
        self._something.clear()

    async def room(self) -> None:
        """Wait until little enough waits to be sent."""
        while self._size_bytes > UNSENT_BYTES_MAX:
            self._room.clear()
            await self._room.wait()

    def take_frame(self) -> pb.ServerFrame:
        """Take everything that waits, up to a size."""
        welcome, size = self._take(self._welcomes) if self._welcomes else (None, 0)
        frame = pb.ServerFrame(welcome=welcome)
        left = FRAME_BYTES - size
        while self._lanes and not self._welcomes and left > 0:  # none overtakes the Welcome to its Hello
            lane, size = self._take(self._lanes)
            frame.lanes.append(lane)
            left -= size
        while self._transactions and left > 0:
            reply, size = self._take(self._transactions)
            frame.transactions.append(reply)
            left -= size
        while self._results and left > 0:
            results, size = self._take(self._results)
            frame.operations.append(results)
            left -= size
        if self._reads and left > 0:
            into = frame.reads.add().results
            while self._reads and left > 0:
                result, size = self._take(self._reads)
                into.append(result)
                left -= size
        self._room.set()
        return frame

    def _put(self, queue: deque[tuple[Message, int]], message: Message) -> None:
        size = message.ByteSize() + OVERHEAD_SIZE
        queue.append((message, size))
        self._size_bytes += size
        self._something.set()

    def _take(self, queue: deque[tuple[Message, int]]) -> tuple[Message, int]:
        message, size = queue.popleft()
        self._size_bytes -= size
        return message, size
