"""Mountpoints and the processes that serve them. Mounts are tmpfs ones: the kernel shows them as it shows ours."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from curvefs.src.client import daemon, mountpoints, runtime
from curvefs.src.client.options import MountConfig
from curvefs.src.common.errors import NotFound, StartupError
from curvefs.src.common.exits import ExitCode


@pytest.fixture
def mounted(tmp_path):
    """A mount of something else than ours."""
    place = tmp_path / "a mount"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    yield str(place)
    subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.fixture
def sleeper():
    """A process that does nothing."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A folder of its own for the records."""
    monkeypatch.setattr(runtime, "folder", lambda: tmp_path / "records")
    return tmp_path / "records"


def refused(place):
    with pytest.raises(StartupError) as caught:
        mountpoints.check_mountpoint(str(place))
    assert caught.value.exit_code == ExitCode.MOUNTPOINT
    return str(caught.value)


def test_a_folder_can_be_mounted_on(tmp_path):
    mountpoints.check_mountpoint(str(tmp_path))


def test_what_cannot_be_mounted_on_is_refused_with_its_reason(tmp_path, mounted):
    (tmp_path / "file").touch()
    assert "does not exist" in refused(tmp_path / "missing")
    assert "is not a directory" in refused(tmp_path / "file")
    assert "Not a directory" in refused(tmp_path / "file" / "below")
    assert "is busy: tmpfs is mounted on it" in refused(mounted)
    assert "File name too long" in refused(tmp_path / ("x" * 300))


def test_names_with_blanks_are_found_among_the_mounts(mounted):
    assert mountpoints.mounted_type(mounted) == "tmpfs"
    assert mountpoints.mounted_type(mounted + "/below") is None


def test_links_to_a_mountpoint_are_resolved(tmp_path, mounted, monkeypatch):
    (tmp_path / "link").symlink_to(mounted)
    assert mountpoints.resolve(str(tmp_path / "link")) == mounted
    monkeypatch.chdir(tmp_path)
    assert mountpoints.resolve("a mount") == mounted
    assert mountpoints.resolve("not/there/../yet") == f"{tmp_path}/not/yet"


def test_users_of_a_mount_are_named(mounted):
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], cwd=mounted) as process:
        try:
            assert any(f"(pid {process.pid})" in user for user in mountpoints.users_of(mounted))
            with pytest.raises(StartupError, match=f"pid {process.pid}") as caught:
                mountpoints.unmount(mounted)
        finally:
            process.kill()
    assert caught.value.exit_code == ExitCode.BUSY
    assert mountpoints.mounted_type(mounted) == "tmpfs"


def test_an_open_file_is_a_use_and_a_neighbour_is_none(mounted):
    with (
        open(f"{mounted}/file", "w"),
        subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], cwd="/") as other,
    ):
        try:
            assert mountpoints.users_of(mounted) == []  # this process is the one that asks
            assert not any(str(other.pid) in user for user in mountpoints.users_of(mounted))
        finally:
            other.kill()


def test_long_lists_of_users_are_cut():
    assert str(mountpoints.busy("/m", list("abcde"))) == "/m is busy: used by a, b, c and 2 more"
    assert "a process" in str(mountpoints.busy("/m", []))


def test_an_unused_mount_is_unmounted_and_nothing_is_no_error(mounted):
    mountpoints.unmount(mounted)
    assert mountpoints.mounted_type(mounted) is None
    mountpoints.unmount(mounted)


# ------------------------------------------------------------------------------------------------ processes


def test_a_process_is_known_by_pid_and_start_time(sleeper):
    started = runtime.start_time(sleeper.pid)
    assert runtime.is_running(sleeper.pid, started)
    assert not runtime.is_running(sleeper.pid, started + 1)
    assert not runtime.wait_gone(sleeper.pid, started, 0.0)
    sleeper.kill()
    assert runtime.wait_gone(sleeper.pid, started, 30.0)
    assert runtime.start_time(sleeper.pid) is None  # a zombie, not yet reaped


def test_a_process_with_another_start_time_gets_no_signal(sleeper):
    started = runtime.start_time(sleeper.pid)
    runtime.send_signal(sleeper.pid, started + 1, signal.SIGKILL)
    assert runtime.wait_gone(sleeper.pid, started + 1, 0.0)
    assert runtime.is_running(sleeper.pid, started)
    runtime.send_signal(sleeper.pid, started, signal.SIGKILL)
    assert runtime.wait_gone(sleeper.pid, started, 30.0)


def test_the_process_of_a_mountpoint_is_found_until_it_takes_that_back(records):
    runtime.record("/some/where")
    assert runtime.client_of("/some/where") == (os.getpid(), runtime.start_time(os.getpid()))
    assert runtime.client_of("/some/where/else") is None
    runtime.forget("/some/where")
    assert runtime.client_of("/some/where") is None
    assert list(records.iterdir()) == []


def test_a_record_of_a_process_that_is_gone_or_of_nonsense_counts_as_none(records):
    runtime.record("/some/where")
    (path,) = records.iterdir()
    for text in ('{"pid": 1, "started": 99999999999, "mountpoint": "/some/where"}', "nonsense", "[]", "{}", ""):
        path.write_text(text)
        assert runtime.client_of("/some/where") is None


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """What a user without a folder of the session has in /tmp."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(runtime, "TEMPORARY", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    return tmp_path / "curvefs-4321"


def test_records_in_tmp_are_their_users_alone(temporary):
    make_own(temporary)
    runtime.record("/some/where")
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    assert runtime.client_of("/some/where") is not None


def make_own(path):
    path.mkdir(mode=0o755)
    os.chown(path, 4321, -1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.mkdir(mode=0o700),
        lambda path: path.symlink_to("/"),
        lambda path: (make_own(path), path.chmod(0o777)),
    ],
    ids=["another's", "a link", "open to all"],
)
def test_records_in_a_folder_that_another_user_can_change_are_neither_written_nor_read(temporary, spoil):
    spoil(temporary)
    with pytest.raises(StartupError, match="is not this user's alone; set XDG_RUNTIME_DIR"):
        runtime.record("/some/where")
    assert runtime.client_of("/some/where") is None
    runtime.forget("/some/where")


def test_the_record_of_a_later_process_is_left_alone(records):
    runtime.record("/some/where")
    (path,) = records.iterdir()
    path.write_text('{"pid": 1, "started": 1, "mountpoint": "/some/where"}')
    runtime.forget("/some/where")
    assert path.exists()


# ----------------------------------------------------------------------------------------------- background


def background(monkeypatch, tmp_path, text):
    """Run Python statements as the client in the background; they get the descriptor as D."""
    program = (
        f"import os, sys, time; D = int(sys.argv[1]); open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
    )

    def command(_config, _flag, descriptor):
        return [sys.executable, "-I", "-S", "-c", program + text, descriptor]

    monkeypatch.setattr(daemon, "client_command", command)
    return daemon.start_in_background(MountConfig("demo", "/mnt", ["h:1"], log=str(tmp_path / "log")))


def test_the_start_succeeds_when_the_client_says_ready_and_it_goes_on(monkeypatch, tmp_path):
    process = background(monkeypatch, tmp_path, "os.write(D, b'ready\\n'); os.close(D); time.sleep(60)")
    with process:
        assert process.poll() is None
        process.kill()


def test_the_start_fails_with_the_clients_reason_and_code(monkeypatch, tmp_path):
    with pytest.raises(StartupError, match="^no filesystem$") as caught:
        background(monkeypatch, tmp_path, "os.write(D, b'3 no filesystem\\n'); time.sleep(60)")
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    assert runtime.start_time(int((tmp_path / "pid").read_text())) is None


def test_the_start_fails_when_the_client_ends_without_a_word(monkeypatch, tmp_path):
    with pytest.raises(StartupError, match=f"see {tmp_path / 'log'}") as caught:
        background(monkeypatch, tmp_path, "sys.exit('oh')")
    assert caught.value.exit_code == ExitCode.FAILED
    assert (tmp_path / "log").read_text() == "oh\n"


def test_a_client_that_says_nothing_is_ended_at_the_deadline(monkeypatch, tmp_path):
    monkeypatch.setattr(daemon, "START_DEADLINE_S", 1.0)
    with pytest.raises(StartupError, match="before the mount was live"):
        background(monkeypatch, tmp_path, "time.sleep(60)")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(StartupError, match="cannot write the log"):
        daemon.start_in_background(MountConfig("demo", "/mnt", ["h:1"], log=str(tmp_path / "no" / "log")))


def test_who_may_not_write_the_systems_log_has_one_in_the_own_state_folder(monkeypatch, tmp_path, capsys):
    config = MountConfig("demo", "/mnt", ["h:1"])
    monkeypatch.setattr(daemon, "LOG_FOLDER", tmp_path / "system")
    assert daemon._log_file(config) == tmp_path / "system" / "demo.log"
    (tmp_path / "file").touch()
    monkeypatch.setattr(daemon, "LOG_FOLDER", tmp_path / "file" / "system")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert daemon._log_file(config) == tmp_path / "state" / "curvefs" / "demo.log"
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert daemon._log_file(config) == Path(os.devnull)
    told = capsys.readouterr().err
    assert told.startswith("curvefs: there is no log: cannot write to ")
    assert told.count("\n") == 1


def test_the_client_speaks_once_and_to_nobody_if_need_be():
    reader, writer = os.pipe()
    status = daemon.StatusPipe(writer)
    status.failed(NotFound("two\nlines"))
    status.ready()
    assert daemon.read_line(reader, 5.0) == "3 two lines"
    os.close(reader)
    reader, writer = os.pipe()
    os.close(reader)
    daemon.StatusPipe(writer).ready()
    daemon.StatusPipe(None).ready()


def test_a_line_is_read_up_to_its_end_or_the_deadline():
    reader, writer = os.pipe()
    os.write(writer, b"one")
    assert daemon.read_line(reader, 0.0) is None
    os.write(writer, b" line\nmore")
    assert daemon.read_line(reader, 5.0) == "line"
    os.close(writer)
    assert daemon.read_line(reader, 60.0) == ""
    os.close(reader)


@pytest.mark.parametrize("line", ["", "0 fine", "99 unknown", "x", "7", "ready"])
def test_a_line_that_is_no_reason_becomes_a_plain_failure(line):
    error = daemon.error_said(line, "otherwise")
    assert (str(error), error.exit_code) == ("otherwise", ExitCode.FAILED)


def test_what_a_mount_needs_does_not_lie_under_it(tmp_path):
    (tmp_path / "mnt" / "data").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "mnt")
    mountpoint = str(tmp_path / "mnt")
    for path in ("mnt", "mnt/data", "mnt/missing/cache", "link/data"):
        with pytest.raises(StartupError, match="the cache folder .* lies in the mountpoint"):
            mountpoints.check_apart(mountpoint, "the cache folder", tmp_path / path)
    mountpoints.check_apart(mountpoint, "the cache folder", tmp_path / "mnt-cache")
    mountpoints.check_apart(mountpoint, "the data folder", tmp_path)


def test_a_name_with_busy_in_it_is_not_taken_for_a_busy_mount(mounted, monkeypatch):
    place = f"{mounted}/busybox"
    monkeypatch.setattr(mountpoints, "mounted_type", lambda _: "fuse.curvefs")
    with pytest.raises(StartupError) as refused:
        mountpoints.unmount(place)
    assert refused.value.exit_code == ExitCode.FAILED
