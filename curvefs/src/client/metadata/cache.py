"""The metadata cache: attributes, names (with and without an inode) and complete listings.

Pure: the time is an argument. Everything is valid for a timeout from when the server said it; the mount's own
operations change it at once. One bound counts attributes and names together; the least recently used go first.

A listing says that *all* names of a directory are known, so that an absent name needs no request. It is tied
to the directory's change counter: an own operation that moves the counter by exactly one keeps the listing
complete and fresh (nobody else changed the directory); any other counter ends it. Names belong to the listing by
its generation: what an older listing knew does not count in a newer one.

Results of transactions come outside the order in which a group applied its operations: they count only when nothing
newer is known of the directory, by its change counter; in doubt the names are forgotten.

Attributes are kept as serialised messages: a fifth of the memory of live ones, parsed in about a microsecond.

Invariant: of one inode, attributes with a lower change counter never replace valid ones with a higher.
"""

import stat
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ....proto import metaserver_pb2 as pb

PAGE_VALID_S_MIN = 0.1  # else a listing asked for each page once for every part of it that the kernel takes


class Absent(Enum):
    """The name is known to be absent."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


class _Attributes(NamedTuple):
    record: bytes
    change: int
    expires: float


class _Name(NamedTuple):
    inode_id: int  # 0: known to be absent
    expires: float
    generation: int  # of the listing it belongs to; 0: none


@dataclass(slots=True)
class _Listing:
    change: int
    expires: float
    generation: int


@dataclass(slots=True)
class CacheCounts:
    """Hits and misses since the mount began."""

    attribute_hits: int = 0
    attribute_misses: int = 0
    name_hits: int = 0
    name_misses: int = 0
    negative_hits: int = 0
    evicted: int = 0


class MetadataCache:
    """See the module. Timeouts in seconds; ``now`` is any clock that never goes back, in seconds.

    ``page_valid_s``: how long the entries of a page that was read may be told to the kernel.
    """

    def __init__(
        self, entries_max: int, *, attr_timeout_s: float, entry_timeout_s: float, negative_timeout_s: float
    ) -> None:
        assert entries_max > 0
        self._entries_max = entries_max
        self._attr_timeout_s = attr_timeout_s
        self._entry_timeout_s = entry_timeout_s
        self._negative_timeout_s = negative_timeout_s
        # int -> attributes of an inode; (parent, name) -> name. One order of use, one bound.
        self._entries: OrderedDict[int | tuple[int, bytes], _Attributes | _Name] = OrderedDict()
        self._listings: dict[int, _Listing] = {}
        self._last_generation = 0
        self.page_valid_s = max(min(attr_timeout_s, entry_timeout_s), PAGE_VALID_S_MIN)
        self.counts = CacheCounts()

    def __len__(self) -> int:
        return len(self._entries)

    # ------------------------------------------------------------------------------------------ reading

    def attributes(self, inode_id: int, now: float) -> pb.Inode | None:
        """Return valid attributes of an inode, or None."""
        entry = self._entries.get(inode_id)
        if entry is None or entry.expires <= now:
            self.counts.attribute_misses += 1
            return None
        assert isinstance(entry, _Attributes)
        self._entries.move_to_end(inode_id)
        self.counts.attribute_hits += 1
        return pb.Inode.FromString(entry.record)

    def lookup(self, parent: int, name: bytes, now: float) -> int | Absent | None:
        """Return the inode a name leads to, ABSENT, or None when that is not known."""
        key = (parent, name)
        entry = self._entries.get(key)
        listing = self._listings.get(parent)
        if listing is not None and listing.expires <= now:
            listing = None
        if entry is not None:
            assert isinstance(entry, _Name)
            if entry.expires > now or (listing is not None and entry.generation == listing.generation):
                self._entries.move_to_end(key)
                if entry.inode_id:
                    self.counts.name_hits += 1
                    return entry.inode_id
                self.counts.negative_hits += 1
                return ABSENT
        if listing is not None:
            self.counts.negative_hits += 1
            return ABSENT
        self.counts.name_misses += 1
        return None

    def attributes_left_s(self, inode_id: int, now: float) -> float:
        """Return for how long the attributes of an inode are valid; 0 when they are not."""
        entry = self._entries.get(inode_id)
        return max(0.0, entry.expires - now) if entry is not None else 0.0

    def name_left_s(self, parent: int, name: bytes, inode_id: int, now: float) -> float:
        """Return for how long a name is known to lead to an inode (0: to be absent); 0 when it is not."""
        entry, listing = self._entries.get((parent, name)), self._listings.get(parent)
        if entry is None:
            expires = listing.expires if listing is not None and not inode_id else now
        else:
            assert isinstance(entry, _Name)
            expires = entry.expires if entry.inode_id == inode_id else now
            if listing is not None and (entry.inode_id, entry.generation) == (inode_id, listing.generation):
                expires = max(expires, listing.expires)
        return max(0.0, expires - now)

    def last_known(self, parent: int, name: bytes) -> int:
        """Return the inode a name led to when last heard of, however long ago; 0 when not known."""
        entry = self._entries.get((parent, name))
        return entry.inode_id if isinstance(entry, _Name) else 0

    def was_absent(self, parent: int, name: bytes) -> bool:
        """True when there was no such name when last heard of, however long ago."""
        entry = self._entries.get((parent, name))
        return isinstance(entry, _Name) and not entry.inode_id

    def newest_change(self, inode_id: int) -> int:
        """Return the highest change counter heard of an inode, as far as it is still known; 0 when it is not."""
        entry = self._entries.get(inode_id)
        listing = self._listings.get(inode_id)
        return max(entry.change if isinstance(entry, _Attributes) else 0, listing.change if listing is not None else 0)

    def newer(self, inode: pb.Inode) -> pb.Inode | None:
        """Return what is known of an inode with a higher change counter, however long ago; None when nothing is."""
        entry = self._entries.get(inode.inode_id)
        if not isinstance(entry, _Attributes) or entry.change <= inode.change:
            return None
        return pb.Inode.FromString(entry.record)

    def is_directory(self, inode_id: int) -> bool | None:
        """True or False for an inode that was heard of, however long ago: types do not change. None when not known."""
        entry = self._entries.get(inode_id)
        return stat.S_ISDIR(pb.Inode.FromString(entry.record).mode) if isinstance(entry, _Attributes) else None

    def last_entry_count(self, inode_id: int) -> int | None:
        """Return how many names a directory had when last heard of; None if not known, or names are not kept."""
        entry = self._entries.get(inode_id)
        if not isinstance(entry, _Attributes) or self._entry_timeout_s <= 0:
            return None
        return pb.Inode.FromString(entry.record).entry_count

    # ----------------------------------------------------------------------------------------- learning

    def learn_attributes(self, inode: pb.Inode, now: float) -> None:
        """Take attributes as the server just gave them."""
        known = self._entries.get(inode.inode_id)
        if isinstance(known, _Attributes) and known.change > inode.change and known.expires > now:
            return
        listing = self._listings.get(inode.inode_id)
        if listing is not None and listing.change != inode.change:
            del self._listings[inode.inode_id]
        self._put(inode.inode_id, _Attributes(inode.SerializeToString(), inode.change, now + self._attr_timeout_s))

    def learn_name(self, parent: int, name: bytes, inode_id: int, now: float) -> None:
        """Take a name as the server just gave it. It stays in its listing; one that was not in it ends the listing."""
        generation = 0
        listing = self._listings.get(parent)
        if listing is not None:
            known = self._entries.get((parent, name))
            if isinstance(known, _Name) and known[0::2] == (inode_id, listing.generation):
                generation = listing.generation
            else:
                del self._listings[parent]
        self._put((parent, name), _Name(inode_id, now + self._entry_timeout_s, generation))

    def learn_absent(self, parent: int, name: bytes, parent_change: int, now: float) -> None:
        """The server just said that there is no such name."""
        listing = self._listings.get(parent)
        if listing is not None and listing.change != parent_change:
            del self._listings[parent]
        self._put((parent, name), _Name(0, now + self._negative_timeout_s, 0))

    def begin_listing(self) -> int:
        """Return the generation for a listing that is about to be read."""
        self._last_generation += 1
        return self._last_generation

    def learn_page(self, parent: int, entries: Iterable[pb.DirectoryEntry], generation: int, now: float) -> None:
        """Take one page of a listing."""
        expires = now + self._entry_timeout_s
        # The names leave an older listing one by one; it cannot be complete any more.
        self._listings.pop(parent, None)
        for entry in entries:
            if entry.HasField("inode"):
                self.learn_attributes(entry.inode, now)
            self._put((parent, entry.name), _Name(entry.inode_id, expires, generation))

    def finish_listing(self, parent: int, change: int, generation: int, count: int, began: float) -> None:
        """All pages were read while the change counter stood at ``change``; the directory is known entirely.

        ``began`` is when the first page was asked for: the listing is as old as that. ``count``: names in it.
        """
        if count > self._entries_max // 2:
            return  # its names push one another out; nothing would stay complete
        if change < self.newest_change(parent):
            return  # changed since, and the change is known
        self._listings[parent] = _Listing(change, began + self._entry_timeout_s, generation)

    # -------------------------------------------------------------------------- the mount's own operations

    def changed_directory(
        self,
        parent: pb.Inode,
        now: float,
        *,
        added: tuple[bytes, int] | None = None,
        removed: bytes | None = None,
    ) -> None:
        """An own operation changed the names of a directory; ``parent`` is the directory afterwards."""
        parent_id = parent.inode_id
        listing = self._listings.get(parent_id)
        generation = 0
        if listing is not None:
            if parent.change - listing.change in (0, 1):  # 0: the second name of one operation
                listing.change = parent.change
                listing.expires = now + self._entry_timeout_s
                generation = listing.generation
            else:
                del self._listings[parent_id]
        if removed is not None:
            self._entries.pop((parent_id, removed), None)
        if added is not None:
            name, inode_id = added
            self._put((parent_id, name), _Name(inode_id, now + self._entry_timeout_s, generation))
        self.learn_attributes(parent, now)

    def made_directory(self, directory: pb.Inode, now: float) -> None:
        """An own mkdir: the new directory is known to be empty, unless more is known of it already."""
        if self.newest_change(directory.inode_id) > directory.change:
            return
        self._listings[directory.inode_id] = _Listing(
            directory.change, now + self._entry_timeout_s, self.begin_listing()
        )

    def changed_outside_lane(self, parent: pb.Inode, names: Mapping[bytes, int], now: float) -> None:
        """An own transaction changed names of a directory, to these inodes (0: removed); ``parent`` is it afterwards.

        Its result may come after those of operations that were applied later.
        """
        if not 0 < self.newest_change(parent.inode_id) < parent.change:
            for name in names:
                self.forget_name(parent.inode_id, name)
            return
        for name, inode_id in names.items():
            if inode_id:
                self.changed_directory(parent, now, added=(name, inode_id))
            else:
                self.changed_directory(parent, now, removed=name)

    def touched(self, inode: pb.Inode, now: float) -> None:
        """An own operation changed an inode's attributes and no name."""
        listing = self._listings.get(inode.inode_id)
        if listing is not None and inode.change == listing.change + 1:
            listing.change = inode.change
        self.learn_attributes(inode, now)

    # --------------------------------------------------------------------------------------- forgetting

    def forget_attributes(self, inode_id: int) -> None:
        """Drop what is known of an inode."""
        self._entries.pop(inode_id, None)
        self._listings.pop(inode_id, None)

    def forget_name(self, parent: int, name: bytes) -> None:
        """Drop what is known of a name; the directory's listing is no longer complete."""
        self._entries.pop((parent, name), None)
        self._listings.pop(parent, None)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._listings.clear()

    def _put(self, key: int | tuple[int, bytes], value: _Attributes | _Name) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._entries_max:
            old, _ = self._entries.popitem(last=False)
            self.counts.evicted += 1
            self._listings.pop(old[0] if isinstance(old, tuple) else old, None)
