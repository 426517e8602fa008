"""Mounts with write-back, one after the other, over one store and one cache folder."""

from contextlib import asynccontextmanager

from .lab import lab, pattern

DATA = pattern(5000)


@asynccontextmanager
async def mount(tmp_path, before=None, **config):
    """A mount with write-back, on what another one has left in the store and on disk."""
    more = {} if before is None else {"objects": before.objects, "metadata": before.metadata}
    async with lab(cache_dir=tmp_path, **({"write_back": True, "store_timeout_s": 1.0} | more | config)) as made:
        await made.data.adopt_staged()
        yield made


async def published(made):
    assert await made.data.publish_staged(100.0)


def records(made):
    return sorted(made.staging.path.glob("*.slice"))


async def write(made, *pieces, inode_id=2):
    file = made.open(inode_id)
    for offset, data in pieces:
        await file.write(offset, data)
    await file.flush()
    return file
