"""A transaction whose participant does not answer, and for which nobody waits any more: its number is given up."""

import asyncio
import contextlib

import pytest

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import Unavailable, WrongPartition
from curvefs.src.metaserver.transactions.calls import Place
from curvefs.src.metaserver.transactions.coordinator import Coordinator, check_request

from ..copyset.lab import FS, GROUP, SESSION, Lab

pytestmark = pytest.mark.asyncio


class Calls:
    """Partition 5 is in a group without a majority, or unknown."""

    def __init__(self, error):
        self.error = error

    async def place(self, _fs_id, _partition_id):
        if isinstance(self.error, WrongPartition):
            raise self.error
        return Place(99, ("x:1",))

    async def call(self, *_, **__):
        raise self.error


@contextlib.asynccontextmanager
async def coordinator(tmp_path, error):
    lab = Lab(tmp_path)
    await lab.begin()
    made = Coordinator(lab.manager, Calls(error), clock=SystemClock(), ask=None)
    running = asyncio.create_task(made.run())
    while made._tasks is None:
        await asyncio.sleep(0)
    try:
        yield made
    finally:
        running.cancel()
        await lab.stop()


def request(**operation):
    made = pb.TransactionRequest(
        fs_id=FS, session_id=SESSION, group_id=GROUP, number=1, operation=pb.Operation(**operation)
    )
    check_request(made)
    return made


MKDIR = {"create": pb.Create(parent=1, name=b"d", mode=0o40755, partition_id=5, exclusive=True)}


async def test_one_that_is_not_done_is_given_up_by_another_under_its_number(tmp_path):
    async with coordinator(tmp_path, Unavailable("no leader")) as made:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await made.operate(request(**MKDIR))
        answers = [await made.operate(request(noop=pb.NoOperation())), await made.operate(request(**MKDIR))]
        assert [answer.status for answer in answers] == [common_pb2.UNSUPPORTED] * 2, "a late copy does nothing"


async def test_a_participant_that_is_not_known_is_no_answer_about_the_coordinator(tmp_path):
    """WRONG_PARTITION would have the mount look for the leader of a group that is well."""
    async with coordinator(tmp_path, WrongPartition("partition 5 is not known")) as made:
        with pytest.raises(Unavailable, match="partition 5"):
            await made.operate(request(**MKDIR))
