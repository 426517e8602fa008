"""Brings operations, transactions and reads to the group of their partition, and keeps at it until the deadline.

A partition belongs to a group; groups.py knows where each is led. When the session is over, a new one is opened: what
was never sent goes on under it, what was sent has an unknown outcome and fails (rule 8). The MDS is asked for leases
and for where partitions are; while it is away, everything goes on with what is known. When it answers that the
filesystem was deleted, the router ends: nothing is sent any more, and every call raises FilesystemGone.

Shared across awaits: the tables below; they change in code without awaits only. A caller that resumes after an
await looks everything up afresh.
"""

import random as random_module
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
import trio

from ....proto import common_pb2, mds_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import CurveFSError, FilesystemGone, IOFailure, Locked, NoAllowance, SessionEnded, WrongPartition
from ...common.ids import partition_of
from ...common.status import error_of, error_of_code, failure_of
from ...rpc import connection
from ...rpc.backoff import Random, pause_s
from ...rpc.connection import Connect
from ...rpc.lane import NEVER_SENT
from .answers import Answers
from .groups import Groups
from .session import MountSession

log = structlog.get_logger()

REFRESH_S = 1.0
COUNTS_MAX_AGE_S = 30.0
# A transaction's locks are short: the first try after one comes soon.
LOCKED_S_FIRST, LOCKED_S_MAX = 0.001, 0.05
_TRIED_AGAIN = (common_pb2.LOCKED, common_pb2.WRONG_PARTITION)

Effect = Callable[[pb.OperationResult], None]


class Router:
    """See the module. ``timeout_s``: how long a caller waits for its answer before EIO."""

    def __init__(
        self,
        session: MountSession,
        *,
        timeout_s: float,
        on_new_session: Callable[[], None] = lambda: None,
        on_gone: Callable[[FilesystemGone], None] = lambda _: None,
        connect: Connect = connection.connect,
        random: Random = random_module.random,
    ) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._on_new_session = on_new_session
        self._on_gone = on_gone
        self._gone: FilesystemGone | None = None
        self._connect = connect
        self.random = random
        self._partitions: dict[int, int] = {}  # partition -> group
        self._inode_counts: dict[int, int] = {}  # partition -> inodes, as last heard
        self._counts_at = 0.0
        self._groups: Groups | None = None  # while running
        self._usable = trio.Event()
        self._session_lost = trio.Event()
        self._refresh = trio.Event()
        self._refreshed = trio.Event()

    # ----------------------------------------------------------------------------------------- for callers

    def deadline(self) -> float:
        """Return until when (trio time) an operation that begins now is to be tried."""
        return trio.current_time() + self._timeout_s

    async def operate(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None = None, *, deadline: float | None = None
    ) -> pb.OperationResult:
        """Have an operation applied, once, in the order of the lane, and return its result.

        ``effect`` is called with a successful result when it arrives, in that order, before anything else runs.
        Raises what the result says; SessionEnded and IOFailure leave the outcome unknown.
        """
        return await self._apply(partition_id, operation, effect, deadline or self.deadline(), spanning=False)

    async def transact(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None = None, *, deadline: float | None = None
    ) -> pb.OperationResult:
        """Have an operation that spans partitions applied, once, and return its result; see operate().

        ``partition_id`` is that of the source parent (link: of the new parent). There is no order among transactions,
        nor with the lane.
        """
        return await self._apply(partition_id, operation, effect, deadline or self.deadline(), spanning=True)

    async def read(self, partition_id: int, read: pb.Read) -> pb.ReadResult:
        """Have a read answered by the leader. Raises what the answer says, IOFailure after the deadline."""
        (result,) = await self.read_many(partition_id, [read])
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result

    async def read_many(self, partition_id: int, reads: Sequence[pb.Read]) -> list[pb.ReadResult]:
        """Have reads answered, all in one request; the results in their order, each with its failure if it has one.

        Raises IOFailure after the deadline.
        """
        deadline = self.deadline()
        results: list[pb.ReadResult] = [pb.ReadResult()] * len(reads)
        left = list(range(len(reads)))
        tries = 0
        while left:
            answers = await self._read_once(partition_id, [reads[index] for index in left], deadline)
            again = []
            for index, answer in zip(left, answers, strict=True):
                results[index] = answer
                if answer.failure.code in _TRIED_AGAIN:
                    again.append(index)
            left = again
            if left:
                tries += 1
                if any(results[index].failure.code == common_pb2.WRONG_PARTITION for index in left):
                    self._refresh.set()
                await self._pause(tries, deadline, results[left[0]].failure.message)
        return results

    @property
    def one_of_each_group(self) -> list[int]:
        """Return one partition of each group: for what a group answers about all its partitions."""
        return sorted({group_id: partition for partition, group_id in self._partitions.items()}.values())

    def knows(self, partition_id: int) -> bool:
        """Say whether there was such a partition when the MDS was last asked."""
        return partition_id in self._partitions

    def inode_counts(self) -> Mapping[int, int]:
        """Return about the inodes of each partition whose leader is known; asks for fresher numbers when these are old.

        So new directories do not go where nobody answers.
        """
        if trio.current_time() - self._counts_at > COUNTS_MAX_AGE_S:
            self._counts_at = trio.current_time()
            self._refresh.set()
        groups = self._groups
        if groups is None:
            return {}
        return {one: count for one, count in self._inode_counts.items() if groups.is_open(self._partitions[one])}

    def count_inode(self, partition_id: int) -> None:
        """Take into account that a directory was just placed in a partition, until fresher numbers come."""
        if partition_id in self._inode_counts:
            self._inode_counts[partition_id] += 1

    # --------------------------------------------------------------------------------------------- sending

    async def _apply(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None, deadline: float, *, spanning: bool
    ) -> pb.OperationResult:
        tries = 0
        while True:
            outcome = await self._apply_once(partition_id, operation, effect, deadline, spanning=spanning)
            if isinstance(outcome, SessionEnded) and str(outcome) == NEVER_SENT:
                continue
            if isinstance(outcome, CurveFSError):
                raise outcome
            if not outcome.status:
                return outcome
            error = error_of_code(outcome.status, outcome.message)
            if isinstance(error, NoAllowance) and outcome.need.quota_id:
                await self._ask(outcome.need, deadline)
            elif not isinstance(error, Locked | WrongPartition):
                raise error
            if isinstance(error, WrongPartition):
                self._refresh.set()
            tries += 1
            await self._pause(tries, deadline, str(error))

    async def _ask(self, need: common_pb2.QuotaNeed, deadline: float) -> None:
        """Ask a quota's owner for more. Raises NoSpace, QuotaExceeded: it is used up."""
        owner = partition_of(need.quota_id)
        await self._apply(owner, pb.Operation(ask=need), None, deadline, spanning=True)

    async def _apply_once(
        self, partition_id: int, operation: pb.Operation, effect: Effect | None, deadline: float, *, spanning: bool
    ) -> pb.OperationResult | CurveFSError:
        answers: Answers[pb.OperationResult | CurveFSError] = Answers()

        def complete(outcome: pb.OperationResult | CurveFSError) -> None:
            if effect is not None and isinstance(outcome, pb.OperationResult) and not outcome.status:
                effect(outcome)
            answers.set(outcome)

        with trio.move_on_at(deadline):
            groups, group_id = await self._place_of(partition_id)
            calls = groups.calls(group_id)
            if spanning:
                give_up = partial(calls.transactions.abandon, calls.transact(operation, complete))
            else:
                give_up = partial(calls.lane.abandon, calls.submit(operation, complete))
            groups.flush(group_id)
            try:
                await answers.wait()
            finally:
                if answers.left:
                    give_up()
        return answers.values[0] or self._nobody_answered()

    async def _read_once(self, partition_id: int, reads: list[pb.Read], deadline: float) -> list[pb.ReadResult]:
        answers: Answers[pb.ReadResult] = Answers(len(reads))
        with trio.move_on_at(deadline):
            groups, group_id = await self._place_of(partition_id)
            calls = groups.calls(group_id)
            ids = [calls.read(read, partial(_take_read, answers, index)) for index, read in enumerate(reads)]
            groups.flush(group_id)
            try:
                await answers.wait()
            finally:
                if answers.left:
                    calls = groups.calls(group_id)  # another one, if the session was replaced
                    for read_id in ids:
                        calls.cancel_read(read_id)
        if answers.left:
            raise self._nobody_answered()
        return [value for value in answers.values if value is not None]

    async def _place_of(self, partition_id: int) -> tuple[Groups, int]:
        """Return where a partition's calls go, once there is a session.

        Raises IOFailure for an unknown partition, FilesystemGone.
        """
        await self._in_session()
        if partition_id not in self._partitions:
            self._refresh.set()
            await self._refreshed.wait()
            await self._in_session()
        assert self._groups is not None, "the router runs"
        if partition_id not in self._partitions:
            raise IOFailure(f"partition {partition_id} is unknown")
        return self._groups, self._partitions[partition_id]

    async def _in_session(self) -> None:
        while not self._usable.is_set():
            await self._usable.wait()
        if self._gone is not None:
            raise FilesystemGone(str(self._gone))

    async def _pause(self, tries: int, deadline: float, reason: str) -> None:
        wait_s = pause_s(tries, self.random, first_s=LOCKED_S_FIRST, max_s=LOCKED_S_MAX)
        if trio.current_time() + wait_s >= deadline:
            raise IOFailure(f"not done within {self._timeout_s:.0f} s: {reason}")
        await trio.sleep(wait_s)

    def _nobody_answered(self) -> IOFailure:
        return IOFailure(f"no metaserver answered within {self._timeout_s:.0f} s")

    # ------------------------------------------------------------------------------------------ background

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the streams, the session's renewal and its replacement, until cancelled or the filesystem is gone."""
        async with trio.open_nursery() as nursery:
            self._groups = Groups(self, nursery, self._session.credentials, connect=self._connect, random=self.random)
            self._begin(self._groups)
            nursery.start_soon(self._refresh_loop, self._groups)
            task_status.started()
            while self._gone is None:
                self._session_lost = trio.Event()
                async with trio.open_nursery() as renewal:
                    renewal.start_soon(self._renew, renewal.cancel_scope)
                    await self._session_lost.wait()
                    renewal.cancel_scope.cancel()
                try:
                    await self._replace_session(self._groups)
                except FilesystemGone as error:
                    self._end(self._groups, error)
            nursery.cancel_scope.cancel()

    def _begin(self, groups: Groups) -> None:
        self._place(groups, self._session.partitions)
        groups.begin_session()
        self._usable.set()

    async def _renew(self, scope: trio.CancelScope) -> None:
        await self._session.renew_until_over()
        self._session_lost.set()
        scope.cancel()

    def _end(self, groups: Groups, error: FilesystemGone) -> None:
        log.error(
            "the filesystem was deleted: what was not stored is lost, and every call fails; unmount it",
            filesystem=self._session.filesystem.name,
            uuid=self._session.filesystem.uuid.hex(),
            reason=str(error),
        )
        self._gone = error
        groups.refuse_reads(failure_of(error))
        self._refreshed.set()
        self._usable.set()
        self._on_gone(error)

    async def _replace_session(self, groups: Groups) -> None:
        """The session is over: fail what was sent, open a new one, go on with fresh lanes. Raises FilesystemGone."""
        self._usable = trio.Event()
        groups.end_session()
        while True:
            try:
                await self._session.open()
                break
            except FilesystemGone:
                raise
            except CurveFSError as error:
                log.warning("no new session", reason=str(error))
                await trio.sleep(REFRESH_S)
        log.info("a new session is open", filesystem=self._session.filesystem.name)
        self._on_new_session()
        self._begin(groups)

    async def _refresh_loop(self, groups: Groups) -> None:
        """Ask the MDS where the partitions are, when something suggests that they moved."""
        while True:
            await self._refresh.wait()
            self._refresh = trio.Event()
            try:
                self._place(groups, await self._session.list_partitions())
            except CurveFSError as error:
                log.warning("the partitions could not be listed", reason=str(error))
            refreshed, self._refreshed = self._refreshed, trio.Event()
            refreshed.set()
            await trio.sleep(REFRESH_S)

    def _place(self, groups: Groups, partitions: Sequence[mds_pb2.Partition]) -> None:
        """Take the MDS's word on what there is and where."""
        for partition in partitions:
            self._partitions[partition.partition_id] = partition.group_id
            self._inode_counts[partition.partition_id] = partition.inode_count
        self._counts_at = trio.current_time()
        groups.place(partitions)

    # --------------------------------------------------------------------------------- what groups tell us

    def on_doubt(self) -> None:
        """Ask the MDS."""
        self._refresh.set()

    def on_session_ended(self, session_id: bytes) -> None:
        """Open a new session, unless that has happened already."""
        if session_id == self._session.session_id:
            self._session_lost.set()

    def on_token_refused(self, session_id: bytes) -> None:
        """Get a fresh token; the MDS says whether the session is over."""
        if session_id == self._session.session_id:
            self._session.renew_soon()


def _take_read(answers: Answers[pb.ReadResult], index: int, result: pb.ReadResult) -> None:
    answers.set(result, index)
