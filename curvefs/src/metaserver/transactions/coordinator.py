"""Carries out operations across partitions, as the leader of the source parent's group (rule 16).

    plan -> prepare elsewhere, in parallel (two rounds when something is learned) -> decide, one entry here -> answer
         -> have the participants finish -> forget

An attempt that loses against an older transaction, or whose plan has become stale, is given up and tried again with the
age of the first. Until it is decided nothing has happened; what was prepared is released. After the decision entry was
proposed its fate is the log's: whoever leads next finds it there, or knows that it never will be.

What is refused, or has nothing to do, is answered from the log too: by an entry with the answer and nothing else. For a
copy of the request may have waited where nobody knows of the answer, in a process that stood still, and that one may
lead when it reads it: it must not be carried out after all.

Shared across awaits: `_running` (one run per session's number), `_active` (ids that may still be decided in this term).
An id leaves `_active` only when it is known that it will not be decided later, so "not active" may be answered as
"aborted".
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from ....proto import common_pb2, state_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...common import failpoints
from ...common.clock import Clock
from ...common.errors import (
    CurveFSError,
    InvalidArgument,
    Locked,
    Overloaded,
    Skipped,
    Unavailable,
    WrongPartition,
)
from ...common.ids import ROOT_INODE, partition_of
from ...common.status import error_of, failure_of
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metastore import quotas, reads, transactions
from ..metastore.applied import Applied
from ..metastore.scope import Refusal, Scope
from ..storage.environment import LmdbTransaction
from .calls import Calls, Place
from .finishing import Finishing
from .participant import ENTRY_DEADLINE_S, wait_for_turn
from .plan import NothingToDo, Parts, Plan, home_of, move_lock, names_first, plan

_log = structlog.get_logger()

DEADLINE_S = 10.0
RUNNING_MAX = 10_000
_PREPARE_S = 5.0
_WALK_PATIENCE_S = 0.2
_PAUSE_S = 0.002
_PAUSE_S_MAX = 0.1
_DEPTH_MAX = 100_000

PLANNED = failpoints.point("coordinator.planned")
MOVE_LOCKED = failpoints.point("coordinator.move_locked")
WALKED = failpoints.point("coordinator.walked")
FIRST_PREPARED = failpoints.point("coordinator.first_prepared")
SECOND_PREPARED = failpoints.point("coordinator.second_prepared")
DECISION_PROPOSED = failpoints.point("coordinator.decision_proposed")
DECIDED = failpoints.point("coordinator.decided")
ABORTING = failpoints.point("coordinator.aborting")


class _Again(Exception):
    """The attempt is given up; another one may succeed."""


class Coordinator:
    """See the module."""

    def __init__(
        self,
        copysets: CopysetManager,
        calls: Calls,
        *,
        clock: Clock,
        ask: Callable[[Group, int, common_pb2.QuotaNeed], Awaitable[pb.OperationResult]],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """ask: answers a session that needs more of a quota. jitter: returns a number in [0, 1), another each time."""
        self._ask = ask
        self._jitter = jitter
        self._copysets = copysets
        self._calls = calls
        self._clock = clock
        self._numbers = itertools.count(1)
        self._running: dict[tuple[int, bytes, int], asyncio.Task[pb.OperationResult | CurveFSError]] = {}
        self._active: set[bytes] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._finishing = Finishing(copysets, calls)

    async def run(self) -> None:
        """Own the transactions, until cancelled."""
        self._copysets.on_group(lambda group: group.on_leadership(lambda _: self._forget_old(group)))
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._finishing.run()
            finally:
                self._tasks = None

    # ------------------------------------------------------------------------------------------- requests

    async def operate(self, request: pb.TransactionRequest) -> pb.OperationResult:
        """Carry an operation out, once, and return its result, also when it failed for good.

        Raises what makes sense to try again: Redirect, Unavailable, Overloaded, and what ends a session.
        """
        group = self._copysets.get(request.group_id)
        if not group.is_leader:
            raise group.redirect()
        key = (request.group_id, request.session_id, request.number)
        running = self._running.get(key)
        if running is None:
            if self._tasks is None or len(self._running) >= RUNNING_MAX:
                raise Overloaded("too many transactions", retry_after_ms=100)
            running = self._running[key] = self._tasks.create_task(self._carry_out(group, request))
            running.add_done_callback(lambda _: self._running.pop(key))
        outcome = await asyncio.shield(running)
        if isinstance(outcome, CurveFSError):
            raise outcome
        return outcome

    async def _carry_out(self, group: Group, request: pb.TransactionRequest) -> pb.OperationResult | CurveFSError:
        try:
            if request.operation.HasField("ask"):
                return await self._ask(group, request.fs_id, request.operation.ask)
            return await self._retried(group, request)
        except CurveFSError as error:
            return error
        except Exception:  # noqa: BLE001  # a bug must end neither the other transactions nor the process
            _log.exception("a transaction failed by a bug", group=group.group_id)
            return Unavailable("a bug in the metaserver; its log says more")

    async def _retried(self, group: Group, request: pb.TransactionRequest) -> pb.OperationResult:
        end = time.monotonic() + DEADLINE_S
        age: transaction_pb2.Age | None = None
        pause_s = _PAUSE_S
        stale = False
        while True:
            id_ = transaction_pb2.TransactionId(group_id=group.group_id, term=group.term, number=next(self._numbers))
            if age is None:
                age = transaction_pb2.Age(time_ns=self._clock.time_ns(), first=id_)
            attempt = _Attempt(self, group, request, id_=id_, age=age, end=end, looks_first=stale)
            try:
                return await attempt.run()
            except _Again as again:
                stale = True
                if time.monotonic() >= end:
                    raise Unavailable(f"not done in time: {again}") from again
            except NothingToDo:
                return await attempt.keep(pb.OperationResult())
            except Refusal as refusal:
                if refusal.code not in _RETRIED:
                    result = pb.OperationResult(status=refusal.code, message=refusal.message, need=refusal.need)
                    return await attempt.keep(result)
                stale = True
                if time.monotonic() >= end:
                    raise Unavailable("not done in time: the state changes under it") from refusal
            await asyncio.sleep(pause_s * self._jitter())
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    async def query(self, request: transaction_pb2.QueryRequest) -> transaction_pb2.QueryReply:
        """Say how a transaction ended, or that it may still be decided."""
        group = self._copysets.get(request.group_id)
        if not group.is_leader:
            raise group.redirect()
        if transactions.pack(request.id) in self._active and request.id.term == group.term:
            return transaction_pb2.QueryReply(outcome=transaction_pb2.PENDING)
        if request.id.term > group.term:
            raise Unavailable("another metaserver leads the group by now")
        decided = await awaiting.read(group, lambda view: transactions.is_decided(view, request.id), ENTRY_DEADLINE_S)
        outcome = transaction_pb2.COMMITTED if decided else transaction_pb2.ABORTED
        return transaction_pb2.QueryReply(outcome=outcome)

    def _forget_old(self, group: Group) -> None:
        """Another term has begun: what was in doubt in an earlier one is in the log, or never will be."""
        for packed in list(self._active):
            id_ = transactions.unpack(packed)
            if id_.group_id == group.group_id and id_.term < group.term:
                self._active.discard(packed)

    # ----------------------------------------------------------------------------- for attempts only

    @property
    def calls(self) -> Calls:
        """Return the calls to other groups."""
        return self._calls

    @property
    def finishing(self) -> Finishing:
        """Return who has transactions finished."""
        return self._finishing

    def begin(self, id_: transaction_pb2.TransactionId) -> None:
        """An id may be decided from now on."""
        self._active.add(transactions.pack(id_))

    def end(self, id_: transaction_pb2.TransactionId) -> None:
        """An id is decided, or never will be."""
        self._active.discard(transactions.pack(id_))

    def spawn(self, work: Any, name: str) -> None:
        """Have work done beside."""
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work, name=name)


class _Attempt:
    """One attempt at a transaction."""

    def __init__(
        self,
        owner: Coordinator,
        group: Group,
        request: pb.TransactionRequest,
        *,
        id_: transaction_pb2.TransactionId,
        age: transaction_pb2.Age,
        end: float,
        looks_first: bool,
    ) -> None:
        """looks_first: ask for the quotas of a directory elsewhere, instead of taking them to be the same as here."""
        self._looks_first = looks_first
        self._owner = owner
        self._group = group
        self._request = request
        self._id = id_
        self._age = age
        self._end = end
        self._participants: set[int] = set()  # groups in which something is, or may be, prepared
        self._round = 0
        self._is_in_doubt = False  # the decision is in the log, and its fate unknown

    async def run(self) -> pb.OperationResult:
        """Try it. Raises _Again, Refusal, NothingToDo, CurveFSError."""
        self._owner.begin(self._id)
        decided = False
        try:
            stored = await awaiting.read(self._group, self._stored, ENTRY_DEADLINE_S)
            if stored is not None:
                return _of(stored)
            made = await self._plan()
            failpoints.hit(PLANNED)
            names = made.names()
            try:
                await self._prepare_all(made)
                await self._walk(made)
            except (Refusal, NothingToDo) as outcome:
                # It is about the inodes that the names led to when it was planned.
                is_final = isinstance(outcome, NothingToDo) or outcome.code not in _RETRIED
                if is_final and (await self._plan()).names() != names:
                    raise _Again("the plan is stale") from outcome
                raise
            record = await self._decide(made)
            decided = record.id == self._id
            if decided:
                failpoints.hit(DECIDED)
                self._owner.finishing.add(self._group, record)
            return _of(record)
        finally:
            # In doubt, nobody may be told anything: whoever leads next finds the decision in the log, or finds it not.
            if not self._is_in_doubt:
                self._owner.end(self._id)
                if not decided and self._participants:
                    self._owner.spawn(self._abort(), "abort a transaction")

    async def keep(self, result: pb.OperationResult) -> pb.OperationResult:
        """Have an answer kept without anything done; returns it, or the one that is kept already."""
        applied = await self._proposed(state_pb2.Entry(format=1, decide=self._decision(result)))
        if applied.decided is not None:
            return _of(applied.decided)
        assert applied.failure is not None, "nothing is locked"
        outcome = _as_outcome(error_of(applied.failure))
        if isinstance(outcome, Refusal):  # it was forgotten: this copy comes after everything
            return pb.OperationResult(status=outcome.code, message=outcome.message)
        raise outcome

    async def _prepare_all(self, made: Plan) -> None:
        if made.moves_directories:
            await self._prepare({partition_of(ROOT_INODE): [move_lock()]}, made)
            failpoints.hit(MOVE_LOCKED)
        second = await self._prepare(made.first, made)
        failpoints.hit(FIRST_PREPARED)
        if second:
            await self._prepare(second, made)
            failpoints.hit(SECOND_PREPARED)

    def _stored(self, view: LmdbTransaction) -> state_pb2.DecisionRecord | None:
        return transactions.stored_answer(view, self._request.session_id, self._request.number)

    async def _plan(self) -> Plan:
        target_quotas = await self._target_quotas() if self._looks_first else None

        def look(view: LmdbTransaction) -> Plan:
            home = frozenset(
                one.spec.partition_id for one in reads.partitions(view, self._request.fs_id) if not one.deleting
            )
            if home_of(self._request.operation) not in home:
                raise WrongPartition("the partition is not in this group")
            scope = Scope(view, 0, 0, self._request.fs_id, self._request.session_id)
            return plan(scope, self._request.operation, home, target_quotas)

        return await awaiting.read(self._group, look, ENTRY_DEADLINE_S)

    async def _target_quotas(self) -> list[int] | None:
        """Return what the names in a rename's new parent are charged to; None when it cannot be said now."""
        if not self._request.operation.HasField("rename"):
            return None
        parent = self._request.operation.rename.new_parent
        try:
            return quotas.below(await self._inode(parent))
        except CurveFSError:
            return None  # planned without it, the operation will say what is wrong

    async def _place(self, partition_id: int) -> Place:
        """Return where a participant is. What is not known of it is no answer about this group's own partitions."""
        try:
            return await self._owner.calls.place(self._request.fs_id, partition_id)
        except WrongPartition as error:
            raise Unavailable(f"partition {partition_id} is not known here now") from error

    async def _inode(self, inode_id: int) -> pb.Inode:
        place = await self._place(partition_of(inode_id))
        request = transaction_pb2.ReadInodesRequest(
            group_id=place.group_id, fs_id=self._request.fs_id, inodes=[inode_id]
        )
        reply = await self._owner.calls.call("ReadInodes", request, self._request.fs_id, _PREPARE_S)
        inode: pb.Inode = reply.inodes[0]
        return inode

    # ------------------------------------------------------------------------------------------- prepare

    async def _prepare(self, wanted: Parts, made: Plan) -> Parts:
        """Prepare parts in their groups, in parallel; returns what is to be done besides, as is learned now."""
        by_group: dict[int, list[transaction_pb2.Part]] = {}
        for partition_id, parts in wanted.items():
            place = await self._place(partition_id)
            by_group[place.group_id] = names_first([*by_group.get(place.group_id, []), *parts])
        self._participants |= by_group.keys()
        self._round += 1
        replies = await asyncio.gather(
            *(self._prepare_in(group_id, parts) for group_id, parts in by_group.items()), return_exceptions=True
        )
        outcomes = [_as_outcome(reply) for reply in replies if isinstance(reply, BaseException)]
        if outcomes:  # of a plan that is stale another part may be refused for what is not so
            raise next((one for one in outcomes if isinstance(one, _Again)), outcomes[0])
        more: Parts = {}
        for parts, reply in zip(by_group.values(), replies, strict=True):
            assert isinstance(reply, transaction_pb2.PrepareReply), "errors were raised"
            for part, fact in zip(parts, reply.facts, strict=True):
                learned = made.learn(self._request.operation, self._request.session_id, part, fact)
                for partition_id, further in learned.items():
                    more.setdefault(partition_id, []).extend(further)
        return more

    async def _prepare_in(self, group_id: int, parts: list[transaction_pb2.Part]) -> transaction_pb2.PrepareReply:
        left = min(_PREPARE_S, max(0.1, self._end - time.monotonic()))
        request = transaction_pb2.PrepareRequest(
            group_id=group_id,
            id=self._id,
            age=self._age,
            fs_id=self._request.fs_id,
            parts=parts,
            patience_ms=int(left * 1000),
            round=self._round,
        )
        reply = await self._owner.calls.call("Prepare", request, self._request.fs_id, left + 1.0)
        assert isinstance(reply, transaction_pb2.PrepareReply), "what the method answers"
        return reply

    # --------------------------------------------------------------------------------------------- walks

    async def _walk(self, made: Plan) -> None:
        """Raise Refusal when a directory would come to lie below itself (rule 18)."""
        for start, forbidden in made.walks:
            at = start
            for _ in range(_DEPTH_MAX):
                if at == forbidden:
                    raise Refusal(common_pb2.INVALID_ARGUMENT, "a directory cannot be moved below itself")
                if at == ROOT_INODE:
                    break
                at = await self._parent_of(at)
        if made.walks:
            failpoints.hit(WALKED)

    async def _parent_of(self, directory: int) -> int:
        end = time.monotonic() + _WALK_PATIENCE_S
        while True:
            try:
                return (await self._inode(directory)).parent
            except Locked as error:
                # Its parent may be about to change; not by a move, for those wait for this one. But who holds it may
                # wait for what is prepared here: as ages are not known, this one gives way.
                if time.monotonic() >= end:
                    raise _Again("an ancestor is locked") from error
                await asyncio.sleep(_PAUSE_S)
            except CurveFSError as error:
                raise _as_outcome(error) from error

    # -------------------------------------------------------------------------------------------- decide

    def _decision(self, result: pb.OperationResult) -> state_pb2.DecideCommand:
        request = self._request
        return state_pb2.DecideCommand(
            id=self._id,
            age=self._age,
            fs_id=request.fs_id,
            session_id=request.session_id,
            number=request.number,
            acknowledged=request.acknowledged,
            result=result,
        )

    async def _decide(self, made: Plan) -> state_pb2.DecisionRecord:
        command = self._decision(made.result)
        command.parts.extend(made.decided_parts())
        command.participants.extend(sorted(self._participants))
        while True:
            applied = await self._proposed(state_pb2.Entry(format=1, decide=command))
            if applied.conflict is not None:
                try:
                    await wait_for_turn(self._group, self._age, applied.conflict, self._end)
                except CurveFSError as error:
                    raise _as_outcome(error) from error
                continue
            if applied.decided is not None:
                return applied.decided
            assert applied.failure is not None, "one of three"
            raise _as_outcome(error_of(applied.failure))

    async def _proposed(self, entry: state_pb2.Entry) -> Applied:
        """Propose, and wait as long as it takes: the entry is applied, or the leadership ends."""
        future: asyncio.Future[Applied | CurveFSError] = asyncio.get_running_loop().create_future()

        def complete(outcome: Applied | CurveFSError) -> None:
            if not future.done():
                future.set_result(outcome)

        self._group.propose(entry, complete)
        self._is_in_doubt = True
        failpoints.hit(DECISION_PROPOSED)
        outcome = await future
        if isinstance(outcome, CurveFSError):
            self._is_in_doubt = False  # it never entered the log
            raise outcome
        if outcome.failure is not None and outcome.failure.code in _LOST:
            raise error_of(outcome.failure)
        self._is_in_doubt = False
        return outcome

    async def _abort(self) -> None:
        """Release what was prepared; who cannot be told will ask."""
        failpoints.hit(ABORTING)
        await asyncio.gather(*(self._release(group_id) for group_id in self._participants))

    async def _release(self, group_id: int) -> None:
        request = transaction_pb2.FinishRequest(group_id=group_id, id=self._id, commit=False)
        try:
            await self._owner.calls.call("Finish", request, self._request.fs_id, ENTRY_DEADLINE_S)
        except CurveFSError as error:
            _log.warning("a participant was not told of an abort", group=group_id, reason=str(error))


# What a group says of entries in its log whose leader has lost its place.
_LOST = frozenset((common_pb2.REDIRECT, common_pb2.UNAVAILABLE, common_pb2.INTERNAL))
_RETRIED = frozenset((common_pb2.SKIPPED, common_pb2.LOCKED))
_RAISED = frozenset(
    (
        common_pb2.REDIRECT,
        common_pb2.UNAVAILABLE,
        common_pb2.OVERLOADED,
        common_pb2.SESSION_UNKNOWN,
        common_pb2.SESSION_ENDED,
        common_pb2.NOT_APPENDED,
        common_pb2.WRONG_PARTITION,
    )
)


def _as_outcome(error: BaseException) -> BaseException:
    """Return what an error means for the attempt: try again, tell the client to, or the operation's own failure."""
    if isinstance(error, Locked | Skipped):
        return _Again(str(error))
    if not isinstance(error, CurveFSError):
        return error
    failure = failure_of(error)
    if failure.code in _RAISED:
        return Unavailable(str(error)) if failure.code == common_pb2.NOT_APPENDED else error
    return Refusal(failure.code, failure.message, failure.need if failure.HasField("need") else None)


def _of(record: state_pb2.DecisionRecord) -> pb.OperationResult:
    return record.result


def check_request(request: pb.TransactionRequest) -> None:
    """Raise InvalidArgument for what is no operation across partitions."""
    if not request.number or request.operation.preconditions:
        raise InvalidArgument("an operation across partitions has a number and no preconditions")
