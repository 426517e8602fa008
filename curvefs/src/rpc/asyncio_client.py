"""Unary calls from asyncio: metaserver to MDS and MDS to metaservers.

Shared across awaits: the failover state and the channel table; both are only touched between awaits.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from ..common.errors import CurveFSError, Overloaded, Redirect, Unavailable, Unreachable
from .failover import Failover
from .replies import UNARY_OPTIONS, failure_in, unreachable

_PAUSE_S = 0.1
_TRY_S_MAX = 5.0


class AsyncClient:
    """Calls one of several servers of which one leads, following redirects; use within one event loop."""

    def __init__(self, addresses: Sequence[str], *, deadline_s: float = 10.0) -> None:
        self._failover = Failover(addresses)
        self._deadline_s = deadline_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def call(
        self,
        stub: type[Any],
        method: str,
        request: Any,
        *,
        deadline_s: float | None = None,
        try_s: float | None = None,
        elsewhere: tuple[type[CurveFSError], ...] = (),
    ) -> Any:
        """Call ``method`` of a generated stub class and return its reply.

        try_s: how long the answer may take, for what takes long; the deadline is then for finding who answers. Without,
        a silent address costs a few seconds when there are others.

        elsewhere: errors that another address may not answer with, or not later; the next one is tried. Unavailable is
        tried so until the deadline, any other until all addresses have answered with it.

        Every method called this way may be sent again after an unknown outcome. Raises Unreachable when nobody
        answered before the deadline, else the error the reply carries.
        """
        begin = time.monotonic()
        end = begin + (self._deadline_s if deadline_s is None else deadline_s)
        last: Exception = Unreachable()
        refusing: set[str] = set()
        while (left := end - time.monotonic()) > 0:
            address = self._failover.current()
            patience = try_s or (left if len(self._failover.addresses) == 1 else min(left, _TRY_S_MAX))
            try:
                reply = await getattr(stub(self._channel(address)), method)(request, timeout=patience)
            except grpc.RpcError as error:
                last = unreachable(address, error)
                self._failover.failed(address)
            else:
                failure = failure_in(reply)
                if failure is None:
                    return reply
                last = failure
                match failure:
                    case Redirect():
                        self._failover.redirected(address, failure.leader)
                    case Overloaded():
                        pass
                    case _ if isinstance(failure, elsewhere):
                        self._failover.failed(address)
                        refusing.update(() if isinstance(failure, Unavailable) else (address,))
                        if refusing.issuperset(self._failover.addresses):
                            raise failure
                    case _:
                        raise failure
            await asyncio.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))
        raise Unreachable(
            f"no answer from {', '.join(self._failover.addresses)} within {time.monotonic() - begin:.0f} s: {last}"
        ) from last

    async def close(self) -> None:
        """Close all channels."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=UNARY_OPTIONS)
        return self._channels[address]
