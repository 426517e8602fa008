"""Snapshots of what the MDS has stored and has heard, one for each pool.

What is made of a copyset is kept and used again while its record, its leader, the leader's configuration and what is
damaged are the same; so a snapshot of many copysets costs little more than looking at each.

A copyset that is lost is in none of them: there is nothing to be done with it, and it counts for nothing.

A replica that its metaserver has not reported for minutes, though it is heard, is as good as damaged: it leaves by a
decision of the others, and nothing is made anew under its name.

A copyset whose leader says another configuration than the record has is changing: the record follows what is committed.
"""

from collections import Counter
from dataclasses import dataclass

from ....proto import topology_pb2
from ...common.clock import Clock
from ..heartbeat.reports import Reports
from ..state import State
from ..topology.places import Places
from ..topology.views import Views
from .snapshot import CopysetInfo, MetaserverInfo, Snapshot

# Many heartbeats and passes: a metaserver that was just restarted has not reported yet.
_MISSING_S = 300.0


@dataclass(frozen=True, slots=True)
class _Made:
    """A copyset, and what it was made from."""

    record: topology_pb2.Copyset
    leader: int
    is_settled: bool
    info: CopysetInfo


class FleetView:
    """Makes snapshots.

    replica_count: of each copyset in the default pool; where most have more than that they keep them, because an MDS
    that was started with other settings must not take replicas away. How many they have is seen once, at the first
    look: later, one of a single replica that moves has two for a while. cooling_s: for so long a metaserver that is
    back gets no leaders.
    """

    def __init__(
        self,
        state: State,
        reports: Reports,
        views: Views,
        clock: Clock,
        *,
        places: Places,
        replica_count: int,
        cooling_s: float,
    ) -> None:
        self._state = state
        self._reports = reports
        self._views = views
        self._places = places
        self._clock = clock
        self._replica_count = replica_count
        self._cooling_s = cooling_s
        self._online_since: dict[int, float] = {}
        self._made: dict[int, _Made] = {}
        # Voters (metaserver, group) since some boot time, at this look and the one before.
        self._missing_since: dict[tuple[int, int], float] = {}
        self._missing_before: dict[tuple[int, int], float] = {}
        self._usual_count = 0  # replicas of most copysets in the default pool, at the first look; 0: it has none yet

    def snapshots(self) -> dict[int, Snapshot]:
        """Return the fleet as it is now, by pool; 0 is the default one. No pool without metaservers is among them."""
        metaservers: dict[int, list[topology_pb2.Metaserver]] = {}
        for record in self._state.metaservers.values():
            metaservers.setdefault(self._places.pool_of(record), []).append(record)
        for gone in [id_ for id_ in self._online_since if id_ not in self._state.metaservers]:
            del self._online_since[gone]
        lost = self._views.lost_copysets()
        self._missing_before, self._missing_since = self._missing_since, {}
        made = {id_: self._copyset(record) for id_, record in self._state.copysets.items() if id_ not in lost}
        self._made = made
        copysets: dict[int, list[CopysetInfo]] = {}
        pool_of = self._places.pool_of_copysets()
        for one in made.values():
            copysets.setdefault(pool_of(one.record), []).append(one.info)
        return {pool: self._snapshot(pool, those, copysets.get(pool, [])) for pool, those in metaservers.items()}

    def _snapshot(self, pool_id: int, records: list[topology_pb2.Metaserver], copysets: list[CopysetInfo]) -> Snapshot:
        pool = self._state.pools.get(pool_id)
        count = pool.replica_count if pool is not None else self._default_count(copysets)
        infos = [self._metaserver(record, replica_count=count) for record in records]
        return Snapshot.of(infos, copysets, replica_count=count, zone_count=1 if pool is None else count)

    def _default_count(self, copysets: list[CopysetInfo]) -> int:
        if not self._usual_count:
            # Those that leave a metaserver may have one more than they shall keep, unless all others are like them.
            sizes = Counter(len(one.voters) for one in copysets if not any(map(self._retires, one.voters)))
            sizes = sizes or Counter(len(one.voters) for one in copysets)
            self._usual_count = max(sizes, key=lambda size: (sizes[size], -size), default=0)
        return max(self._replica_count, self._usual_count)

    def _retires(self, metaserver_id: int) -> bool:
        record = self._state.metaservers.get(metaserver_id)
        return record is not None and record.duty != topology_pb2.SERVES

    def _metaserver(self, record: topology_pb2.Metaserver, *, replica_count: int) -> MetaserverInfo:
        id_ = record.metaserver_id
        health, report = self._views.health(id_), self._reports.get(id_)
        if health != topology_pb2.ONLINE:
            self._online_since.pop(id_, None)
        elif replica_count > 1 and (report is None or not report.proven):
            # It may be a ghost, whose process never got the answer to its registration. It is dropped together with a
            # copyset of its own, but others must not share copysets with it.
            health = topology_pb2.UNSTABLE
        now_s = self._clock.boottime_s()
        since_s = self._online_since.setdefault(id_, now_s) if health == topology_pb2.ONLINE else now_s
        return MetaserverInfo(
            id_,
            self._places.zone_of(record),
            health,
            report.disk_total_bytes if report else 0,
            report.disk_used_bytes if report else 0,
            retiring=record.duty != topology_pb2.SERVES,
            cooling=now_s - since_s < self._cooling_s,
        )

    def _copyset(self, record: topology_pb2.Copyset) -> _Made:
        group_id, index = record.group_id, record.configuration_index
        leader = self._views.leader(group_id)
        said = self._reports.of(leader, group_id)
        # An index of 0 guards nothing: such a group has not reported yet.
        is_settled = index > 0 and said is not None and said.configuration_index == index <= said.committed_index
        voters = tuple(peer.metaserver_id for peer in record.peers if not peer.learner)
        lost = frozenset(voter for voter in voters if self._is_lost(voter, group_id))
        before = self._made.get(group_id)
        if (
            before is not None
            and before.record is record
            and before.leader == leader
            and before.is_settled == is_settled
            and before.info.lost == lost
        ):
            return before
        info = CopysetInfo(
            group_id,
            voters,
            leader,
            index,
            tuple(peer.metaserver_id for peer in record.peers if peer.learner),
            changing=not is_settled,
            lost=lost,
        )
        return _Made(record, leader, is_settled, info)

    def _is_lost(self, metaserver_id: int, group_id: int) -> bool:
        said = self._reports.of(metaserver_id, group_id)
        if said is not None:
            return said.damaged
        if not self._is_missing(metaserver_id, group_id):
            return False
        key, now_s = (metaserver_id, group_id), self._clock.boottime_s()
        self._missing_since[key] = self._missing_before.get(key, now_s)
        return now_s - self._missing_since[key] >= _MISSING_S

    def _is_missing(self, metaserver_id: int, group_id: int) -> bool:
        """Return whether a metaserver that is heard reports no replica of a copyset that nobody makes anew."""
        record, report = self._state.copysets.get(group_id), self._reports.get(metaserver_id)
        return (
            record is not None
            and record.sealed
            and report is not None
            and report.time_ns > 0  # it comes with heartbeats only: that it has registered says nothing of its replicas
            and group_id not in report.copysets
            and self._views.health(metaserver_id) == topology_pb2.ONLINE
        )
