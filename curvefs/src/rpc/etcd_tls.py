"""How etcd is spoken to under TLS: the files, read once, and a handshake of our own that says what gRPC only logs."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from ..common.addresses import parse_address
from ..common.errors import StartupError
from ..common.exits import ExitCode

# An HTTP/2 client's first words, and an empty SETTINGS frame: in TLS 1.3 a server says only after the handshake that
# it does not accept the client's certificate.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


@dataclass(frozen=True, slots=True)
class Tls:
    """ca: whom to believe. certificate, key: who we are, both or neither."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return them as gRPC wants them. Raises StartupError (USAGE) for files that are not what they should be."""
        self._context()
        read = [None if path is None else path.read_bytes() for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*read)

    def shake_hands(self, endpoint: str, deadline_s: float) -> None:
        """Connect, agree, and hang up; blocks. Raises StartupError (REFUSED) when one side does not accept the other.

        That nobody answers is not told here: the calls that follow find out.
        """
        host, port = parse_address(endpoint)
        host = host.strip("[]")
        try:
            with (
                socket.create_connection((host, port), deadline_s) as connection,
                self._context().wrap_socket(connection, server_hostname=host) as secured,
            ):
                secured.sendall(_GREETING)
                secured.recv(1)
        except ssl.SSLCertVerificationError as error:
            raise _refused(endpoint, f"its certificate is not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise _refused(
                endpoint, f"no TLS connection: {(error.reason or str(error)).replace('_', ' ').lower()}"
            ) from error
        except OSError:
            return

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # ssl.SSLError is one
            names = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path is not None)
            reason = error.strerror or str(error)
            raise StartupError(
                f"the certificates for etcd cannot be used ({names}): {reason}", ExitCode.USAGE
            ) from error
        context.set_alpn_protocols(["h2"])
        return context


def _refused(endpoint: str, reason: str) -> StartupError:
    return StartupError(f"etcd at {endpoint}: {reason}", ExitCode.REFUSED)
