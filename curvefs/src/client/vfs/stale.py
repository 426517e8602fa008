"""Inodes that another mount has removed, while the kernel still knows them by a name."""

from collections.abc import Iterator
from contextlib import contextmanager

from ...common.errors import NotFound, StaleHandle
from ..metadata.cache import MetadataCache


@contextmanager
def stale_if_gone(cache: MetadataCache, *inodes: int) -> Iterator[None]:
    """Raise StaleHandle for NotFound: one of these inodes is gone, and perhaps another has its name by now.

    The kernel then looks the names up again, of which nothing old must be known here.
    """
    try:
        yield
    except NotFound:
        for inode_id in inodes:
            cache.forget_attributes(inode_id)
        raise StaleHandle from None
