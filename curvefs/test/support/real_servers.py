"""A real MDS and real metaservers as bare processes, without a supervisor: each is started, killed and looked at alone.

    with RealServers(root) as servers:
        servers.start()
        group_id = servers.create_fs()

`where` says how a process is run: words before its own, such as `nsenter --net=FILE`, and the address it listens at.
Everything lies in `root`, which is on every command line, so the guard ends what a killed test leaves.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from . import guard

TOOL = [sys.executable, "-m", "curvefs_tool.main"]
READY_S = 1800.0  # the tests have limits of their own; a large state takes long to rebuild
FS = "demo"
MDS = 0  # the number of the MDS among the servers


@dataclass(frozen=True, slots=True)
class Where:
    """How a server is run. prefix: words before the command. host: what it listens at."""

    prefix: tuple[str, ...] = ()
    host: str = "127.0.0.1"


class Ended(AssertionError):
    """A server ended instead of becoming ready."""

    def __init__(self, code, said):
        super().__init__(f"exit {code}: {said[-3000:]}")
        self.code, self.said = code, said


@dataclass
class Server:
    """One process. settings: its configuration file; environment: additional; `data` may change while it is down."""

    number: int
    module: str
    data: Path
    log: Path
    where: Where
    settings: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    address: str = ""
    process: subprocess.Popen | None = None

    def begin(self, *flags):
        """Start it; returns at once."""
        listen = self.address or f"{self.where.host}:0"
        words = [*self.where.prefix, sys.executable, "-m", self.module, "--listen", listen, "--data", str(self.data)]
        config = self.log.with_suffix(".toml")
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in self.settings.items()))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words, "--config", str(config), *flags],
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=os.environ | self.environment,
            )

    def wait_ready(self, timeout=READY_S):
        """Wait until it serves. Raises Ended."""
        assert self.process is not None
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("listening on "):
            if not ready:
                self.process.kill()
            raise Ended(self._wait(30), self.said())
        self.address = line.removeprefix("listening on ").strip()

    def start(self, *flags):
        """Start it, and return the seconds until it served."""
        began = time.monotonic()
        self.begin(*flags)
        self.wait_ready()
        return time.monotonic() - began

    def signal(self, number):
        """Send it a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self):
        """kill -9; nothing when it does not run."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._wait(30)

    def stop(self):
        """Ask it to end, and see that it does so without complaint."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        code = self._wait(120)
        assert code == 0, f"ended with {code}: {self.tail()}"

    def _wait(self, timeout):
        code = self.process.wait(timeout)
        self.process.stdout.close()
        self.process = None
        return code

    def memory(self):
        """Return the most memory it has had so far, in MiB (VmHWM)."""
        assert self.process is not None
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def cpu(self):
        """Return the seconds of processor time it has had, which do not depend on what else runs here."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def said(self):
        """Return its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, size=3000):
        return self.said()[-size:]


class RealServers:
    """See the module. Use as a context manager."""

    def __init__(self, root=None, *, count=3, where=None, metaserver=None, mds=None):
        """where: by number, of the MDS (0) and the metaservers. metaserver, mds: settings."""
        self.root = Path(root or tempfile.mkdtemp(prefix="curvefs-test-"))
        self.where = where or {}
        self.metaserver_settings = metaserver or {}
        settings = {"replica_count": count, "session_lease_ms": 3_600_000, **(mds or {})}
        self.mds = self._server(MDS, "mds", settings)
        self.metaservers = {}
        for number in range(1, count + 1):
            self.add(number)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "curvefs.test.support.guard"],
            stdin=subprocess.PIPE,
            env=os.environ | {"CURVEFS_TEST_ROOT": str(self.root)},
            start_new_session=True,
        )

    def _server(self, number, name, settings):
        program = "mds" if number == MDS else "metaserver"
        return Server(
            number,
            f"curvefs.src.{program}.main",
            self.root / name,
            self.root / f"{name}.log",
            self.where.get(number, Where()),
            settings,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Leave no process and no file."""
        for server in [*self.metaservers.values(), self.mds]:
            server.kill()
        guard.clean(self.root)
        self._guard.stdin.close()
        self._guard.wait(30)
        shutil.rmtree(self.root, ignore_errors=True)

    def add(self, number):
        """Put one more metaserver among them; it is not started."""
        self.metaservers[number] = self._server(number, f"metaserver{number}", {})
        return self.metaservers[number]

    def start(self):
        """Start everything; the metaservers one after the other, so that they get their numbers."""
        self.mds.start()
        for server in self.metaservers.values():
            self.start_metaserver(server)

    def start_metaserver(self, server, *flags):
        """Start one, and return the seconds until it served."""
        self._tell(server)
        return server.start(*flags)

    def start_again(self):
        """Start all metaservers that do not run, at the same time."""
        down = [server for server in self.metaservers.values() if server.process is None]
        for server in down:
            self._tell(server)
            server.begin()
        for server in down:
            server.wait_ready()

    def _tell(self, server):
        server.settings = {"mds": self.mds.address, **self.metaserver_settings}

    def tool(self, *words, check=True, timeout=300):
        """Run curvefs-tool where the MDS is."""
        done = subprocess.run(
            [*self.mds.where.prefix, *TOOL, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=os.environ | {"CURVEFS_MDS": self.mds.address},
        )
        if check and done.returncode:
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done

    def create_fs(self):
        """Create a filesystem; waits until there are groups for it."""
        (self.root / "objects").mkdir(exist_ok=True)
        end = time.monotonic() + 30
        while True:
            words = ("--object-store", f"file://{self.root}/objects", "--trash-retention", "0")
            done = self.tool("create-fs", FS, *words, check=False)
            if done.returncode == 0:
                return
            assert time.monotonic() < end, done.stderr
            time.sleep(0.2)

    def logs(self):
        """Return the ends of all logs."""
        return "\n".join(f"--- {one.log.stem}\n{one.tail()}" for one in [self.mds, *self.metaservers.values()])


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the MDS. group_id: of the root's partition."""

    session_id: bytes
    token: bytes
    fs_id: int
    group_id: int


def open_session(mds):
    """Open a session of the filesystem."""
    client = BlockingClient([mds])
    try:
        request = mds_pb2.OpenSessionRequest(name=FS, host="test", mountpoint="-")
        opened = client.call(mds_pb2_grpc.MdsServiceStub, "OpenSession", request)
    finally:
        client.close()
    root = next(one for one in opened.partitions if one.partition_id == 0)
    return Session(opened.session.session_id, opened.token, opened.session.fs_id, root.group_id)


def metrics_pages(mds):
    """Return HOST:PORT of each metaserver's metrics, by its id."""
    client = BlockingClient([mds])
    try:
        request = topology_pb2.ListMetaserversRequest()
        reply = client.call(topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", request)
    finally:
        client.close()
    return {one.metaserver_id: one.metrics_address for one in reply.metaservers}


def metrics(page):
    """Return the metrics of a page (HOST:PORT) that have no labels, by name."""
    with urllib.request.urlopen(f"http://{page}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.split() for line in lines if line and line[0] != "#" and "{" not in line]
    return {name: float(value) for name, value in pairs}
