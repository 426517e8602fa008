"""What is answered of metaservers, copysets and partitions: what is stored, joined with what was last reported.

Addresses are stored once, with the metaserver; peers get theirs here, so that an address change reaches everything.
"""

from collections import Counter

from ....proto import common_pb2, mds_pb2, topology_pb2
from ...common.clock import Clock
from ..heartbeat.reports import Reports
from ..state import State, changed
from .health import HealthLimits, health_of
from .places import Places

# Two heartbeats and a little.
_FIRST_REPORTS_S = 5.0


class Views:
    """Answers, made anew at each call."""

    def __init__(self, state: State, reports: Reports, places: Places, clock: Clock, limits: HealthLimits) -> None:
        self._state = state
        self._places = places
        self._reports = reports
        self._clock = clock
        self._limits = limits

    def health(self, metaserver_id: int) -> topology_pb2.Health:
        """Return a metaserver's health; one that is superseded is gone."""
        if self._is_superseded(metaserver_id):
            return topology_pb2.OFFLINE
        report = self._reports.get(metaserver_id)
        since_s = report.heard_s if report else self._reports.started_s
        return health_of(self._clock.boottime_s() - since_s, heard=report is not None, limits=self._limits)

    def metaservers(self) -> list[topology_pb2.Metaserver]:
        """Return all metaservers by id, without their tokens."""
        held = Counter(peer.metaserver_id for copyset in self._state.copysets.values() for peer in copyset.peers)
        return [self._metaserver(record, held[id_]) for id_, record in sorted(self._state.metaservers.items())]

    def copysets(self, group_ids: list[int]) -> list[topology_pb2.Copyset]:
        """Return these copysets, or all; unknown ids are left out."""
        wanted = sorted(group_ids) if group_ids else sorted(group_id for group_id, _ in self._state.copysets.items())
        counts = Counter(partition.group_id for partition in self._state.partitions.values())
        pool_of = self._places.pool_of_copysets()
        return [
            self._copyset(record, counts[group_id], pool_of(record))
            for group_id in wanted
            if (record := self._state.copysets.get(group_id))
        ]

    def partitions(self, fs_id: int) -> list[mds_pb2.Partition]:
        """Return where the partitions of a filesystem are."""
        return [self._partition(record) for record in self._state.partitions_of(fs_id)]

    def peers(self, group_id: int) -> list[common_pb2.Peer]:
        """Return a group's peers with their present addresses; none for an unknown group."""
        record = self._state.copysets.get(group_id)
        peers = []
        for stored in record.peers if record else ():
            address = self.address(stored.metaserver_id)
            peers.append(common_pb2.Peer(metaserver_id=stored.metaserver_id, address=address, learner=stored.learner))
        return peers

    def addresses(self, group_id: int) -> list[str]:
        """Return the addresses of a group's peers, the leader's first; unknown, the one that shall lead it first."""
        peers = self.peers(group_id)
        leader = self.address(self.leader(group_id))
        rest = [peer.address for peer in peers if peer.address and peer.address != leader]
        return [leader, *rest] if leader else rest

    def leader(self, group_id: int) -> int:
        """Return the metaserver that leads a group, as far as was heard lately; 0 if unknown."""
        return self._reports.leader_of(group_id, self._clock.boottime_s() - self._limits.silent_after_s)

    def address(self, metaserver_id: int) -> str:
        """Return a metaserver's address; empty for an unknown one, and where another one has taken its place."""
        record = self._state.metaservers.get(metaserver_id)
        return record.address if record is not None and not record.superseded_by else ""

    def is_lost(self, group_id: int) -> bool:
        """Return whether a group is lost: each of its voters is superseded by one that came with another disk.

        None that is only away counts. One of them may still be found again; then it is told what it has missed.
        """
        record = self._state.copysets.get(group_id)
        voters = [peer.metaserver_id for peer in record.peers if not peer.learner] if record else []
        return bool(voters) and all(map(self._is_superseded, voters))

    def lost_copysets(self) -> set[int]:
        """Return the groups that are lost."""
        if not any(record.superseded_by for record in self._state.metaservers.values()):
            return set()  # the usual case, without a look at each
        return {group_id for group_id, _ in self._state.copysets.items() if self.is_lost(group_id)}

    def _is_superseded(self, metaserver_id: int) -> bool:
        record = self._state.metaservers.get(metaserver_id)
        return record is not None and record.superseded_by != 0

    def awaits_first_reports(self) -> bool:
        """Return whether this MDS began so recently that known metaservers had no chance yet to be heard."""
        return len(self._state.metaservers) > 0 and (
            self._clock.boottime_s() - self._reports.started_s < _FIRST_REPORTS_S
        )

    def _metaserver(self, record: topology_pb2.Metaserver, replica_count: int) -> topology_pb2.Metaserver:
        view = changed(record, health=self.health(record.metaserver_id), replica_count=replica_count)
        view.ClearField("token")
        report = self._reports.get(record.metaserver_id)
        if report is not None:
            view.disk_total_bytes = report.disk_total_bytes
            view.disk_used_bytes = report.disk_used_bytes
            view.leader_count = sum(self.leader(group_id) == record.metaserver_id for group_id in report.copysets)
            view.copyset_count = len(report.copysets)
        return view

    def _copyset(self, record: topology_pb2.Copyset, partition_count: int, pool_id: int) -> topology_pb2.Copyset:
        view = changed(
            record,
            pool_id=pool_id,
            leader_id=self.leader(record.group_id),
            partition_count=partition_count,
        )
        del view.peers[:]
        view.peers.extend(self.peers(record.group_id))
        view.replicas.extend(self._replica(peer.metaserver_id, record.group_id) for peer in view.peers)
        return view

    def _replica(self, metaserver_id: int, group_id: int) -> topology_pb2.Replica:
        report = self._reports.of(metaserver_id, group_id)
        if report is None:
            return topology_pb2.Replica(metaserver_id=metaserver_id)
        return topology_pb2.Replica(
            metaserver_id=metaserver_id,
            heard=self.health(metaserver_id) == topology_pb2.ONLINE,
            leading=report.leading,
            term=report.term,
            committed_index=report.committed_index,
            applied_index=report.applied_index,
            configuration_index=report.configuration_index,
            loading=report.loading,
            damaged=report.damaged,
        )

    def _partition(self, record: mds_pb2.Partition) -> mds_pb2.Partition:
        leader = self.leader(record.group_id)
        view = changed(record, leader=self.address(leader))
        del view.peers[:]
        view.peers.extend(self.peers(record.group_id))
        report = self._reports.partition(leader, record.group_id, record.fs_id, record.partition_id)
        if report is not None:
            view.inode_count = report.inode_count
            view.used_bytes = report.used_bytes
        return view
