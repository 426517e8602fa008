"""What a file has reserved of its quotas for the bytes it is longer here than published.

A write reserves before it is taken, so that a full quota is told to the writer, and not to whoever closes the file. A
publication brings along what it makes the file longer by. What turns out not to be needed goes back to the mount.
"""

from ....proto import metaserver_pb2 as pb
from .interfaces import SliceMetadata


class Growth:
    """Of one file. quotas: the directory quotas it is charged to, as last heard."""

    def __init__(self, inode: pb.Inode, metadata: SliceMetadata) -> None:
        self._inode_id = inode.inode_id
        self._metadata = metadata
        self.quotas = tuple(inode.quotas)
        self._held = pb.Reservation()
        self._epoch = metadata.epoch

    def suffices(self, growth: int) -> bool:
        """Say whether the file may be so much longer than published, without asking anybody."""
        return growth <= self._bytes or not self._metadata.limits(self._inode_id, self.quotas)

    async def reserve(self, growth: int) -> None:
        """Have the file be so much longer. Raises QuotaExceeded, NoSpace."""
        missing = growth - self._bytes
        taken = await self._metadata.take_room(self._inode_id, missing, self.quotas)
        if taken.quotas != self._held.quotas or self._epoch != self._metadata.epoch:
            # It is charged to others by now, or in another session: what it had for the old ones is of no use.
            self.trim(0)
            self._epoch = self._metadata.epoch
            self._held.quotas[:] = taken.quotas
        self._held.bytes += taken.bytes

    def brought(self, growth: int) -> pb.Reservation | None:
        """Return what a publication that makes the file so much longer brings along."""
        bytes_ = min(self._bytes, max(growth, 0))
        return pb.Reservation(quotas=self._held.quotas, bytes=bytes_) if bytes_ else None

    def used(self, brought: pb.Reservation | None) -> None:
        """It was published."""
        if brought is not None and brought.quotas == self._held.quotas:
            self._held.bytes -= min(brought.bytes, self._held.bytes)

    def trim(self, growth: int) -> None:
        """Give up what is reserved beyond what the file needs now."""
        surplus = self._held.bytes - max(growth, 0)
        if surplus > 0:
            self._held.bytes -= surplus
            if self._epoch == self._metadata.epoch and self._held.quotas:
                back = pb.Reservation(quotas=self._held.quotas, bytes=surplus)
                self._metadata.put_room_back(self._inode_id, back)

    @property
    def _bytes(self) -> int:
        return self._held.bytes if self._epoch == self._metadata.epoch else 0
