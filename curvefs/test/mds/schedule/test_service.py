"""The schedulers' service as tools call it."""

import pytest

from curvefs.proto import schedule_pb2 as pb
from curvefs.proto.schedule_pb2_grpc import ScheduleServiceStub
from curvefs.src.common.errors import InvalidArgument
from curvefs.src.rpc.asyncio_client import AsyncClient

pytestmark = pytest.mark.asyncio


async def test_values_that_only_a_newer_tool_knows_are_refused_and_nothing_is_stored(mds, metaserver):
    client = AsyncClient([await mds.listen()])
    [(id_, before)] = mds.mds.state.metaservers.items()
    try:
        with pytest.raises(InvalidArgument, match="no duty 77"):
            await client.call(ScheduleServiceStub, "SetDuty", pb.SetDutyRequest(metaserver_id=id_, duty=77))
        with pytest.raises(InvalidArgument, match="no scheduler 77"):
            await client.call(ScheduleServiceStub, "SetScheduler", pb.SetSchedulerRequest(scheduler=77))
    finally:
        await client.close()
    assert dict(mds.mds.state.metaservers.items()) == {id_: before}
    assert not before.duty
