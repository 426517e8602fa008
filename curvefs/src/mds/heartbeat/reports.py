"""What each metaserver last said of itself. Memory only: it is said again within seconds of a restart.

Holds one report per registered metaserver, so its size is bounded by the cluster's. Everything else, who leads a
group or how large a partition is, is derived from the reports when asked for.
"""

from dataclasses import dataclass, field

from ....proto import heartbeat_pb2


@dataclass(slots=True)
class Report:
    """One metaserver's last words. heard_s: boot time of the MDS; time_ns: its clock's, 0 if it did not say.

    proven: it has shown its token since it joined, so its process knows who it is.
    """

    heard_s: float
    disk_total_bytes: int = 0
    disk_used_bytes: int = 0
    time_ns: int = 0
    proven: bool = False
    copysets: dict[int, heartbeat_pb2.CopysetReport] = field(default_factory=dict)


class Reports:
    """The last report of every metaserver. started_s: boot time at which this MDS began to listen."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self._reports: dict[int, Report] = {}
        self._reporting: dict[int, set[int]] = {}  # group -> metaservers whose last report has it

    def registered(self, metaserver_id: int, now_s: float, *, proven: bool) -> None:
        """Note that a metaserver's process has begun; of its groups nothing is known until it reports."""
        before = self.forget(metaserver_id) or Report(now_s)
        self._reports[metaserver_id] = Report(now_s, before.disk_total_bytes, before.disk_used_bytes, proven=proven)

    def heard(self, request: heartbeat_pb2.HeartbeatRequest, now_s: float) -> None:
        """Note a heartbeat. Session lists are not kept."""
        self.forget(request.metaserver_id)
        report = Report(now_s, request.disk_total_bytes, request.disk_used_bytes, time_ns=request.time_ns, proven=True)
        for copyset in request.copysets:
            kept = heartbeat_pb2.CopysetReport()
            kept.CopyFrom(copyset)
            kept.ClearField("sessions")
            report.copysets[copyset.group_id] = kept
            self._reporting.setdefault(copyset.group_id, set()).add(request.metaserver_id)
        self._reports[request.metaserver_id] = report

    def forget(self, metaserver_id: int) -> Report | None:
        """Drop and return what a metaserver has said."""
        report = self._reports.pop(metaserver_id, None)
        for group_id in report.copysets if report else ():
            reporting = self._reporting[group_id]
            reporting.discard(metaserver_id)
            if not reporting:
                del self._reporting[group_id]
        return report

    def get(self, metaserver_id: int) -> Report | None:
        """Return a metaserver's last words; not to be modified."""
        return self._reports.get(metaserver_id)

    def time_ns(self, now_s: float) -> int | None:
        """Return what time it is by the metaservers: the median, of two the earlier; None if none has said it.

        What each one said has gone on since by the boot-time clock, which no correction of the MDS's own clock moves.
        """
        said = sorted(one.time_ns + int((now_s - one.heard_s) * 1e9) for one in self._reports.values() if one.time_ns)
        return said[(len(said) - 1) // 2] if said else None

    def of(self, metaserver_id: int, group_id: int) -> heartbeat_pb2.CopysetReport | None:
        """Return what a metaserver last said of its replica of a group; not to be modified."""
        report = self._reports.get(metaserver_id)
        return report.copysets.get(group_id) if report else None

    def is_reported(self, group_id: int) -> bool:
        """Return whether any metaserver has a replica of a group."""
        return group_id in self._reporting

    def groups(self) -> list[int]:
        """Return the groups of which somebody reports a replica."""
        return list(self._reporting)

    def reporting(self, group_id: int) -> list[int]:
        """Return the metaservers that report a replica of a group."""
        return list(self._reporting.get(group_id, ()))

    def term(self, group_id: int) -> int:
        """Return the highest term that somebody said to lead a group in; 0 when nobody does."""
        said = (self._reports[one].copysets[group_id] for one in self._reporting.get(group_id, ()))
        return max((copyset.term for copyset in said if copyset.leading), default=0)

    def leader_of(self, group_id: int, since_s: float = float("-inf")) -> int:
        """Return the metaserver that leads a group: of those that say so, the one with the highest term; 0 if none.

        since_s: what was said before that boot time of the MDS does not count.
        """
        best_term, leader = -1, 0
        for metaserver_id in self._reporting.get(group_id, ()):
            report = self._reports[metaserver_id]
            copyset = report.copysets[group_id]
            if copyset.leading and copyset.term > best_term and report.heard_s >= since_s:
                best_term, leader = copyset.term, metaserver_id
        return leader

    def partition(
        self, metaserver_id: int, group_id: int, fs_id: int, partition_id: int
    ) -> heartbeat_pb2.PartitionReport | None:
        """Return what a group's leader says of a partition."""
        copyset = self.of(metaserver_id, group_id)
        if copyset is None:
            return None
        for partition in copyset.partitions:
            if (partition.fs_id, partition.partition_id) == (fs_id, partition_id):
                return partition
        return None
