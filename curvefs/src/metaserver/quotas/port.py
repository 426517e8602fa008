"""What lending and counting need of the groups concerned. A quota's work is done by one at a time."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ..metastore.applied import Applied
from ..storage.transaction import StateReader

T = TypeVar("T")


class Port(Protocol):
    """Of one filesystem. Everything raises CurveFSError, as the groups answer or nobody does."""

    async def own(self, entry: state_pb2.Entry) -> Applied:
        """Have an entry applied in the owner's group. Raises what it is refused for."""
        ...

    async def view(self, look: Callable[[StateReader], T]) -> T:
        """Return what ``look`` makes of the owner's state; linearizable."""
        ...

    async def partitions(self, *, fresh: bool = False) -> list[int]:
        """Return the filesystem's partitions, as they were heard of last, or as they are now."""
        ...

    async def share(self, partition_id: int, quota_id: int) -> common_pb2.QuotaShare:
        """Return what a partition has and uses; linearizable."""
        ...

    async def set_share(self, partition_id: int, quota_id: int, share: common_pb2.QuotaShare) -> common_pb2.QuotaShare:
        """Tell a partition; returns its share afterwards."""
        ...

    async def mark(self, command: state_pb2.MarkInodesCommand) -> list[int]:
        """Charge inodes of one partition; returns those that are locked just now."""
        ...

    async def read(self, read: pb.Read, partition_id: int) -> pb.ReadResult:
        """Return the answer to a read. Raises what it fails with."""
        ...

    async def pause(self, tries: int) -> None:
        """Wait a little before another try."""
        ...
