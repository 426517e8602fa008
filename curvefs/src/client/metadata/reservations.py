"""Bytes of quotas that this mount may grow files by, reserved with the partitions before data is accepted (rule 26).

A pool per partition and set of quotas; files take from it and give back. When it does not suffice, what is missing is
reserved, and some more so that small files do not ask one by one. What nobody took from for a while is given back; and
all that is not in use, before a write is refused: so only what other mounts have just reserved is out of reach.

Shared across awaits: the pools, changed between awaits only. `epoch` moves with the session, whose end gives back all.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import CurveFSError, NoSpace, QuotaExceeded
from ...common.ids import partition_of

WISH_BYTES = 16 << 20
IDLE_S = 4.0
TICK_S = 2.0

LOOK_S = 10.0

Operate = Callable[[int, pb.Operation], Awaitable[pb.OperationResult]]
Look = Callable[[], Awaitable[bool]]
Key = tuple[int, tuple[int, ...]]  # partition, quotas


@dataclass(slots=True)
class _Pool:
    bytes: int = 0
    used_at: float = 0.0


class Reservations:
    """See the module. operate: sends an operation to a partition. look: says whether the filesystem has a quota."""

    def __init__(self, operate: Operate, look: Look) -> None:
        self._operate = operate
        self._look = look
        self._is_limited = False  # the filesystem, when it was looked for
        self._pools: dict[Key, _Pool] = {}
        self._limited: set[int] = set()  # partitions under a quota of the filesystem, as far as was heard
        self.epoch = 0

    def apply_to(self, inode_id: int, quotas: tuple[int, ...]) -> bool:
        """Say whether the growth of a file is to be reserved."""
        return bool(quotas) or self._is_limited or partition_of(inode_id) in self._limited

    def heard(self, partition_id: int, *, limited: bool) -> None:
        """Take what a result says of a partition."""
        if limited:
            self._limited.add(partition_id)
        else:
            self._limited.discard(partition_id)

    def clear(self) -> None:
        """Another session has begun: the partitions have taken back what the last one had."""
        self._pools.clear()
        self.epoch += 1

    async def take(self, inode_id: int, bytes_: int, quotas: tuple[int, ...]) -> pb.Reservation:
        """Return so many bytes for a file, which may be charged to other quotas than was thought.

        Raises QuotaExceeded, NoSpace when there is not so much left, and what is raised for any operation.
        """
        for key in ((partition_of(inode_id), quotas), (partition_of(inode_id), tuple(sorted({1, *quotas})))):
            pool = self._pools.get(key)
            if pool is not None and pool.bytes >= bytes_:
                return self._taken(key, pool, bytes_)
        try:
            return await self._reserve(inode_id, bytes_, WISH_BYTES)
        except (QuotaExceeded, NoSpace):
            if not await self.give_back(0.0):
                raise
        return await self._reserve(inode_id, bytes_, 0)

    def put_back(self, inode_id: int, reserved: pb.Reservation) -> None:
        """Take back what a file does not need."""
        if reserved.bytes:
            key = partition_of(inode_id), tuple(reserved.quotas)
            self._pools.setdefault(key, _Pool(0, trio.current_time())).bytes += reserved.bytes

    async def give_back(self, idle_s: float) -> bool:
        """Give pools back that nobody has taken from for so long; says whether there were any.

        Errors are left alone: at the latest the session's end gives them back.
        """
        now = trio.current_time()
        idle = [key for key, pool in self._pools.items() if now - pool.used_at >= idle_s]
        given = [(key, self._pools.pop(key).bytes) for key in idle]
        for (partition_id, quotas), bytes_ in given:
            reserved = pb.Reservation(quotas=quotas, bytes=bytes_)
            operation = pb.Operation(give_back=pb.GiveBack(partition_id=partition_id, reserved=reserved))
            if bytes_:
                try:
                    await self._operate(partition_id, operation)
                except CurveFSError:
                    continue
        return any(bytes_ for _, bytes_ in given)

    async def run(self) -> None:
        """Give back what is idle, and look whether the filesystem has got a quota, until cancelled.

        Until a mount knows of one, its writes are taken unreserved, and refused when they are published.
        """
        look_at = trio.current_time()
        while True:
            if trio.current_time() >= look_at:
                look_at = trio.current_time() + LOOK_S
                with contextlib.suppress(CurveFSError):
                    self._is_limited = await self._look()
            await trio.sleep(TICK_S)
            await self.give_back(IDLE_S)

    async def _reserve(self, inode_id: int, bytes_: int, wish: int) -> pb.Reservation:
        epoch = self.epoch
        request = pb.Reserve(inode_id=inode_id, bytes=bytes_, wish=wish)
        result = await self._operate(partition_of(inode_id), pb.Operation(reserve=request))
        self.heard(partition_of(inode_id), limited=result.limited)
        reserved = result.reserved
        if not reserved.quotas or epoch != self.epoch:
            return pb.Reservation(bytes=bytes_)  # nothing limits it, or the session is another one by now
        key = partition_of(inode_id), tuple(reserved.quotas)
        pool = self._pools.setdefault(key, _Pool())
        pool.bytes += reserved.bytes
        return self._taken(key, pool, bytes_)

    @staticmethod
    def _taken(key: Key, pool: _Pool, bytes_: int) -> pb.Reservation:
        pool.bytes -= bytes_
        pool.used_at = trio.current_time()
        return pb.Reservation(quotas=key[1], bytes=bytes_)
