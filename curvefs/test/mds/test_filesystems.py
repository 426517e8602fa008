"""Filesystems are made whole or not at all, and deleted to the last object."""

import asyncio
from uuid import UUID

import pytest

from curvefs.proto import mds_pb2 as pb
from curvefs.src.common.errors import (
    AlreadyExists,
    InvalidArgument,
    NoSpace,
    NotFound,
    Overloaded,
    PermissionDenied,
    ResourceBusy,
    Unavailable,
)
from curvefs.src.mds.filesystems import check_sizes
from curvefs.src.object.fault import Fault
from curvefs.src.object.protocol import StoreRefused
from curvefs.test.mds.lab import URL, MdsLab

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0


async def assert_nothing_is_left(lab: MdsLab) -> None:
    for fs_id, _ in list(lab.mds.state.filesystems.items()):
        assert await lab.mds.filesystems.removals.finished(fs_id, PATIENCE_S)
    assert [key for key in await lab.keys() if key.startswith((b"fs", b"partition"))] == []
    assert all(not metaserver.partitions for metaserver in lab.metaservers)
    assert lab.mds.filesystems.all() == []
    with pytest.raises(NotFound):
        lab.mds.filesystems.get("demo")


# ---------------------------------------------------------------------------------------------- creation


async def test_created_filesystem_has_its_root_partition(mds, metaserver):
    made = await mds.create(capacity_bytes=1 << 40)
    assert (made.name, made.object_store, made.state) == ("demo", URL, pb.ACTIVE)
    assert (made.chunk_size, made.block_size, made.block_format) == (64 << 20, 4 << 20, 1)
    assert (len(made.uuid), len(made.hash_seed), made.capacity_bytes) == (16, 16, 1 << 40)
    [request] = metaserver.asked("CreatePartition")
    spec = request.partition
    assert (spec.fs_id, spec.partition_id, spec.hash_seed) == (made.fs_id, 0, made.hash_seed)
    assert request.mds_epoch == 1
    mds.beat(metaserver)
    [partition] = mds.mds.views.partitions(made.fs_id)
    assert partition.leader == metaserver.address
    assert [peer.address for peer in partition.peers] == [metaserver.address]
    assert (partition.inode_count, partition.used_bytes) == (7, 99)


async def test_the_delete_grace_is_ten_minutes_or_what_was_asked_for(mds, metaserver):
    assert (await mds.create()).delete_grace_s == 600
    assert (await mds.create("second", delete_grace_s=0)).delete_grace_s == 0
    with pytest.raises(InvalidArgument):
        await mds.create("third", delete_grace_s=1 << 31)


async def test_every_partition_knows_how_long_the_filesystem_keeps_what_is_removed(mds, metaserver):
    kept = await mds.create("usual")
    none = await mds.create("none", trash_retention_s=0)
    long = await mds.create("long", trash_retention_s=10 * 24 * 3600, trash_replaced=True)
    assert [one.trash_retention_s for one in (kept, none, long)] == [24 * 3600, 0, 10 * 24 * 3600]
    for one in (kept, none, long):
        specs = [
            one_of.partition for one_of in metaserver.asked("CreatePartition") if one_of.partition.fs_id == one.fs_id
        ]
        assert specs
        assert {(spec.trash_retention_s, spec.trash_replaced) for spec in specs} == {
            (one.trash_retention_s, one.trash_replaced)
        }
    with pytest.raises(InvalidArgument):
        await mds.create("forever", trash_retention_s=367 * 24 * 3600)


@pytest.mark.parametrize(
    ("compression", "check", "number"), [("none", b"", 1), ("zstd", b"", 2), ("", b"c" * 16, 4), ("lz4", b"c" * 16, 6)]
)
async def test_created_filesystem_has_the_block_format_that_was_asked_for(mds, metaserver, compression, check, number):
    made = await mds.create(compression=compression, key_check=check)
    assert (made.block_format, made.key_check) == (number, check)
    [request] = metaserver.asked("CreatePartition")
    info = request.partition.filesystem
    assert (info.block_format, info.key_check) == (number, check)


@pytest.mark.parametrize("wrong", [{"compression": "gzip"}, {"key_check": b"short"}])
async def test_unknown_compression_and_what_is_no_check_value_are_refused(mds, wrong):
    with pytest.raises(InvalidArgument):
        await mds.create(**wrong)
    assert mds.mds.filesystems.all() == []


async def test_filesystems_survive_a_restart(mds, metaserver):
    made = await mds.create()
    await mds.restart()
    assert mds.mds.filesystems.get("demo") == made
    assert mds.mds.views.partitions(made.fs_id)[0].peers[0].address == metaserver.address


async def test_probe_of_the_object_store_leaves_nothing(mds, metaserver):
    await mds.create()
    assert mds.objects.list("") == []
    assert mds.object_store.counts["put"] == 1


async def test_taken_name_is_refused(mds, metaserver):
    await mds.create()
    with pytest.raises(AlreadyExists, match="'demo'"):
        await mds.create()


async def test_of_racing_creations_of_a_name_one_succeeds(mds, metaserver):
    results = await asyncio.gather(*(mds.create() for _ in range(5)), return_exceptions=True)
    made = [result for result in results if isinstance(result, pb.Filesystem)]
    assert len(made) == 1
    assert [type(result) for result in results if result not in made] == [AlreadyExists] * 4
    assert len(mds.mds.state.filesystems) == 1
    assert len(metaserver.partitions) == 1


async def test_ids_are_never_used_twice(mds, metaserver):
    first = await mds.create()
    await mds.mds.filesystems.delete("demo")
    assert await mds.mds.filesystems.removals.finished(first.fs_id, PATIENCE_S)
    second = await mds.create()
    await mds.restart()
    mds.beat(metaserver)
    third = await mds.create("other")
    assert len({first.fs_id, second.fs_id, third.fs_id}) == 3
    assert first.uuid != second.uuid


@pytest.mark.parametrize("name", ["ab", "Demo", "-demo", "demo-", "a" * 64, "de mo", "de/mo", ""])
async def test_bad_name_is_refused(mds, metaserver, name):
    with pytest.raises(InvalidArgument):
        await mds.create(name)


@pytest.mark.parametrize("url", ["", "bucket", "file:relative", "s3://", "http://x/y", "s3://u:p@bucket"])
async def test_bad_object_store_is_refused_before_anything(mds, metaserver, url):
    with pytest.raises(InvalidArgument):
        await mds.mds.filesystems.create(pb.CreateFilesystemRequest(name="demo", object_store=url))
    assert mds.object_store.counts == {}


async def test_sizes_have_defaults_and_rules():
    assert check_sizes(0, 0) == (64 << 20, 4 << 20)
    assert check_sizes(8 << 20, 1 << 20) == (8 << 20, 1 << 20)
    for chunk_size, block_size in [(0, 1000), (0, 128 << 20), (5 << 20, 4 << 20), (2 << 30, 0), (1 << 20, 4 << 20)]:
        with pytest.raises(InvalidArgument):
            check_sizes(chunk_size, block_size)


async def test_refused_credentials_are_told_and_leave_nothing(mds, metaserver):
    mds.object_store.plan(Fault("put", error=lambda: StoreRefused("the bucket 'x' refuses the credentials")))
    with pytest.raises(PermissionDenied, match="the bucket 'x' refuses the credentials"):
        await mds.create()
    await assert_nothing_is_left(mds)


async def test_object_store_that_is_away_is_told_and_leaves_nothing(mds, metaserver):
    mds.object_store.go_down()
    with pytest.raises(Unavailable):
        await mds.create()
    await assert_nothing_is_left(mds)
    mds.object_store.come_up()
    assert (await mds.create()).state == pb.ACTIVE


async def test_without_a_metaserver_nothing_is_created(mds):
    with pytest.raises(Unavailable, match="no metaserver"):
        await mds.create()
    await assert_nothing_is_left(mds)


async def test_silent_metaserver_gets_no_partition(mds, metaserver):
    mds.clock.advance(31)
    with pytest.raises(Unavailable, match="no metaserver"):
        await mds.create()
    mds.beat(metaserver)
    assert (await mds.create()).state == pb.ACTIVE


async def test_creation_just_after_a_restart_is_to_be_sent_again(mds, metaserver):
    await mds.restart()
    with pytest.raises(Overloaded, match="just begun"):
        await mds.create()
    mds.clock.advance(6)
    with pytest.raises(Unavailable, match="no metaserver"):
        await mds.create()
    mds.beat(metaserver)
    assert (await mds.create()).state == pb.ACTIVE


async def test_partitions_are_spread_over_metaservers(mds, metaserver):
    other = await mds.add_metaserver()
    for name in ("one", "two", "three", "four"):
        await mds.create(name)
    assert (len(metaserver.partitions), len(other.partitions)) == (2, 2)


# ------------------------------------------------------------------------- failures in the middle of it


@pytest.mark.parametrize("method", ["CreatePartition", "CreateCopyset"])
@pytest.mark.parametrize("how", ["failing", "losing"])
async def test_failing_metaserver_leaves_nothing(mds, metaserver, method, how):
    getattr(metaserver, how)[method] = Unavailable("injected")
    with pytest.raises(Unavailable):
        await mds.create()
    await assert_nothing_is_left(mds)
    getattr(metaserver, how).clear()
    assert (await mds.create()).state == pb.ACTIVE


async def test_metaserver_that_goes_away_is_cleaned_when_it_is_back(mds, metaserver):
    metaserver.losing["CreatePartition"] = Unavailable("injected")
    metaserver.failing["DeletePartition"] = Unavailable("injected")
    creating = asyncio.create_task(mds.create())
    await metaserver.until(lambda: bool(metaserver.asked("DeletePartition")))
    # While the partition may still be there, its record is; but nobody sees the filesystem, and its name is free.
    assert len(mds.mds.state.filesystems) == 1
    assert mds.mds.filesystems.all() == []
    metaserver.failing.clear()
    metaserver.losing.clear()
    mds.mds.filesystems.removals.kick(1)
    with pytest.raises(Unavailable):
        await creating
    await assert_nothing_is_left(mds)


@pytest.mark.parametrize("write", [1, 2, 3])
async def test_full_disk_in_the_middle_leaves_nothing(mds, metaserver, write):
    mds.kv.plan("full", write)
    with pytest.raises(NoSpace):
        await mds.create()
    await assert_nothing_is_left(mds)
    assert (await mds.create()).state == pb.ACTIVE


@pytest.mark.parametrize("write", [1, 2, 3])
@pytest.mark.parametrize("mode", ["lost", "lost reply"])
async def test_crash_in_the_middle_leaves_nothing_or_all(mds, metaserver, mode, write):
    mds.kv.plan(mode, write)
    with pytest.raises(Unavailable):
        await mds.create()
    await mds.restart()
    mds.beat(metaserver)
    if (mode, write) == ("lost reply", 3):  # it was complete, only nobody was told
        assert mds.mds.filesystems.get("demo").state == pb.ACTIVE
        assert len(metaserver.partitions) == 1
    else:
        await assert_nothing_is_left(mds)
        assert (await mds.create()).state == pb.ACTIVE


async def test_crash_while_the_partition_is_made_leaves_nothing(mds, metaserver):
    metaserver.losing["CreatePartition"] = Unavailable("injected")
    metaserver.failing["DeletePartition"] = Unavailable("injected")
    creating = asyncio.create_task(mds.create())
    await metaserver.until(lambda: bool(metaserver.partitions))
    creating.cancel()
    await asyncio.wait([creating])
    await mds.stop()
    metaserver.failing.clear()
    await mds.start()
    await assert_nothing_is_left(mds)


# ---------------------------------------------------------------------------------------------- deletion


def put_objects(lab: MdsLab, filesystem: pb.Filesystem, count: int) -> None:
    for n in range(count):
        lab.objects.put(f"{UUID(bytes=filesystem.uuid)}/0/{n // 1000}/{n}_0_0", b"x")


async def test_deleted_filesystem_is_gone_with_its_objects_only(mds, metaserver):
    doomed, kept = await mds.create("doomed"), await mds.create("kept")
    put_objects(mds, doomed, 30)
    put_objects(mds, kept, 3)
    assert (await mds.mds.filesystems.delete("doomed")).state == pb.DELETING
    assert await mds.mds.filesystems.removals.finished(doomed.fs_id, PATIENCE_S)
    assert mds.mds.filesystems.all() == [kept]
    assert {partition[1] for partition in metaserver.partitions} == {kept.fs_id}
    assert len(mds.objects.list("")) == 3
    assert all(info.key.startswith(str(UUID(bytes=kept.uuid))) for info in mds.objects.list(""))


async def test_objects_that_come_after_the_deletion_go_too(mds, metaserver):
    """Of a compaction or a mount that was cut off: after an hour, and once more after a day, by whoever leads then."""
    made = await mds.create()
    await mds.mds.filesystems.delete("demo")
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    with pytest.raises(NotFound, match="no filesystem 'demo'; one was deleted"):  # as `gc demo` tells
        mds.mds.filesystems.get("demo")
    for hours in (1, 23):
        put_objects(mds, made, 3)
        mds.clock.advance(hours * 3600 - 10)
        await mds.mds.tick()
        assert await mds.mds.late_objects.sweeps.finished(made.fs_id, PATIENCE_S)
        assert len(mds.objects.list("")) == 3, "not yet"
        await mds.restart()
        mds.clock.advance(10)
        mds.beat_all()
        await mds.mds.tick()
        assert await mds.mds.late_objects.sweeps.finished(made.fs_id, PATIENCE_S)
        assert mds.objects.list("") == []
    assert not any(key.startswith(b"deleted-fs/") for key in await mds.keys())
    registry = mds.mds.metrics.registry
    assert registry.get_sample_value("mds_late_objects_total") == 3
    mds.mds.metrics.observe(mds.mds.state, mds.mds.views)
    assert registry.get_sample_value("mds_deleted_filesystems") == 0


async def test_a_clock_that_is_ahead_for_a_moment_makes_no_sweep(mds, metaserver):
    made = await mds.create()
    await mds.mds.filesystems.delete("demo")
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    mds.clock.ahead_s = 25 * 3600
    await mds.mds.tick()
    assert await mds.mds.late_objects.sweeps.finished(made.fs_id, PATIENCE_S)
    mds.clock.ahead_s = 0
    [kept] = mds.mds.state.deleted_filesystems.values()
    assert kept.sweeps == 0


async def test_a_sweep_that_fails_is_tried_again_and_given_up_in_the_end(mds, metaserver):
    made = await mds.create()
    await mds.mds.filesystems.delete("demo")
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    put_objects(mds, made, 3)
    mds.object_store.plan(Fault("list", times=None))
    mds.clock.advance(3600)
    await mds.mds.tick()
    assert not await mds.mds.late_objects.sweeps.finished(made.fs_id, 0.1)
    mds.object_store.forget_faults()
    mds.mds.late_objects.sweeps.kick(made.fs_id)
    assert await mds.mds.late_objects.sweeps.finished(made.fs_id, PATIENCE_S)
    assert mds.objects.list("") == []
    mds.object_store.plan(Fault("list", times=None))
    mds.clock.advance(8 * 24 * 3600)
    await mds.mds.tick()
    assert await mds.mds.late_objects.sweeps.finished(made.fs_id, PATIENCE_S)
    assert made.fs_id not in mds.mds.state.deleted_filesystems


async def test_unknown_filesystem_is_not_deleted(mds):
    with pytest.raises(NotFound, match="no filesystem 'absent'"):
        await mds.mds.filesystems.delete("absent")


async def test_mounted_filesystem_is_not_deleted(mds, metaserver):
    await mds.create()
    session = await mds.open()
    with pytest.raises(ResourceBusy, match="mounted at host:/mnt"):
        await mds.mds.filesystems.delete("demo")
    await mds.mds.sessions.close(session.session_id)
    assert (await mds.mds.filesystems.delete("demo")).state == pb.DELETING


async def test_name_is_free_at_once(mds, metaserver):
    old = await mds.create()
    mds.object_store.plan(Fault("list", times=None))
    await mds.mds.filesystems.delete("demo")
    new = await mds.create()
    assert new.fs_id != old.fs_id
    assert [(one.fs_id, one.state) for one in mds.mds.filesystems.all()] == [
        (old.fs_id, pb.DELETING),
        (new.fs_id, pb.ACTIVE),
    ]
    mds.object_store.forget_faults()
    mds.mds.filesystems.removals.kick(old.fs_id)
    assert await mds.mds.filesystems.removals.finished(old.fs_id, PATIENCE_S)
    assert mds.mds.filesystems.get("demo") == new


async def test_deletion_goes_on_after_a_restart(mds, metaserver):
    made = await mds.create()
    put_objects(mds, made, 5)
    mds.object_store.plan(Fault("delete", times=None))
    await mds.mds.filesystems.delete("demo")
    await metaserver.until(lambda: bool(metaserver.asked("DeletePartition")))
    await mds.stop()
    mds.object_store.forget_faults()
    await mds.start()
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    assert mds.objects.list("") == []
    await assert_nothing_is_left(mds)


async def test_deletion_waits_for_a_metaserver_that_is_away(mds, metaserver):
    made = await mds.create()
    await metaserver.stop()
    await mds.mds.filesystems.delete("demo")
    await metaserver.start()
    mds.mds.filesystems.removals.kick(made.fs_id)
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    await assert_nothing_is_left(mds)


async def test_objects_go_only_after_the_last_session_has_ended_everywhere(mds, metaserver):
    made = await mds.create()
    put_objects(mds, made, 2)
    session = await mds.open()
    metaserver.failing["EndSession"] = Unavailable("injected")
    await mds.mds.sessions.close(session.session_id)
    await mds.mds.filesystems.delete("demo")
    await metaserver.until(lambda: bool(metaserver.asked("EndSession")))
    assert len(mds.objects.list("")) == 2
    assert metaserver.partitions
    metaserver.failing.clear()
    mds.beat(metaserver)
    await metaserver.until(lambda: bool(metaserver.ended))
    mds.mds.filesystems.removals.kick(made.fs_id)
    assert await mds.mds.filesystems.removals.finished(made.fs_id, PATIENCE_S)
    methods = [method for method, _ in metaserver.calls]
    assert methods.index("DeletePartition") > methods.index("EndSession")
    await assert_nothing_is_left(mds)
