"""The metaserver's Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class GroupMetrics:
    """Batches, syncs and applying."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._syncs = Counter("metaserver_log_syncs", "fdatasync calls of the log", registry=registry)
        self._entries = Counter("metaserver_log_entries", "Log entries made durable", registry=registry)
        self._operations = Counter("metaserver_operations", "Operations made durable", registry=registry)
        self._per_entry = Histogram(
            "metaserver_operations_per_entry", "Operations a log entry carries", registry=registry, buckets=_COUNTS
        )
        self._per_sync = Histogram(
            "metaserver_operations_per_sync", "Operations one fdatasync covers", registry=registry, buckets=_COUNTS
        )
        self._sync_seconds = Histogram(
            "metaserver_log_write_seconds", "Write and fdatasync", registry=registry, buckets=_BUCKETS_S
        )
        self._apply_seconds = Histogram(
            "metaserver_apply_seconds", "Applying what one write committed", registry=registry, buckets=_BUCKETS_S
        )
        self._lag = Gauge("metaserver_loop_lag_seconds_max", "Longest step of the event loop", registry=registry)
        self._lag_max = 0.0
        self.reads = Counter("metaserver_reads", "Reads answered", registry=registry)
        self.streams = Gauge("metaserver_streams", "Session streams open", registry=registry)

    def synced(self, entries: int, operations: int, seconds: float) -> None:
        """Note a durable write."""
        self._syncs.inc()
        self._entries.inc(entries)
        self._operations.inc(operations)
        self._per_sync.observe(operations)
        self._per_entry.observe(operations / entries)
        self._sync_seconds.observe(seconds)

    def applied(self, seconds: float) -> None:
        """Note that a write's entries were applied."""
        self._apply_seconds.observe(seconds)

    def lagged(self, seconds: float) -> None:
        """Note by how much the event loop was late."""
        if seconds > self._lag_max:
            self._lag_max = seconds
            self._lag.set(seconds)
