"""Calls whose answer was lost are sent again: they do nothing twice, and nothing to others."""

import asyncio
import contextlib

import pytest

from curvefs.src.common.errors import AlreadyExists, InvalidArgument, NotFound, Overloaded, ResourceBusy

pytestmark = pytest.mark.asyncio
ID, NONCE = b"u" * 16, b"n" * 16


async def test_a_deletion_that_is_repeated_leaves_what_was_made_under_the_name_since(mds, metaserver):
    first = await mds.create()
    deleting = await mds.mds.filesystems.delete("demo", first.uuid)
    assert (await mds.mds.filesystems.delete("demo", first.uuid)).fs_id == deleting.fs_id
    second = await mds.create()
    with contextlib.suppress(NotFound):  # it may be removed by now
        await mds.mds.filesystems.delete("demo", first.uuid)
    assert mds.mds.filesystems.get("demo").uuid == second.uuid
    await mds.mds.filesystems.delete("demo")
    with pytest.raises(NotFound):
        mds.mds.filesystems.get("demo")


async def test_a_creation_that_is_repeated_is_answered_with_what_it_made(mds, metaserver):
    made = await mds.create(uuid=ID)
    assert made.uuid == ID
    assert await mds.create(uuid=ID) == made
    for uuid in (b"", b"v" * 16):
        with pytest.raises(AlreadyExists):
            await mds.create(uuid=uuid)
    with pytest.raises(AlreadyExists, match="another filesystem with the UUID"):
        await mds.create("other", uuid=ID)
    with pytest.raises(InvalidArgument):
        await mds.create("third", uuid=b"short")


async def test_creations_at_the_same_time_with_one_uuid_make_one_filesystem(mds, metaserver):
    answers = await asyncio.gather(*(mds.create(uuid=ID) for _ in range(5)), return_exceptions=True)
    [made] = mds.mds.filesystems.all()
    assert made in answers
    assert all(answer == made or isinstance(answer, Overloaded) for answer in answers), "made, or to be asked again"


async def test_the_uuid_of_a_deleted_filesystem_is_not_used_again(mds, metaserver):
    await mds.create(uuid=ID)
    await mds.mds.filesystems.delete("demo", ID)
    with pytest.raises(AlreadyExists):
        await mds.create(uuid=ID)


async def test_a_session_that_is_opened_again_is_the_same_one(mds, metaserver):
    await mds.create()
    first = await mds.open(nonce=NONCE, exclusive=True)
    again = await mds.open(nonce=NONCE, exclusive=True)
    assert again.session_id == first.session_id
    assert len(mds.mds.sessions.of(None)) == 1
    with pytest.raises(ResourceBusy):
        await mds.open(nonce=b"m" * 16)
    await mds.mds.sessions.close(first.session_id)


async def test_a_session_that_is_over_is_not_opened_again(mds, metaserver):
    await mds.create()
    first = await mds.open(nonce=NONCE)
    await mds.mds.sessions.close(first.session_id)
    assert (await mds.open(nonce=NONCE)).session_id != first.session_id
