"""Counters of the streams between metaservers, in the metaserver's registry. Touched on the event loop only."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PeerMetrics:
    """Messages, frames, bytes, streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"metaserver_peer_{name}", help_, labels, registry=registry)

        self.messages_sent = counter("messages_sent", "Messages of groups written to other metaservers.")
        self.messages_received = counter("messages_received", "Messages of groups from other metaservers.")
        self.messages_dropped = counter(
            "messages_dropped", "Messages that were not sent: no such peer, no stream, no room.", "reason"
        )
        self.frames_sent = counter("frames_sent", "Frames written.")
        self.frames_received = counter("frames_received", "Frames read.")
        self.bytes_sent = counter("bytes_sent", "Bytes of frames written.")
        self.bytes_received = counter("bytes_received", "Bytes of frames read.")
        self.reconnects = counter("reconnects", "Streams with a peer that had one before.")
        self.refused = counter("refused", "Streams ended because the other side broke their rules.", "reason")
        self.streams = Gauge("metaserver_peer_streams", "Streams with other metaservers, open now.", registry=registry)
