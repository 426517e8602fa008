"""What is answered of metaservers, copysets and partitions: what is stored, joined with what was last reported.

Addresses are stored once, with the metaserver; peers get theirs here, so that an address change reaches everything.
"""

from ....proto import common_pb2, mds_pb2, topology_pb2
from ...common.clock import Clock
from ..heartbeat.reports import Reports
from ..state import State
from .health import HealthLimits, health_of
from .placement import GroupLoad

# Two heartbeats and a little.
_FIRST_REPORTS_S = 5.0


class Views:
    """Answers, made anew at each call."""

    def __init__(self, state: State, reports: Reports, clock: Clock, limits: HealthLimits) -> None:
        self._state = state
        self._reports = reports
        self._clock = clock
        self._limits = limits

    def health(self, metaserver_id: int) -> topology_pb2.Health:
        """Return a metaserver's health."""
        report = self._reports.get(metaserver_id)
        since_s = report.heard_s if report else self._reports.started_s
        return health_of(self._clock.boottime_s() - since_s, heard=report is not None, limits=self._limits)

    def metaservers(self) -> list[topology_pb2.Metaserver]:
        """Return all metaservers by id, without their tokens."""
        return [self._metaserver(record) for _, record in sorted(self._state.metaservers.items())]

    def copysets(self, group_ids: list[int]) -> list[topology_pb2.Copyset]:
        """Return these copysets, or all; unknown ids are left out."""
        wanted = sorted(group_ids) if group_ids else sorted(group_id for group_id, _ in self._state.copysets.items())
        return [self._copyset(record) for group_id in wanted if (record := self._state.copysets.get(group_id))]

    def partitions(self, fs_id: int) -> list[mds_pb2.Partition]:
        """Return where the partitions of a filesystem are."""
        return [self._partition(record) for record in self._state.partitions_of(fs_id)]

    def peers(self, group_id: int) -> list[common_pb2.Peer]:
        """Return a group's peers with their present addresses; none for an unknown group."""
        record = self._state.copysets.get(group_id)
        peers = []
        for stored in record.peers if record else ():
            metaserver = self._state.metaservers.get(stored.metaserver_id)
            peer = common_pb2.Peer(
                metaserver_id=stored.metaserver_id,
                address=metaserver.address if metaserver else "",
                learner=stored.learner,
            )
            peers.append(peer)
        return peers

    def addresses(self, group_id: int) -> list[str]:
        """Return the addresses of a group's peers, the leader's first."""
        peers = self.peers(group_id)
        leader = self._reports.leader_of(group_id, peers)
        ordered = sorted(peers, key=lambda peer: peer.metaserver_id != leader)
        return [peer.address for peer in ordered if peer.address]

    def awaits_first_reports(self) -> bool:
        """Return whether this MDS began so recently that known metaservers had no chance yet to be heard."""
        return len(self._state.metaservers) > 0 and (
            self._clock.boottime_s() - self._reports.started_s < _FIRST_REPORTS_S
        )

    def loads(self) -> list[GroupLoad]:
        """Return the snapshot that placement decides on."""
        counts: dict[int, int] = {}
        for partition in self._state.partitions.values():
            counts[partition.group_id] = counts.get(partition.group_id, 0) + 1
        loads = []
        for group_id, record in self._state.copysets.items():
            members = [peer.metaserver_id for peer in record.peers]
            reports = [report for member in members if (report := self._reports.get(member))]
            free = min((report.disk_total_bytes - report.disk_used_bytes for report in reports), default=0)
            worst = max((self.health(member) for member in members), default=topology_pb2.OFFLINE)
            loads.append(GroupLoad(group_id, worst, counts.get(group_id, 0), free))
        return loads

    def _metaserver(self, record: topology_pb2.Metaserver) -> topology_pb2.Metaserver:
        view = topology_pb2.Metaserver()
        view.CopyFrom(record)
        view.ClearField("token")
        view.health = self.health(record.metaserver_id)
        report = self._reports.get(record.metaserver_id)
        if report is not None:
            view.disk_total_bytes = report.disk_total_bytes
            view.disk_used_bytes = report.disk_used_bytes
            view.leader_count = sum(copyset.leading for copyset in report.copysets.values())
            view.copyset_count = len(report.copysets)
        return view

    def _copyset(self, record: topology_pb2.Copyset) -> topology_pb2.Copyset:
        view = topology_pb2.Copyset()
        view.CopyFrom(record)
        del view.peers[:]
        view.peers.extend(self.peers(record.group_id))
        view.leader_id = self._reports.leader_of(record.group_id, list(view.peers))
        leader = self._reports.get(view.leader_id)
        if leader is not None:
            view.configuration_index = leader.copysets[record.group_id].configuration_index
        return view

    def _partition(self, record: mds_pb2.Partition) -> mds_pb2.Partition:
        view = mds_pb2.Partition()
        view.CopyFrom(record)
        peers = self.peers(record.group_id)
        view.peers.extend(peers)
        leader = self._reports.leader_of(record.group_id, peers)
        view.leader = next((peer.address for peer in peers if peer.metaserver_id == leader), "")
        report = self._reports.partition(leader, record.group_id, record.fs_id, record.partition_id)
        if report is not None:
            view.inode_count = report.inode_count
            view.used_bytes = report.used_bytes
        return view
