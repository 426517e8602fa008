"""Unary calls from plain threads: for commands, and for the client's rare calls to the MDS."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc

from ..common.errors import Overloaded, Redirect, Unreachable
from .failover import Failover
from .replies import UNARY_OPTIONS, failure_in, unreachable

_PAUSE_S = 0.1
_TRY_S_MAX = 5.0


class BlockingClient:
    """Calls one of several servers of which one leads, following redirects. Thread-safe."""

    def __init__(self, addresses: Sequence[str], *, deadline_s: float = 10.0) -> None:
        self._failover = Failover(addresses)
        self._deadline_s = deadline_s
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()

    @property
    def addresses(self) -> list[str]:
        """Return the addresses this client was given."""
        return self._failover.addresses

    def call(
        self,
        stub: type[Any],
        method: str,
        request: Any,
        *,
        deadline_s: float | None = None,
        try_s: float | None = None,
    ) -> Any:
        """Call ``method`` of a generated stub class and return its reply.

        try_s: how long the answer may take, for what takes long; the deadline is then for finding who answers. Without,
        a silent address costs a few seconds when there are others.

        Every method called this way may be sent again after an unknown outcome. Raises Unreachable when nobody
        answered before the deadline, else the error the reply carries.
        """
        begin = time.monotonic()
        end = begin + (self._deadline_s if deadline_s is None else deadline_s)
        last: Exception = Unreachable()
        while (left := end - time.monotonic()) > 0:
            with self._lock:
                address = self._failover.current()
                channel = self._channel(address)
            # With a single address there is nobody else to ask: give it all the time there is. One that cannot be
            # connected to fails sooner (UNARY_OPTIONS).
            patience = try_s or (left if len(self._failover.addresses) == 1 else min(left, _TRY_S_MAX))
            try:
                reply = getattr(stub(channel), method)(request, timeout=patience)
            except grpc.RpcError as error:
                last = unreachable(address, error)
                with self._lock:
                    self._failover.failed(address)
            else:
                failure = failure_in(reply)
                if failure is None:
                    return reply
                if not isinstance(failure, Redirect | Overloaded):
                    raise failure
                last = failure
                if isinstance(failure, Redirect):
                    with self._lock:
                        self._failover.redirected(address, failure.leader)
            time.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))
        raise Unreachable(
            f"no answer from {', '.join(self._failover.addresses)} within {time.monotonic() - begin:.0f} s: {last}"
        ) from last

    def close(self) -> None:
        """Close all channels."""
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def _channel(self, address: str) -> grpc.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.insecure_channel(address, options=UNARY_OPTIONS)
        return self._channels[address]
