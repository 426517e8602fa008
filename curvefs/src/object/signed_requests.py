"""Single signed requests to S3 through urllib3: the path that every block takes; the only importer of urllib3.

The SDK spends several times the CPU of this on one small request: it validates parameters, fires events and parses
answers that a put or get of a block has no need of. A request is made once; asking again is the
caller's matter.

The body is not signed: blocks carry checksums of their own. Connecting, sending all of a body, and each silence of the
server have a limit.

Shared between threads: the pool of connections, which takes care of itself.
"""

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout

from .signature import Credentials, Signer

SEND_TIMEOUT_S = 120.0  # for a whole body: the largest block, 64 MiB, at 0.5 MiB/s
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


# What fails is raised; a torn header would be told with a traceback besides.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class RequestFailed(Exception):
    """No answer, or not the whole of it; the message is one word that says how."""


@dataclass(frozen=True, slots=True)
class Limits:
    """connections: kept open. Seconds: to connect, and of silence."""

    connections: int
    connect_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. headers: names are matched in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Plain(HTTPConnection):
    """A connection whose limit on connecting does not hold for sending too, as it does in urllib3."""

    def request(self, *arguments: Any, **named: Any) -> None:
        """Send a request."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(SEND_TIMEOUT_S)
        super().request(*arguments, **named)


class _Secure(_Plain, HTTPSConnection):
    """The same over TLS."""


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class SignedRequests:
    """Requests below one URL. credentials: asked before each request; raises botocore's errors.

    certificates: a file of authorities. proxy: '' for none.
    """

    def __init__(
        self,
        url: str,
        region: str,
        credentials: Callable[[], Credentials],
        limits: Limits,
        *,
        certificates: str,
        proxy: str,
    ) -> None:
        self._credentials = credentials
        self._timeout = Timeout(connect=limits.connect_s, read=limits.silence_s)
        parts = urlsplit(url)
        self._signer = Signer(parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme]), region)
        self._folder = parts.path.rstrip("/")
        settings: dict[str, Any] = {"maxsize": limits.connections}
        if parts.scheme == "https":  # made once: each connection would read all authorities again
            settings["ssl_context"] = ssl.create_default_context(cafile=certificates)
        self._manager = urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)
        self._manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        self._send: Callable[..., urllib3.BaseHTTPResponse]
        if proxy:
            self._send, self._before_path = self._manager.urlopen, f"{parts.scheme}://{parts.netloc}"
        else:
            self._send, self._before_path = self._manager.connection_from_url(url).urlopen, ""

    def request(self, method: str, name: str, headers: dict[str, str], body: bytes | bytearray | None = None) -> Answer:
        """Make a request about an object. Raises RequestFailed, and what the credentials raise."""
        path = f"{self._folder}/{quote(name, safe='/~')}"
        signed = self._signer.headers(self._credentials(), method, path, time.time())
        try:
            answer = self._send(
                method,
                self._before_path + path,
                body=body,
                headers=signed | headers,
                retries=False,
                redirect=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            try:
                return _whole(answer)
            except BaseException:
                answer.close()  # what is left of the answer must not be taken for the next one's
                raise
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RequestFailed(type(error).__name__) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._manager.clear()


def _whole(answer: urllib3.BaseHTTPResponse) -> Answer:
    """Return an answer with its body. Raises RequestFailed for one that may have been cut off.

    A header that ends early looks like one without the lines that are missing, and so like an empty success.
    """
    sized = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
    if not sized and answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RequestFailed("NoLength")
    return Answer(answer.status, answer.headers, answer.read())
