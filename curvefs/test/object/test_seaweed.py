"""The S3 server of tests and demos: found again by its folder, ended by its own id."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys

import pytest
from curvefs_tool import seaweed
from curvefs_tool.seaweed import WeedServer

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.object.protocol import StoreRefused
from curvefs.src.object.url import open_store

pytestmark = pytest.mark.s3


def test_objects_endpoint_and_credentials_outlive_the_process(weed_of_my_own):
    server = weed_of_my_own
    before = (server.endpoint, server.environment)
    store = open_store(server.url())
    store.put("k", b"x")
    server.restart()
    assert store.get("k") == b"x"
    server.kill()
    assert server.pid == 0
    server.start()
    assert store.get("k") == b"x"
    assert (server.endpoint, server.environment) == before
    store.close()


def test_another_object_on_the_folder_is_the_same_server(weed_of_my_own):
    other = WeedServer(weed_of_my_own.folder)
    assert (other.pid, other.endpoint) == (weed_of_my_own.pid, weed_of_my_own.endpoint)
    other.start()  # runs already
    assert other.pid == weed_of_my_own.pid
    other.stop()
    assert (other.pid, weed_of_my_own.pid) == (0, 0)
    weed_of_my_own.start()
    other.stop()  # takes over what was started since
    assert weed_of_my_own.pid == 0


def test_bucket_is_there_after_it_was_created_and_refused_before(weed_of_my_own):
    store = open_store(weed_of_my_own.url("later"))
    with pytest.raises(StoreRefused, match="does not exist"):
        store.put("k", b"x")
    for _ in range(2):
        weed_of_my_own.create_bucket("later")
    store.put("k", b"x")
    assert store.get("k") == b"x"
    store.close()


def test_suspended_server_goes_on_where_it_was(weed_of_my_own):
    weed_of_my_own.suspend()
    weed_of_my_own.resume()
    weed_of_my_own.create_bucket("works")


def test_suspended_server_can_be_stopped(weed_of_my_own):
    weed_of_my_own.suspend()
    weed_of_my_own.stop()
    assert weed_of_my_own.pid == 0


def test_stopped_server_leaves_no_socket_and_no_readable_secret(weed_of_my_own):
    weed_of_my_own.kill()
    record = weed_of_my_own.folder / "weed.json"
    ports = json.loads(record.read_text())["ports"].values()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    for port in [*ports, *(port + 10_000 for port in ports)]:
        assert [name for name in os.listdir("/tmp") if name.endswith(f"-{port}.sock")] == []


def test_stop_of_what_never_ran_does_nothing(tmp_path):
    server = WeedServer(tmp_path / "none")
    server.stop()
    assert server.pid == 0
    assert not (tmp_path / "none").exists()


def test_taken_port_is_said(weed_of_my_own, monkeypatch):
    monkeypatch.setattr(seaweed, "_PORTS_GRACE_S", 0.0)
    weed_of_my_own.stop()
    port = int(weed_of_my_own.endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartupError, match=f"port {port}") as caught:
        weed_of_my_own.start()
    assert caught.value.exit_code is ExitCode.ADDRESS_IN_USE


def test_program_that_ends_at_once_is_said_with_its_words(tmp_path):
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho no good\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(StartupError, match=r"ended at once: .*no good"):
        WeedServer(tmp_path / "data", binary=program).start()


def test_server_that_never_answers_is_given_up_and_ended(tmp_path):
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    server = WeedServer(tmp_path / "data", binary=program)
    with pytest.raises(StartupError, match="not ready") as caught:
        server.start(timeout_s=0.0)
    assert caught.value.exit_code is ExitCode.TIMEOUT
    assert server.pid == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}'])
def test_folder_with_a_strange_record_is_refused(tmp_path, content):
    (tmp_path / "weed.json").write_text(content)
    with pytest.raises(StartupError) as caught:
        WeedServer(tmp_path)
    assert caught.value.exit_code is ExitCode.DATA_FOLDER


def test_foreign_process_with_the_recorded_id_is_left_alone(tmp_path):
    """After a reboot the number may be anybody's."""
    with subprocess.Popen(["sleep", "1000"]) as foreign:
        record = {"ports": dict.fromkeys(("master", "volume", "filer", "s3", "admin"), 1), "buckets": [], "format": 1}
        record |= {"access_key": "a", "secret_key": "s", "pid": foreign.pid, "started": 1}
        (tmp_path / "weed.json").write_text(json.dumps(record))
        server = WeedServer(tmp_path)
        assert server.pid == 0
        server.kill()
        assert foreign.poll() is None
        foreign.kill()


def test_server_dies_with_the_process_that_started_it(tmp_path):
    script = "import sys, pathlib; from curvefs_tool.seaweed import WeedServer; "
    script += "s = WeedServer(pathlib.Path(sys.argv[1]), dies_with_parent=True); s.start(); "
    script += "print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "weed")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        server = WeedServer(tmp_path / "weed")
        pid = server.pid
        assert pid
        ended = os.pidfd_open(pid)  # readable when the process is gone
        parent.send_signal(signal.SIGKILL)
    assert select.select([ended], [], [], 30)[0]
    os.close(ended)
    assert server.pid == 0
    server.stop()


def test_a_process_of_another_boot_is_not_the_server(tmp_path, monkeypatch):
    made = WeedServer(tmp_path)
    running = {"pid": os.getpid(), "started": seaweed._start_time(os.getpid())}
    made._record = seaweed.replace(made._record, boot_id=seaweed.boot_id(), **running)
    made._save()
    assert WeedServer(tmp_path).pid == os.getpid()
    monkeypatch.setattr(seaweed, "boot_id", lambda: "another")
    later = WeedServer(tmp_path)
    assert (later.pid, later.endpoint) == (0, made.endpoint)
