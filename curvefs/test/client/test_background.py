"""What goes wrong in the background of a mount does not end the mount."""

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.src.client import background
from curvefs.src.client.background import contained, kept

pytestmark = pytest.mark.trio


@pytest.fixture(autouse=True)
def logs(monkeypatch):
    with capture_logs() as lines:
        monkeypatch.setattr(background, "log", background.structlog.get_logger())
        yield lines


async def breaks(what):
    raise KeyError(what)


async def test_a_bug_ends_what_it_is_in_and_is_logged(logs):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(contained, breaks, "this")
        nursery.start_soon(contained, trio.sleep, 0)
    (line,) = logs
    assert (line["log_level"], line["work"]) == ("error", "breaks")


async def test_what_goes_on_begins_again(logs, autojump_clock):
    begun = []

    async def goes_on():
        begun.append(trio.current_time())
        if len(begun) < 3:
            raise KeyError
        await trio.sleep_forever()

    with trio.move_on_after(100):
        await kept(goes_on)
    assert [at - begun[0] for at in begun] == [0, background.AGAIN_S, 2 * background.AGAIN_S]
    assert len(logs) == 2
