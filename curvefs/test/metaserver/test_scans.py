"""Scans: one at a time, and none goes on for nobody."""

import asyncio
import contextlib
import threading

import pytest

from curvefs.src.common.errors import Redirect, Unavailable
from curvefs.src.metaserver.scans import Scans

from .reclaim.lab import Lab

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20


class Scan:
    """Reads the first pair, waits for go_on, then reads on; writes into ``log``."""

    def __init__(self, log):
        self.log = log
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, view):
        self.log.append("begun")
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        try:
            for _ in view.scan(b"", b"\xff"):
                pass
        except Unavailable:
            self.log.append("given up")
            raise
        self.log.append("done")


async def cancel(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_scan_that_nobody_waits_for_ends_and_the_next_one_waits_for_that(tmp_path):
    async with Lab(tmp_path) as lab:
        scans, log = Scans(), []
        first, second = Scan(log), Scan(log)
        one = asyncio.create_task(scans.run(lab.groups.group, first))
        await asyncio.to_thread(first.begun.wait, PATIENCE_S)
        await cancel(one)
        second.go_on.set()
        two = asyncio.create_task(scans.run(lab.groups.group, second))
        await asyncio.sleep(0.05)  # time enough to begin too early
        first.go_on.set()
        await two
        assert log == ["begun", "given up", "begun", "done"]


async def test_a_scan_that_is_cancelled_before_its_turn_never_begins(tmp_path):
    async with Lab(tmp_path) as lab:
        scans, log = Scans(), []
        first, second = Scan(log), Scan(log)
        one = asyncio.create_task(scans.run(lab.groups.group, first))
        await asyncio.to_thread(first.begun.wait, PATIENCE_S)
        two = asyncio.create_task(scans.run(lab.groups.group, second))
        await asyncio.sleep(0.05)
        await cancel(two)
        first.go_on.set()
        await one
        await scans.run(lab.groups.group, lambda _: log.append("third"))
        assert log == ["begun", "done", "third"]


async def test_who_does_not_lead_says_so_while_another_scan_is_under_way(tmp_path):
    class Follower:
        is_leader = False

        def redirect(self):
            return Redirect("elsewhere", leader="h:1")

    async with Lab(tmp_path) as lab:
        scans, scan = Scans(), Scan([])
        one = asyncio.create_task(scans.run(lab.groups.group, scan))
        await asyncio.to_thread(scan.begun.wait, PATIENCE_S)
        with pytest.raises(Redirect):
            await scans.run(Follower(), lambda _: None)
        scan.go_on.set()
        await one
