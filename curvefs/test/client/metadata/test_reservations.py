"""Reservations of one mount, against a partition that has so much left."""

from dataclasses import dataclass, field

import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.reservations import IDLE_S, LOOK_S, TICK_S, Reservations
from curvefs.src.common.errors import IOFailure, QuotaExceeded
from curvefs.src.common.ids import make_id

pytestmark = pytest.mark.trio

FILE = make_id(3, 7)
QUOTAS = (50, 60)


@dataclass
class Partition:
    """Has ``left`` bytes of each quota; ``quotas``: what the files are charged to."""

    left: int
    quotas: tuple = QUOTAS
    limited: bool = False
    asked: list = field(default_factory=list)
    failing: int = 0

    async def look(self):
        return self.limited

    async def operate(self, partition_id, operation):
        assert partition_id == 3
        await trio.lowlevel.checkpoint()
        self.asked.append(operation.WhichOneof("operation"))
        if self.failing:
            self.failing -= 1
            raise IOFailure
        if operation.HasField("give_back"):
            self.left += operation.give_back.reserved.bytes
            return pb.OperationResult()
        request = operation.reserve
        if request.bytes > self.left:
            raise QuotaExceeded
        taken = request.bytes + min(request.wish, (self.left - request.bytes) // 2)
        self.left -= taken
        return pb.OperationResult(reserved=pb.Reservation(quotas=self.quotas, bytes=taken), limited=self.limited)


async def test_many_small_files_ask_once():
    partition = Partition(1 << 20)
    reservations = Reservations(partition.operate, partition.look)
    for _ in range(100):
        taken = await reservations.take(FILE, 1000, QUOTAS)
        assert (tuple(taken.quotas), taken.bytes) == (QUOTAS, 1000)
    assert partition.asked == ["reserve"]


async def test_what_this_mount_has_idle_is_given_back_before_a_write_is_refused():
    partition = Partition(1000)
    reservations = Reservations(partition.operate, partition.look)
    await reservations.take(FILE, 100, QUOTAS)
    assert partition.left == 450
    assert (await reservations.take(FILE, 900, QUOTAS)).bytes == 900
    with pytest.raises(QuotaExceeded):
        await reservations.take(FILE, 1, QUOTAS)


async def test_idle_reservations_go_back_after_a_while(autojump_clock):
    partition = Partition(1000)
    reservations = Reservations(partition.operate, partition.look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reservations.run)
        await reservations.take(FILE, 100, QUOTAS)
        await trio.sleep(IDLE_S + 2 * TICK_S)
        assert partition.left == 900
        assert partition.asked == ["reserve", "give_back"]
        nursery.cancel_scope.cancel()


async def test_what_a_file_does_not_need_serves_the_next():
    partition = Partition(200)
    reservations = Reservations(partition.operate, partition.look)
    taken = await reservations.take(FILE, 150, QUOTAS)
    reservations.put_back(FILE, taken)
    await reservations.take(FILE, 170, QUOTAS)
    assert partition.asked == ["reserve"]


async def test_a_new_session_has_nothing_reserved():
    partition = Partition(1000)
    reservations = Reservations(partition.operate, partition.look)
    await reservations.take(FILE, 10, QUOTAS)
    epoch = reservations.epoch
    reservations.clear()
    assert reservations.epoch != epoch
    await reservations.take(FILE, 10, QUOTAS)
    assert partition.asked == ["reserve", "reserve"]


async def test_giving_back_in_vain_is_left_to_the_end_of_the_session():
    partition = Partition(1000)
    reservations = Reservations(partition.operate, partition.look)
    await reservations.take(FILE, 10, QUOTAS)
    partition.failing = 1
    assert await reservations.give_back(0.0)
    assert not await reservations.give_back(0.0)


async def test_only_files_under_quotas_reserve():
    partition = Partition(1000, quotas=(), limited=True)
    reservations = Reservations(partition.operate, partition.look)
    assert not reservations.apply_to(FILE, ())
    assert reservations.apply_to(FILE, QUOTAS)
    reservations.heard(3, limited=True)
    assert reservations.apply_to(FILE, ())
    reservations.heard(3, limited=False)
    assert not reservations.apply_to(FILE, ())
    assert not (await reservations.take(FILE, 10, QUOTAS)).quotas, "the quota is gone; nothing limits the file"
    assert reservations.apply_to(FILE, ()), "the answer said that the partition is limited"


async def test_a_quota_of_the_filesystem_is_found_without_any_change_of_ones_own(autojump_clock):
    partition = Partition(1000, quotas=())
    reservations = Reservations(partition.operate, partition.look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reservations.run)
        await trio.sleep(1)
        assert not reservations.apply_to(FILE, ())
        partition.limited = True
        await trio.sleep(LOOK_S + TICK_S)
        assert reservations.apply_to(FILE, ())
        nursery.cancel_scope.cancel()
