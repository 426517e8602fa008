"""QuotaService: paths are looked up, owners are asked, everything is counted again. Any metaserver answers."""
# ruff: noqa: N802, D102 -- gRPC gives the methods their names, the .proto documents them

import asyncio
from collections import Counter
from typing import Any

from ....proto import metaserver_pb2, transaction_pb2
from ....proto import quota_pb2 as pb
from ....proto.quota_pb2_grpc import QuotaServiceServicer
from ...common.errors import InternalError, NotADirectory, NotFound
from ...common.ids import ROOT_INODE, partition_of
from ..calls import answer
from ..metastore import quotas
from ..metastore.quotas import FILESYSTEM
from ..transactions.calls import Calls
from ..transactions.paths import CALL_DEADLINE_S, Paths

RECOUNT_DEADLINE_S = 600.0
_PAGE = 1024
_DEPTH_MAX = 4096
_COUNTED_AT_ONCE = 4


class QuotaService(QuotaServiceServicer):
    """See quota.proto."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._paths = Paths(calls)

    async def SetQuota(self, request: pb.SetQuotaRequest, _context: Any) -> pb.QuotasReply:
        async def work() -> pb.QuotasReply:
            inode_id = await self._paths.resolve(request.fs_id, request.path)
            asked = transaction_pb2.SetQuota(inode_id=inode_id, limit=request.limit)
            return await self._one(request, inode_id, transaction_pb2.QuotaRequest(set=asked))

        return await answer("SetQuota", pb.QuotasReply, work)

    async def GetQuota(self, request: pb.GetQuotaRequest, _context: Any) -> pb.QuotasReply:
        async def work() -> pb.QuotasReply:
            inode_id = await self._paths.resolve(request.fs_id, request.path)
            return await self._one(request, inode_id, transaction_pb2.QuotaRequest(get=inode_id))

        return await answer("GetQuota", pb.QuotasReply, work)

    async def DeleteQuota(self, request: pb.GetQuotaRequest, _context: Any) -> pb.QuotasReply:
        async def work() -> pb.QuotasReply:
            inode_id = await self._paths.resolve(request.fs_id, request.path)
            return await self._one(request, inode_id, transaction_pb2.QuotaRequest(delete=inode_id))

        return await answer("DeleteQuota", pb.QuotasReply, work)

    async def ListQuotas(self, request: pb.ListQuotasRequest, _context: Any) -> pb.QuotasReply:
        async def work() -> pb.QuotasReply:
            reply = pb.QuotasReply()
            for status in await self._all(request.fs_id):
                reply.quotas.add(path=await self._path_of(request.fs_id, status.inode_id), status=status)
            return reply

        return await answer("ListQuotas", pb.QuotasReply, work)

    async def CheckQuotas(self, request: pb.ListQuotasRequest, _context: Any) -> pb.CheckQuotasReply:
        async def work() -> pb.CheckQuotasReply:
            return await self._check(request.fs_id)

        return await answer("CheckQuotas", pb.CheckQuotasReply, work)

    # --------------------------------------------------------------------------------------- the owners

    async def _one(
        self, request: pb.SetQuotaRequest | pb.GetQuotaRequest, inode_id: int, asked: transaction_pb2.QuotaRequest
    ) -> pb.QuotasReply:
        said = await self._ask(request.fs_id, partition_of(inode_id), asked)
        return pb.QuotasReply(quotas=[pb.DirectoryQuota(path=request.path, status=one) for one in said.quotas])

    async def _ask(
        self, fs_id: int, partition_id: int, asked: transaction_pb2.QuotaRequest
    ) -> transaction_pb2.QuotaReply:
        asked.group_id = (await self._calls.place(fs_id, partition_id)).group_id
        asked.fs_id = fs_id
        reply: transaction_pb2.QuotaReply = await self._calls.call("Quota", asked, fs_id, CALL_DEADLINE_S)
        return reply

    async def _all(self, fs_id: int) -> list[transaction_pb2.QuotaStatus]:
        partitions = await self._calls.partitions(fs_id, fresh=True)
        replies = await asyncio.gather(
            *(self._ask(fs_id, one, transaction_pb2.QuotaRequest(list=one)) for one in partitions)
        )
        return [status for reply in replies for status in reply.quotas]

    # -------------------------------------------------------------------------------------------- paths

    async def _path_of(self, fs_id: int, inode_id: int) -> bytes:
        """Return a directory's path as it is now; empty when it was removed."""
        names: list[bytes] = []
        for _ in range(_DEPTH_MAX):
            if inode_id == ROOT_INODE:
                return b"/" + b"/".join(reversed(names))
            try:
                read = metaserver_pb2.Read(get_attr=metaserver_pb2.GetAttr(inode_id=inode_id))
                parent = (await self._paths.read(fs_id, inode_id, read)).inode.parent
                names.append(await self._name_in(fs_id, parent, inode_id))
            except (NotFound, NotADirectory):
                return b""
            inode_id = parent
        return b""

    async def _name_in(self, fs_id: int, parent: int, inode_id: int) -> bytes:
        wanted = metaserver_pb2.ReadDir(inode_id=parent, limit=_PAGE)
        while True:
            page = await self._paths.read(fs_id, parent, metaserver_pb2.Read(read_dir=wanted))
            for entry in page.entries:
                if entry.inode_id == inode_id:
                    return bytes(entry.name)
            if page.end or not page.entries:
                raise NotFound
            wanted.after_hash, wanted.after_name = page.entries[-1].hash, page.entries[-1].name

    # ----------------------------------------------------------------------------------------- counting

    async def _check(self, fs_id: int) -> pb.CheckQuotasReply:
        partitions = await self._calls.partitions(fs_id, fresh=True)
        at_once = asyncio.Semaphore(_COUNTED_AT_ONCE)

        async def count(partition_id: int) -> transaction_pb2.RecountReply:
            async with at_once:
                place = await self._calls.place(fs_id, partition_id)
                request = transaction_pb2.RecountRequest(
                    group_id=place.group_id, fs_id=fs_id, partition_id=partition_id
                )
                reply = await self._calls.call("Recount", request, fs_id, RECOUNT_DEADLINE_S, is_long=True)
                if not isinstance(reply, transaction_pb2.RecountReply):
                    raise InternalError("another answer than was asked for")
                return reply

        replies = await asyncio.gather(*(count(one) for one in partitions))
        paths = {one.quota_id: await self._path_of(fs_id, one.inode_id) for one in await self._all(fs_id)}
        checked = pb.CheckQuotasReply(wrong_charges=sum(one.wrong_charges for one in replies))
        checked.wrong_charges += await self._wrong_elsewhere(fs_id, replies)
        totals: dict[int, pb.CheckedQuota] = {}
        for reply in replies:
            for one in reply.counts:
                total = totals.setdefault(one.quota_id, pb.CheckedQuota(quota_id=one.quota_id))
                for has, more in ((total.counted, one.counted), (total.stored, one.stored)):
                    has.bytes += more.bytes
                    has.inodes += more.inodes
        for quota_id, total in sorted(totals.items()):
            total.path = b"/" if quota_id == FILESYSTEM else paths.get(quota_id, b"")
            checked.quotas.append(total)
        return checked

    async def _wrong_elsewhere(self, fs_id: int, replies: list[transaction_pb2.RecountReply]) -> int:
        """Count the inodes that are charged to something else than their parent in another partition says."""
        said: Counter[tuple[int, tuple[int, ...]]] = Counter()
        for reply in replies:
            for one in reply.elsewhere:
                said[one.inode_id, tuple(one.quotas)] += one.count
        alive = {count.quota_id for reply in replies for count in reply.counts}
        wrong = 0
        for (parent, charged), count in said.items():
            try:
                read = metaserver_pb2.Read(get_attr=metaserver_pb2.GetAttr(inode_id=parent))
                inode = (await self._paths.read(fs_id, parent, read)).inode
            except NotFound:
                wrong += count
                continue
            wrong += count * (tuple(one for one in quotas.below(inode) if one in alive) != charged)
        return wrong
