"""Whom to ask for a group's leader, and in which order. Pure.

Whoever was named as the leader is asked first and alone; when it refuses or takes too long, all peers are asked at
once. Nobody is asked twice before a pause, so that servers that name one another do not make us run in a circle.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class LeaderSearch:
    """The search for the leader of one group; begun anew whenever the group turns out to be led elsewhere."""

    peers: list[str] = field(default_factory=list)
    alone: str = ""  # the only one that is asked at the moment, if so
    _told: str = ""  # named as the leader and not asked yet
    _asked: set[str] = field(default_factory=set)  # since the last pause

    def begin(self, told: str = "") -> None:
        """Begin; ``told`` is who was named as the leader, if anybody."""
        self._asked.clear()
        self._told, self.alone = told, ""

    def next(self) -> list[str]:
        """Return whom to ask now; nobody when all have been asked."""
        told, self._told = self._told, ""
        if told and told not in self._asked:
            self.alone = told
            targets = [told]
        else:
            self.alone = ""
            targets = [peer for peer in self.peers if peer not in self._asked]
        self._asked.update(targets)
        return targets

    def refused(self, address: str, leader: str) -> bool:
        """Take a refusal, with the leader it named. True when next() has somebody to ask at once."""
        if leader and leader not in self._asked:
            self._told = leader
            return True
        if address == self.alone:
            self.alone = ""
            return any(peer not in self._asked for peer in self.peers)
        return False

    def paused(self) -> None:
        """A pause is over: everybody may be asked again."""
        self._asked.clear()
        self.alone = ""
