"""The metaserver's Prometheus metrics, in a registry of their own. Touched on the event loop only."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Batches, syncs, applying, reads, and how late the event loop is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._entries = self._counter("log_entries", "Log entries made durable.")
        self._operations = self._counter("operations", "Operations made durable.")
        self._per_entry = self._histogram("operations_per_entry", "Operations an entry of clients carries.", _COUNTS)
        self._entries_per_sync = self._histogram("entries_per_sync", "Entries one fdatasync covers.", _COUNTS)
        self._per_sync = self._histogram("operations_per_sync", "Operations one fdatasync covers.", _COUNTS)
        self._syncs = self._counter("log_syncs", "fdatasync calls of the log.")
        self._sync_seconds = self._histogram("log_sync_seconds", "Time of one fdatasync.", _SECONDS)
        self._apply_seconds = self._histogram("apply_seconds", "Time of one transaction of applying.", _SECONDS)
        self.reads = self._counter("reads", "Reads answered.")
        self.refused = self._counter("proposals_refused", "Proposals that did not enter the log.")
        self.queue_depth = self._gauge("queue_depth", "Proposals that wait for the log, of all groups.")
        self.streams = self._gauge("streams", "Session streams open.")
        self.groups = self._gauge("groups", "Groups here.")
        self.log_bytes = self._gauge("log_bytes", "Size of the log.")
        self.lag_seconds = self._gauge("event_loop_lag_seconds", "Longest delay of the event loop of late.")
        self.worker_starts = self._counter("worker_starts", "Times the worker process was started.")
        self.delete_queue = self._gauge("delete_queue", "Records in the delete queues of groups led here.", ["kind"])
        self.delete_overdue_seconds = self._gauge("delete_overdue_seconds", "How long the oldest of them is due.")
        self.objects_deleted = self._counter("objects_deleted", "Objects deleted.")
        self.reclaim_failures = self._counter("reclaim_failures", "Failed attempts to reclaim something.", ["kind"])
        self.chunks_to_compact = self._gauge("chunks_to_compact", "Chunks with many slices, of groups led here.")
        self.compaction_oldest_seconds = self._gauge("compaction_oldest_seconds", "How long the oldest of them waits.")
        self.compactions = self._counter("compactions", "Chunks that were looked at, by what came of it.", ["outcome"])
        self.compaction_read_bytes = self._counter("compaction_read_bytes", "Bytes read to be merged.")
        self.compaction_written_bytes = self._counter("compaction_written_bytes", "Bytes of merged slices stored.")
        self.trash_inodes = self._gauge("trash_inodes", "Inodes in the trash, in groups led here.")
        self.trash_oldest_seconds = self._gauge("trash_oldest_seconds", "How long the oldest of them is there.")
        self.trash_purged = self._counter("trash_purged", "Inodes purged because their retention was over.")
        self._taken: list[int] = []

    def taken(self, operations: int) -> None:
        """Note that an entry goes to the log; operations: of clients, 0 for other entries."""
        self._taken.append(operations)

    def synced(self, seconds: float) -> None:
        """Note that what was taken is durable."""
        taken, self._taken = self._taken, []
        operations = sum(taken)
        self._syncs.inc()
        self._sync_seconds.observe(seconds)
        self._entries.inc(len(taken))
        self._entries_per_sync.observe(len(taken))
        if operations:
            self._operations.inc(operations)
            self._per_sync.observe(operations)
        for count in taken:
            if count:
                self._per_entry.observe(count)

    def not_logged(self) -> None:
        """Note that what was taken did not become durable."""
        taken, self._taken = self._taken, []
        self.refused.inc(len(taken))

    def applied(self, seconds: float) -> None:
        """Note a transaction of applying."""
        self._apply_seconds.observe(seconds)

    def _counter(self, name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"metaserver_{name}", help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"metaserver_{name}", help_, labels, registry=self.registry)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"metaserver_{name}", help_, registry=self.registry, buckets=buckets)
