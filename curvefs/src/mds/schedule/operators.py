"""Operators: single steps that bring one copyset closer to where it should be, and how many may run at a time.

A step is carried out by the copyset's leader. Bringing a replica in costs two metaservers something: the one it comes
to, and the leader, which sends it everything. So these two are limited, each by itself, and all steps together; a
replica that leaves costs nothing, and may lie on a metaserver that is gone.

Pure values, except Slots, which counts within one pass.
"""

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


class Scheduler(enum.Enum):
    """Who wants an operator."""

    RECOVER = "recover"
    COPYSET_BALANCE = "copyset_balance"
    LEADER_BALANCE = "leader_balance"
    RAPID_LEADER = "rapid_leader"
    PERSON = "person"


class Step(enum.Enum):
    """What is done."""

    REPLACE_PEER = "replace peer"
    ADD_PEER = "add peer"
    REMOVE_PEER = "remove peer"
    TRANSFER_LEADER = "transfer leader"


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of one copyset.

    configuration_index, voters: those it was computed from (rule 25). leader: who carries it out.
    source: the peer that leaves, or the leader that hands over. target: the peer that joins, or is to lead. 0: nobody.
    """

    group_id: int
    scheduler: Scheduler
    step: Step
    configuration_index: int
    voters: tuple[int, ...]
    leader: int
    source: int = 0
    target: int = 0

    @property
    def joins(self) -> bool:
        """Return whether a replica comes to the target."""
        return self.step in (Step.REPLACE_PEER, Step.ADD_PEER)

    @property
    def leaves(self) -> bool:
        """Return whether a replica goes from the source."""
        return self.step in (Step.REPLACE_PEER, Step.REMOVE_PEER)

    @property
    def goal(self) -> tuple[int, ...]:
        """Return the voters that the copyset shall have; who joins comes last."""
        if self.step is Step.TRANSFER_LEADER:
            return self.voters
        stay = tuple(voter for voter in self.voters if not self.leaves or voter != self.source)
        return (*stay, self.target) if self.joins else stay


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way at a time, and for how long.

    joins_per_metaserver: replicas that come to one. sends_per_metaserver: replicas that the leaders on one bring in.
    changes: of members, in all. transfers: of leadership; each metaserver's limit is for giving and for taking.
    disk_use_max: a metaserver fuller than this (a part of 1) gets no more replicas; from disk_use_shed on it gives some
    away.
    """

    joins_per_metaserver: int = 4
    sends_per_metaserver: int = 4
    changes: int = 1000
    transfers_per_metaserver: int = 8
    transfers: int = 1000
    join_timeout_s: float = 1800.0
    remove_timeout_s: float = 300.0
    transfer_timeout_s: float = 60.0
    disk_use_max: float = 0.8
    disk_use_shed: float = 0.9

    def timeout_s(self, step: Step) -> float:
        """Return how long a step may take."""
        if step is Step.TRANSFER_LEADER:
            return self.transfer_timeout_s
        return self.remove_timeout_s if step is Step.REMOVE_PEER else self.join_timeout_s


class Slots:
    """What the limits leave free beside operators that run."""

    def __init__(self, limits: Limits, operators: Iterable[Operator]) -> None:
        self._limits = limits
        self._joins: Counter[int] = Counter()
        self._sends: Counter[int] = Counter()
        self._gives: Counter[int] = Counter()
        self._takes: Counter[int] = Counter()
        self._changes = 0
        self._transfers = 0
        for operator in operators:
            self.take(operator)

    def may_change(self) -> bool:
        """Return whether another change of members may begin."""
        return self._changes < self._limits.changes

    def may_join(self, metaserver_id: int) -> bool:
        """Return whether another replica may come to a metaserver."""
        return self._joins[metaserver_id] < self._limits.joins_per_metaserver

    def may_send(self, leader: int) -> bool:
        """Return whether a leader on a metaserver may bring in another replica."""
        return self._sends[leader] < self._limits.sends_per_metaserver

    def may_give(self, metaserver_id: int) -> bool:
        """Return whether a metaserver may hand over another leadership."""
        return (
            self._transfers < self._limits.transfers
            and self._gives[metaserver_id] < self._limits.transfers_per_metaserver
        )

    def may_take(self, metaserver_id: int) -> bool:
        """Return whether a metaserver may get another leadership."""
        return self._takes[metaserver_id] < self._limits.transfers_per_metaserver

    def admits(self, operator: Operator) -> bool:
        """Return whether an operator may begin."""
        if operator.step is Step.TRANSFER_LEADER:
            return self.may_give(operator.source) and self.may_take(operator.target)
        joins = not operator.joins or (self.may_join(operator.target) and self.may_send(operator.leader))
        return self.may_change() and joins

    def take(self, operator: Operator) -> None:
        """Count an operator in."""
        if operator.step is Step.TRANSFER_LEADER:
            self._transfers += 1
            self._gives[operator.source] += 1
            self._takes[operator.target] += 1
            return
        self._changes += 1
        if operator.joins:
            self._joins[operator.target] += 1
            self._sends[operator.leader] += 1
