"""The controller at work in an MDS: a pass every few seconds, and orders for those that send heartbeats.

Nothing is begun in the first seconds of an MDS (rule 6): it has not heard everybody yet, and one that serves from an
old copy of the store can be stopped in time. A pass over very many copysets takes its time, so the next one waits for
ten times as long.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator

import structlog

from ....proto import heartbeat_pb2 as pb
from ...common.clock import Clock
from ..heartbeat.reports import Reports
from ..topology.views import Views
from .controller import Controller, Ended
from .fleet_view import FleetView
from .operators import Operator
from .progress import End

_log = structlog.get_logger()
_REST = 10
_LOGGED_MAX = 20  # lines of each kind per pass
_ENDED_MAX = 200


class Scheduling:
    """Runs the controller. Not before ``not_before_s`` of the boot-time clock.

    ended: the last operators that are over, the newest last, each with the boot time at which that was seen.
    """

    def __init__(
        self,
        controller: Controller,
        view: FleetView,
        reports: Reports,
        views: Views,
        clock: Clock,
        *,
        interval_s: float,
        not_before_s: float,
    ) -> None:
        self.controller = controller
        self.ended: deque[tuple[float, Ended]] = deque(maxlen=_ENDED_MAX)
        self._view = view
        self._reports = reports
        self._views = views
        self._clock = clock
        self._interval_s = interval_s
        self._not_before_s = not_before_s

    async def run(self) -> None:
        """Make one pass after the other until cancelled."""
        while True:
            began = time.monotonic()
            await self.look()
            await asyncio.sleep(max(self._interval_s, _REST * (time.monotonic() - began)))

    async def look(self) -> None:
        """Make one pass. What takes long is done in a thread, while heartbeats are answered."""
        now_s = self._clock.boottime_s()
        if now_s < self._not_before_s:
            return
        steps = self.controller.steps(list(self._view.snapshots().values()), now_s)
        try:
            work = next(steps)
            while True:
                work = steps.send(await asyncio.to_thread(work))
        except StopIteration as done:
            begun, ended = done.value
        self.ended.extend((now_s, over) for over in ended)
        for one in begun[:_LOGGED_MAX]:
            _log.info("an operator begins", **_told(one))
        for over in ended[:_LOGGED_MAX]:
            _tell_end(over)
        if max(len(begun), len(ended)) > _LOGGED_MAX:
            _log.info("operators", began=len(begun), ended=len(ended), running=len(self.controller.running()))

    def orders(self, request: pb.HeartbeatRequest) -> Iterator[pb.Order]:
        """Yield what the metaserver that sent a heartbeat shall do."""
        yield from self.controller.orders(
            request, has_replica=self._has_replica, address=self._views.address, term=self._reports.term
        )

    def expects(self, metaserver_id: int, group_id: int) -> bool:
        """Return whether a metaserver shall have a replica of a group that its group may not know of yet."""
        return self.controller.expects(metaserver_id, group_id)

    def gave_up(self, metaserver_id: int, group_id: int) -> bool:
        """Return whether a metaserver may have an empty replica that nobody waits for any more."""
        return self.controller.gave_up(metaserver_id, group_id)

    def _has_replica(self, metaserver_id: int, group_id: int) -> bool:
        said = self._reports.of(metaserver_id, group_id)
        return said is not None and not said.damaged


def _tell_end(over: Ended) -> None:
    if over.end is End.DONE:
        _log.info("an operator is done", **_told(over.operator))
    else:
        _log.warning("an operator was given up", why=over.end.value, **_told(over.operator))


def _told(operator: Operator) -> dict[str, object]:
    return {
        "group_id": operator.group_id,
        "scheduler": operator.scheduler.value,
        "step": operator.step.value,
        "source": operator.source,
        "target": operator.target,
        "configuration_index": operator.configuration_index,
    }
