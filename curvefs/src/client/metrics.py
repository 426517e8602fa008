"""The client's Prometheus metrics, served on loopback; caches report through callbacks when scraped."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .metadata.cache import MetadataCache
from .metadata.releases import Releases

_BUCKETS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300)


class ClientMetrics:
    """Counts of what the kernel asked for, and how long it took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._latency = Histogram(
            "curvefs_client_operation_seconds",
            "Time per request of the kernel",
            ["operation"],
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._children: dict[str, Histogram] = {}
        self.pages_put = Counter(
            "curvefs_client_kernel_pages_put_bytes",
            "What random readers had not asked for yet, put into the kernel's page cache",
            registry=registry,
        )

    def operation(self, name: str, seconds: float) -> None:
        """Note one request."""
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = self._latency.labels(name)
        child.observe(seconds)

    def serve(self, host: str, port: int) -> int:
        """Answer scrapes on an address; returns the port (0 asks for a free one). Raises OSError."""
        server, _ = start_http_server(port, host, registry=self.registry)
        return int(server.server_address[1])


class CacheCollector(Collector):
    """Hits, misses and size of the metadata cache."""

    def __init__(self, cache: MetadataCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """Yield the present values."""
        counts = self._cache.counts
        lookups = CounterMetricFamily(
            "curvefs_client_metadata_cache_lookups", "Lookups in the metadata cache", labels=["kind", "outcome"]
        )
        lookups.add_metric(["attributes", "hit"], counts.attribute_hits)
        lookups.add_metric(["attributes", "miss"], counts.attribute_misses)
        lookups.add_metric(["name", "hit"], counts.name_hits)
        lookups.add_metric(["name", "negative_hit"], counts.negative_hits)
        lookups.add_metric(["name", "miss"], counts.name_misses)
        yield lookups
        yield CounterMetricFamily(
            "curvefs_client_metadata_cache_evicted", "Entries pushed out by the bound", value=counts.evicted
        )
        yield GaugeMetricFamily(
            "curvefs_client_metadata_cache_entries", "Entries in the metadata cache", value=len(self._cache)
        )


class ReleasesCollector(Collector):
    """What is held by groups though it is not open here any more."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases

    def collect(self) -> Iterator[Metric]:
        """Yield the present value."""
        yield GaugeMetricFamily(
            "curvefs_client_releases_waiting",
            "Removed files and directories that were closed here, which their groups have not heard yet",
            value=len(self._releases),
        )
