"""ScheduleService: what moves, what may, and who is to be emptied. Errors become failures in calls.py."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

from ....proto import schedule_pb2 as pb
from ....proto import topology_pb2
from ....proto.schedule_pb2_grpc import ScheduleServiceServicer
from ...common.clock import Clock
from ...common.errors import InvalidArgument
from ..calls import Calls, answers
from ..recovery.recovery import Recovery
from ..topology.duties import Duties
from .operators import Operator
from .scheduling import Scheduling
from .switches import Switches


class ScheduleService(ScheduleServiceServicer):
    """See schedule.proto."""

    def __init__(
        self,
        calls: Calls,
        scheduling: Scheduling,
        switches: Switches,
        duties: Duties,
        *,
        recovery: Recovery,
        clock: Clock,
    ) -> None:
        self.calls = calls
        self._recovery = recovery
        self._scheduling = scheduling
        self._switches = switches
        self._duties = duties
        self._clock = clock

    @answers(pb.GetScheduleReply)
    async def GetSchedule(self, _request: pb.GetScheduleRequest) -> pb.GetScheduleReply:
        # Boot time to time of day: as far back from now as it was then.
        origin_ns = self._clock.time_ns() - int(self._clock.boottime_s() * 1e9)
        reply = pb.GetScheduleReply(switches=self._switches.all())
        for running in self._scheduling.controller.running():
            shown = _shown(running.operator)
            shown.started_ns = origin_ns + int(running.started_s * 1e9)
            shown.deadline_ns = origin_ns + int(running.deadline_s * 1e9)
            reply.running.append(shown)
        for ended_s, ended in self._scheduling.ended:
            shown = _shown(ended.operator)
            shown.ended_ns, shown.end = origin_ns + int(ended_s * 1e9), ended.end.value
            reply.ended.append(shown)
        return reply

    @answers(pb.ScheduleReply)
    async def SetScheduler(self, request: pb.SetSchedulerRequest) -> pb.ScheduleReply:
        if request.scheduler not in pb.Scheduler.values():
            raise InvalidArgument(f"this MDS knows no scheduler {request.scheduler}")
        if request.scheduler == pb.PERSON:
            raise InvalidArgument("a person is no scheduler")
        await self._switches.set(request.scheduler, on=request.enabled)
        return pb.ScheduleReply()

    @answers(pb.ScheduleReply)
    async def SetDuty(self, request: pb.SetDutyRequest) -> pb.ScheduleReply:
        if request.duty not in topology_pb2.Duty.values():  # a newer tool's: the message takes any number
            raise InvalidArgument(f"this MDS knows no duty {request.duty}")
        self._recovery.check()
        await self._duties.assign(request.metaserver_id, request.duty)
        return pb.ScheduleReply()


def _shown(operator: Operator) -> pb.Operator:
    return pb.Operator(
        group_id=operator.group_id,
        scheduler=operator.scheduler.name,
        configuration_index=operator.configuration_index,
        step=operator.step.value,
        source=operator.source,
        target=operator.target,
    )
