"""Open directories: pages of a listing behind stable cursors (rule 23).

A cursor is the 63-bit hash of the last name returned; the handle remembers that name, for the case that two names
share a hash. A page is fetched when the reader gets to its end, and again when it is too old to be told as it was read
or this mount has changed the directory meanwhile; a directory of any size is read in bounded memory.
A listing whose pages all saw one change counter makes the directory known as a whole to the cache.

Shared across awaits: a handle's position. Only its own readdir moves it, and the kernel sends one at a time per handle.
"""

from dataclasses import dataclass, field

import trio

from ....proto import metaserver_pb2 as pb
from ...common.ids import NAME_SIZE_MAX
from ..metadata.client import MetadataClient
from ..metadata.listings import PAGE_ENTRIES, Listing

LAST_NAME = b"\xff" * NAME_SIZE_MAX
DOT, DOT_DOT = 1, 2  # cursors after '.' and '..'; hashes of names are larger


@dataclass(slots=True)
class DirectoryHandle:
    """One opendir(3)."""

    inode_id: int
    page: list[pb.DirectoryEntry] = field(default_factory=list)
    after: int = 0  # the cursor before the page's first entry
    end: bool = False
    read_at_s: float = 0.0  # when the page was asked for
    change: int = 0  # the directory's counter at which it was read
    last_name: bytes = b""  # last one of the page before
    listing: Listing | None = None  # None: it is not read from the beginning on


async def entries_after(handle: DirectoryHandle, cursor: int, metadata: MetadataClient) -> list[pb.DirectoryEntry]:
    """Return the entries after a cursor, at most a page; none at the end of the directory."""
    rest = _rest_of_page(handle, cursor)
    if rest is not None and (not rest or _holds(handle, metadata)):
        return rest
    if cursor < DOT_DOT:
        return (await _dots(handle.inode_id, metadata))[cursor:]
    if cursor == DOT_DOT:
        cursor = 0
        handle.last_name = b""
        handle.listing = Listing(metadata.cache, handle.inode_id, trio.current_time())
    elif (name := _name_at(handle, cursor)) is not None:
        handle.last_name = name
    else:
        handle.last_name = LAST_NAME  # a cursor from elsewhere: after all names of that hash
        handle.listing = None
    listing, asked_s = handle.listing, trio.current_time()
    page = await metadata.reads.read_dir(
        handle.inode_id,
        cursor,
        handle.last_name,
        limit=PAGE_ENTRIES,
        generation=listing.generation if listing is not None else 0,
    )
    handle.page, handle.after, handle.end = page.entries, cursor, page.end
    handle.read_at_s, handle.change = asked_s, page.change
    if listing is not None:
        listing.note(page)
    return handle.page


async def _dots(inode_id: int, metadata: MetadataClient) -> list[pb.DirectoryEntry]:
    """Return the entries '.' and '..'."""
    here = await metadata.reads.get_attr(inode_id)
    above = await metadata.reads.get_attr(here.parent)
    return [
        pb.DirectoryEntry(name=name, hash=hash_, inode_id=inode.inode_id, type=pb.DIRECTORY, inode=inode)
        for name, hash_, inode in ((b".", DOT, here), (b"..", DOT_DOT, above))
    ]


def _holds(handle: DirectoryHandle, metadata: MetadataClient) -> bool:
    """Say whether the present page may still be told: it is not old, and this mount has not changed the directory."""
    young = trio.current_time() < handle.read_at_s + metadata.cache.page_valid_s
    return young and metadata.cache.newest_change(handle.inode_id) <= handle.change


def _name_at(handle: DirectoryHandle, cursor: int) -> bytes | None:
    """Return the name that a cursor is after, if it is one of the present page, or the last before it."""
    if cursor == handle.after:
        return handle.last_name
    return next((entry.name for entry in reversed(handle.page) if entry.hash == cursor), None)


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
