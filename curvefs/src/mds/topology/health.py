"""How well a metaserver is, by how long ago it was heard; pure."""

from dataclasses import dataclass

from ....proto import topology_pb2 as pb


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Seconds without a heartbeat. silent_after_s: then nobody is sent to it as a leader any more."""

    unstable_after_s: float = 30.0
    offline_after_s: float = 1800.0
    silent_after_s: float = 10.0


def health_of(silent_s: float, *, heard: bool, limits: HealthLimits) -> pb.Health:
    """Return the health of a metaserver.

    silent_s: since it was heard or, if this MDS has never heard it, since this MDS began; such a one is at best
    unstable, because nothing is known of it.
    """
    if silent_s >= limits.offline_after_s:
        return pb.OFFLINE
    if silent_s >= limits.unstable_after_s or not heard:
        return pb.UNSTABLE
    return pb.ONLINE
