"""The client of etcd: several members of one cluster, TLS, a user and a password, a deadline on every call.

A call goes to the member that answered last. Before it does, the member must be connected, belong to the same cluster
as before, and know our token; whatever fails up to there is surely not done, so the next member is asked, until the
deadline. What fails later is asked again elsewhere only if it may be done twice.

Errors, translated here and nowhere else:
    NoSpace      etcd's quota is used up: not done
    NotFound     no such lease: not done
    IOFailure    etcd refuses it, or refuses us: not done
    Unavailable  no answer, or none from a majority: perhaps done

Shared across awaits: the channels, which of them are known to lead to our cluster, the token (replaced as a whole), the
streams that are open (ended by close()).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio

from ...proto import etcd_pb2 as pb
from ...proto import etcd_pb2_grpc
from ..common.errors import (
    CurveFSError,
    IOFailure,
    NoSpace,
    NotFound,
    PermissionDenied,
    StartupError,
    Unavailable,
)
from ..common.exits import ExitCode
from .etcd_tls import Tls
from .failover import Failover
from .replies import CHANNEL_OPTIONS

_PAUSE_S = 0.05
_TRY_S_MAX = 2.0
_START_PAUSE_S = 0.25
# A member without a leader says so at once, and ends its streams, instead of letting us wait.
_NEEDS_LEADER = ("hasleader", "true")
# A watch over a connection that died without a word must not wait for ever. etcd allows a ping every five seconds.
_OPTIONS: list[tuple[str, Any]] = [
    *CHANNEL_OPTIONS,
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),  # without it the one above is not heeded
    ("grpc.http2.max_pings_without_data", 0),
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """Where etcd is and who we are. endpoints: HOST:PORT each. password_file: its first line is the password."""

    endpoints: tuple[str, ...]
    tls: Tls | None = None
    user: str = ""
    password_file: Path | None = None
    deadline_s: float = 5.0
    start_deadline_s: float = 10.0


class _Then(Enum):
    """What to do after a call that failed."""

    RAISE = 0  # this is the answer; nothing was done
    AUTHENTICATE = 1  # nothing was done: again with a new token
    ELSEWHERE = 2  # nothing was done: another member, or later
    UNKNOWN = 3  # perhaps it was done


class EtcdClient:
    """See the module. Use within one event loop. Raises StartupError (USAGE) for files that cannot be used."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._failover = Failover(settings.endpoints)
        self._credentials = settings.tls.credentials() if settings.tls else None
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._known: set[str] = set()
        self._cluster_id = 0
        self._token = ""
        self._authenticating = asyncio.Lock()
        self._streams: set[Any] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Return whether close() was called."""
        return self._closed

    # ------------------------------------------------------------------------------------------- calls

    async def check(self) -> None:
        """Find etcd and be let in.

        Raises StartupError: UNREACHABLE when nobody answers in time, REFUSED when etcd does not let us in, or the
        endpoints belong to several etcd clusters.
        """
        endpoints, tls = self._settings.endpoints, self._settings.tls
        if tls is not None:
            await asyncio.gather(*(asyncio.to_thread(tls.shake_hands, one, _TRY_S_MAX) for one in endpoints))
        end = time.monotonic() + self._settings.start_deadline_s
        while True:
            answers = await asyncio.gather(
                *(self._status(one, _TRY_S_MAX) for one in endpoints), return_exceptions=True
            )
            found = [one.header.cluster_id for one in answers if isinstance(one, pb.StatusResponse)]
            if found:
                break
            if time.monotonic() > end:
                reason = _reason(answers[0]) if isinstance(answers[0], grpc.RpcError) else repr(answers[0])
                raise StartupError(f"etcd does not answer at {self._told()}: {reason}", ExitCode.UNREACHABLE)
            await asyncio.sleep(_START_PAUSE_S)
        if len(set(found)) > 1:
            raise StartupError(f"the members at {self._told()} belong to several etcd clusters", ExitCode.REFUSED)
        try:
            await self._persist(self._nothing, repeatable=True)
        except PermissionDenied as error:
            raise StartupError(str(error), ExitCode.REFUSED) from error
        except CurveFSError as error:
            raise StartupError(f"etcd cannot be used: {error}", ExitCode.UNREACHABLE) from error

    async def call(self, stub: type[Any], method: str, request: Any, *, repeatable: bool) -> Any:
        """Call ``method`` of a generated stub class. repeatable: it may be done twice. Errors: see the module."""

        async def attempt(channel: grpc.aio.Channel, patience_s: float) -> Any:
            return await getattr(stub(channel), method)(request, timeout=patience_s, metadata=self._metadata())

        return await self._refusals_told(attempt, repeatable=repeatable)

    async def ask_stream(self, stub: type[Any], method: str, request: Any) -> Any:
        """Send one request on a stream and return the first answer; may be done twice. Errors: see the module."""

        async def attempt(channel: grpc.aio.Channel, patience_s: float) -> Any:
            stream = getattr(stub(channel), method)(iter((request,)), timeout=patience_s, metadata=self._metadata())
            try:
                return _said(await stream.read())
            finally:
                stream.cancel()

        return await self._refusals_told(attempt, repeatable=True)

    async def follow(self, stub: type[Any], method: str, request: Any) -> AsyncIterator[Any]:
        """Send one request on a stream and yield the answers, until the stream breaks or the client is closed.

        Raises Unavailable when there is no first answer before the deadline.
        """

        async def attempt(channel: grpc.aio.Channel, patience_s: float) -> tuple[Any, Any]:
            stream = getattr(stub(channel), method)(metadata=self._metadata())
            self._streams.add(stream)
            try:
                async with asyncio.timeout(patience_s):
                    await stream.write(request)
                    return stream, _said(await stream.read())
            except BaseException:
                self._end(stream)
                raise

        endpoint = self._failover.current()
        try:
            stream, reply = await self._refusals_told(attempt, repeatable=True)
            endpoint = self._failover.current()
            try:
                while reply is not grpc.aio.EOF:
                    yield reply
                    reply = await stream.read()
            finally:
                self._end(stream)
        except grpc.RpcError:
            self._failover.failed(endpoint)
        except Unavailable:
            if not self._closed:
                raise
        except asyncio.CancelledError:
            # close() cancels the stream, which looks like this; a task that is cancelled itself must not go on.
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise

    def forget_token(self) -> None:
        """Get a new token before the next call: the one there is was refused."""
        self._token = ""

    async def close(self) -> None:
        """Close all connections; what follow() yields ends."""
        self._closed = True
        for stream in list(self._streams):
            self._end(stream)
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    # --------------------------------------------------------------------------------------- attempts

    async def _refusals_told(
        self, attempt: Callable[[grpc.aio.Channel, float], Awaitable[T]], *, repeatable: bool
    ) -> T:
        try:
            return await self._persist(attempt, repeatable=repeatable)
        except PermissionDenied as error:
            # It is the MDS that has no right here, not whoever asks the MDS.
            raise IOFailure(str(error)) from error

    async def _persist(self, attempt: Callable[[grpc.aio.Channel, float], Awaitable[T]], *, repeatable: bool) -> T:
        deadline_s = self._settings.deadline_s
        end = time.monotonic() + deadline_s
        last: CurveFSError = Unavailable("it was not asked")
        while (left_s := end - time.monotonic()) > 0 and not self._closed:
            endpoint = self._failover.current()
            alone = len(self._settings.endpoints) == 1
            sent = False
            try:
                await self._prepare(endpoint, left_s if alone else min(left_s, _TRY_S_MAX))
                sent, left_s = True, max(0.001, end - time.monotonic())
                patience_s = min(left_s, _TRY_S_MAX) if repeatable and not alone else left_s
                return await attempt(self._channel(endpoint), patience_s)
            except (grpc.RpcError, TimeoutError) as error:
                then, last = _judged(endpoint, error)
                if then is _Then.RAISE:
                    raise last from error
                if then is _Then.UNKNOWN and sent and not repeatable:
                    raise Unavailable(f"the outcome is unknown: {last}") from error
                if then is _Then.AUTHENTICATE:
                    if not self._settings.user:
                        raise last from error
                    self._token = ""
                else:
                    self._failover.failed(endpoint)
            await asyncio.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))
        raise Unavailable(f"no answer from etcd at {self._told()} within {deadline_s:.0f} s: {last}")

    async def _prepare(self, endpoint: str, patience_s: float) -> None:
        """Have a connection to a member of our cluster, and a token."""
        state = self._channel(endpoint).get_state(try_to_connect=True)
        if endpoint not in self._known or state is not grpc.ChannelConnectivity.READY:
            self._known.discard(endpoint)
            found = (await self._status(endpoint, patience_s)).header.cluster_id
            self._cluster_id = self._cluster_id or found
            if found != self._cluster_id:
                raise _ForeignError
            self._known.add(endpoint)
        if self._settings.user and not self._token:
            async with self._authenticating:
                if not self._token:
                    self._token = await self._authenticate(endpoint, patience_s)

    async def _status(self, endpoint: str, patience_s: float) -> pb.StatusResponse:
        stub: Any = etcd_pb2_grpc.MaintenanceStub(self._channel(endpoint))  # type: ignore[no-untyped-call]
        status: pb.StatusResponse = await stub.Status(pb.StatusRequest(), timeout=patience_s)
        return status

    async def _authenticate(self, endpoint: str, patience_s: float) -> str:
        file = self._settings.password_file
        try:
            password = "" if file is None else (await asyncio.to_thread(file.read_text)).partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise PermissionDenied(f"the password for etcd cannot be read: {error}") from error
        stub: Any = etcd_pb2_grpc.AuthStub(self._channel(endpoint))  # type: ignore[no-untyped-call]
        request = pb.AuthenticateRequest(name=self._settings.user, password=password)
        return str((await stub.Authenticate(request, timeout=patience_s)).token)

    @staticmethod
    async def _nothing(_channel: grpc.aio.Channel, _patience_s: float) -> None:
        """Attempt nothing: what comes before an attempt is all that is wanted."""

    def _metadata(self) -> Sequence[tuple[str, str]]:
        return (_NEEDS_LEADER, ("token", self._token)) if self._token else (_NEEDS_LEADER,)

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        if endpoint not in self._channels:
            if self._credentials is None:
                made = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            else:
                made = grpc.aio.secure_channel(endpoint, self._credentials, options=_OPTIONS)
            self._channels[endpoint] = made
        return self._channels[endpoint]

    def _end(self, stream: Any) -> None:
        self._streams.discard(stream)
        stream.cancel()

    def _told(self) -> str:
        return ", ".join(self._settings.endpoints)


class _ForeignError(grpc.RpcError):
    """The member belongs to another etcd cluster than those asked before."""


def _said(reply: T) -> T:
    """Return an answer. Raises TimeoutError when the stream ended without one."""
    if reply is grpc.aio.EOF:
        raise TimeoutError("the stream ended without an answer")
    return reply


def _reason(error: BaseException) -> str:
    if isinstance(error, _ForeignError):
        return "it belongs to another etcd cluster"
    if not isinstance(error, grpc.aio.AioRpcError):
        return "no answer in time"
    details = error.details() or ""
    return f"{error.code().name.lower().replace('_', ' ')}: {details.removeprefix('etcdserver: ')}"


def _judged(endpoint: str, error: Exception) -> tuple[_Then, CurveFSError]:  # noqa: PLR0911 -- one answer a line
    """Return what to do about a failed call, and the error it stands for."""
    said = f"etcd at {endpoint}: {_reason(error)}"
    if isinstance(error, _ForeignError):
        return _Then.ELSEWHERE, Unavailable(said)
    code = error.code() if isinstance(error, grpc.aio.AioRpcError) else None
    details = (error.details() or "") if isinstance(error, grpc.aio.AioRpcError) else ""
    match code:
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "database space exceeded" in details:
            return _Then.RAISE, NoSpace(said)
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "too many requests" in details:
            return _Then.ELSEWHERE, Unavailable(said)
        case grpc.StatusCode.NOT_FOUND:
            return _Then.RAISE, NotFound(said)
        case grpc.StatusCode.PERMISSION_DENIED:
            return _Then.RAISE, PermissionDenied(said)
        case grpc.StatusCode.UNAUTHENTICATED:
            return _Then.AUTHENTICATE, PermissionDenied(said)
        case grpc.StatusCode.INVALID_ARGUMENT if "revision of auth store" in details or "user name is empty" in details:
            return _Then.AUTHENTICATE, PermissionDenied(said)
        case grpc.StatusCode.INVALID_ARGUMENT if "authentication failed" in details:
            return _Then.RAISE, PermissionDenied(said)
        case grpc.StatusCode.FAILED_PRECONDITION if "authentication is not enabled" in details:
            return _Then.RAISE, PermissionDenied(f"{said}, but a user is configured")
        case grpc.StatusCode.UNAVAILABLE if "no leader" in details:
            return _Then.ELSEWHERE, Unavailable(said)
        case (
            grpc.StatusCode.RESOURCE_EXHAUSTED
            | grpc.StatusCode.INVALID_ARGUMENT
            | grpc.StatusCode.FAILED_PRECONDITION
            | grpc.StatusCode.OUT_OF_RANGE
            | grpc.StatusCode.UNIMPLEMENTED
            | grpc.StatusCode.DATA_LOSS
        ):
            return _Then.RAISE, IOFailure(said)
        case _:
            return _Then.UNKNOWN, Unavailable(said)
