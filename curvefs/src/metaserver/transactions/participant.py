"""Prepares and finishes parts for coordinators elsewhere, and asks them about what it was never told the end of.

A prepare that meets a younger transaction's lock waits here, in the leader's memory, until the lock goes; one that
meets an older one's gives way (wait-die). So of two that wait for one another one always gives way.

A participant never decides by the clock: after a second it asks the coordinator's group, and does what that says.

Shared across awaits: `_seen` and `_pages`; touched between awaits only.
"""

import asyncio
import time

import structlog

from ....proto import state_pb2, transaction_pb2
from ...common import failpoints
from ...common.errors import CurveFSError, Locked, Unavailable, Unsupported
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metastore import transactions
from .calls import Calls

_log = structlog.get_logger()

ENTRY_DEADLINE_S = 5.0
_ASK_AFTER_S = 1.0
_ROUND_S = 0.5
_PAGE = 256  # looked at a round, of each group; so nobody waits for ever behind those that nobody can end

BEFORE_PREPARE = failpoints.point("participant.before_prepare")
PREPARED = failpoints.point("participant.prepared")
BEFORE_FINISH = failpoints.point("participant.before_finish")
FINISHED = failpoints.point("participant.finished")
ASKING = failpoints.point("participant.asking")
TOLD = failpoints.point("participant.told")


class Participant:
    """See the module."""

    def __init__(self, copysets: CopysetManager, calls: Calls) -> None:
        self._copysets = copysets
        self._calls = calls
        self._seen: dict[bytes, float] = {}  # transactions prepared here: since when this leader knows of them
        self._pages: dict[int, transaction_pb2.TransactionId] = {}  # of each group: the next page begins behind this

    async def prepare(self, request: transaction_pb2.PrepareRequest) -> transaction_pb2.PrepareReply:
        """Prepare parts. Raises Locked (give way), Unavailable, Redirect, the operation's error."""
        group = self._copysets.get(request.group_id)
        if any(part.WhichOneof("part") is None for part in request.parts):
            raise Unsupported("a part of a transaction that this metaserver does not know")  # no entry is made of it
        command = state_pb2.PrepareCommand(
            id=request.id, age=request.age, fs_id=request.fs_id, parts=request.parts, round=request.round
        )
        end = time.monotonic() + request.patience_ms / 1000
        failpoints.hit(BEFORE_PREPARE)
        while True:
            applied = await awaiting.run(group, state_pb2.Entry(format=1, prepare=command), ENTRY_DEADLINE_S)
            check(applied)
            if applied.facts is not None:
                failpoints.hit(PREPARED)
                return transaction_pb2.PrepareReply(facts=applied.facts)
            assert applied.conflict is not None, "one of three"
            await wait_for_turn(group, request.age, applied.conflict, end)

    async def finish(self, request: transaction_pb2.FinishRequest) -> transaction_pb2.FinishReply:
        """Apply what was prepared, or forget it."""
        await self._finish(self._copysets.get(request.group_id), request.id, commit=request.commit)
        return transaction_pb2.FinishReply()

    async def _finish(self, group: Group, id_: transaction_pb2.TransactionId, *, commit: bool) -> None:
        failpoints.hit(BEFORE_FINISH)
        command = state_pb2.FinishCommand(id=id_, commit=commit)
        check(await awaiting.run(group, state_pb2.Entry(format=1, finish=command), ENTRY_DEADLINE_S))
        failpoints.hit(FINISHED)

    # ------------------------------------------------------------------------------------------ recovery

    async def run(self) -> None:
        """Ask about transactions whose end does not come, until cancelled."""
        while True:
            await asyncio.sleep(_ROUND_S)
            waiting = self._overdue()
            if waiting:
                await asyncio.gather(*(self._resolve(group, id_, record) for group, id_, record in waiting))

    def _overdue(
        self,
    ) -> list[tuple[Group, transaction_pb2.TransactionId, state_pb2.TransactionRecord]]:
        now = time.monotonic()
        seen: dict[bytes, float] = {}
        pages: dict[int, transaction_pb2.TransactionId] = {}
        overdue: dict[bytes, tuple[Group, transaction_pb2.TransactionId, state_pb2.TransactionRecord]] = {}
        for group in self._copysets.all():
            if not group.is_leader:
                continue
            after = self._pages.get(group.group_id)
            with group.view() as view:
                known = transactions.prepared(view, _PAGE, after)
            if len(known) == _PAGE:
                pages[group.group_id] = known[-1][0]
            seen |= self._outside(group.group_id, after, pages.get(group.group_id))
            for id_, record in known:  # of each round one
                key = _key(group.group_id, id_)
                seen[key] = self._seen.get(key, now)
                if now - seen[key] >= _ASK_AFTER_S:
                    overdue.setdefault(key, (group, id_, record))
        self._seen, self._pages = seen, pages
        return list(overdue.values())

    def _outside(
        self,
        group_id: int,
        after: transaction_pb2.TransactionId | None,
        last: transaction_pb2.TransactionId | None,
    ) -> dict[bytes, float]:
        """Return what was seen of a group before a page and behind it."""
        if after is None and last is None:
            return {}
        own = group_id.to_bytes(8, "big")
        start = _key(group_id, after) if after is not None else own
        return {
            key: since
            for key, since in self._seen.items()
            if key.startswith(own) and (key <= start or (last is not None and key > _key(group_id, last)))
        }

    async def _resolve(
        self, group: Group, id_: transaction_pb2.TransactionId, record: state_pb2.TransactionRecord
    ) -> None:
        try:
            failpoints.hit(ASKING)
            request = transaction_pb2.QueryRequest(group_id=id_.group_id, id=id_)
            reply = await self._calls.call("Query", request, record.fs_id, ENTRY_DEADLINE_S)
            failpoints.hit(TOLD)
            if reply.outcome != transaction_pb2.PENDING:
                _log.info(
                    "a transaction was resolved",
                    group=group.group_id,
                    coordinator=id_.group_id,
                    outcome=transaction_pb2.Outcome.Name(reply.outcome),
                )
                await self._finish(group, id_, commit=reply.outcome == transaction_pb2.COMMITTED)
        except CurveFSError as error:
            _log.warning("a transaction's outcome is not known yet", group=group.group_id, reason=str(error))


async def wait_for_turn(group: Group, age: transaction_pb2.Age, lock: state_pb2.LockRecord, end: float) -> None:
    """Wait until who holds a lock has finished, or the leadership ended. Raises Locked when it is to give way."""
    if not transactions.is_older(age, lock.age):
        raise Locked("an older transaction goes first")
    left = end - time.monotonic()
    if left <= 0:
        raise Unavailable("a lock was not released in time")
    try:
        async with asyncio.timeout(left):
            # Looked at first: the lock may have been released by what was applied together with the entry that met it,
            # and nothing may follow. And again each time: who tried at any change would write an entry, and each
            # entry would wake the others that wait.
            while _is_held(group, lock):
                await group.changed()
    except TimeoutError as error:
        raise Unavailable("a lock was not released in time") from error


def _is_held(group: Group, lock: state_pb2.LockRecord) -> bool:
    with group.view() as view:
        return group.is_leader and transactions.is_prepared(view, lock.holder)


def _key(group_id: int, id_: transaction_pb2.TransactionId) -> bytes:
    return group_id.to_bytes(8, "big") + transactions.pack(id_)
