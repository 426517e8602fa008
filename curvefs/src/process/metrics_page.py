"""The metrics of a process over HTTP, on the address it is told, loopback by default."""

import socket

from prometheus_client import CollectorRegistry, start_http_server

from ..common.addresses import parse_address
from ..common.errors import StartupError
from ..common.exits import ExitCode


class MetricsPage:
    """The page, served from a thread. ``address`` is HOST:PORT with the real port."""

    def __init__(self, registry: CollectorRegistry, listen: str) -> None:
        """Begin to serve. Raises StartupError: ADDRESS_IN_USE, USAGE for a name that does not resolve."""
        host, port = parse_address(listen)
        try:
            self._server, self._thread = start_http_server(port, host.strip("[]"), registry)
        except socket.gaierror as error:
            reason = f"cannot listen on {listen} for metrics: {host} does not resolve: {error.strerror}"
            raise StartupError(reason, ExitCode.USAGE) from error
        except OSError as error:
            raise StartupError(
                f"cannot listen on {listen} for metrics: the port is taken or not ours", ExitCode.ADDRESS_IN_USE
            ) from error
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving; blocks for at most a second or so."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
