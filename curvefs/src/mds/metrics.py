"""The MDS's metrics. Gauges are set by the event loop about once a second, never by the thread that serves the page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ...proto import mds_pb2, topology_pb2
from .state import State
from .topology.views import Views

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """Counters and gauges of one MDS, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter("mds_rpc_total", "Calls answered.", ["method", "code"], registry=self.registry)
        self._seconds = Histogram(
            "mds_rpc_seconds", "Time to answer a call.", ["method"], buckets=_BUCKETS, registry=self.registry
        )
        self._epoch = Gauge("mds_epoch", "Epoch of this MDS.", registry=self.registry)
        self._leading = Gauge("mds_leading", "1 while this MDS serves, 0 while it stands by.", registry=self.registry)
        self._filesystems = Gauge("mds_filesystems", "Filesystems by state.", ["state"], registry=self.registry)
        self._deleted = Gauge(
            "mds_deleted_filesystems", "Removed filesystems whose prefix is swept again.", registry=self.registry
        )
        self._late_objects = Counter(
            "mds_late_objects_total", "Objects found below the prefix of a removed filesystem.", registry=self.registry
        )
        self._sessions = Gauge("mds_sessions", "Mount sessions, live or ending.", ["state"], registry=self.registry)
        self._copysets = Gauge("mds_copysets", "Copysets, led or leaderless.", ["state"], registry=self.registry)
        self._metaservers = Gauge("mds_metaservers", "Metaservers by health.", ["health"], registry=self.registry)

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count a call."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def late_objects(self, count: int) -> None:
        """Count objects that came after their filesystem was removed."""
        self._late_objects.inc(count)

    def leads(self, *, leading: bool) -> None:
        """Show whether this MDS serves."""
        self._leading.set(leading)

    def observe(self, state: State, views: Views) -> None:
        """Set the gauges from the tables."""
        self._epoch.set(state.authority.epoch)
        states = [int(filesystem.state) for filesystem in state.filesystems.values()]
        for name, value in mds_pb2.FilesystemState.items():
            self._filesystems.labels(name.lower()).set(states.count(value))
        self._deleted.set(len(state.deleted_filesystems))
        ending = sum(session.ending for session in state.sessions.values())
        retained = sum(session.retained_since_ns != 0 for session in state.sessions.values())
        self._sessions.labels("live").set(len(state.sessions) - ending - retained)
        self._sessions.labels("retained").set(retained)
        self._sessions.labels("ending").set(ending)
        leaders = [views.leader(group_id) for group_id, _ in state.copysets.items()]
        self._copysets.labels("led").set(sum(leader != 0 for leader in leaders))
        self._copysets.labels("leaderless").set(leaders.count(0))
        healths = [int(views.health(metaserver_id)) for metaserver_id, _ in state.metaservers.items()]
        for name, value in topology_pb2.Health.items():
            self._metaservers.labels(name.lower()).set(healths.count(value))
