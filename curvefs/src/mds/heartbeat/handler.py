"""A heartbeat: what it says is noted, what it lacks is ordered, what is left over is ordered away."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import structlog

from ....proto import common_pb2, topology_pb2
from ....proto import heartbeat_pb2 as pb
from ...common.clock import Clock
from ..recovery.recovery import Recovery
from ..retries import RetryQueue
from ..schedule.operators import Limits
from ..schedule.scheduling import Scheduling
from ..state import State
from ..topology.copysets import Copysets
from ..topology.membership import has_left
from ..topology.registration import Registration
from ..topology.views import Views
from .reports import Reports

_log = structlog.get_logger()

# Rule 19: a clock further off than this disqualifies a metaserver from leading; here it is worth a line in the log.
_CLOCK_OFFSET_NS_MAX = 2_000_000_000
_CLOCK_IS_OFF = "its clock differs by more than 2 s from the MDS's"
_ORDERS_MAX = 1000
_Fact = tuple[str, int]  # one of these, and of which group
_MISSING, _LEFT, _FORGOTTEN = "missing", "left", "forgotten"
# Several heartbeats; and what an operator of an MDS before this one, or a person, may take to bring a replica in.
_LASTING_S = {_MISSING: 10.0, _LEFT: 10.0, _FORGOTTEN: Limits().join_timeout_s}
_IS_MISSING = "it has lost its replica of copyset"


class Heartbeats:
    """Answers heartbeats.

    over_among: which of these sessions must be ended by the groups that serve them. orders_after_s: seconds after its
    start in which this MDS orders no ends, so that one with restored state can be stopped in time (rule 6).
    """

    def __init__(
        self,
        state: State,
        reports: Reports,
        registration: Registration,
        copysets: Copysets,
        views: Views,
        *,
        recovery: Recovery,
        scheduling: Scheduling,
        endings: RetryQueue[int],
        clock: Clock,
        over_among: Callable[[Collection[bytes]], set[bytes]],
        interval_ms: int,
        orders_after_s: float,
    ) -> None:
        self._state = state
        self._reports = reports
        self._registration = registration
        self._copysets = copysets
        self._views = views
        self._recovery = recovery
        self._scheduling = scheduling
        self._endings = endings
        self._clock = clock
        self._over_among = over_among
        self._interval_ms = interval_ms
        self._orders_after_s = orders_after_s
        self._warned: set[tuple[int, str]] = set()
        self._off: set[int] = set()  # metaservers whose last heartbeat came with a time that is off
        self._true_since: dict[int, dict[_Fact, float]] = {}  # by metaserver; boot time

    def beat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatReply:
        """Note a report and answer the orders; in recovery there are none.

        Raises PermissionDenied (wrong token), AlreadyExists (another process is this metaserver), Unavailable (the
        metaserver obeyed a newer MDS).
        """
        self._registration.check_known(request.metaserver_id, request.token, request.instance)
        self._recovery.compare(request.metaserver_id, request.highest_epoch, request.changes_told)
        now_s, now_ns = self._clock.boottime_s(), self._clock.time_ns()
        self._reports.heard(request, now_s)
        self._recovery.heard(request)
        self._look_at(request, now_ns)
        for copyset in request.copysets:
            self._copysets.heard(copyset)
        reply = pb.HeartbeatReply(
            mds_time_ns=now_ns,
            next_heartbeat_ms=self._interval_ms,
            moved=self._moved(request),
            changes=self._recovery.answered(request.metaserver_id),
        )
        if self._recovery.active:
            reply.recovering = True
            return reply
        for order in self._orders(request, now_s):
            reply.orders.append(order)
            if len(reply.orders) == _ORDERS_MAX:
                break
        # It is there: what waits for it need not wait out its pause.
        for copyset in request.copysets:
            self._endings.kick(copyset.group_id)
        return reply

    def _moved(self, request: pb.HeartbeatRequest) -> list[common_pb2.Peer]:
        """Return the peers of a metaserver's groups that are elsewhere than its configurations say."""
        said = {(peer.metaserver_id, peer.address) for copyset in request.copysets for peer in copyset.peers}
        moved = {id_: found for id_, address in said if (found := self._views.address(id_)) and found != address}
        moved.pop(request.metaserver_id, None)
        return [common_pb2.Peer(metaserver_id=id_, address=found) for id_, found in sorted(moved.items())]

    def _orders(self, request: pb.HeartbeatRequest, now_s: float) -> Iterator[pb.Order]:
        missing, left = self._missing(request), self._left_behind(request)
        for record in missing:
            if self._copysets.may_create(record.group_id):
                peers = self._views.peers(record.group_id)
                order = pb.CreateCopysetOrder(peers=peers, first_metaserver_id=peers[0].metaserver_id)
                yield _order(record, create_copyset=order)
        facts = {(_MISSING, record.group_id) for record in missing} | {(fact, record.group_id) for record, fact in left}
        lasting = self._lasting(request.metaserver_id, facts, now_s)
        for record in missing:
            if (_MISSING, record.group_id) in lasting and not self._copysets.may_create(record.group_id):
                self._warn_once(request.metaserver_id, f"{_IS_MISSING} {record.group_id}")
        if now_s - self._reports.started_s < self._orders_after_s:
            return
        yield from self._scheduling.orders(request)
        for record, fact in left:
            if (fact, record.group_id) in lasting:
                yield _order(record, remove_copyset=pb.RemoveCopysetOrder())
        yield from self._ended(request)

    def _missing(self, request: pb.HeartbeatRequest) -> list[topology_pb2.Copyset]:
        """Return the copysets of which a metaserver should have a replica and reports none."""
        reported = {copyset.group_id for copyset in request.copysets}
        for group_id in reported:
            self._warned.discard((request.metaserver_id, f"{_IS_MISSING} {group_id}"))
        return [
            record
            for group_id, record in self._state.copysets.items()
            if group_id not in reported and any(peer.metaserver_id == request.metaserver_id for peer in record.peers)
        ]

    def _left_behind(self, request: pb.HeartbeatRequest) -> list[tuple[topology_pb2.Copyset, str]]:
        """Return the copysets that go on without the replica that a metaserver reports, and by which fact.

        Only where the group's leader itself reports the membership that is stored: then a replica that is just joining
        is in it, however little of the log it has yet. One that is damaged cannot join: it goes also where one is
        expected, to make room for an empty one. A group this MDS does not know is left alone (rule 6). An empty one
        that nobody expects may have been ordered by the MDS before this one: it is forgotten when it waits too long.
        """
        found = []
        server = self._state.metaservers.get(request.metaserver_id)
        retires = server is not None and server.duty == topology_pb2.RETIRES
        for copyset in request.copysets:
            record = self._state.copysets.get(copyset.group_id)
            leader = self._reports.of(self._views.leader(copyset.group_id), copyset.group_id)
            if record is None or leader is None or leader.configuration_index != record.configuration_index:
                continue
            gave_up = self._scheduling.gave_up(request.metaserver_id, copyset.group_id)
            expected = self._scheduling.expects(request.metaserver_id, copyset.group_id)
            waits_to_join = expected and not copyset.damaged
            if waits_to_join:
                continue
            if has_left(record, copyset, request.metaserver_id, gave_up=gave_up or retires):
                found.append((record, _LEFT))
            elif has_left(record, copyset, request.metaserver_id, gave_up=True):
                found.append((record, _FORGOTTEN))
        return found

    def _lasting(self, metaserver_id: int, facts: set[_Fact], now_s: float) -> set[_Fact]:
        """Return those of some facts that held for a metaserver in all its heartbeats for a while.

        What the leader and another replica say was not said at the same moment: one heartbeat proves nothing.
        """
        before = self._true_since.pop(metaserver_id, {})
        since = {fact: before.get(fact, now_s) for fact in facts}
        if since:
            self._true_since[metaserver_id] = since
        return {fact for fact, since_s in since.items() if now_s - since_s >= _LASTING_S[fact[0]]}

    def _ended(self, request: pb.HeartbeatRequest) -> Iterator[pb.Order]:
        """Order the leaders to end the sessions that are over."""
        led = [
            copyset
            for copyset in request.copysets
            if copyset.leading and self._reports.leader_of(copyset.group_id) == request.metaserver_id
        ]
        over = self._over_among({session.session_id for copyset in led for session in copyset.sessions})
        for copyset in led:
            for session in copyset.sessions:
                if session.session_id in over:
                    end = pb.EndSessionOrder(session_id=session.session_id)
                    yield pb.Order(
                        group_id=copyset.group_id, configuration_index=copyset.configuration_index, end_session=end
                    )

    def _look_at(self, request: pb.HeartbeatRequest, now_ns: int) -> None:
        metaserver_id = request.metaserver_id
        if not request.time_ns or abs(request.time_ns - now_ns) <= _CLOCK_OFFSET_NS_MAX:
            self._off.discard(metaserver_id)
            self._warned.discard((metaserver_id, _CLOCK_IS_OFF))
        elif metaserver_id in self._off:
            self._warn_once(metaserver_id, _CLOCK_IS_OFF)
        else:  # a single one may have waited for this MDS to begin
            self._off.add(metaserver_id)

    def _warn_once(self, metaserver_id: int, what: str) -> None:
        if (metaserver_id, what) not in self._warned:
            self._warned.add((metaserver_id, what))
            _log.error("something is wrong with a metaserver", metaserver_id=metaserver_id, what=what)


def _order(record: topology_pb2.Copyset, **what: Any) -> pb.Order:
    return pb.Order(group_id=record.group_id, configuration_index=record.configuration_index, **what)
