"""What each metaserver last said of itself. Memory only: it is said again within seconds of a restart.

Holds one report per registered metaserver, so its size is bounded by the cluster's. Everything else, who leads a
group or how large a partition is, is derived from the reports when asked for.
"""

from dataclasses import dataclass, field

from ....proto import common_pb2, heartbeat_pb2


@dataclass(slots=True)
class Report:
    """One metaserver's last words. heard_s: boot time of the MDS; clock_offset_ns: its clock minus the MDS's."""

    heard_s: float
    disk_total_bytes: int = 0
    disk_used_bytes: int = 0
    clock_offset_ns: int = 0
    copysets: dict[int, heartbeat_pb2.CopysetReport] = field(default_factory=dict)


class Reports:
    """The last report of every metaserver. started_s: boot time at which this MDS began to listen."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self._reports: dict[int, Report] = {}

    def registered(self, metaserver_id: int, now_s: float) -> None:
        """Note that a metaserver is there, though it has reported nothing yet."""
        report = self._reports.setdefault(metaserver_id, Report(now_s))
        report.heard_s = now_s

    def heard(self, request: heartbeat_pb2.HeartbeatRequest, now_s: float, now_ns: int) -> None:
        """Note a heartbeat. Session lists are not kept."""
        report = Report(
            now_s,
            request.disk_total_bytes,
            request.disk_used_bytes,
            request.time_ns - now_ns if request.time_ns else 0,
        )
        for copyset in request.copysets:
            kept = heartbeat_pb2.CopysetReport()
            kept.CopyFrom(copyset)
            kept.ClearField("sessions")
            report.copysets[copyset.group_id] = kept
        self._reports[request.metaserver_id] = report

    def forget(self, metaserver_id: int) -> None:
        """Drop what a metaserver that is gone has said."""
        self._reports.pop(metaserver_id, None)

    def get(self, metaserver_id: int) -> Report | None:
        """Return a metaserver's last words; not to be modified."""
        return self._reports.get(metaserver_id)

    def leader_of(self, group_id: int, peers: list[common_pb2.Peer]) -> int:
        """Return the metaserver that leads a group, by the highest term; 0 if none said so."""
        best_term, leader = -1, 0
        for peer in peers:
            report = self._reports.get(peer.metaserver_id)
            copyset = report.copysets.get(group_id) if report else None
            if copyset is not None and copyset.leading and copyset.term > best_term:
                best_term, leader = copyset.term, peer.metaserver_id
        return leader

    def partition(
        self, metaserver_id: int, group_id: int, fs_id: int, partition_id: int
    ) -> heartbeat_pb2.PartitionReport | None:
        """Return what a group's leader says of a partition."""
        report = self._reports.get(metaserver_id)
        copyset = report.copysets.get(group_id) if report else None
        if copyset is None:
            return None
        for partition in copyset.partitions:
            if (partition.fs_id, partition.partition_id) == (fs_id, partition_id):
                return partition
        return None
