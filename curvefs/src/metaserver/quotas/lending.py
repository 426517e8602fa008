"""Allowances of one quota, as its owner lends them.

Nothing is lent before it is asked for. Who asks gets what it needs and a part of what is free, so that it asks seldom
while much is left; when not enough is free, what partitions have and do not use is called back first. So the last byte
goes to whoever asks, unless a session has it reserved: sessions give back what they do not use within seconds.
"""

import asyncio
from collections.abc import Awaitable, Sequence

from ....proto import common_pb2, state_pb2
from ...common.errors import Skipped
from ..metastore import quota_owner
from ..metastore.quota_owner import UNLIMITED, Status
from ..metastore.quotas import FILESYSTEM
from ..storage.transaction import StateReader
from .port import Port

Share = common_pb2.QuotaShare
Amount = common_pb2.QuotaAmount
_KINDS = ("bytes", "inodes")


def allowance(record: state_pb2.QuotaRecord, bytes_: int = 0, inodes: int = 0) -> Share:
    """Return a share with this allowance; of what the quota does not limit, all that anybody could want."""
    limit = record.limit
    amount = Amount(bytes=bytes_ if limit.bytes else UNLIMITED, inodes=inodes if limit.inodes else UNLIMITED)
    return Share(allowance=amount)


class Lending:
    """See the module."""

    def __init__(self, port: Port, fs_id: int, quota_id: int) -> None:
        self._port = port
        self._fs_id = fs_id
        self._quota_id = quota_id

    async def record(self) -> state_pb2.QuotaRecord | None:
        """Return the quota as it is."""
        return await self._port.view(lambda view: quota_owner.find(view, self._fs_id, self._quota_id))

    async def settle(self) -> None:
        """Have all partitions keep to the limit as it is now: none may use more of the quota than it does already."""
        record = await self.record()
        if record is None or record.state == Status.DELETING:
            return
        share = allowance(record)
        await _all([self.lend(one, share) for one in await self._port.partitions(fresh=True)])
        command = state_pb2.AdvanceQuotaCommand(
            fs_id=self._fs_id, quota_id=self._quota_id, state=Status.ACTIVE, limit_version=record.limit_version
        )
        await self._port.own(state_pb2.Entry(format=1, advance_quota=command))

    async def release(self) -> None:
        """Have no partition refuse anything for the sake of this quota; a directory's that goes is not even counted."""
        record = await self.record()
        share = Share(unlimited=True)
        if self._quota_id != FILESYSTEM and (record is None or record.state == Status.DELETING):
            share = Share(gone=True)
        await _all([self._release(one, share) for one in await self._port.partitions(fresh=True)])

    async def _release(self, partition_id: int, share: Share) -> None:
        if share.gone:
            await self._port.set_share(partition_id, self._quota_id, share)
        else:
            await self.lend(partition_id, share)

    async def ask(self, partition_id: int, need: Amount) -> None:
        """See to it that a partition may use this much more.

        Raises QuotaExceeded, NoSpace (the filesystem's): there is not so much left.
        """
        record = await self.record()
        if record is None or record.state == Status.DELETING:
            await self._release(
                partition_id, Share(unlimited=True) if self._quota_id == FILESYSTEM else Share(gone=True)
            )
            return
        share = await self._port.share(partition_id, self._quota_id)
        if share.gone or share.unlimited or has_room(share, need):
            return  # somebody else asked, a moment ago
        if record.state == Status.COUNTING and self._quota_id != FILESYSTEM:
            await self.lend(partition_id, Share(unlimited=True))
            return
        if record.settling:
            await self.settle()
            share = await self._port.share(partition_id, self._quota_id)
        await self._grant(record, partition_id, share, need)

    async def _grant(self, record: state_pb2.QuotaRecord, partition_id: int, share: Share, need: Amount) -> None:
        """Lend a partition what it needs and a part of what is free. share: what it has, which is too little."""
        used = {kind: getattr(share.used, kind) + getattr(share.reserved, kind) for kind in _KINDS}
        partitions = await self._port.partitions()
        free = await self._free(record, partition_id, used)
        if _lacks(free, need):
            others = [self._call_back(record, one, need) for one in partitions if one != partition_id]
            outcomes = await asyncio.gather(*others, return_exceptions=True)
            free = await self._free(record, partition_id, used)
            if _lacks(free, need):
                _raise_first(outcomes)  # where nobody answers may be what is missing
                raise quota_owner.exceeded(self._quota_id)
        part = 2 * (len(partitions) + 1)
        grant = {}
        for kind in _KINDS:  # of what it does not need, and of which too much is used already, it gets no more
            wanted = getattr(need, kind)
            grant[kind] = used[kind] + (wanted + (free[kind] - wanted) // part if free[kind] >= wanted else 0)
        await self.lend(partition_id, allowance(record, grant["bytes"], grant["inodes"]))

    async def _call_back(self, record: state_pb2.QuotaRecord, partition_id: int, need: Amount) -> None:
        """Take back what a partition does not use, if that is any of what is needed."""
        loan = await self._loan(partition_id)
        share = await self._port.share(partition_id, self._quota_id)
        if any(
            getattr(need, kind) and getattr(loan.lent, kind) > getattr(share.used, kind) + getattr(share.reserved, kind)
            for kind in _KINDS
        ):
            await self.lend(partition_id, allowance(record))

    async def _free(self, record: state_pb2.QuotaRecord, partition_id: int, used: dict[str, int]) -> dict[str, int]:
        """Return what the partition could have beyond what it uses."""

        def look(view: StateReader) -> list[tuple[int, state_pb2.LoanRecord]]:
            return [
                (quota_owner.partition_in(key), state_pb2.LoanRecord.FromString(value))
                for key, value in quota_owner.loans(view, self._fs_id, self._quota_id)
            ]

        loans = await self._port.view(look)
        free = {}
        for kind in _KINDS:
            limit = getattr(record.limit, kind)
            others = sum(getattr(loan.lent, kind) for one, loan in loans if one != partition_id)
            free[kind] = limit - others - used[kind] if limit else UNLIMITED
        return free

    async def lend(self, partition_id: int, share: Share) -> Share:
        """Give a partition another allowance, or none any more; returns what it has then. Raises QuotaExceeded."""
        loan = await self._loan(partition_id)
        if loan.said.version and not loan.confirmed:  # an earlier owner stopped in the middle
            await self._tell(partition_id, loan.said)
        said = Share()
        said.CopyFrom(share)
        said.version = loan.said.version + 1
        command = state_pb2.LendCommand(
            fs_id=self._fs_id, quota_id=self._quota_id, partition_id=partition_id, share=said
        )
        await self._port.own(state_pb2.Entry(format=1, lend=command))
        return await self._tell(partition_id, said)

    async def _tell(self, partition_id: int, said: Share) -> Share:
        answer = await self._port.set_share(partition_id, self._quota_id, said)
        if answer.version != said.version and not answer.gone:
            raise Skipped("the partition was told something else meanwhile")
        has = Share(version=said.version, allowance=answer.allowance)
        command = state_pb2.LentCommand(
            fs_id=self._fs_id, quota_id=self._quota_id, partition_id=partition_id, share=has
        )
        await self._port.own(state_pb2.Entry(format=1, lent=command))
        return answer

    async def _loan(self, partition_id: int) -> state_pb2.LoanRecord:
        return await self._port.view(lambda view: quota_owner.loan_of(view, self._fs_id, self._quota_id, partition_id))


def has_room(share: Share, need: Amount) -> bool:
    """Say whether a partition may use so much more."""
    return all(
        not getattr(need, kind)
        or getattr(share.used, kind) + getattr(share.reserved, kind) + getattr(need, kind)
        <= getattr(share.allowance, kind)
        for kind in _KINDS
    )


def _lacks(free: dict[str, int], need: Amount) -> bool:
    """Say whether something that is needed is not free. More may be in use than the limit of another kind allows."""
    return any(0 < getattr(need, kind) > free[kind] for kind in _KINDS)


async def _all(works: Sequence[Awaitable[object]]) -> None:
    """Do all of them, whatever becomes of the others; raises the first error."""
    _raise_first(await asyncio.gather(*works, return_exceptions=True))


def _raise_first(outcomes: Sequence[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
