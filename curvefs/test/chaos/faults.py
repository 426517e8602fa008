"""One fault after the other on a running cluster, until told to stop: seeded, counted, noted with their times.

A fault is over when the cluster has all its processes again; the next follows after a pause, which may be nearly none,
so that faults also meet elections and replicas that catch up.
"""

import time
from collections import Counter

import trio

PAUSE_S_MAX = 1.5
STOP_S = (0.9, 4.0)  # the lease is 0.8 s, the election timeout 1 s
AWAY_S_MAX = 1.5  # before what was killed is started again
CUT_S_MAX = 1.0
_WEIGHTS = {"kill": 40, "stop": 30, "cut": 8, "refuse": 6, "hold": 8, "transfer": 5, "kill all": 3}


class Faults:
    """``times``: (kind, began, ended) of each."""

    def __init__(self, fleet, proxies, addresses, rng):
        self._fleet = fleet
        self._proxies = proxies
        self._addresses = addresses  # number -> address
        self._rng = rng
        self.times = []
        self._enough = trio.Event()
        self.over = trio.Event()

    @property
    def counts(self):
        """Return how many of each kind there were."""
        return Counter(kind for kind, _, _ in self.times)

    def during(self, began, ended):
        """Return how many faults met an interval."""
        return sum(first <= ended and last >= began for _, first, last in self.times)

    def stop(self):
        """No further fault; ``over`` is set when the last one is."""
        self._enough.set()

    async def run(self):
        """Hurt until stop()."""
        try:
            while not self._enough.is_set():
                kind = self._rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                groups = await trio.to_thread.run_sync(self._fleet.groups)
                group = self._rng.choice(groups)
                leader = await trio.to_thread.run_sync(self._fleet.leader, group)
                await self._check_alive()
                began = time.monotonic()
                await getattr(self, "_" + kind.replace(" ", "_"))(group, leader)
                self.times.append((kind, began, time.monotonic()))
                with trio.move_on_after(self._rng.uniform(0, PAUSE_S_MAX)):
                    await self._enough.wait()
        finally:
            self.over.set()

    async def _check_alive(self):
        for number in self._fleet.numbers:
            alive = await trio.to_thread.run_sync(self._fleet.is_alive, number)
            assert alive, f"metaserver {number} has ended by itself: {self._fleet.exit_code(number)}"

    async def _kill(self, _, leader):
        await trio.to_thread.run_sync(self._fleet.kill, leader)
        await trio.sleep(self._rng.uniform(0, AWAY_S_MAX))
        await trio.to_thread.run_sync(self._fleet.restart, leader)
        await trio.to_thread.run_sync(self._fleet.wait_healthy)

    async def _kill_all(self, *_):
        for step in (self._fleet.kill, self._fleet.restart):
            for number in self._fleet.numbers:
                await trio.to_thread.run_sync(step, number)
        await trio.to_thread.run_sync(self._fleet.wait_healthy)

    async def _stop(self, _, leader):
        await trio.to_thread.run_sync(self._fleet.stop, leader)
        try:
            await trio.sleep(self._rng.uniform(*STOP_S))
        finally:
            self._fleet.go_on(leader)

    async def _cut(self, _, leader):
        self._proxies.cut(self._addresses[leader])

    async def _refuse(self, _, leader):
        await self._proxies.refuse(self._addresses[leader], self._rng.uniform(0, CUT_S_MAX))

    async def _hold(self, _, leader):
        await self._proxies.hold(self._addresses[leader], self._rng.uniform(*STOP_S))

    async def _transfer(self, group, leader):
        other = self._rng.choice([number for number in self._fleet.numbers if number != leader])
        await trio.to_thread.run_sync(self._fleet.transfer, group, other)
