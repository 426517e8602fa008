"""A heartbeat: what it says is noted, what it lacks is ordered."""

from collections.abc import Callable, Iterator

import structlog

from ....proto import heartbeat_pb2 as pb
from ...common.clock import Clock
from ..retries import RetryQueue
from ..state import State
from ..topology.registration import Registration
from ..topology.views import Views
from .reports import Reports

_log = structlog.get_logger()

# Rule 19: a clock further off than this disqualifies a metaserver from leading; here it is worth a line in the log.
_CLOCK_OFFSET_NS_MAX = 2_000_000_000
_CLOCK_IS_OFF = "its clock differs by more than 2 s from the MDS's"
_ORDERS_MAX = 1000


class Heartbeats:
    """Answers heartbeats.

    is_over: whether a session must be ended by the groups that serve it. orders_after_s: seconds after its start
    in which this MDS orders no ends, so that one with restored state can be stopped in time (rule 6).
    """

    def __init__(
        self,
        state: State,
        reports: Reports,
        registration: Registration,
        views: Views,
        endings: RetryQueue[int],
        *,
        clock: Clock,
        is_over: Callable[[bytes], bool],
        interval_ms: int,
        orders_after_s: float,
    ) -> None:
        self._state = state
        self._reports = reports
        self._registration = registration
        self._views = views
        self._endings = endings
        self._clock = clock
        self._is_over = is_over
        self._interval_ms = interval_ms
        self._orders_after_s = orders_after_s
        self._warned: set[tuple[int, str]] = set()

    def beat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatReply:
        """Note a report and answer the orders. Raises PermissionDenied (wrong token)."""
        self._registration.known(request.metaserver_id, request.token)
        now_s, now_ns = self._clock.boottime_s(), self._clock.time_ns()
        self._reports.heard(request, now_s, now_ns)
        self._look_at(request, now_ns)
        reply = pb.HeartbeatReply(mds_time_ns=now_ns, next_heartbeat_ms=self._interval_ms)
        for order in self._orders(request, now_s):
            reply.orders.append(order)
            if len(reply.orders) == _ORDERS_MAX:
                break
        # It is there: what waits for it need not wait out its pause.
        for copyset in request.copysets:
            self._endings.kick(copyset.group_id)
        return reply

    def _orders(self, request: pb.HeartbeatRequest, now_s: float) -> Iterator[pb.Order]:
        reported = {copyset.group_id for copyset in request.copysets}
        for group_id, record in self._state.copysets.items():
            member = any(peer.metaserver_id == request.metaserver_id for peer in record.peers)
            if not member or group_id in reported:
                continue
            if self._registration.may_create(group_id):
                order = pb.CreateCopysetOrder(peers=self._views.peers(group_id))
                yield pb.Order(group_id=group_id, create_copyset=order)
            else:
                self._warn_once(request.metaserver_id, f"its copyset {group_id} is missing, with metadata in it")
        if now_s - self._reports.started_s < self._orders_after_s:
            return
        for copyset in request.copysets:
            for session in copyset.sessions:
                if self._is_over(session.session_id):
                    end = pb.EndSessionOrder(session_id=session.session_id)
                    yield pb.Order(
                        group_id=copyset.group_id, configuration_index=copyset.configuration_index, end_session=end
                    )

    def _look_at(self, request: pb.HeartbeatRequest, now_ns: int) -> None:
        metaserver_id = request.metaserver_id
        if request.highest_epoch > self._state.authority.epoch:
            self._warn_once(metaserver_id, "it obeyed a newer MDS than this one: is this MDS's store an old copy?")
        if request.time_ns and abs(request.time_ns - now_ns) > _CLOCK_OFFSET_NS_MAX:
            self._warn_once(metaserver_id, _CLOCK_IS_OFF)
        else:
            self._warned.discard((metaserver_id, _CLOCK_IS_OFF))

    def _warn_once(self, metaserver_id: int, what: str) -> None:
        if (metaserver_id, what) not in self._warned:
            self._warned.add((metaserver_id, what))
            _log.error("something is wrong with a metaserver", metaserver_id=metaserver_id, what=what)
