"""Open directories: pages of a listing behind stable cursors (rule 23).

A cursor is the 63-bit hash of the last name returned; the handle remembers that name, for the case that two names
share a hash. A page is fetched when the reader gets to its end; a directory of any size is read in bounded memory.
A listing whose pages all saw one change counter makes the directory known as a whole to the cache.

Shared across awaits: a handle's position. Only its own readdir moves it, and the kernel sends one at a time per handle.
"""

from dataclasses import dataclass, field

import trio

from ....proto import metaserver_pb2 as pb
from ..metadata.client import MetadataClient
from ..metadata.reads import Page

PAGE_ENTRIES = 1000
DOT, DOT_DOT = 1, 2  # cursors after '.' and '..'; hashes of names are larger


@dataclass(slots=True)
class DirectoryHandle:
    """One opendir(3)."""

    inode_id: int
    page: list[pb.DirectoryEntry] = field(default_factory=list)
    after: int = 0  # the cursor before the page's first entry
    end: bool = False
    last_name: bytes = b""  # last one of the page before
    # The listing as a whole: begun when, under which generation, at which change counter, names so far.
    began: float = 0.0
    generation: int = 0
    change: int = 0
    count: int = 0


async def entries_after(handle: DirectoryHandle, cursor: int, metadata: MetadataClient) -> list[pb.DirectoryEntry]:
    """Return the entries after a cursor, at most a page; none at the end of the directory."""
    rest = _rest_of_page(handle, cursor)
    if rest is not None:
        return rest
    if cursor < DOT_DOT:
        return (await _dots(handle.inode_id, metadata))[cursor:]
    if cursor == DOT_DOT:
        cursor = 0
        handle.last_name = b""
        handle.began = trio.current_time()
        handle.generation = metadata.cache.begin_listing()
        handle.change = handle.count = 0
    elif handle.page and handle.page[-1].hash == cursor:
        handle.last_name = handle.page[-1].name
    else:
        handle.last_name = b"\xff" * 256  # a cursor from elsewhere: after all names of that hash
        handle.generation = 0
    page = await metadata.reads.read_dir(
        handle.inode_id, cursor, handle.last_name, limit=PAGE_ENTRIES, generation=handle.generation
    )
    handle.page, handle.after, handle.end = page.entries, cursor, page.end
    _note_progress(handle, page, metadata)
    return handle.page


async def _dots(inode_id: int, metadata: MetadataClient) -> list[pb.DirectoryEntry]:
    """Return the entries '.' and '..'."""
    here = await metadata.reads.get_attr(inode_id)
    above = await metadata.reads.get_attr(here.parent)
    return [
        pb.DirectoryEntry(name=name, hash=hash_, inode_id=inode.inode_id, type=pb.DIRECTORY, inode=inode)
        for name, hash_, inode in ((b".", DOT, here), (b"..", DOT_DOT, above))
    ]


def _rest_of_page(handle: DirectoryHandle, cursor: int) -> list[pb.DirectoryEntry] | None:
    """Return what the present page holds after the cursor; None when another page is needed."""
    if cursor <= DOT_DOT or not handle.page:
        return None
    if cursor == handle.after:
        return handle.page
    for index in range(len(handle.page) - 1, -1, -1):
        if handle.page[index].hash == cursor:
            rest = handle.page[index + 1 :]
            return rest if rest or handle.end else None
    return None


def _note_progress(handle: DirectoryHandle, page: Page, metadata: MetadataClient) -> None:
    if not handle.generation:
        return
    if not page.as_read or (handle.change and handle.change != page.change):
        handle.generation = 0
        return
    handle.change = page.change
    handle.count += len(page.entries)
    if page.end:
        metadata.cache.finish_listing(handle.inode_id, handle.change, handle.generation, handle.count, handle.began)
