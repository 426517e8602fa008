"""Carries out the work of quotas as the leader of their owners' groups, and answers who asks for more of one.

What is to be done the state says: a quota that is counting, settling or being removed. It is looked at regularly, so
that a new leader goes on where another stopped. The work on one quota is done by one task at a time; who asks for more
waits for it, and shares the answer with those who asked for the same before it was looked for.

Shared across awaits: `_locks` (one per quota), `_refused` (when so much was not to be had, and how much that was).
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...common.counters import total
from ...common.errors import (
    ClusterError,
    CurveFSError,
    FilesystemError,
    Locked,
    NotFound,
    Overloaded,
    Unavailable,
    WrongPartition,
)
from ...common.ids import make_id, partition_of
from ...common.status import code_of, error_of
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metastore import quota_owner, reads
from ..metastore.applied import Applied
from ..metastore.quota_owner import Status
from ..metastore.quotas import FILESYSTEM
from ..metastore.scope import Refusal, read_partition
from ..scans import Scans
from ..storage.transaction import StateReader
from ..transactions.calls import Calls
from .counting import Counting
from .lending import Lending
from .recount import recount

_log = structlog.get_logger()
T = TypeVar("T")

ENTRY_DEADLINE_S = 5.0
CALL_DEADLINE_S = 5.0
ASK_DEADLINE_S = 8.0
ASKING_MAX = 10_000
WORKING_MAX = 8  # quotas at once
_ROUND_S = 1.0
_PAUSE_S, _PAUSE_S_MAX = 0.005, 0.5
_REFUSED_MAX = 10_000
_TRIES = 12


class GroupPort:
    """Port (port.py) of a group led here. jitter: returns a number in [0, 1), another one each time."""

    # ruff: noqa: D102 -- the protocol documents them

    def __init__(self, group: Group, calls: Calls, fs_id: int, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._group = group
        self._calls = calls
        self._fs_id = fs_id

    async def own(self, entry: state_pb2.Entry) -> Applied:
        applied = await awaiting.run(self._group, entry, ENTRY_DEADLINE_S)
        check(applied)
        return applied

    async def view(self, look: Callable[[StateReader], T]) -> T:
        return await awaiting.read(self._group, look, ENTRY_DEADLINE_S)

    async def partitions(self, *, fresh: bool = False) -> list[int]:
        return await self._calls.partitions(self._fs_id, fresh=fresh)

    async def share(self, partition_id: int, quota_id: int) -> common_pb2.QuotaShare:
        read = pb.Read(get_share=pb.GetShare(partition_id=partition_id, quota_id=quota_id))
        return (await self.read(read, partition_id)).share

    async def set_share(self, partition_id: int, quota_id: int, share: common_pb2.QuotaShare) -> common_pb2.QuotaShare:
        request = transaction_pb2.SetShareRequest(partition_id=partition_id, quota_id=quota_id, share=share)
        reply = await self._call("SetShare", partition_id, request)
        answer: common_pb2.QuotaShare = reply.share
        return answer

    async def mark(self, command: state_pb2.MarkInodesCommand) -> list[int]:
        request = transaction_pb2.MarkInodesRequest(
            quota_id=command.quota_id,
            parent=command.parent,
            inodes=command.inodes,
            remove=command.remove,
            chain=command.chain,
        )
        reply = await self._call("MarkInodes", partition_of(command.inodes[0]), request)
        return list(reply.locked)

    async def read(self, read: pb.Read, partition_id: int) -> pb.ReadResult:
        reply = await self._call("Read", partition_id, transaction_pb2.ReadRequest(read=read))
        result: pb.ReadResult = reply.result
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result

    async def pause(self, tries: int) -> None:
        await asyncio.sleep(min(_PAUSE_S * 2**tries, _PAUSE_S_MAX) * (0.5 + self._jitter() / 2))

    async def _call(self, method: str, partition_id: int, request: Any) -> Any:
        place = await self._calls.place(self._fs_id, partition_id)
        request.group_id, request.fs_id = place.group_id, self._fs_id
        return await self._calls.call(method, request, self._fs_id, CALL_DEADLINE_S)


class QuotaOwner:
    """See the module. run() it."""

    def __init__(self, copysets: CopysetManager, calls: Calls, scans: Scans) -> None:
        self._copysets = copysets
        self._calls = calls
        self._scans = scans
        self._locks: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()
        self._refused: dict[tuple[int, int, int], tuple[float, common_pb2.QuotaAmount]] = {}
        self._asking = 0
        self._working: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._failing: set[tuple[int, int]] = set()
        self._wake = asyncio.Event()

    # ---------------------------------------------------------------------------------------- background

    async def run(self) -> None:
        """Do what the state says is to be done, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for group in self._copysets.all():
                    if group.is_leader:
                        self._begin(group, tasks)
                try:
                    async with asyncio.timeout(_ROUND_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                self._wake.clear()

    def _begin(self, group: Group, tasks: asyncio.TaskGroup) -> None:
        with group.view() as view:
            waiting = [
                (fs_id, one) for fs_id, one in quota_owner.all_here(view) if one.state != Status.ACTIVE or one.settling
            ]
        for fs_id, record in waiting:
            key = fs_id, record.quota_id
            if key not in self._working and len(self._working) < WORKING_MAX:
                task = self._working[key] = tasks.create_task(self._work(group, fs_id, record), name="quota")
                task.add_done_callback(lambda _, key=key: self._working.pop(key))  # type: ignore[misc]

    async def _work(self, group: Group, fs_id: int, record: state_pb2.QuotaRecord) -> None:
        key = fs_id, record.quota_id
        port, lock = GroupPort(group, self._calls, fs_id), self._lock(*key)
        counting = Counting(port, fs_id, record.quota_id, record.inode_id, lock)
        try:
            if record.state == Status.DELETING:
                await counting.remove()
            elif record.state == Status.COUNTING:
                await counting.count()
            else:
                await counting.settle()
        except CurveFSError as error:
            if group.is_leader and key not in self._failing:
                _log.warning("a quota's work is not done yet", quota=record.quota_id, fs=fs_id, reason=str(error))
                self._failing.add(key)
            await asyncio.sleep(_ROUND_S)
        except Exception:  # noqa: BLE001  # a bug must not end the others
            _log.exception("a quota's work failed by a bug", quota=record.quota_id, fs=fs_id)
            await asyncio.sleep(_ROUND_S)
        else:
            self._failing.discard(key)
            _log.info("a quota's work is done", quota=record.quota_id, fs=fs_id, was=Status.State.Name(record.state))

    def _lock(self, fs_id: int, quota_id: int) -> asyncio.Lock:
        lock = self._locks.get((fs_id, quota_id))
        if lock is None:
            lock = self._locks[fs_id, quota_id] = asyncio.Lock()
        return lock

    # -------------------------------------------------------------------------------------------- asking

    async def ask(self, group: Group, fs_id: int, need: common_pb2.QuotaNeed) -> pb.OperationResult:
        """Answer a session: OK, it may try again; or that the quota is used up. Raises what may pass."""
        with group.view() as view:
            if read_partition(view, fs_id, make_id(quota_owner.owner_partition(need.quota_id), 0)) is None:
                raise WrongPartition("the quota's owner is not here")
        if self._asking >= ASKING_MAX:
            raise Overloaded("too many ask for more of their quotas", retry_after_ms=100)
        self._asking += 1
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                await self._ask(group, fs_id, need, time.monotonic())
        except FilesystemError as error:
            return pb.OperationResult(status=code_of(error), message=str(error))
        except TimeoutError as error:
            raise Unavailable("not all partitions of the quota answer") from error
        except ClusterError as error:
            raise Unavailable(str(error)) from error
        finally:
            self._asking -= 1
        return pb.OperationResult()

    async def _ask(self, group: Group, fs_id: int, need: common_pb2.QuotaNeed, asked_at: float) -> None:
        key = fs_id, need.quota_id, need.partition_id
        lending = Lending(GroupPort(group, self._calls, fs_id), fs_id, need.quota_id)
        async with self._lock(fs_id, need.quota_id):
            began_at, refused = self._refused.get(key, (0.0, common_pb2.QuotaAmount()))
            if began_at >= asked_at and refused.bytes <= need.amount.bytes and refused.inodes <= need.amount.inodes:
                raise quota_owner.exceeded(need.quota_id)
            began_at = time.monotonic()
            try:
                await lending.ask(need.partition_id, need.amount)
            except FilesystemError:
                while len(self._refused) >= _REFUSED_MAX:
                    self._refused.pop(next(iter(self._refused)))
                self._refused[key] = began_at, need.amount
                raise

    # ------------------------------------------------------------------------------- calls to the owner

    async def operate(self, request: transaction_pb2.QuotaRequest) -> transaction_pb2.QuotaReply:
        """Set, get, remove, list. Raises CurveFSError."""
        group = self._copysets.get(request.group_id)
        if not group.is_leader:
            raise group.redirect()
        port = GroupPort(group, self._calls, request.fs_id)
        match request.WhichOneof("request"):
            case "set":
                command = state_pb2.SetQuotaCommand(
                    fs_id=request.fs_id, inode_id=request.set.inode_id, limit=request.set.limit
                )
                applied = await self._patiently(port, state_pb2.Entry(format=1, set_quota=command))
                assert applied.quota is not None, "what the command answers"
                self._wake.set()
                return await self._said(port, request.fs_id, [applied.quota])
            case "get":
                return await self._said(port, request.fs_id, [await self._of(port, request.fs_id, request.get)])
            case "delete":
                record = await self._of(port, request.fs_id, request.delete)
                removal = state_pb2.AdvanceQuotaCommand(
                    fs_id=request.fs_id, quota_id=record.quota_id, state=Status.DELETING
                )
                applied = await self._patiently(port, state_pb2.Entry(format=1, advance_quota=removal))
                assert applied.quota is not None, "what the command answers"
                self._wake.set()
                return await self._said(port, request.fs_id, [applied.quota])
            case _:
                return await self._said(port, request.fs_id, await self._in_partition(port, request))

    async def _patiently(self, port: GroupPort, entry: state_pb2.Entry) -> Applied:
        """Have an entry applied that gives way to transactions with names in the directory. Raises Unavailable."""
        for tries in range(_TRIES):
            try:
                return await port.own(entry)
            except Locked:
                await port.pause(tries)
        raise Unavailable("names in the directory were locked all the time; try again")

    async def _of(self, port: GroupPort, fs_id: int, inode_id: int) -> state_pb2.QuotaRecord:
        def look(view: StateReader) -> state_pb2.QuotaRecord | None:
            with as_errors():
                inode = reads.settled_inode(view, fs_id, inode_id)
            quota_id = FILESYSTEM if inode_id == FILESYSTEM else inode.own_quota
            return quota_owner.find(view, fs_id, quota_id) if quota_id else None

        record = await port.view(look)
        if record is None:
            raise NotFound("the directory has no quota")
        return record

    async def _in_partition(
        self, port: GroupPort, request: transaction_pb2.QuotaRequest
    ) -> list[state_pb2.QuotaRecord]:
        def look(view: StateReader) -> list[state_pb2.QuotaRecord]:
            return [
                record
                for fs_id, record in quota_owner.all_here(view)
                if fs_id == request.fs_id and quota_owner.owner_partition(record.quota_id) == request.list
            ]

        return await port.view(look)

    async def _said(
        self, port: GroupPort, fs_id: int, records: list[state_pb2.QuotaRecord]
    ) -> transaction_pb2.QuotaReply:
        reply = transaction_pb2.QuotaReply()
        partitions = await self._calls.partitions(fs_id, fresh=False) if records else []
        for record in records:
            said = reply.quotas.add(
                quota_id=record.quota_id,
                inode_id=record.inode_id,
                state=record.state,
                limit=record.limit,
                settling=record.settling,
            )
            shares = await asyncio.gather(*(port.share(one, record.quota_id) for one in partitions))
            said.used.bytes = total(share.used.bytes for share in shares)
            said.used.inodes = total(share.used.inodes for share in shares)
            said.reserved.bytes = total(share.reserved.bytes for share in shares)
            said.reserved.inodes = total(share.reserved.inodes for share in shares)
        return reply

    # --------------------------------------------------------------------------- calls to the partitions

    async def set_share(self, request: transaction_pb2.SetShareRequest) -> transaction_pb2.SetShareReply:
        """Take an owner's word. Raises CurveFSError."""
        command = state_pb2.SetShareCommand(
            fs_id=request.fs_id, partition_id=request.partition_id, quota_id=request.quota_id, share=request.share
        )
        applied = await self._run(request.group_id, state_pb2.Entry(format=1, set_share=command))
        return transaction_pb2.SetShareReply(share=applied.share)

    async def mark(self, request: transaction_pb2.MarkInodesRequest) -> transaction_pb2.MarkInodesReply:
        """Charge inodes, or take that off. Raises CurveFSError."""
        command = state_pb2.MarkInodesCommand(
            fs_id=request.fs_id,
            quota_id=request.quota_id,
            parent=request.parent,
            inodes=request.inodes,
            remove=request.remove,
            chain=request.chain,
        )
        applied = await self._run(request.group_id, state_pb2.Entry(format=1, mark_inodes=command))
        return transaction_pb2.MarkInodesReply(locked=applied.locked)

    async def recount(self, request: transaction_pb2.RecountRequest) -> transaction_pb2.RecountReply:
        """Count a partition's inodes, in one view of it, beside the event loop. Raises CurveFSError."""

        def count(view: StateReader) -> transaction_pb2.RecountReply:
            with as_errors():
                return recount(view, request.fs_id, request.partition_id)

        return await self._scans.run(self._copysets.get(request.group_id), count)

    async def _run(self, group_id: int, entry: state_pb2.Entry) -> Applied:
        applied = await awaiting.run(self._copysets.get(group_id), entry, ENTRY_DEADLINE_S)
        check(applied)
        return applied


@contextmanager
def as_errors() -> Iterator[None]:
    """Turn refusals of reads into errors."""
    try:
        yield
    except Refusal as refusal:
        raise refusal.as_error() from refusal
