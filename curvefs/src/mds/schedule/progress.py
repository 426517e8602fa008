"""How far an operator has come, as the copyset's own reports show; pure."""

import enum
from collections.abc import Mapping
from dataclasses import replace

from ....proto import topology_pb2 as pb
from .operators import Operator, Step
from .snapshot import CopysetInfo, MetaserverInfo


class End(enum.Enum):
    """Why an operator is over."""

    DONE = "done"
    MOVED_ON = "the copyset has changed otherwise"
    TARGET_LOST = "the metaserver it should go to is not there"
    TIMED_OUT = "not in time"
    CANCELLED = "cancelled"


def advance(
    operator: Operator, copyset: CopysetInfo | None, metaservers: Mapping[int, MetaserverInfo]
) -> Operator | End:
    """Return why an operator is over, or, while it goes on, the operator for the configuration that is now in force.

    A copyset moves on by its own when it has changed otherwise than by a first step of this operator, which brings the
    one who joins in as a learner; then the operator was computed from what is no longer so (rule 25).
    """
    if copyset is None or (operator.leaves and copyset.leader == operator.source):
        return End.MOVED_ON  # who leads now cannot be taken out; it would have to hand over first
    if operator.target and not _is_there(metaservers.get(operator.target)):
        return End.TARGET_LOST
    if operator.step is Step.TRANSFER_LEADER:
        return _transferred(operator, copyset)
    return _changed(operator, copyset)


def _is_there(target: MetaserverInfo | None) -> bool:
    return target is not None and target.health != pb.OFFLINE and not target.retiring


def _changed(operator: Operator, copyset: CopysetInfo) -> Operator | End:
    if set(copyset.voters) == set(operator.goal) and not copyset.learners:
        return operator if copyset.changing else End.DONE
    if set(copyset.voters) != set(operator.voters) or not set(copyset.learners) <= {operator.source, operator.target}:
        return End.MOVED_ON
    if copyset.configuration_index == operator.configuration_index or operator.target in copyset.learners:
        index, leader = copyset.configuration_index, copyset.leader or operator.leader
        return replace(operator, configuration_index=index, leader=leader)
    return End.MOVED_ON


def _transferred(operator: Operator, copyset: CopysetInfo) -> Operator | End:
    if copyset.leader == operator.target:
        return End.DONE
    same = set(copyset.voters) == set(operator.voters) and copyset.leader in (operator.source, 0)
    return operator if same and copyset.configuration_index == operator.configuration_index else End.MOVED_ON
