"""The key-value store of several MDS: storage/protocol.py over etcd, whose v3 semantics the protocol is a part of.

Everything lies below a prefix, which callers never see, so that one etcd may serve others as well. The client of etcd
is rpc/etcd.py; here values become messages and back. A watch whose stream breaks goes on at another member from the
revision after the last one it saw.

etcd keeps the history of changes until it is told to compact it: who writes through this store does that now and then,
unless told to leave it to etcd (--auto-compaction-*). Compacting concerns the whole etcd, not just the prefix.

Shared across awaits: how many changes were made since the last compaction.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog

from ....proto import etcd_pb2 as pb
from ....proto.etcd_pb2_grpc import KVStub, LeaseStub, WatchStub
from ...common.errors import CurveFSError, IOFailure, NotFound, StartupError
from ...common.exits import ExitCode
from ...rpc.etcd import EtcdClient, EtcdSettings
from .protocol import (
    PAGE_SIZE_MAX,
    Compare,
    Delete,
    Deleted,
    Event,
    EventKind,
    Get,
    HistoryCompacted,
    KeyValue,
    LeaseStatus,
    Operation,
    Page,
    Put,
    PutDone,
    Relation,
    Response,
    Target,
    TxnResult,
    check_operations,
)

_log = structlog.get_logger()
_WATCH_PAUSE_S = 0.05
_COMPACTIONS_PER_HISTORY = 16
_TARGETS = {
    Target.VERSION: ("version", pb.Compare.VERSION),
    Target.CREATE_REVISION: ("create_revision", pb.Compare.CREATE),
    Target.MOD_REVISION: ("mod_revision", pb.Compare.MOD),
    Target.VALUE: ("value", pb.Compare.VALUE),
}
_RELATIONS = {
    Relation.EQUAL: pb.Compare.EQUAL,
    Relation.GREATER: pb.Compare.GREATER,
    Relation.LESS: pb.Compare.LESS,
    Relation.NOT_EQUAL: pb.Compare.NOT_EQUAL,
}


class EtcdStore:
    """A KeyValueStore below a prefix of an etcd. history_limit: changes kept for watches; 0: etcd decides."""

    def __init__(self, client: EtcdClient, prefix: bytes, *, history_limit: int = 10_000) -> None:
        assert prefix, "a prefix of at least one byte"
        self._client = client
        self._prefix = prefix
        self._history_limit = history_limit
        self._compact_after = max(1, history_limit // _COMPACTIONS_PER_HISTORY)
        self._changes = 0

    @classmethod
    async def open(cls, settings: EtcdSettings, prefix: bytes, *, history_limit: int = 10_000) -> "EtcdStore":
        """Find etcd and be let in. Raises StartupError: USAGE (files), UNREACHABLE, REFUSED."""
        client = EtcdClient(settings)
        try:
            await client.check()
            store = cls(client, prefix, history_limit=history_limit)
            try:
                await store.range(b"", b"\xff", limit=1)
            except IOFailure as error:
                raise StartupError(
                    f"the keys below {prefix.decode()} may not be used: {error}", ExitCode.REFUSED
                ) from error
            except CurveFSError as error:
                raise StartupError(f"etcd cannot be used: {error}", ExitCode.UNREACHABLE) from error
        except BaseException:
            await client.close()
            raise
        return store

    # ------------------------------------------------------------------------------------------- calls

    async def get(self, key: bytes) -> KeyValue | None:
        """See the protocol."""
        reply = await self._client.call(KVStub, "Range", pb.RangeRequest(key=self._prefix + key), repeatable=True)
        return self._item(reply.kvs[0]) if reply.kvs else None

    async def range(self, start: bytes, end: bytes, *, limit: int = PAGE_SIZE_MAX) -> Page:
        """See the protocol."""
        reply = await self._client.call(KVStub, "Range", self._range(start, end, limit), repeatable=True)
        return self._page(reply, reply.header.revision)

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        """See the protocol."""
        check_operations(then)
        check_operations(otherwise)
        request = pb.TxnRequest(
            compare=[self._compare(compare) for compare in compares],
            success=[self._operation(operation) for operation in then],
            failure=[self._operation(operation) for operation in otherwise],
        )
        only_reads = all(isinstance(operation, Get) for operation in (*then, *otherwise))
        reply = await self._client.call(KVStub, "Txn", request, repeatable=only_reads)
        revision = reply.header.revision
        if not only_reads:
            await self._bound_history(revision)
        return TxnResult(reply.succeeded, tuple(self._response(one, revision) for one in reply.responses), revision)

    async def lease_grant(self, ttl_s: int) -> int:
        """See the protocol. One that was granted without an answer ends by itself."""
        assert ttl_s > 0, ttl_s
        reply = await self._client.call(LeaseStub, "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_s), repeatable=True)
        return int(reply.ID)

    async def lease_keep_alive(self, lease: int) -> int:
        """See the protocol."""
        reply = await self._client.ask_stream(LeaseStub, "LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=lease))
        if reply.TTL <= 0:
            raise NotFound(f"no lease {lease}")
        return int(reply.TTL)

    async def lease_revoke(self, lease: int) -> None:
        """See the protocol."""
        await self._client.call(LeaseStub, "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), repeatable=False)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """See the protocol."""
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=True)
        reply = await self._client.call(LeaseStub, "LeaseTimeToLive", request, repeatable=True)
        if reply.TTL < 0:
            raise NotFound(f"no lease {lease}")
        keys = sorted(key.removeprefix(self._prefix) for key in reply.keys)
        return LeaseStatus(float(reply.TTL), int(reply.grantedTTL), tuple(keys))

    async def watch(self, start: bytes, end: bytes, *, from_revision: int) -> AsyncIterator[Event]:
        """See the protocol. Raises Unavailable when no member has answered for the deadline of a call."""
        refusals = 0
        while not self._client.closed:
            create = pb.WatchCreateRequest(
                key=self._prefix + start, range_end=self._prefix + end, start_revision=from_revision
            )
            request = pb.WatchRequest(create_request=create)
            async with contextlib.aclosing(self._client.follow(WatchStub, "Watch", request)) as replies:  # type: ignore[type-var] # follow() is an async generator
                async for reply in replies:
                    if reply.created and reply.header.revision + 1 < from_revision:
                        # A member that is behind, or a store that was replaced by an older copy.
                        raise HistoryCompacted(f"the store is at revision {reply.header.revision}")
                    if reply.compact_revision:
                        raise HistoryCompacted(f"changes from revision {from_revision} on are no longer known")
                    if reply.canceled:
                        # Of a watch, etcd checks the token here and not as it does for calls.
                        self._client.forget_token()
                        refusals += 1
                        if refusals > 1:
                            raise IOFailure(f"etcd refuses to watch: {reply.cancel_reason}")
                        break
                    for event in reply.events:
                        # A reply holds whole revisions.
                        from_revision, refusals = event.kv.mod_revision + 1, 0
                        yield self._event(event)
            await asyncio.sleep(_WATCH_PAUSE_S)

    async def close(self) -> None:
        """See the protocol."""
        await self._client.close()

    # ---------------------------------------------------------------------------------------- messages

    def _range(self, start: bytes, end: bytes, limit: int) -> pb.RangeRequest:
        return pb.RangeRequest(
            key=self._prefix + start, range_end=self._prefix + end, limit=max(1, min(limit, PAGE_SIZE_MAX))
        )

    def _compare(self, compare: Compare) -> pb.Compare:
        field, target = _TARGETS[compare.target]
        operand: Any = compare.operand
        result = _RELATIONS[compare.relation]
        return pb.Compare(key=self._prefix + compare.key, target=target, result=result, **{field: operand})

    def _operation(self, operation: Operation) -> pb.RequestOp:
        match operation:
            case Put(key, value, lease):
                return pb.RequestOp(request_put=pb.PutRequest(key=self._prefix + key, value=value, lease=lease))
            case Delete(key, end):
                return pb.RequestOp(
                    request_delete_range=pb.DeleteRangeRequest(key=self._prefix + key, range_end=self._end(end))
                )
            case Get(key, end, limit):
                one = pb.RangeRequest(key=self._prefix + key)
                return pb.RequestOp(request_range=one if end is None else self._range(key, end, limit))

    def _response(self, response: pb.ResponseOp, revision: int) -> Response:
        match response.WhichOneof("response"):
            case "response_put":
                return PutDone()
            case "response_delete_range":
                return Deleted(int(response.response_delete_range.deleted))
            case _:
                return self._page(response.response_range, revision)

    def _page(self, reply: pb.RangeResponse, revision: int) -> Page:
        return Page(tuple(self._item(one) for one in reply.kvs), more=reply.more, revision=int(revision))

    def _item(self, item: pb.KeyValue) -> KeyValue:
        assert item.key.startswith(self._prefix), item.key
        key = item.key[len(self._prefix) :]
        return KeyValue(key, item.value, item.create_revision, item.mod_revision, item.version, item.lease)

    def _event(self, event: pb.Event) -> Event:
        return Event(EventKind.DELETE if event.type == pb.Event.DELETE else EventKind.PUT, self._item(event.kv))

    def _end(self, end: bytes | None) -> bytes:
        return b"" if end is None else self._prefix + end

    # ----------------------------------------------------------------------------------------- history

    async def _bound_history(self, revision: int) -> None:
        """Have etcd forget what is older than the limit, once in so many changes; that it fails harms nothing."""
        self._changes += 1
        if not self._history_limit or self._changes < self._compact_after or revision <= self._history_limit:
            return
        self._changes = 0
        request = pb.CompactionRequest(revision=revision - self._history_limit)
        try:
            await self._client.call(KVStub, "Compact", request, repeatable=True)
        except CurveFSError as error:
            _log.debug("etcd's history was not compacted", reason=str(error))
