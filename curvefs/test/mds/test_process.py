"""curvefs-mds as a real process: ready line, kill -9, restart, exit codes, metrics."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.common.errors import NoSpace, NotFound
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = [pytest.mark.asyncio, pytest.mark.system]
PATIENCE_S = 30.0


def command(data: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "curvefs.src.mds.main", "--data", str(data), *flags]


@contextlib.contextmanager
def running(data: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    # A file, not a pipe: a pipe that nobody reads stops the process when it is full.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command(data, "--listen", "127.0.0.1:0", *flags), stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                process.wait(PATIENCE_S)
                log.seek(0)
                pytest.fail(f"curvefs-mds did not begin: {log.read()}")
            yield process, line.removeprefix("listening on ").strip()
        finally:
            process.kill()


def refused(data: Path, *flags: str) -> tuple[int, str]:
    done = subprocess.run(command(data, *flags), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stderr.strip()


async def ask(address: str, method: str, **fields: Any) -> Any:
    client = AsyncClient([address], deadline_s=PATIENCE_S)
    try:
        request = getattr(mds_pb2, f"{method}Request")(**fields)
        return await client.call(mds_pb2_grpc.MdsServiceStub, method, request)
    finally:
        await client.close()


async def register(address: str, metaserver: FakeMetaserver) -> None:
    from curvefs.proto import topology_pb2_grpc

    client = AsyncClient([address], deadline_s=PATIENCE_S)
    try:
        reply = await client.call(
            topology_pb2_grpc.TopologyServiceStub, "RegisterMetaserver", metaserver.registration()
        )
    finally:
        await client.close()
    metaserver.registered(reply)


async def test_killed_mds_comes_back_with_all_it_acknowledged(tmp_path):
    data, objects = tmp_path / "mds", tmp_path / "objects"
    metaserver = FakeMetaserver()
    await metaserver.start()
    try:
        with running(data) as (process, address):
            await register(address, metaserver)
            created = await ask(address, "CreateFilesystem", name="demo", object_store=f"file://{objects}")
            opened = await ask(address, "OpenSession", name="demo", host="h", mountpoint="/m")
            status = await ask(address, "GetStatus")
            assert (status.pid, status.address) == (process.pid, address)
            process.send_signal(signal.SIGKILL)
            assert process.wait(PATIENCE_S) == -signal.SIGKILL
        with running(data) as (process, again):
            assert again == address
            found = await ask(again, "GetFilesystem", name="demo")
            assert found.filesystem == created.filesystem
            assert (found.epoch, found.session_count) == (created.epoch + 1, 1)
            await ask(again, "RenewSession", session_id=opened.session.session_id)
            after = await ask(again, "GetStatus")
            assert (after.cluster_id, after.mds_id) == (status.cluster_id, status.mds_id)
            await register(again, metaserver)
            await ask(again, "CloseSession", session_id=opened.session.session_id)
            await metaserver.until(lambda: bool(metaserver.ended))
            await ask(again, "DeleteFilesystem", name="demo")
            await metaserver.until(lambda: not metaserver.partitions)
            with pytest.raises(NotFound):
                await ask(again, "GetFilesystem", name="demo")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
    finally:
        await metaserver.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_with_zero(tmp_path, number):
    with running(tmp_path) as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0


async def test_metrics_page_is_served(tmp_path):
    with running(tmp_path) as (_, address):
        await ask(address, "ListFilesystems")
        page = (await ask(address, "GetStatus")).metrics_address
        with urllib.request.urlopen(f"http://{page}/metrics", timeout=PATIENCE_S) as reply:
            text = reply.read().decode()
    assert 'mds_rpc_total{code="OK",method="ListFilesystems"} 1.0' in text
    assert "mds_sessions" in text


async def test_file_is_read_and_flags_override_it(tmp_path):
    file = tmp_path / "mds.toml"
    file.write_text(f'data = "{tmp_path / "ignored"}"\nheartbeat_interval_ms = 500\nlog_json = true\n')
    with running(tmp_path / "data", "--config", str(file)):
        assert (tmp_path / "data" / "lock").exists()
    assert not (tmp_path / "ignored").exists()


async def test_second_mds_on_the_embedded_store_is_refused(tmp_path):
    with running(tmp_path):
        code, line = refused(tmp_path)
    assert code == ExitCode.DATA_FOLDER
    assert line == f"curvefs-mds: {tmp_path} is in use by another process: several MDS need etcd as their store"
    assert len(line.splitlines()) == 1


async def test_folder_of_a_newer_version_is_refused_and_untouched(tmp_path):
    (tmp_path / "format").write_text("99\n")
    code, line = refused(tmp_path)
    assert code == ExitCode.DATA_FOLDER
    assert "version 99" in line
    assert not (tmp_path / "kv").exists()


async def test_taken_port_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag in ("--listen", "--metrics-listen"):
            code, lines = refused(tmp_path, "--log-level", "error", flag, address)
            assert code == ExitCode.ADDRESS_IN_USE
            assert f"curvefs-mds: cannot listen on {address}" in lines.splitlines()[-1]


async def test_bad_configuration_is_one_line(tmp_path):
    file = tmp_path / "mds.toml"
    for text, told in [("nonsense = 1\n", "nonsense"), ("session_lease_ms = 5\n", "session_lease_ms"), ("[", "cannot")]:
        file.write_text(text)
        code, line = refused(tmp_path / "data", "--config", str(file))
        assert code == ExitCode.USAGE
        assert told in line
        assert len(line.splitlines()) == 1
    assert not (tmp_path / "data").exists()


async def test_damaged_store_is_refused(tmp_path):
    with running(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    (tmp_path / "kv" / "data.mdb").write_bytes(os.urandom(1) * 65536)
    code, line = refused(tmp_path)
    assert code == ExitCode.DAMAGED
    assert "damaged" in line


async def test_full_disk_is_told_damages_nothing_and_heals(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    metaserver = FakeMetaserver()
    await metaserver.start()
    try:
        with running(disk / "mds") as (process, address):
            await register(address, metaserver)
            await ask(address, "CreateFilesystem", name="demo", object_store=f"file://{tmp_path / 'objects'}")
            ballast = disk / "ballast"
            with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            opened: list[bytes] = []
            with pytest.raises(NoSpace):
                for _ in range(1000):
                    reply = await ask(address, "OpenSession", name="demo", mountpoint="/" * 4096)
                    opened.append(reply.session.session_id)
            for session_id in opened:
                await ask(address, "RenewSession", session_id=session_id)
            ballast.unlink()
            reply = await ask(address, "OpenSession", name="demo", mountpoint="/" * 4096)
            opened.append(reply.session.session_id)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
        with running(disk / "mds") as (_, address):
            listed = await ask(address, "ListSessions", name="demo")
            assert {session.session_id for session in listed.sessions} == set(opened)
    finally:
        await metaserver.stop()
        subprocess.run(["umount", "-l", str(disk)], check=True)
