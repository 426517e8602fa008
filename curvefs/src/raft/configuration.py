"""Who is in a group, and what a majority of it is. Pure values.

During a change of voters both the old and the new ones decide: every decision needs a majority of each (joint
consensus, section 6 of the paper). Learners receive the log and decide nothing.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple


class Tally(Enum):
    """How an election stands."""

    WON = 1
    LOST = 2
    OPEN = 3


class Configuration(NamedTuple):
    """A group's members, each tuple ascending. outgoing: the voters before a change that is under way.

    addresses: (id, HOST:PORT) of members, for the shell; consensus does not look at them. since: index of its entry.
    """

    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    addresses: tuple[tuple[int, str], ...] = ()
    since: int = 0

    @property
    def is_joint(self) -> bool:
        """True while a change of voters is under way."""
        return bool(self.outgoing)

    @property
    def members(self) -> tuple[int, ...]:
        """Return everybody who receives the log, ascending."""
        if not self.outgoing and not self.learners:
            return self.voters
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def is_voter(self, server: int) -> bool:
        """Say whether a server's vote counts now."""
        return server in self.voters or server in self.outgoing

    def changed_to(
        self, voters: Iterable[int], learners: Iterable[int], addresses: Iterable[tuple[int, str]] = ()
    ) -> "Configuration":
        """Return the configuration that begins a change: joint when the voters differ."""
        assert not self.is_joint, "one change at a time"
        target = tuple(sorted(set(voters)))
        outgoing = () if target == self.voters else self.voters
        return Configuration(target, outgoing, tuple(sorted(set(learners))), tuple(sorted(addresses)))

    def left(self) -> "Configuration":
        """Return the configuration that ends a change."""
        members = {*self.voters, *self.learners}
        addresses = tuple(one for one in self.addresses if one[0] in members)
        return Configuration(self.voters, (), self.learners, addresses)

    def reached(self, values: Mapping[int, int]) -> int:
        """Return the highest value that a majority (of each half) has reached; who is missing has reached 0."""
        value = _reached(self.voters, values)
        return min(value, _reached(self.outgoing, values)) if self.outgoing else value

    def tally(self, votes: Mapping[int, bool]) -> Tally:
        """Count votes."""
        one = _tally(self.voters, votes)
        if not self.outgoing or one is Tally.LOST:
            return one
        other = _tally(self.outgoing, votes)
        return one if other is Tally.WON else other


def _reached(voters: tuple[int, ...], values: Mapping[int, int]) -> int:
    if not voters:
        return 0
    get = values.get
    return sorted([get(voter, 0) for voter in voters])[(len(voters) - 1) // 2]


def _tally(voters: tuple[int, ...], votes: Mapping[int, bool]) -> Tally:
    need = len(voters) // 2 + 1
    granted = sum(votes.get(voter, False) for voter in voters)
    if granted >= need:
        return Tally.WON
    refused = sum(not votes[voter] for voter in voters if voter in votes)
    return Tally.LOST if len(voters) - refused < need else Tally.OPEN
