"""When the delete queue is worked off, and what happens if something fails."""

import asyncio
from types import SimpleNamespace
from unittest import mock

import pytest

from curvefs.proto import mds_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.clock import SystemClock
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.metastore.delete_queue import LATE_UPLOADS_NS
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.reclaim import passing, reclaimer
from curvefs.src.metaserver.storage import keys
from curvefs.src.object.fault import Fault

from .lab import BLOCK, FS, GRACE_S, SESSION, Lab, S

pytestmark = pytest.mark.asyncio


async def test_objects_go_when_the_grace_is_over_and_not_before(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100, BLOCK + 1)
        await lab.file(b"kept", 100)
        await lab.unlink(b"gone")
        await lab.after(GRACE_S - 2)
        assert len(lab.objects) == 4
        await lab.after(2)
        assert len(lab.objects) == 1
        assert not lab.queue
        assert len(lab.table(keys.SLICE)) == 1
        assert lab.metric("objects_deleted_total") == 3
        asked = lab.mds.asked
        await lab.after(1)
        assert lab.mds.asked == asked, "with nothing due nobody is asked"


async def test_the_time_of_the_mds_counts_too(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.mds.behind_s = 100
        await lab.after(GRACE_S + 1)
        assert lab.objects
        await lab.after(100)
        assert not lab.objects


async def test_without_the_mds_nothing_is_deleted(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.mds.away = True
        for _ in range(10):
            await lab.after(GRACE_S)
        assert lab.objects
        lab.mds.away = False
        await lab.after(60)
        assert not lab.objects


async def test_a_metaserver_whose_clock_is_off_deletes_nothing(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.groups.manager.allow_leading(allowed=False)
        await lab.after(GRACE_S + 1)
        assert lab.groups.group.is_leader, "alone in the group"
        assert lab.objects
        lab.groups.manager.allow_leading(allowed=True)
        await lab.round()
        assert not lab.objects


async def test_the_objects_of_a_filesystem_being_deleted_are_the_affair_of_the_mds(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.mds.state = mds_pb2.DELETING
        await lab.after(GRACE_S + 1)
        assert lab.objects


async def test_a_store_that_fails_is_tried_again_after_growing_pauses(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.store.plan(Fault("delete", times=None))
        await lab.after(GRACE_S + 1)
        for _ in range(200):
            await lab.after(1)
        assert 5 <= lab.store.counts["delete"] <= 10
        assert lab.metric("reclaim_failures_total", kind="slice") == lab.store.counts["delete"]
        lab.store.forget_faults()
        await lab.after(60)
        assert not lab.objects
        assert not lab.queue


async def test_deleting_again_what_is_gone_is_harmless(tmp_path):
    """The reply was lost, or the metaserver died before it could say that it was done."""
    async with Lab(tmp_path) as lab:
        await lab.file(b"gone", 100)
        await lab.file(b"kept", 100)
        await lab.unlink(b"gone")
        lab.store.plan(Fault("delete", lost_reply=True))
        await lab.after(GRACE_S + 1)
        assert len(lab.objects) == 1
        assert lab.queue
        lab.renew()
        await lab.round()
        assert len(lab.objects) == 1
        assert not lab.queue


async def test_other_kinds_go_on_while_one_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(passing, "PAGE", 2)
    monkeypatch.setattr(passing, "PAGES_MAX", 2)
    async with Lab(tmp_path) as lab:
        away = [pb.Slice(chunk_id=make_id(3, n), size=1, object=pb.ObjectLocation()) for n in range(10)]
        inode_id = await lab.file(b"clone")
        with lab.groups.group.environment.write() as txn:
            for number, one in enumerate(away):
                txn.put(keys.slice_(FS, inode_id, 0, number), one.SerializeToString())
        await lab.unlink(b"clone")
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.calls.away = True
        await lab.after(GRACE_S + 1)
        await lab.round()
        assert not lab.objects
        assert len(lab.queue) == len(away)
        lab.calls.away = False
        for _ in range(5):
            await lab.after(60)
        assert not lab.queue
        assert {group for group, _ in lab.calls.released} == {103}
        assert sorted(one for _, some in lab.calls.released for one in some) == [one.chunk_id for one in away]


async def test_a_pass_looks_at_so_many_pages_and_the_next_goes_on_behind_them(tmp_path, monkeypatch):
    monkeypatch.setattr(passing, "PAGE", 1)
    monkeypatch.setattr(passing, "LOOKED_MAX", 3)
    looked = []
    page = passing.page
    monkeypatch.setattr(passing, "page", lambda *args: looked.append(args) or page(*args))
    async with Lab(tmp_path) as lab:
        gone = [make_id(3, n) for n in range(5)]
        for chunk_id in gone:  # of another partition, whose group does not answer
            record = state_pb2.DeleteRecord(queued_ns=1, release_slice=pb.Slice(chunk_id=chunk_id))
            with lab.groups.group.environment.write() as txn:
                txn.put(keys.delete(FS, 1, chunk_id), record.SerializeToString())
        await lab.file(b"gone", 100)
        await lab.unlink(b"gone")
        lab.calls.away = True
        await lab.after(GRACE_S + 1)
        assert len(looked) == 3
        assert lab.objects
        for _ in range(2):
            await lab.after(60)
        assert not lab.objects
        assert len(lab.queue) == len(gone)
        lab.calls.away = False
        for _ in range(3):
            await lab.after(60)
        assert not lab.queue


async def test_what_was_stored_and_never_published_is_looked_for_twice(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"kept", 100, 100)
        kept = lab.objects
        for _ in range(3):
            lab.put(next(lab.ids), 2 * BLOCK)
        await lab.groups.run(end_session=state_pb2.EndSessionCommand(session_id=SESSION))
        await lab.after(GRACE_S + 1)
        assert lab.objects == kept
        lab.put(next(lab.ids))
        await lab.after(LATE_UPLOADS_NS / S - 10)
        assert len(lab.objects) == len(kept) + 1
        await lab.after(20 + GRACE_S)
        assert lab.objects == kept
        assert not lab.queue


async def test_ids_of_one_range_that_were_given_up_one_by_one_are_looked_for_together(tmp_path):
    """As those of a compaction: each was a record, and a LIST, of its own."""
    async with Lab(tmp_path) as lab:
        lease = state_pb2.CompactCommand(fs_id=FS, lease=state_pb2.CompactLease(partition_id=0))
        ids = (await lab.groups.run(compact=lease)).ranges[0].first
        kept = ids + 50
        for number in range(40):
            lab.put(ids + number)
            give_up = state_pb2.CompactGiveUp(chunk_ids=[ids + number])
            await lab.groups.run(compact=state_pb2.CompactCommand(fs_id=FS, give_up=give_up))
        lab.put(kept)
        before = lab.store.counts.get("list", 0)
        await lab.after(GRACE_S + 1)
        assert lab.store.counts.get("list", 0) == before + 1
        assert len(lab.objects) == 1


async def test_a_file_of_many_slices_is_worked_off_in_one_go(tmp_path):
    async with Lab(tmp_path) as lab:
        inode_id = await lab.file(b"gone", 10)
        first = next(lab.ids)
        for start in range(0, 900, 300):
            slices = [
                pb.Slice(chunk_id=first + start + n, length=1, size=1, object=pb.ObjectLocation()) for n in range(300)
            ]
            await lab.do(append_slices=pb.AppendSlices(inode_id=inode_id, slices=slices, length=1))
            for one in slices:
                lab.put(one.chunk_id)
        await lab.unlink(b"gone")
        await lab.after(GRACE_S + 1)
        assert not lab.objects
        assert not lab.queue
        assert not lab.table(keys.SLICE)


async def test_the_queue_is_counted(tmp_path):
    async with Lab(tmp_path) as lab:
        await lab.file(b"a", 10, 10)
        await lab.file(b"b", 10)
        await lab.unlink(b"b")
        inode_id = await lab.file(b"c", 10)
        await lab.do(set_attr=pb.SetAttr(inode_id=inode_id, length=0))
        await lab.after(10)
        await lab.reclaimer.count()
        assert lab.metric("delete_queue", kind="inode") == 1
        assert lab.metric("delete_queue", kind="slice") == 1
        assert lab.metric("delete_overdue_seconds") == 0
        lab.mds.away = True
        await lab.after(GRACE_S + 90)
        await lab.reclaimer.count()
        assert 99 <= lab.metric("delete_overdue_seconds") <= 102


async def test_groups_have_their_turns_one_after_the_other(monkeypatch):
    """All have something due all the time, and each pass takes one round."""
    groups = [mock.Mock(group_id=number, is_leader=True) for number in range(1, 12)]
    copysets = SimpleNamespace(all=lambda: groups, may_lead=True)
    one = reclaimer.Reclaimer(copysets, None, None, None, clock=SystemClock(), metrics=Metrics())
    begun = []

    async def work(group, _due):
        begun.append(group.group_id)

    async def ask():
        return True

    monkeypatch.setattr(one, "_due", lambda _: [FS])
    monkeypatch.setattr(one, "_work", work)
    monkeypatch.setattr(one, "_ask", ask)
    for _ in range(11):
        async with asyncio.TaskGroup() as tasks:
            await one.round(tasks)
    assert begun == list(range(1, 12)) * reclaimer.GROUPS_MAX
