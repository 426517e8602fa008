"""The network between servers: messages are lost, late, sent twice, overtake one another, or do not get through at all.

Partitions are pairs (from, to) that are cut, so that a cut may be one-way. A message under way when a link is cut is
lost if the link is cut when it arrives.
"""

from curvefs.proto import raft_pb2 as pb
from curvefs.src.raft import codec


class Network:
    """See the module. deliver: called with each message that arrives."""

    def __init__(self, events, settings, random, deliver):
        self._events = events
        self._settings = settings
        self._random = random.random
        self._deliver = deliver
        self._last = {}  # (from, to) -> when its last message arrives, where links keep the order
        self.cut: set[tuple[int, int]] = set()
        self.loss = settings.loss
        self.duplication = settings.duplication
        self.tail = settings.tail
        self.delivered = 0
        self.lost = 0

    def send(self, messages):
        """Take messages of one server."""
        rand = self._random
        for message in messages:
            if self.loss and rand() < self.loss:
                self.lost += 1
                continue
            self._put(message)
            if self.duplication and rand() < self.duplication:
                self._put(message)

    def calm(self):
        """No more faults from here on."""
        self.cut.clear()
        self.loss = self.duplication = self.tail = 0.0

    def delay(self):
        """Return how long something takes to get through."""
        settings, rand = self._settings, self._random
        delay = settings.delay_s + settings.jitter_s * rand()
        if self.tail and rand() < self.tail:
            delay += settings.tail_s * rand()
        return delay

    def _put(self, message):
        delay = self.delay()
        if self._settings.fifo:
            link = (message.source, message.to)
            at = max(self._events.now + delay, self._last.get(link, 0.0))
            self._last[link] = at
            delay = at - self._events.now
        self._events.after(delay, self._arrive, message)

    def _arrive(self, message):
        if self.cut and (message.source, message.to) in self.cut:
            self.lost += 1
            return
        if self._settings.encoded:
            message = codec.decode(pb.Message.FromString(codec.encode(message).SerializeToString()))
        self._deliver(message)
