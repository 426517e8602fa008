"""A gRPC server on asyncio."""

import asyncio
import socket
from collections.abc import Callable, Sequence

import grpc.aio

from ..common.addresses import parse_address
from ..common.errors import StartupError
from ..common.exits import ExitCode
from .replies import SERVER_OPTIONS

AddServicer = Callable[[grpc.aio.Server], None]


class AsyncServer:
    """A listening server. ``address`` is HOST:PORT with the real port, also when port 0 was asked for."""

    def __init__(self, server: grpc.aio.Server, address: str) -> None:
        self._server = server
        self.address = address

    async def stop(self, grace_s: float = 1.0) -> None:
        """Take no new calls, give those under way ``grace_s`` seconds, then cut them."""
        await self._server.stop(grace_s)


async def start_server(address: str, services: Sequence[AddServicer]) -> AsyncServer:
    """Listen on HOST:PORT (0: any free port) and serve.

    services: functions that add a servicer, e.g. ``partial(add_MdsServiceServicer_to_server, servicer)``.
    Raises StartupError when the port is taken, or the host's name does not resolve (USAGE).
    """
    host, wanted = parse_address(address)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    for add in services:
        add(server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:  # it says no more than that
        port = 0
    if port == 0:
        try:
            await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), wanted)
        except socket.gaierror as error:
            reason = f"cannot listen on {address}: {host} does not resolve: {error.strerror}"
            raise StartupError(reason, ExitCode.USAGE) from error
        raise StartupError(f"cannot listen on {address}: the port is taken or not ours", ExitCode.ADDRESS_IN_USE)
    await server.start()
    return AsyncServer(server, f"{host}:{port}")
