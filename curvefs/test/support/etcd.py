"""Real etcd processes for tests: one or three members on loopback, which can be killed, frozen, restarted and stopped.

    with EtcdCluster(folder, 3) as etcd:
        ... etcd.endpoints ...
        etcd.kill(0); etcd.restart(0)

Members die with the thread that started them, as the kernel has it, so they are started in the main thread. What the
tests ask beside the product's own client goes through etcd's HTTP gateway: an answer there owes nothing to the code
under test.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

HOST = "127.0.0.1"
PATIENCE_S = 30.0
# Below Linux' ephemeral ports, so that no outgoing connection takes one while a member is down.
_PORTS = range(23_000, 32_000)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: a CA, a server's and a client's certificate of it, and another CA with a client's certificate."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    other_ca: Path
    other_client: Path
    other_client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them all, valid for a day, the server's for 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    for ca in ("ca", "other-ca"):
        _openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={ca}",
                 "-keyout", f"{ca}.key", "-out", f"{ca}.pem")  # fmt: skip
    for name, ca in (("server", "ca"), ("client", "ca"), ("other-client", "other-ca")):
        _openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        (folder / "extensions").write_text(f"subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(folder, "x509", "-req", "-days", "1", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
                 "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.pem")  # fmt: skip
    names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "other-ca.pem", "other-client.pem")
    return Certificates(*(folder / name for name in (*names, "other-client.key")))


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=PATIENCE_S)


class EtcdCluster:
    """See the module. certificates: clients must show one of the CA's; flags: further ones for every member."""

    def __init__(
        self, folder: Path, size: int = 1, *, certificates: Certificates | None = None, flags: tuple[str, ...] = ()
    ) -> None:
        self._folder = folder
        self._certificates = certificates
        self._flags = flags
        ports = _free_ports(3 * size)
        self.endpoints = [f"{HOST}:{port}" for port in ports[:size]]
        self._peers = [f"http://{HOST}:{port}" for port in ports[size : 2 * size]]
        self._health = [f"http://{HOST}:{port}" for port in ports[2 * size :]]  # without TLS whatever the rest has
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * size

    @property
    def store(self) -> str:
        """What an MDS is told as its store."""
        return ",".join(self.endpoints)

    def __enter__(self) -> Self:
        try:
            for member in range(len(self.endpoints)):
                self.start(member)
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, member: int) -> None:
        """Start a member that does not run; wait_ready() waits for it."""
        assert self._processes[member] is None
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log(member).open("ab") as log:
            self._processes[member] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(member)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, member: int) -> None:
        """kill -9 a member."""
        process = self._processes[member]
        assert process is not None
        process.kill()
        process.wait(PATIENCE_S)
        self._processes[member] = None

    def restart(self, member: int) -> None:
        """Start a killed member again and wait until it serves."""
        self.start(member)
        self.wait_ready()

    def freeze(self, member: int) -> None:
        """Stop a member with SIGSTOP: its connections stay and nothing answers."""
        self._signal(member, signal.SIGSTOP)
        process = self._processes[member]
        assert process is not None
        end = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end, "not stopped"
            time.sleep(0.001)

    def thaw(self, member: int) -> None:
        """Let a frozen member go on."""
        self._signal(member, signal.SIGCONT)

    def stop(self) -> None:
        """End all members, by their own ids."""
        for member, process in enumerate(self._processes):
            if process is not None:
                self.kill(member)

    def log(self, member: int) -> Path:
        """Return the file with what a member said."""
        return self._folder / f"etcd-{member}.log"

    def wait_ready(self) -> None:
        """Wait until every running member serves, with a leader."""
        end = time.monotonic() + PATIENCE_S
        for member, process in enumerate(self._processes):
            while process is not None and not self._serves(member):
                assert process.poll() is None, self.log(member).read_text()[-2000:]
                assert time.monotonic() < end, self.log(member).read_text()[-2000:]
                time.sleep(0.05)

    def ask(self, path: str, /, *, member: int = 0, **fields: Any) -> Any:
        """Ask a member's HTTP gateway, without TLS and authentication: ``ask("kv/range", key=b"...")``."""
        body = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
                for name, value in fields.items()}  # fmt: skip
        request = urllib.request.Request(
            f"http://{self.endpoints[member]}/v3/{path}", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.load(reply)

    def ask_as(self, user: str, password: str, path: str, /, **fields: Any) -> Any:
        """Ask a member's HTTP gateway where authentication is on."""
        token = self.ask("auth/authenticate", name=user, password=password)["token"]
        request = urllib.request.Request(
            f"http://{self.endpoints[0]}/v3/{path}", json.dumps(fields).encode(), {"Authorization": token}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.load(reply)

    def history(self, key: bytes) -> list[tuple[int, bytes]]:
        """Return (revision, value) of all versions of a key since it was made."""
        versions: list[tuple[int, bytes]] = []
        at: dict[str, Any] = {}
        while found := self.ask("kv/range", key=key, **at).get("kvs"):
            versions.append((int(found[0]["mod_revision"]), base64.b64decode(found[0]["value"])))
            at = {"revision": versions[-1][0] - 1}
        return versions[::-1]

    def save_snapshot(self, file: Path) -> None:
        """Save the whole store with etcd's own tool, while it serves."""
        self._etcdctl("snapshot", "save", str(file), f"--endpoints={self.endpoints[0]}")

    def restore_snapshot(self, file: Path) -> None:
        """Replace the store of the only member, which is down, by what was saved; restart() is to follow."""
        assert self._processes == [None]
        data = self._data(0)
        shutil.rmtree(data)
        self._etcdctl("snapshot", "restore", str(file), f"--data-dir={data}", *self._membership(0))

    def _etcdctl(self, *words: str) -> None:
        environment = os.environ | {"ETCDCTL_API": "3"}
        subprocess.run(["etcdctl", *words], check=True, capture_output=True, timeout=PATIENCE_S, env=environment)

    def leader(self) -> int:
        """Return the member that leads etcd's own consensus."""
        for member, process in enumerate(self._processes):
            if process is not None:
                said = self.ask("maintenance/status", member=member)
                if said["leader"] == said["header"]["member_id"]:
                    return member
        raise AssertionError("no member leads")

    def require_passwords(self, root_password: str, user: str, password: str, prefix: bytes, end: bytes) -> None:
        """Switch authentication on, with root and one user who may use the keys in [prefix, end)."""
        for name, secret in (("root", root_password), (user, password)):
            self.ask("auth/user/add", name=name, password=secret)
        for role in ("root", "cluster"):
            self.ask("auth/role/add", name=role)
        permission = {
            "permType": "READWRITE",
            "key": base64.b64encode(prefix).decode(),
            "range_end": base64.b64encode(end).decode(),
        }
        self.ask("auth/role/grant", name="cluster", perm=permission)
        self.ask("auth/user/grant", user="root", role="root")
        self.ask("auth/user/grant", user=user, role="cluster")
        self.ask("auth/enable")

    def _signal(self, member: int, number: signal.Signals) -> None:
        process = self._processes[member]
        assert process is not None
        process.send_signal(number)

    def _serves(self, member: int) -> bool:
        url = f"{self._health[member]}/health"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=2) as reply:
            return bool(json.load(reply).get("health") == "true")
        return False

    def _data(self, member: int) -> Path:
        return self._folder / f"etcd-{member}"

    def _membership(self, member: int) -> list[str]:
        flags = [f"--name=m{member}", f"--initial-advertise-peer-urls={self._peers[member]}"]
        flags += [f"--initial-cluster={','.join(f'm{n}={url}' for n, url in enumerate(self._peers))}"]
        return [*flags, f"--initial-cluster-token={self._folder}"]

    def _command(self, member: int) -> list[str]:
        scheme = "http" if self._certificates is None else "https"
        client = f"{scheme}://{self.endpoints[member]}"
        command = ["etcd", f"--data-dir={self._data(member)}", *self._membership(member)]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={self._peers[member]}", "--log-level=warn", "--logger=zap"]
        command += [f"--listen-metrics-urls={self._health[member]}"]
        if self._certificates is not None:
            made = self._certificates
            command += [f"--cert-file={made.server}", f"--key-file={made.server_key}"]
            command += [f"--trusted-ca-file={made.ca}", "--client-cert-auth"]
        return [*command, *self._flags]


class Line:
    """A TCP line to an address, which can be cut: then nothing comes through, and nobody is told. Of one event loop."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, HOST, 0)
        self.address = f"{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Hold back all bytes."""
        self._open.clear()

    def join(self) -> None:
        """Let them go on, those that were held back first."""
        self._open.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._address.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    await self._open.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdCluster]:
    """An etcd of one member, for this test alone."""
    with EtcdCluster(tmp_path / "etcd") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """An etcd of one member for tests that keep to a prefix of their own and leave it running."""
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no ports are free for etcd")
