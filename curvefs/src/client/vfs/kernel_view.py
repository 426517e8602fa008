"""What the kernel was told of each inode, so that open can say whether its cached pages still hold (rule 21).

Two change counters an inode: of the attributes last told, and of the content its pages belong to. The mount's own
operations move both along: they came through the kernel. Anything else makes them differ from what the server says
at the next open, and the kernel is told to drop the inode.

The kernel drops pages after the answer to an open, while other opens are answered already. So pages count as those of
now only when that open is known to be over: with the first request of its handle (settled). Until then every open has
the kernel drop them. Likewise attributes count as dropped only when that is done.

Bounded; an inode that fell out counts as unknown, which is always safe.
"""

from collections import OrderedDict
from dataclasses import dataclass

INODES_MAX = 65536


@dataclass(slots=True, eq=False)
class Opening:
    """What opens at one change counter have the kernel drop: pages unless ``keep``, attributes if ``stale``."""

    change: int
    keep: bool
    stale: bool


@dataclass(slots=True)
class _Told:
    attributes: int
    pages: int  # 0: it has no pages that we know of; counters begin at 1
    opening: Opening | None = None  # has it drop pages, and may not be over


class KernelView:
    """See the module. Pure."""

    def __init__(self, inodes_max: int = INODES_MAX) -> None:
        self._inodes_max = inodes_max
        self._told: OrderedDict[int, _Told] = OrderedDict()

    def told_attributes(self, inode_id: int, change: int) -> None:
        """Note that the kernel got attributes of this change counter, or forgot older ones."""
        told = self._told.get(inode_id)
        if told is None:
            self._tell(inode_id, _Told(change, 0))
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
        if told.opening is not None and told.opening.change == change - 1:
            told.opening.change = change

    def created(self, inode_id: int, change: int) -> None:
        """Note that a file was created and opened at once: there are no other pages."""
        self._tell(inode_id, _Told(change, change))

    def may_have_pages(self, inode_id: int) -> bool:
        """Say whether the kernel was seen to use a handle of the file, as far as that is still known."""
        told = self._told.get(inode_id)
        return told is not None and told.pages > 0

    def opened(self, inode_id: int, change: int) -> Opening:
        """Say what an open at ``change`` has to have dropped."""
        told = self._told.get(inode_id)
        if told is None:
            told = _Told(0, 0)
            self._tell(inode_id, told)
        self._told.move_to_end(inode_id)
        keep, stale = told.pages == change, told.attributes != change
        if keep:
            return Opening(change, keep, stale)
        if told.opening is None or told.opening.change != change or told.opening.stale != stale:
            told.opening = Opening(change, keep, stale)
        return told.opening

    def settled(self, inode_id: int, opening: Opening) -> None:
        """Note that an open is over: the pages that the kernel has are of its change counter, or newer."""
        told = self._told.get(inode_id)
        if told is not None and told.opening is opening:
            told.pages, told.opening = opening.change, None

    def forget(self, inode_id: int) -> None:
        """Note that the kernel dropped the inode."""
        self._told.pop(inode_id, None)

    def _tell(self, inode_id: int, told: _Told) -> None:
        self._told[inode_id] = told
        if len(self._told) > self._inodes_max:
            self._told.popitem(last=False)
