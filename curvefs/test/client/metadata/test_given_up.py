"""Ids that are not used are told to their groups, together, until these take them."""

import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata import given_up
from curvefs.src.client.metadata.given_up import GivenUpIds
from curvefs.src.client.metadata.slices import SliceCalls
from curvefs.src.common.errors import InvalidArgument, IOFailure, SessionEnded
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.metastore.ids import GIVEN_UP_MAX

from .lab import running

pytestmark = pytest.mark.trio


class Groups:
    def __init__(self):
        self.told = []
        self.failures = []

    async def operate(self, partition_id, operation):
        await trio.sleep(0.01)
        if self.failures:
            raise self.failures.pop(0)
        self.told.append((partition_id, list(operation.give_up_ids.chunk_ids)))
        return pb.OperationResult()


@pytest.fixture
async def groups(nursery):
    made = Groups()
    made.ids = GivenUpIds(made.operate)
    nursery.start_soon(made.ids.run)
    return made


async def test_ids_are_told_together_each_to_its_partition(groups, autojump_clock):
    for n in range(3):
        groups.ids.add(make_id(0, n))
        groups.ids.add(make_id(1, n))
    await trio.sleep(5)
    assert groups.told == [(one, [make_id(one, n) for n in range(3)]) for one in (0, 1)]
    groups.ids.add(make_id(0, 9))
    await trio.sleep(5)
    assert groups.told[2:] == [(0, [make_id(0, 9)])]


async def test_the_data_path_gives_ids_up_through_the_lane(autojump_clock, nursery):
    async with running({1: [0, 1]}) as lab:
        nursery.start_soon(lab.metadata.given_up.run)
        SliceCalls(lab.metadata).give_up_id(make_id(1, 7))
        await trio.sleep(5)
        given_up = [list(one.give_up_ids.chunk_ids) for _, _, one in lab.group().applied]
        assert given_up == [[make_id(1, 7)]]


async def test_no_operation_has_more_than_a_metaserver_takes(groups, autojump_clock):
    for n in range(GIVEN_UP_MAX + 1):
        groups.ids.add(n)
    await trio.sleep(5)
    assert [len(ids) for _, ids in groups.told] == [GIVEN_UP_MAX, 1]


@pytest.mark.parametrize("error", [IOFailure, SessionEnded])
async def test_what_is_not_taken_for_now_is_told_again(groups, autojump_clock, error):
    groups.failures = [error("away")] * 3
    groups.ids.add(5)
    await trio.sleep(10)
    assert groups.told == [(0, [5])]


async def test_what_is_refused_is_left(groups, autojump_clock):
    groups.failures = [InvalidArgument("no")]
    groups.ids.add(5)
    await trio.sleep(10)
    groups.ids.add(6)
    await trio.sleep(10)
    assert groups.told == [(0, [6])]


async def test_what_waits_is_bounded(groups, autojump_clock, monkeypatch):
    monkeypatch.setattr(given_up, "WAITING_MAX", 10)
    for n in range(20):
        groups.ids.add(n)
    await trio.sleep(5)
    assert groups.told == [(0, list(range(10)))]
    groups.ids.add(30)
    await trio.sleep(5)
    assert groups.told[1:] == [(0, [30])]
