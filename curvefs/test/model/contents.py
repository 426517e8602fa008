"""What files may hold, as plain bytes. Pure.

A plain file has one writer at a time. Every write makes a version; what was synced is the last version alone, what was
not may be, at each place, what any version since had there: the pieces of what is written arrive one by one. Past its
end a version has END.

A log is a file that everybody appends records to: it is whole records, none twice, those of each mount in order.
"""

from dataclasses import dataclass, field

END = -1
RECORD = 24


def at(version: bytes, place: int) -> int:
    return version[place] if place < len(version) else END


def mismatch(versions: list[bytes], offset: int, size: int, found: bytes) -> str | None:
    """Return what is wrong with bytes that a read of a file found, which may be any of these at each place."""
    if len(found) > size:
        return f"{len(found)} bytes instead of {size}"
    if any(version[offset : offset + size] == found for version in versions):
        return None
    for place in range(offset, offset + size):
        got = found[place - offset] if place < offset + len(found) else END
        allowed = {at(version, place) for version in versions}
        if got not in allowed:
            return f"at {place} of read {offset}+{size}: {got}, allowed {sorted(allowed)}"
    return None


@dataclass(slots=True)
class PlainFile:
    """``writer``: the mount that has something unpublished. ``views``: what each mount may see since it opened it."""

    inode_id: int
    own: bytes = b""
    writer: int | None = None
    published: list[bytes] = field(default_factory=lambda: [b""])  # versions since the last known publication
    synced: list[bytes] = field(default_factory=lambda: [b""])  # since the last sync: what a crash leaves
    views: dict[int, list[bytes]] = field(default_factory=dict)

    def opened(self, mount: int) -> None:
        """A mount asks for the file as it is."""
        self.views[mount] = [self.own] if mount == self.writer else list(self.published)

    def changed(self, mount: int, version: bytes) -> None:
        """The writer made another version."""
        self.writer = mount
        self.own = version
        self.published.append(version)
        self.synced.append(version)
        for one in self.views:
            if one == mount:
                self.views[one] = [version]
            else:
                self.views[one].append(version)

    def looked_at(self, found: bytes) -> None:
        """What the writer sees after a call that may have been done or not."""
        self.own = found
        for one in self.views:
            if one != self.writer:
                self.views[one].append(found)
        self.published.append(found)
        self.synced.append(found)
        if self.writer is not None:
            self.views[self.writer] = [found]

    def was_synced(self) -> None:
        self.synced = [self.own]

    def was_published(self) -> None:
        self.synced = [self.own]
        self.published = [self.own]
        self.writer = None

    def survived(self, found: bytes, *, published: bool) -> None:
        """What is there after its writer died, and nothing is on its way any more: that is what it is."""
        self.looked_at(found)
        self.synced = [found]
        if published:
            self.published = [found]
            self.writer = None


@dataclass(slots=True)
class Log:
    """Records by mount: ``order`` has all; ``pending`` is not synced, ``synced`` not known to be published.

    ``maybe``: they may be lost, or come. ``there``: published for certain.
    """

    inode_id: int
    order: dict[int, list[bytes]] = field(default_factory=dict)
    pending: dict[int, list[bytes]] = field(default_factory=dict)
    synced: dict[int, list[bytes]] = field(default_factory=dict)
    maybe: set[bytes] = field(default_factory=set)
    there: set[bytes] = field(default_factory=set)
    _count: int = 0

    def record(self, mount: int) -> bytes:
        """Return another record, appended by a mount."""
        self._count += 1
        made = f"<{mount}:{self._count:>{RECORD - 5}}>\n".encode()
        assert len(made) == RECORD
        self.order.setdefault(mount, []).append(made)
        self.pending.setdefault(mount, []).append(made)
        return made

    def was_synced(self, mount: int) -> None:
        done = [one for one in self.pending.pop(mount, []) if one not in self.maybe]
        self.synced.setdefault(mount, []).extend(done)

    def was_published(self, mount: int) -> None:
        self.was_synced(mount)
        self.there |= set(self.synced.pop(mount, []))

    def in_doubt(self, mount: int) -> None:
        """Something went wrong that was reported: what is pending may be lost, or come."""
        self.maybe |= set(self.pending.get(mount, []))

    def was_killed(self, mount: int) -> None:
        self.in_doubt(mount)
        self.pending.pop(mount, None)

    def mismatch(self, found: bytes, *, is_published: bool = True) -> str | None:
        """Return what is wrong with what somebody reads who opened it just now.

        is_published: the reader has nothing of its own that is not published.
        """
        records = [found[n : n + RECORD] for n in range(0, len(found), RECORD)]
        known = {one for records_ in self.order.values() for one in records_}
        strange = next((one for one in records if one not in known), None)
        if strange is not None:
            return f"no record: {strange!r} at {records.index(strange) * RECORD}"
        if len(set(records)) != len(records):
            return f"records twice: {sorted({one for one in records if records.count(one) > 1})}"
        missing = self.there - set(records)
        if missing:
            return f"records are lost: {sorted(missing)}"
        for mount, order in self.order.items():
            mine = [one for one in records if one in order]
            if mine != [one for one in order if one in mine]:
                return f"records of mount {mount} are not in their order: {mine}"
        if is_published:
            self.there |= set(records)
        return None
