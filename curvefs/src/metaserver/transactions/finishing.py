"""What is decided is finished: every participant is told until it has applied its part, then the decision is forgotten.

A new leader goes on with what the state says: decisions of which some participant may not have heard.

Shared across awaits: `_done`, the ids to forget, a batch per group.
"""

import asyncio

import structlog

from ....proto import state_pb2, transaction_pb2
from ...common import failpoints
from ...common.errors import CurveFSError
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metastore import transactions
from .calls import Calls
from .participant import ENTRY_DEADLINE_S

_log = structlog.get_logger()

_ROUND_S = 0.2
_PAUSE_S = 0.1
_PAUSE_S_MAX = 2.0
_LIMIT = 1024

BEFORE_TELLING = failpoints.point("coordinator.before_telling")
TOLD = failpoints.point("coordinator.told")
FORGETTING = failpoints.point("coordinator.forgetting")
FORGOTTEN = failpoints.point("coordinator.forgotten")
RESUMING = failpoints.point("coordinator.resuming")


class Finishing:
    """See the module. run() it."""

    def __init__(self, copysets: CopysetManager, calls: Calls) -> None:
        self._copysets = copysets
        self._calls = calls
        self._under_way: set[bytes] = set()
        self._done: dict[Group, list[transaction_pb2.TransactionId]] = {}
        self._resume: set[Group] = set()
        self._tasks: asyncio.TaskGroup | None = None

    def add(self, group: Group, record: state_pb2.DecisionRecord) -> None:
        """Have a decision finished."""
        packed = transactions.pack(record.id)
        if not record.participants or packed in self._under_way or self._tasks is None:
            return
        self._under_way.add(packed)
        self._tasks.create_task(self._finish(group, record), name="finish a transaction")

    async def run(self) -> None:
        """Forget what is finished, take up what other leaders left, until cancelled."""
        self._copysets.on_group(self._watch)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while True:
                    await asyncio.sleep(_ROUND_S)
                    for group in list(self._resume):
                        self._take_up(group)
                    for group in list(self._done):
                        await self._forget(group)
            finally:
                self._tasks = None

    def _watch(self, group: Group) -> None:
        group.on_leadership(lambda leads: self._resume.add(group) if leads else self._resume.discard(group))
        if group.is_leader:
            self._resume.add(group)

    def _take_up(self, group: Group) -> None:
        """Go on with the decisions of earlier leaders."""
        if not group.is_leader:
            self._resume.discard(group)
            return
        with group.view() as view:
            records = transactions.undone(view, _LIMIT)
        waiting = [one for one in records if transactions.pack(one.id) not in self._under_way]
        if len(records) < _LIMIT:
            self._resume.discard(group)
        if waiting:
            failpoints.hit(RESUMING)
            _log.info("decided transactions are finished", group=group.group_id, count=len(waiting))
        for record in waiting:
            self.add(group, record)

    async def _finish(self, group: Group, record: state_pb2.DecisionRecord) -> None:
        packed = transactions.pack(record.id)
        try:
            failpoints.hit(BEFORE_TELLING)
            told = await asyncio.gather(*(self._tell(group, record, one) for one in record.participants))
            failpoints.hit(TOLD)
            if all(told):
                self._done.setdefault(group, []).append(record.id)
            else:  # the leadership ended; it may have come back, and the state been looked at, while this was under way
                self._resume.add(group)
        finally:
            self._under_way.discard(packed)

    async def _tell(self, group: Group, record: state_pb2.DecisionRecord, participant: int) -> bool:
        pause_s = _PAUSE_S
        while group.is_leader:
            request = transaction_pb2.FinishRequest(group_id=participant, id=record.id, commit=True)
            try:
                await self._calls.call("Finish", request, record.fs_id, ENTRY_DEADLINE_S)
            except CurveFSError as error:
                _log.warning("a participant has not finished yet", group=participant, reason=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            else:
                return True
        return False

    async def _forget(self, group: Group) -> None:
        ids = self._done.pop(group)
        if not group.is_leader:
            return
        failpoints.hit(FORGETTING)
        command = state_pb2.ForgetCommand(ids=ids)
        try:
            check(await awaiting.run(group, state_pb2.Entry(format=1, forget=command), ENTRY_DEADLINE_S))
            failpoints.hit(FORGOTTEN)
        except CurveFSError as error:
            _log.warning("finished transactions are not forgotten yet", group=group.group_id, reason=str(error))
            if group.is_leader:
                self._done.setdefault(group, []).extend(ids)
