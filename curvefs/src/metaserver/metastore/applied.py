"""What applying an entry led to."""

from dataclasses import dataclass, field

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb


@dataclass(slots=True)
class Applied:
    """Results of operations, or why the command as a whole was refused.

    facts: of a prepared transaction's parts. conflict: the lock that it met. decided: the decision. quota, share: as
    they are after a command about them. locked: inodes that could not be marked. reference: the one that was added.
    ranges: chunk ids leased to the leader.
    purged: how many went from the trash.
    """

    results: pb.OperationResults | None = None
    failure: common_pb2.Failure | None = None
    follow_ups: list[state_pb2.Entry] = field(default_factory=list)
    facts: list[transaction_pb2.Fact] | None = None
    conflict: state_pb2.LockRecord | None = None
    decided: state_pb2.DecisionRecord | None = None
    quota: state_pb2.QuotaRecord | None = None
    share: common_pb2.QuotaShare | None = None
    locked: list[int] | None = None
    ranges: list[common_pb2.IdRange] | None = None
    reference: int | None = None
    purged: int = 0
