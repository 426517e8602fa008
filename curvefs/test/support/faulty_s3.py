"""An S3 server that misbehaves: a proxy in front of a real one, which spoils a share of the requests.

    with FaultyS3(weed.endpoint, seed=1) as faulty:
        faulty.begin(Fault.CUT_BODY, share=0.3)
        ... s3://curvefs?endpoint={faulty.endpoint}
        assert faulty.hits

Only requests about one object are spoiled: puts and gets of blocks. Whether one is, is drawn by the seed; the first put
and the first get always are; of an object one put and one get at most, so that a fault passes. Signatures hold: what
was signed is handed on.

Shared between threads: the fault, the draws and what was hit, under one lock.
"""

import contextlib
import http.client
import random
import threading
import time
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

UPSTREAM_S = 60.0
SLOW_S = 1.0
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>later</Message></Error>"
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "server", "date"}


class Fault(StrEnum):
    """What is done to a request; the answer's body is there in gets only."""

    REFUSE = "503"  # nothing is done, and that is said
    SILENCE = "timeout"  # nothing is done, and nothing is said until the client gives up
    SLOW = "slow"  # done and answered, both late
    CUT = "cut"  # nothing is done, and the connection is closed
    CUT_HEADER = "cut-header"  # done; the connection is closed within the answer's header
    CUT_BODY = "cut-body"  # the connection is closed within the answer's body
    LOST_REPLY = "lost-reply"  # done; the connection is closed before the answer
    DAMAGED = "damaged"  # one bit of the body is another one
    SHORT = "short"  # the end of the body is not there, and the header says so
    LENGTH_TOO_LARGE = "length-too-large"  # the header says more than there is; then the connection is closed
    LENGTH_TOO_SMALL = "length-too-small"  # the header says less than is sent


OF_BODIES = {Fault.CUT_BODY, Fault.DAMAGED, Fault.SHORT, Fault.LENGTH_TOO_LARGE, Fault.LENGTH_TOO_SMALL}


class FaultyS3(ThreadingHTTPServer):
    """See the module. Use as a context manager. hits: what was spoiled, as (method, path)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream, *, seed):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.over = threading.Event()
        self.hits = []
        self._random = random.Random(seed)
        self._fault = None
        self._share = 0.0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def begin(self, fault, share):
        """Spoil this share of the requests from now on."""
        with self._lock:
            self._fault, self._share = fault, share
            self.hits.clear()

    def end(self):
        """Be a good server again."""
        with self._lock:
            self._fault = None

    def draw(self, method, path):
        """Return what is to be done to a request; None: nothing."""
        name, _, query = path.partition("?")
        with self._lock:
            about_an_object = method in ("GET", "PUT") and name.count("/") > 1 and not query
            if self._fault is None or not about_an_object or (self._fault in OF_BODIES and method != "GET"):
                return None
            first = not any(one == method for one, _ in self.hits)
            drawn = self._random.random() < self._share
            if (method, name) in self.hits or not (first or drawn):
                return None
            self.hits.append((method, name))
            return self._fault

    def place_in(self, size):
        """Draw a place in a body."""
        with self._lock:
            return self._random.randrange(size) if size else 0

    def handle_error(self, request, client_address):
        """A client that went away is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyS3
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.draw(self.command, self.path)
        if fault is Fault.CUT:
            self.close_connection = True
        elif fault is Fault.SILENCE:
            self._say_nothing()
        elif fault is Fault.REFUSE:
            self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN, len(_SLOW_DOWN))
        else:
            self._spoil(fault, *self._ask(body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815 # names of http.server

    def _ask(self, body):
        """Return the real server's answer: status, headers, body."""
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=UPSTREAM_S)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            data = answer.read()
        return answer.status, headers, data, int(length) if length else len(data)

    def _spoil(self, fault, status, headers, data, length):
        if fault is Fault.LOST_REPLY:
            self.close_connection = True
            return
        if fault is Fault.CUT_HEADER:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            self.close_connection = True
            return
        if fault is Fault.SLOW:
            time.sleep(SLOW_S)
        sent = data
        if fault in OF_BODIES and data:
            place = self.server.place_in(len(data))
            if fault is Fault.DAMAGED:
                sent = bytearray(data)
                sent[place] ^= 1 << place % 8
            elif fault is Fault.SHORT:
                sent = data[:place]
                length = len(sent)
            elif fault is Fault.CUT_BODY:
                sent = data[:place]
            elif fault is Fault.LENGTH_TOO_LARGE:
                length += 1 + place
            elif fault is Fault.LENGTH_TOO_SMALL:
                length -= 1 + place // 2
        self._answer(status, headers, sent, length)
        if fault in (Fault.CUT_BODY, Fault.LENGTH_TOO_LARGE):
            self.close_connection = True

    def _answer(self, status, headers, data, length):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    def _say_nothing(self):
        """Wait until the client has gone."""
        self.connection.settimeout(0.2)
        while not self.server.over.is_set():
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.close_connection = True

    def log_message(self, *_):
        pass
