"""ReclaimService: the leader answers, from one view."""

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import reclaim_pb2 as rpb
from curvefs.src.metaserver.reclaim.service import ReclaimService
from curvefs.src.metaserver.scans import Scans

from .lab import FS, GROUP, Lab

pytestmark = pytest.mark.asyncio


def check(*chunk_ids, group_id=GROUP):
    return rpb.CheckChunksRequest(group_id=group_id, fs_id=FS, partition_id=0, chunk_ids=chunk_ids)


async def test_slices_are_listed_and_their_chunks_are_referenced(tmp_path):
    async with Lab(tmp_path) as lab:
        service = ReclaimService(lab.groups.manager, Scans())
        inode_id = await lab.file(b"f", 10, 20)
        listed = await service.ListSlices(rpb.ListSlicesRequest(group_id=GROUP, fs_id=FS), None)
        assert [(one.inode_id, one.slice.length) for one in listed.slices] == [(inode_id, 10), (inode_id, 20)]
        chunk_ids = [one.slice.chunk_id for one in listed.slices]
        reply = await service.CheckChunks(check(*chunk_ids, chunk_ids[-1] + 1), None)
        assert list(reply.states) == [rpb.REFERENCED, rpb.REFERENCED, rpb.OPEN]
        await lab.do(set_attr=pb.SetAttr(inode_id=inode_id, length=0))
        assert list((await service.CheckChunks(check(*chunk_ids), None)).states) == [rpb.QUEUED] * 2


async def test_who_does_not_have_the_group_says_so(tmp_path):
    async with Lab(tmp_path) as lab:
        service = ReclaimService(lab.groups.manager, Scans())
        assert (await service.CheckChunks(check(group_id=99), None)).failure.code == c.WRONG_PARTITION


async def test_reading_gives_way_when_the_state_is_closed(tmp_path):
    async with Lab(tmp_path) as lab:
        service = ReclaimService(lab.groups.manager, Scans())
        await lab.file(b"f", 10)
        environment = lab.groups.group.environment
        lend = environment.read_at_length

        class Closing:
            """Closing begins after the view was lent."""

            def __enter__(self):
                self.context = lend()
                view = self.context.__enter__()
                environment.is_closing = True
                return view

            def __exit__(self, *said):
                environment.is_closing = False
                return self.context.__exit__(*said)

        environment.read_at_length = Closing
        assert (await service.CheckChunks(check(1), None)).failure.code == c.UNAVAILABLE
        del environment.read_at_length
