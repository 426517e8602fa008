"""The fleet at one moment, as schedulers see it: metaservers, copysets, and the operators that run. Immutable.

A snapshot is of one pool: replicas never move between pools. Counts are as they will be once the operators that run are
done; so what is under way is not planned twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ....proto import topology_pb2 as pb
from .operators import Operator, Scheduler, Step


@dataclass(frozen=True, slots=True)
class MetaserverInfo:
    """A metaserver. retiring: it is to be emptied. cooling: back for so short a time that it gets no leaders yet."""

    metaserver_id: int
    zone_id: int
    health: pb.Health = pb.ONLINE
    capacity_bytes: int = 0
    used_bytes: int = 0
    retiring: bool = False
    cooling: bool = False

    @property
    def usable(self) -> bool:
        """Return whether it may get replicas and leaders, as far as its health goes."""
        return self.health == pb.ONLINE and not self.retiring

    @property
    def disk_use(self) -> float:
        """Return the part of its disk that is in use."""
        return self.used_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


@dataclass(frozen=True, slots=True)
class CopysetInfo:
    """A copyset, by what its leader last said; leader 0: nobody says that it leads.

    changing: its membership is not committed yet. lost: voters whose replicas are damaged or missing, though their
    metaservers may be well; they serve nothing, and get no vote or leadership until they have left and joined anew.
    """

    group_id: int
    voters: tuple[int, ...]
    leader: int
    configuration_index: int
    learners: tuple[int, ...] = ()
    changing: bool = False
    lost: frozenset[int] = frozenset()

    def operator(self, scheduler: Scheduler, step: Step, *, source: int = 0, target: int = 0) -> Operator:
        """Return an operator computed from this."""
        return Operator(
            self.group_id, scheduler, step, self.configuration_index, self.voters, self.leader, source, target
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of a pool. groups_of: metaserver -> copysets it has a voter of. led_by: those it leads.

    zone_count: in how many zones a new copyset's replicas lie at least.
    """

    metaservers: Mapping[int, MetaserverInfo]
    copysets: Mapping[int, CopysetInfo]
    replica_count: int
    groups_of: Mapping[int, list[int]]
    led_by: Mapping[int, list[int]]
    operators: Mapping[int, Operator] = field(default_factory=dict)
    zone_count: int = 1

    @classmethod
    def of(
        cls,
        metaservers: Iterable[MetaserverInfo],
        copysets: Iterable[CopysetInfo],
        *,
        replica_count: int,
        operators: Iterable[Operator] = (),
        zone_count: int = 1,
    ) -> "Snapshot":
        """Return a snapshot of these."""
        servers = {one.metaserver_id: one for one in metaservers}
        groups = {one.group_id: one for one in copysets}
        groups_of: dict[int, list[int]] = {id_: [] for id_ in servers}
        led_by: dict[int, list[int]] = {id_: [] for id_ in servers}
        for group_id, copyset in groups.items():
            for voter in copyset.voters:
                if voter in groups_of:
                    groups_of[voter].append(group_id)
            if copyset.leader in led_by:
                led_by[copyset.leader].append(group_id)
        running = {one.group_id: one for one in operators}
        return cls(servers, groups, replica_count, groups_of, led_by, running, zone_count)

    def with_operators(self, operators: Iterable[Operator]) -> "Snapshot":
        """Return this with more operators running."""
        return replace(self, operators={**self.operators, **{one.group_id: one for one in operators}})

    def is_free(self, copyset: CopysetInfo) -> bool:
        """Return whether an operator may be made for a copyset: its leader is there, and nothing else is under way."""
        if copyset.changing or copyset.group_id in self.operators:
            return False
        leader = self.metaservers.get(copyset.leader)
        return leader is not None and leader.health == pb.ONLINE

    def is_well(self, copyset: CopysetInfo) -> bool:
        """Return whether a copyset has all its replicas on metaservers that are there to stay."""
        return (
            len(copyset.voters) == self.replica_count
            and not copyset.learners
            and not copyset.lost
            and all((one := self.metaservers.get(voter)) is not None and one.usable for voter in copyset.voters)
        )

    def usable(self) -> list[MetaserverInfo]:
        """Return the metaservers that may get replicas and leaders."""
        return [one for one in self.metaservers.values() if one.usable]

    def zone_of(self, metaserver_id: int) -> int:
        """Return a metaserver's zone; -1 for an unknown one."""
        found = self.metaservers.get(metaserver_id)
        return found.zone_id if found is not None else -1

    def zones_of(self, metaserver_ids: Iterable[int]) -> dict[int, int]:
        """Return zone -> how many of these are in it."""
        counts: dict[int, int] = {}
        for id_ in metaserver_ids:
            zone = self.zone_of(id_)
            counts[zone] = counts.get(zone, 0) + 1
        return counts

    def replica_counts(self) -> dict[int, int]:
        """Return metaserver -> replicas, once all that runs is done."""
        counts = {id_: len(groups) for id_, groups in self.groups_of.items()}
        for operator in self.operators.values():
            if operator.joins and operator.target in counts:
                counts[operator.target] += 1
            # A learner that is taken out was never counted.
            if operator.leaves and operator.source in counts and operator.source in operator.voters:
                counts[operator.source] -= 1
        return counts

    def leader_counts(self) -> dict[int, int]:
        """Return metaserver -> copysets it leads, once all that runs is done."""
        counts = {id_: len(groups) for id_, groups in self.led_by.items()}
        for operator in self.operators.values():
            if operator.step is Step.TRANSFER_LEADER:
                for id_, difference in ((operator.source, -1), (operator.target, 1)):
                    if id_ in counts:
                        counts[id_] += difference
        return counts
