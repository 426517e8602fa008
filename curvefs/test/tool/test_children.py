"""A supervised program: ready, refused, silent, ended, stopped."""

import selectors
import sys
import time

import pytest
from curvefs_tool import children
from curvefs_tool.children import STATUS_FD, Backoff, Child, Ended, Ready, Stage

from curvefs.src.common.exits import ExitCode


@pytest.fixture
def child_of(tmp_path):
    """Make a child that runs Python statements; stopped at the end."""
    made = []

    def make(text, *words):
        child = Child("thing", [sys.executable, "-I", "-S", "-c", text, *words], tmp_path / "thing.log")
        made.append(child)
        return child

    yield make
    for child in made:
        child.stop(5.0)


def next_event(child):
    """Wait for the child's next event, as the supervisor does."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        event = child.look(time.monotonic())
        if event is not None:
            return event
        with selectors.DefaultSelector() as selector:
            for descriptor in child.watched:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(1.0)
    raise AssertionError("nothing happened")


WAIT = "import sys; sys.stdin.close(); import signal; signal.pause()"


def test_a_server_is_ready_when_it_listens(child_of):
    child = child_of(f"print('listening on x', flush=True); {WAIT}")
    child.start(time.monotonic())
    assert child.stage is Stage.STARTING
    assert next_event(child) == Ready()
    assert child.stage is Stage.RUNNING
    assert child.record().running


def test_a_client_is_ready_when_it_says_so_on_its_pipe(child_of):
    child = child_of(f"import os, sys; os.write(int(sys.argv[1]), b'ready\\n'); {WAIT}", STATUS_FD)
    child.start(time.monotonic())
    assert next_event(child) == Ready()


def test_a_reason_on_the_pipe_becomes_the_error(child_of):
    child = child_of("import os, sys; os.write(int(sys.argv[1]), b'6 no such place\\n'); sys.exit(6)", STATUS_FD)
    child.start(time.monotonic())
    event = next_event(child)
    assert isinstance(event, Ended)
    assert (event.code, str(event.error), event.error.exit_code) == (6, "no such place", ExitCode.MOUNTPOINT)
    assert child.stage is Stage.IDLE


def test_the_last_line_and_code_of_a_server_that_refuses_become_the_error(child_of, tmp_path):
    (tmp_path / "thing.log").write_text("a line of an earlier run\n")
    child = child_of("import sys; print('one\\ncurvefs-x: the port is taken', file=sys.stderr); sys.exit(7)")
    child.start(time.monotonic())
    event = next_event(child)
    assert str(event.error) == "thing: the port is taken"
    assert event.error.exit_code == ExitCode.ADDRESS_IN_USE


def test_words_of_an_earlier_run_are_not_given_as_the_reason(child_of, tmp_path):
    (tmp_path / "thing.log").write_text("a line of an earlier run\n")
    child = child_of("import sys; sys.exit(1)")
    child.start(time.monotonic())
    event = next_event(child)
    assert "an earlier run" not in str(event.error)
    assert "exit code 1" in str(event.error)
    assert event.error.exit_code == ExitCode.FAILED


def test_a_log_that_somebody_removed_is_no_obstacle(child_of, tmp_path):
    child = child_of("import sys; sys.stdin.read(); sys.exit(1)")
    child.start(time.monotonic())
    (tmp_path / "thing.log").unlink()
    assert "it said nothing" in str(next_event(child).error)


def test_a_program_that_ends_well_before_it_is_ready_has_failed(child_of):
    child = child_of("")
    child.start(time.monotonic())
    event = next_event(child)
    assert event.code == 0
    assert event.error.exit_code == ExitCode.FAILED


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "signal 40")])
def test_a_program_that_a_signal_ends_is_told_with_the_signal(child_of, number, name):
    child = child_of(f"import os; os.kill(os.getpid(), {number})")
    child.start(time.monotonic())
    event = next_event(child)
    assert event.code == -number
    assert str(event.error) == f"thing has ended by {name}; see {child.log}"


def test_a_silent_program_is_killed_at_its_deadline(child_of):
    child = child_of(WAIT)
    started_s = time.monotonic()
    child.start(started_s)
    record = child.record()
    assert child.look(started_s + children.READY_TIMEOUT_S - 1) is None
    event = child.look(started_s + children.READY_TIMEOUT_S)
    assert event.error.exit_code == ExitCode.TIMEOUT
    assert not record.running


def test_the_end_of_a_running_program_is_told_once(child_of):
    child = child_of("print('listening on x', flush=True)")
    child.start(time.monotonic())
    assert next_event(child) == Ready()
    assert next_event(child).code == 0
    assert child.look(time.monotonic()) is None
    assert child.watched == []


def test_a_talkative_program_does_not_block_on_its_pipe(child_of):
    child = child_of(f"print('listening on x'); print('x' * 500_000, flush=True); print('z', file=sys.stderr); {WAIT}")
    child.command[4] = "import sys; " + child.command[4]
    child.start(time.monotonic())
    end = time.monotonic() + 30
    while "z" not in child.log.read_text() and time.monotonic() < end:
        child.look(time.monotonic())
    assert "z" in child.log.read_text()


def test_a_program_that_ignores_the_wish_to_end_is_killed(child_of):
    text = f"import signal; signal.signal(15, signal.SIG_IGN); print('listening on x', flush=True); {WAIT}"
    child = child_of(text.replace("signal.pause()", "[signal.pause() for _ in iter(int, 1)]"))
    child.start(time.monotonic())
    assert next_event(child) == Ready()
    record = child.record()
    child.stop(0.1)
    assert not record.running


def test_what_cannot_be_started_is_an_error_and_leaves_nothing_open(tmp_path):
    child = Child("thing", ["/nonexistent/program"], tmp_path / "log")
    with pytest.raises(children.StartupError, match="cannot start thing"):
        child.start(0.0)
    assert child.stage is Stage.IDLE
    assert child.watched == []


def test_the_back_off_doubles_up_to_its_bound_and_begins_anew_after_a_steady_run():
    backoff = Backoff()
    waits = [backoff.next_start_s(0.0, 1.0) - 1.0 for _ in range(7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert backoff.next_start_s(0.0, children.STEADY_S + 1) == children.STEADY_S + 1.5
