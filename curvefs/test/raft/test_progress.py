"""What a leader sends when: probing, the window, snapshots."""

import pytest

from curvefs.src.raft.progress import WINDOW_BYTES, WINDOW_MESSAGES, Progress, Sending


def replicating(match=0):
    progress = Progress(match + 1, 1, match=match)
    progress.replicate()
    return progress


def test_a_probe_waits_for_its_answer():
    progress = Progress(5, 1)
    progress.sent(7, 10)
    assert not progress.may_send
    assert progress.next == 5
    assert progress.accepted(7)
    assert progress.may_send


def test_a_probe_goes_on_when_a_heartbeat_is_answered():
    progress = Progress(5, 1)
    progress.sent(7, 10)
    progress.heard()
    assert progress.may_send


def test_a_rejected_probe_steps_back_to_where_the_logs_may_agree():
    progress = Progress(10, 1)
    progress.sent(12, 1)
    assert progress.rejected(9, 3)
    assert (progress.next, progress.may_send) == (4, True)


def test_a_probe_never_steps_back_past_what_agrees():
    progress = Progress(10, 1, match=6)
    assert progress.rejected(9, 2)
    assert progress.next == 7


def test_a_rejection_always_steps_back():
    progress = Progress(10, 1)
    assert progress.rejected(9, 9)
    assert progress.next == 9


@pytest.mark.parametrize("index", [3, 8, 10])
def test_an_answer_to_another_probe_is_no_news(index):
    progress = Progress(10, 1)
    progress.sent(12, 1)
    assert not progress.rejected(index, 1)
    assert (progress.next, progress.may_send) == (10, False)


def test_the_window_holds_so_many_messages():
    progress = replicating()
    for index in range(1, WINDOW_MESSAGES + 1):
        assert progress.may_send
        progress.sent(index, 1)
    assert not progress.may_send
    progress.accepted(1)
    assert progress.may_send
    assert (progress.match, progress.next) == (1, WINDOW_MESSAGES + 1)


def test_the_window_holds_so_many_bytes():
    progress = replicating()
    progress.sent(1, WINDOW_BYTES - 1)
    assert progress.may_send
    progress.sent(2, 1)
    assert not progress.may_send
    progress.accepted(1)
    assert progress.may_send


def test_an_answered_heartbeat_makes_room_for_one_message():
    progress = replicating()
    for index in range(1, WINDOW_MESSAGES + 1):
        progress.sent(index, 1)
    progress.heard()
    assert progress.may_send
    progress.sent(99, 1)
    assert not progress.may_send


def test_an_old_answer_takes_nothing_back():
    progress = replicating(match=5)
    progress.sent(6, 1)
    assert not progress.accepted(3)
    assert (progress.match, progress.next) == (5, 7)
    assert not progress.rejected(5, 0)
    assert progress.sending is Sending.REPLICATE


def test_a_rejection_while_replicating_means_that_something_was_lost():
    progress = replicating(match=5)
    progress.sent(6, 1)
    progress.sent(7, 1)
    assert progress.rejected(6, 5)
    assert (progress.sending, progress.next) == (Sending.PROBE, 6)
    assert progress.may_send


def test_nothing_else_is_sent_beside_a_snapshot():
    progress = replicating(match=5)
    progress.snapshot_index, progress.snapshot_offset = 9, 4
    progress.send_snapshot()
    assert (progress.snapshot_index, progress.snapshot_offset) == (0, 0)
    assert not progress.may_send
    assert not progress.rejected(progress.next - 1, 0)
    progress.heard()
    assert not progress.may_send


def test_after_a_snapshot_it_goes_on_behind_it():
    progress = Progress(2, 1)
    progress.send_snapshot()
    assert progress.accepted(9)
    progress.replicate()
    assert (progress.match, progress.next, progress.may_send) == (9, 10, True)
