"""The supervisor, with small scripts as servers and client, and files as mounts."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from curvefs_tool import supervisor as module
from curvefs_tool.children import STATUS_FD, stop_recorded
from curvefs_tool.control import ask
from curvefs_tool.servers import Programs
from curvefs_tool.settings import Settings
from curvefs_tool.shutdown import Outside, stop_leftovers
from curvefs_tool.state import ClusterState
from curvefs_tool.supervisor import Supervisor

from curvefs.src.client.runtime import start_time
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .programs import FakeMounts, client_program, server_program

PATIENCE_S = 30


class Lab:
    """A data folder, a mountpoint and a supervisor over fake programs, driven turn by turn."""

    def __init__(self, root, *, restart=True, mount=True, metaservers=1):
        self.root, self.place = root, root / "mnt"
        self.place.mkdir(exist_ok=True)
        for name in ("run", "etc", "log"):
            (root / name).mkdir(exist_ok=True)
        names = ["mds", *(f"metaserver-{n}" for n in range(1, metaservers + 1))]
        self.told, self.created, self.elsewhere = [], [], []
        self.create = self.created.append
        self.outside = Outside(FakeMounts(), lambda _mds: self.elsewhere)
        self.supervisor = Supervisor(
            root,
            Settings("demo", "file:///x", metaservers, {name: 1000 + n for n, name in enumerate(names)}),
            str(self.place) if mount else "",
            restart=restart,
            programs=Programs(
                server_program(root),
                server_program(root),
                lambda config: client_program(root, STATUS_FD, config.mountpoint),
            ),
            outside=self.outside,
            arrange=lambda _: None,
            create=lambda mds: self.create(mds),  # noqa: PLW0108  # tests replace it
            confirm=self.created.append,
            tell=self.told.append,
        )

    def until(self, condition):
        """Let the supervisor work until something is so."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, self.told
            self.supervisor._turn()

    def behave(self, name, how):
        """Make a server refuse or hang from its next start on."""
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "behave").write_text(how)

    def starts(self, name):
        path = self.root / name / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def state(self):
        return ClusterState.load(self.root)

    @property
    def order(self):
        path = self.root / "order"
        return path.read_text().split() if path.exists() else []

    @property
    def stopped(self):
        return self.supervisor._stopped

    def down(self, **request):
        """Ask for the end, as the command does; the reply comes into the returned list."""
        replies = []
        thread = threading.Thread(target=lambda: replies.append(ask(self.root, {"command": "down"} | request)))
        thread.start()
        return replies

    def kill(self, name):
        os.kill(self.state.processes[name].pid, signal.SIGKILL)

    def close(self):
        state = self.state
        for one in [*state.processes.values(), *state.starting.values()]:
            if one.pid != os.getpid():
                stop_recorded(one, 5.0)
        self.supervisor._stop_all()
        self.supervisor.__exit__()


@pytest.fixture
def lab_of(tmp_path, monkeypatch):
    """Make labs; whatever they started is gone afterwards."""
    monkeypatch.setattr(module, "IDLE_S", 0.1)  # the other side of the control socket is a thread here
    labs = []

    def make(**options):
        labs.append(Lab(tmp_path, **options))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def at_hangup():
    """Set what SIGHUP does, until the end."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_everything_runs_and_is_written_down_after_the_start(lab_of):
    lab = lab_of(metaservers=2)
    lab.supervisor.start()
    assert lab.created == [["127.0.0.1:1000"], ["127.0.0.1:1000"]]
    assert set(lab.state.processes) == {"supervisor", "mds", "metaserver-1", "metaserver-2", "client"}
    assert lab.state.starting == {}
    assert all(one.running for one in lab.state.processes.values())
    assert lab.state.processes["client"].detail == str(lab.place)
    assert (lab.root / "etc" / "metaserver-2.toml").read_text().endswith('mds = "127.0.0.1:1000"\n')
    assert (lab.root / "etc" / "mds.toml").read_text().endswith("replica_count = 1\n")


def test_down_stops_client_then_metaservers_then_mds(lab_of):
    lab = lab_of(metaservers=2)
    lab.supervisor.start()
    replies = lab.down()
    lab.until(lambda: lab.stopped)
    lab.until(lambda: replies)
    assert replies == [{"code": 0}]
    assert lab.order == ["client", "metaserver-2", "metaserver-1", "mds"]
    assert lab.state.processes == {}


def test_a_server_that_dies_is_started_again(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    before = lab.state.processes["mds"].pid
    lab.kill("mds")
    lab.until(lambda: lab.state.processes["mds"].pid != before)
    assert lab.starts("mds") == 2
    assert lab.state.processes["mds"].running
    assert any("SIGKILL" in line and "again in 0.5 s" in line for line in lab.told)


def test_a_server_that_keeps_dying_is_started_ever_later(lab_of):
    lab = lab_of(mount=False)
    lab.supervisor.start()
    lab.behave("metaserver-1", "exit 9 damaged")
    lab.kill("metaserver-1")
    lab.until(lambda: lab.starts("metaserver-1") == 3)
    waits = [line.rpartition(" in ")[2] for line in lab.told]
    assert waits[:2] == ["0.5 s", "1.0 s"]
    assert "metaserver-1: damaged" in lab.told[1]


def test_a_server_that_hangs_at_its_start_does_not_keep_another_from_being_restarted(lab_of):
    lab = lab_of(mount=False)
    lab.supervisor.start()
    lab.behave("metaserver-1", "silent")
    lab.kill("metaserver-1")
    lab.until(lambda: "metaserver-1" in lab.state.starting)
    before = lab.state.processes["mds"].pid
    lab.kill("mds")
    lab.until(lambda: lab.state.processes["mds"].pid != before)


def test_without_restart_what_dies_stays_dead_and_is_told(lab_of):
    lab = lab_of(restart=False)
    lab.supervisor.start()
    lab.kill("mds")
    lab.until(lambda: lab.told)
    assert "mds has ended by SIGKILL" in lab.told[0]
    assert all(child.start_at_s is None for child in lab.supervisor._children)
    assert not lab.state.processes["mds"].running


def test_a_client_that_dies_is_mounted_again_over_its_dead_mount(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    before = lab.state.processes["client"].pid
    lab.kill("client")
    lab.until(lambda: lab.state.processes["client"].pid != before)
    assert lab.outside.mounts.client(str(lab.place)) is not None


def test_a_client_that_was_unmounted_is_left_in_peace_and_the_servers_go_on(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    lab.outside.mounts.unmount(str(lab.place))
    lab.until(lambda: "client" not in lab.state.processes)
    assert lab.supervisor._client is None
    assert {"mds", "metaserver-1"} <= set(lab.state.processes)
    assert lab.order == ["client"]


def test_a_busy_mount_is_named_and_all_is_left_running(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    (lab.place / "users").write_text("bash\n")
    replies = lab.down()
    lab.until(lambda: replies)
    assert replies[0]["code"] == ExitCode.BUSY
    assert str(lab.place) in replies[0]["message"]
    assert "bash" in replies[0]["message"]
    assert all(one.running for one in lab.state.processes.values())
    assert not lab.stopped


def mounted_elsewhere(folder):
    """A mount that this process serves."""
    place = folder / "other"
    place.mkdir()
    (place / "mounted").write_text(f"[{os.getpid()}, {start_time(os.getpid())}]")
    return place


def test_with_several_mounts_none_is_unmounted_when_one_is_busy(lab_of, tmp_path):
    lab = lab_of()
    lab.supervisor.start()
    other = mounted_elsewhere(tmp_path)
    (other / "users").write_text("vi\n")
    lab.elsewhere.append((str(other), os.getpid()))
    replies = lab.down()
    lab.until(lambda: replies)
    assert replies[0]["code"] == ExitCode.BUSY
    assert str(other) in replies[0]["message"]
    assert lab.outside.mounts.is_ours(str(lab.place))


def test_what_another_cluster_has_mounted_where_a_session_was_stays(lab_of, tmp_path):
    """The client of the session died, and somebody mounted there since."""
    lab = lab_of()
    lab.supervisor.start()
    other = mounted_elsewhere(tmp_path)
    lab.elsewhere.append((str(other), os.getpid() + 1))
    replies = lab.down()
    lab.until(lambda: lab.stopped)
    lab.until(lambda: replies)
    assert replies == [{"code": 0}]
    assert lab.outside.mounts.is_ours(str(other))


def test_force_takes_a_busy_mount_away(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    (lab.place / "users").write_text("bash\n")
    replies = lab.down(force=True)
    lab.until(lambda: lab.stopped)
    lab.until(lambda: replies)
    assert replies == [{"code": 0}]
    assert lab.order[0] == "client"


def test_servers_stay_and_are_restarted_while_a_client_stores_what_was_written(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    (lab.place / "storing").touch()
    replies = lab.down()
    lab.until(lambda: lab.supervisor._stopping is not None)
    before = lab.state.processes["metaserver-1"].pid
    lab.kill("metaserver-1")
    lab.until(lambda: lab.state.processes["metaserver-1"].pid != before)
    assert not replies
    (lab.place / "storing").unlink()
    lab.until(lambda: lab.stopped)
    assert lab.order == ["client", "metaserver-1", "mds"]


def test_force_kills_a_client_that_does_not_finish_and_says_so(lab_of, monkeypatch):
    monkeypatch.setattr(module, "FORCED_TIMEOUT_S", 0.2)
    lab = lab_of()
    lab.supervisor.start()
    (lab.place / "storing").touch()
    replies = lab.down()
    lab.until(lambda: lab.supervisor._stopping is not None)
    more = lab.down(force=True)
    lab.until(lambda: lab.stopped)
    lab.until(lambda: replies and more)
    assert replies[0]["code"] == more[0]["code"] == ExitCode.TIMEOUT
    assert lab.order == ["metaserver-1", "mds"]


def test_a_start_that_fails_leaves_nothing_running(lab_of):
    lab = lab_of()
    lab.behave("metaserver-1", "exit 7 the port is taken")
    with pytest.raises(StartupError, match="metaserver-1: the port is taken") as caught:
        lab.supervisor.start()
    assert caught.value.exit_code == ExitCode.ADDRESS_IN_USE
    assert lab.order == ["mds"]
    assert not lab.state.any_running


def test_a_client_that_refuses_at_the_start_ends_it_with_its_reason(lab_of):
    lab = lab_of()
    (lab.place / "behave").write_text("5 the bucket is gone")
    with pytest.raises(StartupError, match="^the bucket is gone$") as caught:
        lab.supervisor.start()
    assert caught.value.exit_code == ExitCode.OBJECT_STORE
    assert lab.order == ["metaserver-1", "mds"]


def test_a_filesystem_that_cannot_be_created_ends_the_start(lab_of):
    lab = lab_of()

    def refuse(_mds):
        raise StartupError("no such bucket", ExitCode.OBJECT_STORE)

    lab.create = refuse
    with pytest.raises(StartupError, match="no such bucket"):
        lab.supervisor.start()
    assert lab.order == ["metaserver-1", "mds"]


def test_a_signal_during_the_start_ends_it(lab_of):
    lab = lab_of()
    lab.create = lambda _mds: signal.raise_signal(signal.SIGTERM)
    with lab.supervisor.signals(), pytest.raises(StartupError, match="stopped before"):
        lab.supervisor.start()
    assert lab.order == ["metaserver-1", "mds"]


def test_a_signal_takes_everything_down_in_order(lab_of):
    lab = lab_of()
    with lab.supervisor.signals():
        lab.supervisor.start()
        signal.raise_signal(signal.SIGINT)
        lab.supervisor.run(lambda: None)
    assert lab.order == ["client", "metaserver-1", "mds"]


def test_a_terminal_that_closes_takes_everything_down(lab_of, at_hangup):
    at_hangup(signal.SIG_DFL)
    lab = lab_of()
    with lab.supervisor.signals():
        lab.supervisor.start()
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGHUP)
        lab.supervisor.run(lambda: None)
    assert lab.order == ["client", "metaserver-1", "mds"]


def test_a_supervisor_under_nohup_outlives_its_terminal(lab_of, at_hangup):
    at_hangup(signal.SIG_IGN)
    with lab_of().supervisor.signals():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_signal_while_the_mount_is_busy_leaves_all_running_and_says_why(lab_of):
    lab = lab_of()
    with lab.supervisor.signals():
        lab.supervisor.start()
        (lab.place / "users").write_text("bash\n")
        signal.raise_signal(signal.SIGTERM)
        lab.until(lambda: lab.told)
    assert "is busy" in lab.told[0]
    assert not lab.stopped


def test_an_unknown_request_is_refused(lab_of):
    lab = lab_of(mount=False)
    lab.supervisor.start()
    replies = lab.down(command="dance")
    lab.until(lambda: replies)
    assert replies[0]["code"] == ExitCode.USAGE
    assert not lab.stopped


def test_the_next_start_first_stops_what_a_killed_supervisor_left(lab_of):
    first = lab_of()
    first.supervisor.start()
    left = first.state.processes
    second = lab_of()
    second.supervisor.start()
    assert first.order == ["client", "metaserver-1", "mds"]
    assert not any(one.running for name, one in left.items() if name != "supervisor")
    assert all(one.running for one in second.state.processes.values())


def test_leftovers_with_a_busy_mount_are_left_running(lab_of):
    lab = lab_of()
    lab.supervisor.start()
    (lab.place / "users").write_text("bash\n")
    with pytest.raises(StartupError, match="is busy"):
        stop_leftovers(lab.outside, lab.root)
    assert all(one.running for one in lab.state.processes.values())


def test_a_pid_that_was_given_to_another_process_is_not_touched(lab_of):
    lab = lab_of(mount=False)
    state = ClusterState(lab.root)
    state.processes["mds"] = module.ProcessRecord(os.getpid(), 1)  # this process, but with another start time
    state.save()
    stop_leftovers(lab.outside, lab.root)
    assert lab.state.processes == {}


def test_no_supervisor_answers_where_none_runs(tmp_path):
    assert ask(tmp_path, {"command": "down"}) is None
    (tmp_path / "run").mkdir()
    assert ask(tmp_path, {"command": "down"}) is None
    (Path(tmp_path) / "run" / "control").touch()
    assert ask(tmp_path, {"command": "down"}) is None
