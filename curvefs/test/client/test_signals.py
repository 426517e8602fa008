"""Signals to a client: the first ends the mount, and none keeps what is left from being stored."""

import os
import signal

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from curvefs.src.client import mount
from curvefs.src.common.errors import StartupError

pytestmark = pytest.mark.trio


@pytest.fixture(autouse=True)
def of_a_terminal():
    """Who runs the tests may have them ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def told(number, count=1):
    for _ in range(count):
        os.kill(os.getpid(), number)
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_the_first_ends_the_mount_and_others_do_no_harm(monkeypatch, nursery, number):
    stopped = []
    monkeypatch.setattr(mount.binding, "stop", lambda: stopped.append(1))
    live = trio.Event()
    live.set()
    await nursery.start(mount._stop_on_signal, live)
    await told(number, 3)
    assert stopped == [1]


async def test_one_that_is_ignored_stays_so(monkeypatch, nursery):
    """nohup(1)."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopped = []
    monkeypatch.setattr(mount.binding, "stop", lambda: stopped.append(1))
    live = trio.Event()
    live.set()
    await nursery.start(mount._stop_on_signal, live)
    await told(signal.SIGHUP)
    assert not stopped


async def test_before_the_mount_is_live_a_signal_ends_the_start():
    with pytest.raises(ExceptionGroup) as raised:
        async with trio.open_nursery() as nursery:
            await nursery.start(mount._stop_on_signal, trio.Event())
            await told(signal.SIGTERM)
            await trio.sleep(10)
    assert raised.group_contains(StartupError, match="before the mount was live")
