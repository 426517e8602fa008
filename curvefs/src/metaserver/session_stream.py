"""One client's stream: its operations go to their groups, its reads are answered, and all that is ready goes back.

Operations are proposed in the order they arrive, so the order of each lane holds; no group waits for another. Results
return as soon as they are applied. What is ready while a frame is being written goes together in the next.

The token is checked when the session presents itself (Hello). What ends a session afterwards is the EndSession entry
in each group's log, not the token's time. A Hello is answered at once (Welcome), and each of its groups by a lane when
that is decided: a group without a majority holds no other back, and a mount knows that the metaserver lives.

Reads are answered at once under the leader's lease, else as soon as a majority confirmed that it leads still.

Bounds: the operations of a lane by its window, those of a group by its queue; reads to be confirmed by
UNCONFIRMED_READS_MAX; lanes being opened by LANES_MAX. While too much is unsent (session_outbox.py) nothing more is
taken from the client and no read is answered: its own streams wait, until it reads. Groups never wait: what they answer
was taken before.

Shared across awaits: the outbox, filled by the reader, the answers to confirmed reads and groups' callbacks, emptied by
the writer, each between awaits.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial

import structlog

from ...proto import common_pb2, state_pb2
from ...proto import metaserver_pb2 as pb
from ...proto.mds_pb2 import SessionToken
from ..common.errors import (
    CorruptData,
    CurveFSError,
    InvalidArgument,
    Overloaded,
    ReadOnly,
    SessionUnknown,
    TokenRefused,
    Unavailable,
    VersionUnsupported,
    WrongPartition,
)
from ..common.ids import SESSION_ID_SIZE
from ..common.status import failure_of
from ..common.tokens import verify
from ..rpc.asyncio_frames import ServerFrames
from ..rpc.frames import FRAME_SIZE_MAX
from .calls import check
from .copyset import awaiting
from .copyset.group import Group
from .copyset.manager import CopysetManager
from .metastore import reads
from .metastore.applied import Applied
from .metrics import Metrics
from .session_outbox import SessionOutbox
from .transactions.coordinator import check_request

_log = structlog.get_logger()

PROTOCOL_VERSION = 1
BATCH_OPERATIONS_MAX = 256
UNCONFIRMED_READS_MAX = 10_000
TRANSACTIONS_MAX = 256
LANES_MAX = 4096  # being opened at a time; a metaserver has some hundreds of groups
_LANE_DEADLINE_S = 2.0
_HELLO_SIZE_MAX = 64 << 10
_REFUSED_MAX = 8  # of who was never admitted
_FRAMES_PER_STEP = 16
# Reads that look at many keys: the event loop takes a breath after each.
_HEAVY = frozenset({"read_dir", "get_slices", "stat_fs", "list_xattr"})
_READS_PER_STEP = 64


class SessionStream:
    """See the module. secret: verifies tokens; empty while the MDS has not told it. mds_time_ns: they are timed by."""

    def __init__(
        self,
        copysets: CopysetManager,
        frames: ServerFrames,
        *,
        secret: Callable[[], bytes],
        mds_time_ns: Callable[[], int],
        metrics: Metrics,
        transact: Callable[[pb.TransactionRequest], Awaitable[pb.OperationResult]],
    ) -> None:
        self._copysets = copysets
        self._frames = frames
        self._transact_with = transact
        self._transacting: set[asyncio.Task[None]] = set()
        self._secret = secret
        self._mds_time_ns = mds_time_ns
        self._metrics = metrics
        self._fs_id = 0
        self._session_id = b""
        self._read_only = False
        self._in_flight = 0
        self._greeting: set[asyncio.Task[None]] = set()  # one for each lane that is being opened
        self._outbox = SessionOutbox()
        self._unconfirmed = 0  # reads, until they are answered
        self._confirmed: asyncio.Queue[tuple[Group, int, Sequence[pb.Read]]] = asyncio.Queue()
        self._refused = 0
        self._settled = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until the client is gone, or stop(). What is not answered then is given up."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                writer = tasks.create_task(self._write_loop(), name="stream writer")
                answering = tasks.create_task(self._answer_loop(), name="stream answers")
                self._reader = tasks.create_task(self._read_loop(), name="stream reader")
                await asyncio.wait([self._reader])
                while self._is_unsettled:
                    self._settled.clear()
                    await self._settled.wait()
                answering.cancel()
                writer.cancel()
        except* ConnectionError:
            pass
        except* CorruptData as refused:
            raise refused.exceptions[0] from None

    @property
    def is_admitted(self) -> bool:
        """True once a session was presented whose token is right."""
        return bool(self._session_id)

    @property
    def _is_unsettled(self) -> bool:
        return bool(self._in_flight or self._unconfirmed or self._transacting or self._greeting or len(self._outbox))

    def stop(self) -> None:
        """Take no more frames; answer what is under way and end."""
        if self._reader is not None:
            self._reader.cancel()

    # ------------------------------------------------------------------------------------------ reading

    async def _read_loop(self) -> None:
        for number in itertools.count(1):
            # What has arrived is read without a pause: a flood of small frames must not hold up everybody else.
            if not self.is_admitted or number % _FRAMES_PER_STEP == 0:
                await asyncio.sleep(0)
            frame = await self._frames.read(lambda: FRAME_SIZE_MAX if self.is_admitted else _HELLO_SIZE_MAX)
            if frame.HasField("hello"):
                self._greet(frame.hello)
            for batch in frame.operations:
                await self._outbox.room()
                self._propose(batch)
            for request in frame.transactions:
                await self._outbox.room()
                self._transact(request)
            await self._answer_reads(frame.reads)
            await self._outbox.room()

    # ------------------------------------------------------------------------------------------ opening

    def _greet(self, hello: pb.Hello) -> None:
        """Answer a Hello, and have the session opened in its groups, beside everything else."""
        try:
            token = self._check_hello(hello)
            if len(self._greeting) + len(hello.groups) > LANES_MAX:
                raise Overloaded("too many groups are being opened", retry_after_ms=100)
        except CurveFSError as error:
            self._refused += 1
            if not self.is_admitted and self._refused > _REFUSED_MAX:
                raise CorruptData("session after session was refused") from None
            _log.warning("a session was refused", fs_id=hello.fs_id, reason=str(error))
            self._outbox.put_welcome(pb.Welcome(failure=failure_of(error)))
            return
        assert self._tasks is not None, "running"
        for group_id in dict.fromkeys(hello.groups):
            task = self._tasks.create_task(self._answer_lane(token, group_id), name="lane")
            self._greeting.add(task)
            task.add_done_callback(partial(self._ended, self._greeting))
        # The writer wakes after those tasks began: lanes that need not wait go in one frame with the Welcome.
        self._outbox.put_welcome(pb.Welcome())

    async def _answer_lane(self, token: SessionToken, group_id: int) -> None:
        self._outbox.put_lane(await self._open_lane(token, group_id))

    def _check_hello(self, hello: pb.Hello) -> SessionToken:
        """Return the token; the session is admitted unless that has expired. Raises CurveFSError."""
        if hello.protocol_version != PROTOCOL_VERSION:
            raise VersionUnsupported(
                f"the client speaks version {hello.protocol_version}, this metaserver {PROTOCOL_VERSION}"
            )
        secret = self._secret()
        if not secret:
            raise Unavailable("this metaserver has not registered with the MDS yet")
        token = verify(secret, hello.token)
        if (token.fs_id, token.session_id) != (hello.fs_id, hello.session_id) or len(
            hello.session_id
        ) != SESSION_ID_SIZE:
            raise TokenRefused("the session token is for another session or filesystem")
        if not self._has_expired(token):
            self._admit(token)
        return token

    def _admit(self, token: SessionToken) -> None:
        self._fs_id, self._session_id, self._read_only = token.fs_id, token.session_id, token.read_only

    def _has_expired(self, token: SessionToken) -> bool:
        return token.expires_ns <= self._mds_time_ns()

    async def _open_lane(self, token: SessionToken, group_id: int) -> pb.Lane:
        """Open the session in a group, unless it is open there; say where its lane stands.

        An expired token opens nothing. But what is open in a group stays so until the group hears of its end: so an MDS
        that is away, and cannot renew tokens, stalls nobody.
        """
        try:
            group = self._copysets.get(group_id)
            record = await _session(group, token.session_id)
            if record is None and self._has_expired(token):
                raise TokenRefused("the session token has expired")
            if record is None or record.ended_ns:  # the entry of an ended one is refused
                command = state_pb2.OpenSessionCommand(
                    fs_id=token.fs_id, session_id=token.session_id, identity=token.identity
                )
                check(await awaiting.run(group, state_pb2.Entry(format=1, open_session=command), _LANE_DEADLINE_S))
                record = await _session(group, token.session_id)
            if record is None or record.fs_id != token.fs_id:
                raise TokenRefused("the session belongs to another filesystem")
            self._admit(token)
            return pb.Lane(group_id=group_id, expected_sequence=record.expected_sequence)
        except CurveFSError as error:
            return pb.Lane(group_id=group_id, failure=failure_of(error))

    # ------------------------------------------------------------------------- operations across partitions

    def _transact(self, request: pb.TransactionRequest) -> None:
        """Have an operation across partitions carried out, beside everything else."""
        try:
            self._check_session(request.fs_id, request.session_id)
            check_request(request)
            if len(self._transacting) >= TRANSACTIONS_MAX:
                raise Overloaded("too many operations across partitions at once", retry_after_ms=100)
        except CurveFSError as error:
            self._push_transaction(request, failure_of(error))
            return
        assert self._tasks is not None, "running"
        task = self._tasks.create_task(self._carry_out(request), name="transaction")
        self._transacting.add(task)
        task.add_done_callback(partial(self._ended, self._transacting))

    def _ended(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        self._settled.set()

    async def _carry_out(self, request: pb.TransactionRequest) -> None:
        try:
            result = await self._transact_with(request)
        except CurveFSError as error:
            self._push_transaction(request, failure_of(error))
        else:
            self._outbox.put_transaction(
                pb.TransactionReply(group_id=request.group_id, number=request.number, result=result)
            )

    def _push_transaction(self, request: pb.TransactionRequest, failure: common_pb2.Failure) -> None:
        self._outbox.put_transaction(
            pb.TransactionReply(group_id=request.group_id, number=request.number, failure=failure)
        )

    def _check_session(self, fs_id: int, session_id: bytes) -> None:
        if not self._session_id or (fs_id, session_id) != (self._fs_id, self._session_id):
            raise SessionUnknown("the stream was opened for another session")
        if self._read_only:
            raise ReadOnly("the session is read-only")

    # --------------------------------------------------------------------------------------- operations

    def _propose(self, batch: pb.OperationBatch) -> None:
        group_id, first = batch.group_id, batch.first_sequence

        def complete(outcome: Applied | CurveFSError) -> None:
            self._in_flight -= 1
            if isinstance(outcome, CurveFSError):
                self._refuse(group_id, first, outcome)
            elif outcome.results is not None:
                self._outbox.put_results(outcome.results)
            else:
                self._outbox.put_results(
                    pb.OperationResults(group_id=group_id, first_sequence=first, failure=outcome.failure)
                )

        try:
            self._check_batch(batch)
            self._copysets.get(group_id).propose_batch(batch, complete)
        except CurveFSError as error:
            self._refuse(group_id, first, error)
        else:
            self._in_flight += 1

    def _check_batch(self, batch: pb.OperationBatch) -> None:
        self._check_session(batch.fs_id, batch.session_id)
        if not 0 < len(batch.operations) <= BATCH_OPERATIONS_MAX:
            raise InvalidArgument(f"a batch has 1 to {BATCH_OPERATIONS_MAX} operations")

    def _refuse(self, group_id: int, first_sequence: int, error: CurveFSError) -> None:
        self._metrics.refused.inc()
        self._outbox.put_results(
            pb.OperationResults(
                group_id=group_id, failure=failure_of(error), first_sequence=first_sequence, not_appended=True
            )
        )

    # -------------------------------------------------------------------------------------------- reads

    async def _answer_reads(self, batches: Iterable[pb.ReadBatch]) -> None:
        spent = 0
        for batch, requests in _steps(batches):
            if spent >= _READS_PER_STEP:
                spent = 0
                await asyncio.sleep(0)
            await self._outbox.room()
            self._answer_step(batch, requests)
            spent += _READS_PER_STEP if _is_heavy(requests[-1]) else len(requests)

    def _answer_step(self, batch: pb.ReadBatch, requests: Sequence[pb.Read]) -> None:
        """Answer reads from one view."""
        try:
            if not self._session_id or batch.fs_id != self._fs_id:
                raise SessionUnknown("the stream was opened for another filesystem")
            group = self._copysets.get(batch.group_id)
            results = _look(group, batch.fs_id, requests) if group.is_leader else []
            # Asked after the state was read: a process that stood still must not answer from the past (rule 20).
            if results and group.may_answer():
                self._push_reads(results)
            else:
                self._confirm(group, batch.fs_id, requests)
        except CurveFSError as error:
            self._refuse_reads(requests, error)

    def _confirm(self, group: Group, fs_id: int, requests: Sequence[pb.Read]) -> None:
        """Have reads answered once it is sure that this server leads still."""

        def confirmed(error: CurveFSError | None) -> None:
            if error is None:
                self._confirmed.put_nowait((group, fs_id, requests))
            else:
                self._unconfirmed -= len(requests)
                self._refuse_reads(requests, error)

        if self._unconfirmed + len(requests) > UNCONFIRMED_READS_MAX:
            raise Overloaded("too many reads wait for a majority", retry_after_ms=100)
        group.confirm_read(confirmed)
        self._unconfirmed += len(requests)
        group.act()

    async def _answer_loop(self) -> None:
        """Answer reads that are confirmed. Any later view does, also when this server leads no more."""
        while True:
            group, fs_id, requests = await self._confirmed.get()
            await self._outbox.room()
            self._unconfirmed -= len(requests)
            try:
                if self._copysets.get(group.group_id) is not group:  # it may be closed
                    raise WrongPartition("the replica was made anew meanwhile")
                self._push_reads(_look(group, fs_id, requests))
            except CurveFSError as error:
                self._refuse_reads(requests, error)
            await asyncio.sleep(0)

    def _refuse_reads(self, requests: Sequence[pb.Read], error: CurveFSError) -> None:
        failure = failure_of(error)
        self._push_reads([pb.ReadResult(read_id=request.read_id, failure=failure) for request in requests])

    def _push_reads(self, results: Sequence[pb.ReadResult]) -> None:
        self._metrics.reads.inc(len(results))
        for result in results:
            self._outbox.put_read(result)

    # ------------------------------------------------------------------------------------------ writing

    async def _write_loop(self) -> None:
        while True:
            await self._outbox.something()
            while len(self._outbox):
                await self._frames.write(self._outbox.take_frame())
            self._settled.set()


def _steps(batches: Iterable[pb.ReadBatch]) -> Iterator[tuple[pb.ReadBatch, list[pb.Read]]]:
    """Cut reads into what is answered from one view: up to one that is heavy, or many."""
    for batch in batches:
        step: list[pb.Read] = []
        for request in batch.reads:
            step.append(request)
            if len(step) == _READS_PER_STEP or _is_heavy(request):
                yield batch, step
                step = []
        if step:
            yield batch, step


def _is_heavy(request: pb.Read) -> bool:
    return request.WhichOneof("read") in _HEAVY


def _look(group: Group, fs_id: int, requests: Iterable[pb.Read]) -> list[pb.ReadResult]:
    with group.view() as view:
        return [reads.read(view, fs_id, request) for request in requests]


async def _session(group: Group, session_id: bytes) -> state_pb2.SessionRecord | None:
    return await awaiting.read(group, lambda view: reads.session(view, session_id), _LANE_DEADLINE_S)
