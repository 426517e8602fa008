"""Calls between metaservers about references: with a proof only, and to the leader."""

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as tpb
from curvefs.src.metaserver.reclaim.home import Home
from curvefs.src.metaserver.transactions.calls import sign
from curvefs.src.metaserver.transactions.service import TransactionCalls, TransactionService

from .lab import FS, GRACE_S, GROUP, Lab

pytestmark = pytest.mark.asyncio
SECRET = b"secret"


class Nobody:
    """The other parts of the service are not asked."""

    def __getattr__(self, name):
        return None


class Context:
    def peer(self):
        return "a stranger"


class Service:
    def __init__(self, lab):
        manager = lab.groups.manager
        calls = TransactionCalls(manager, Nobody(), Nobody(), Nobody(), Home(manager))
        self.service = TransactionService(calls, lambda: SECRET)

    async def call(self, method, request, secret=SECRET):
        request.fs_id = FS
        request.group_id = request.group_id or GROUP
        sign(secret, request)
        return await getattr(self.service, method)(request, Context())


async def first_slice(lab):
    inode_id = await lab.file(b"shared", 100)
    chunk_id = next(lab.ids) - 1
    return inode_id, pb.Slice(chunk_id=chunk_id, length=100, size=100, object=pb.ObjectLocation(block_format=1))


async def test_a_reference_is_added_and_given_up_by_other_groups(tmp_path):
    async with Lab(tmp_path) as lab:
        service = Service(lab)
        inode_id, one = await first_slice(lab)
        for _ in range(2):  # the first answer was lost
            request = tpb.AddReferenceRequest(chunk_id=one.chunk_id, token=b"t", holder=inode_id)
            reply = await service.call("AddReference", request)
            assert (reply.failure.code, reply.reference) == (c.OK, 1)
        await lab.unlink(b"shared")
        await lab.after(GRACE_S + 1)
        assert len(lab.objects) == 1, "somebody else has a reference"
        one.reference = reply.reference
        for _ in range(2):
            assert not (await service.call("Release", tpb.ReleaseRequest(slices=[one]))).failure.code
        await lab.after(GRACE_S + 1)
        assert not lab.objects
        request = tpb.AddReferenceRequest(chunk_id=one.chunk_id, token=b"u", holder=inode_id)
        assert (await service.call("AddReference", request)).failure.code == c.NOT_FOUND


async def test_strangers_and_who_asks_elsewhere_are_refused(tmp_path):
    async with Lab(tmp_path) as lab:
        service = Service(lab)
        _, one = await first_slice(lab)
        request = tpb.ReleaseRequest(slices=[one])
        assert (await service.call("Release", request, b"guess")).failure.code == c.PERMISSION_DENIED
        request = tpb.ReleaseRequest(slices=[one], group_id=77)
        assert (await service.call("Release", request)).failure.code == c.WRONG_PARTITION
        request = tpb.ReleaseRequest(slices=[pb.Slice(chunk_id=5 << 40)])
        assert (await service.call("Release", request)).failure.code == c.WRONG_PARTITION
        assert not lab.queue
