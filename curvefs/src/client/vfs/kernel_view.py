"""What the kernel was told of each inode, so that open can say whether its cached pages still hold (rule 21).

Two change counters an inode: of the attributes last told, and of the content its pages belong to. The mount's own
operations move both along: they came through the kernel. Anything else makes them differ from what the server says
at the next open, and the kernel is told to drop the inode.

Bounded; an inode that fell out counts as unknown, which is always safe.
"""

from collections import OrderedDict
from dataclasses import dataclass

INODES_MAX = 65536


@dataclass(slots=True)
class _Told:
    attributes: int
    pages: int  # 0: it has no pages that we know of; counters begin at 1


class KernelView:
    """See the module. Pure."""

    def __init__(self, inodes_max: int = INODES_MAX) -> None:
        self._inodes_max = inodes_max
        self._told: OrderedDict[int, _Told] = OrderedDict()

    def told_attributes(self, inode_id: int, change: int) -> None:
        """Note that the kernel got attributes of this change counter."""
        told = self._told.get(inode_id)
        if told is None:
            self._told[inode_id] = _Told(change, 0)
            if len(self._told) > self._inodes_max:
                self._told.popitem(last=False)
        else:
            told.attributes = change

    def own_change(self, inode_id: int, change: int) -> None:
        """Note that an own operation moved the change counter to ``change``."""
        told = self._told.get(inode_id)
        if told is None:
            return
        if told.attributes == change - 1:
            told.attributes = change
        if told.pages == change - 1:
            told.pages = change

    def opened(self, inode_id: int, change: int) -> tuple[bool, bool]:
        """Note an open at ``change``. Returns (pages may be kept, attributes must be dropped)."""
        told = self._told.get(inode_id)
        if told is None:
            self._told[inode_id] = _Told(change, change)
            if len(self._told) > self._inodes_max:
                self._told.popitem(last=False)
            return False, True
        self._told.move_to_end(inode_id)
        keep, stale = told.pages == change, told.attributes != change
        told.attributes = told.pages = change
        return keep, stale

    def forget(self, inode_id: int) -> None:
        """Note that the kernel dropped the inode."""
        self._told.pop(inode_id, None)
