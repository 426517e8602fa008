"""What both shells of unary calls share: reading a reply, and channel options."""

from typing import Any

import grpc

from ..common.errors import CurveFSError, Unavailable
from ..common.status import error_of

MESSAGE_SIZE_MAX = 64 << 20

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
    ("grpc.enable_http_proxy", 0),
    # Reconnect quickly: a restarted server is back within seconds, and our own retry policy paces the calls.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name, how long one attempt to connect may take. Too short a time keeps an overloaded machine, or one
    # far away, from ever connecting, and the attempts load it further.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A channel of one's own for each address: no subchannel whose back-off another one caused.
    ("grpc.use_local_subchannel_pool", 1),
]

# A call that takes minutes must not wait for a machine that went without a word. Nothing is sent between calls.
UNARY_OPTIONS: list[tuple[str, Any]] = [
    *CHANNEL_OPTIONS,
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it the one above is not heeded
    ("grpc.http2.max_pings_without_data", 0),
]

SERVER_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
    # Without this two servers could share a port and each get half of the connections.
    ("grpc.so_reuseport", 0),
    # Else whoever waits for long, and asks whether we are there (UNARY_OPTIONS), is cut off.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


def failure_in(reply: Any) -> CurveFSError | None:
    """Return the error a reply carries, or None."""
    return error_of(reply.failure) if reply.HasField("failure") and reply.failure.code else None


def unreachable(address: str, error: grpc.RpcError) -> Unavailable:
    """Return the error for a call that failed below the application."""
    code = error.code() if isinstance(error, grpc.Call) else None
    return Unavailable(f"{address} does not answer ({code.name if code else 'no status'})")
