"""Listings: when a directory is known as a whole, and when it is worth to be.

Who looks up one name of a directory after the other asks for each. When many were asked for lately, in proportion to
how many there are, the directory is listed instead: the other names are answered from that, for the entry timeout. Only
names that were found count, so that who waits for a name to appear goes on asking.

Pure, but for the cache that it tells. Bounded: directories that were asked about longest ago are forgotten.
"""

from collections import OrderedDict
from dataclasses import dataclass

from ....proto import metaserver_pb2 as pb
from .cache import MetadataCache

PAGE_ENTRIES = 1000
WINDOW_S = 1.0
ASKED_MIN = 16
ENTRIES_PER_ASKED = 16  # listing an entry costs about a sixteenth of asking for a name
ENTRIES_MAX = 4096  # more would hold up the one who happens to ask
DIRECTORIES_MAX = 256


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a directory. ``change``: the directory's counter at which it was read.

    An entry without an inode was removed while its attributes were asked for. ``as_read``: no entry has changed since.
    """

    entries: list[pb.DirectoryEntry]
    end: bool
    change: int
    as_read: bool


class Listing:
    """One directory that is being listed, page by page. now: when the first page is asked for (trio time)."""

    def __init__(self, cache: MetadataCache, inode_id: int, now: float) -> None:
        self.generation = cache.begin_listing()
        self._cache = cache
        self._inode_id = inode_id
        self._began = now
        self._change = 0
        self._count = 0

    def note(self, page: Page) -> None:
        """Take the next page. After the last, if all saw one change counter, the directory is known as a whole."""
        if not self.generation:
            return
        if not page.as_read or (self._change and self._change != page.change):
            self.generation = 0
            return
        self._change = page.change
        self._count += len(page.entries)
        if page.end:
            self._cache.finish_listing(self._inode_id, self._change, self.generation, self._count, self._began)


class Siblings:
    """How many names of each directory were asked for lately, and found."""

    def __init__(self) -> None:
        self._asked: OrderedDict[int, tuple[float, int]] = OrderedDict()  # when the window began, how many since

    def found(self, directory: int, now: float) -> None:
        """A name was asked for, and is there."""
        began, count = self._asked.pop(directory, (now, 0))
        self._asked[directory] = (now, 1) if now - began > WINDOW_S else (began, count + 1)
        if len(self._asked) > DIRECTORIES_MAX:
            self._asked.popitem(last=False)

    def worth_listing(self, directory: int, entries: int, now: float) -> bool:
        """Say whether to list a directory of so many entries before another name is asked for; once a window."""
        began, count = self._asked.get(directory, (now, 0))
        enough = max(ASKED_MIN, entries // ENTRIES_PER_ASKED)
        if now - began > WINDOW_S or count < enough or entries > ENTRIES_MAX:
            return False
        del self._asked[directory]
        return True
