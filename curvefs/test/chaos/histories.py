"""Histories of concurrent calls on a cluster that is hurt all the while, each checked to be linearizable.

One cluster, sixteen clients (sessions), several histories at a time: each has directories of its own, four to eight
of the clients, and 100 to 300 calls; faults go on without a break. Half of the clients give a call up soon, so that
there are outcomes nobody knows; the others wait. One client more per history only lists, at intervals. Checking is
for other processes, meanwhile.
"""

import itertools
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from curvefs.src.rpc.connection import find_sessions
from curvefs.test.chaos import files
from curvefs.test.chaos.asking import Client
from curvefs.test.chaos.choosing import Choosing
from curvefs.test.chaos.faults import Faults
from curvefs.test.chaos.fleet import Fleet
from curvefs.test.chaos.proxy import Proxies
from curvefs.test.linearizability.checker import Verdict, check
from curvefs.test.linearizability.namespace import Namespace
from curvefs.test.linearizability.operations import Readdir

CLIENTS = 16
AT_A_TIME = 12
CLIENTS_PER_HISTORY = (4, 8)
CALLS_PER_HISTORY = (100, 300)
IMPATIENT_S, PATIENT_S = 1.0, 60.0
THINKING_S_MEAN = 0.08
WATCHING_S, WATCHED_AT_ONCE = (0.3, 3.0), 5
BOUND, BOUND_AGAIN = 300_000, 4_000_000  # configurations; few histories need more than the first
SHOWN_LINES = 4  # of what the checker says
CHECKS_WAITING_MAX = 40


async def _where_sessions_are_taken(address):
    return (await find_sessions(address)).address


@dataclass
class Report:
    """What came out."""

    histories: int = 0
    calls: int = 0
    unknown: int = 0
    hurt: int = 0  # histories during which there was a fault
    faults: dict = field(default_factory=dict)
    surfaced: dict = field(default_factory=dict)  # error -> how often
    violations: list = field(default_factory=list)  # (file, what the checker said)
    differing: dict = field(default_factory=dict)  # group -> how
    logged: dict = field(default_factory=dict)  # error in a metaserver's log -> how often
    took_s: float = 0.0

    def __str__(self):
        faults = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.faults.items()))
        lines = [
            f"{self.histories} histories of {self.calls} calls in {self.took_s:.0f} s; {self.hurt} met faults",
            f"faults: {sum(self.faults.values())} ({faults})",
            f"calls of unknown outcome: {self.unknown}",
            *(f"  {count} x {error}" for error, count in sorted(self.surfaced.items())),
            f"not linearizable: {len(self.violations)}",
        ]
        for path, said in self.violations:
            lines += [*said.splitlines()[:SHOWN_LINES], f"see it with: python -m curvefs.test.chaos recheck {path}"]
        lines.append(f"groups whose replicas differ: {self.differing or 'none'}")
        lines.append(f"errors in logs of metaservers: {dict(self.logged) or 'none'}")
        return "\n".join(lines)


def recheck(path):
    """Check a history that was saved."""
    return check(Namespace(any_error=True), files.load(Path(path)), bound=BOUND_AGAIN)


def _check(calls):
    result = check(Namespace(any_error=True), calls, bound=BOUND)
    if result.verdict is Verdict.GAVE_UP:
        result = check(Namespace(any_error=True), calls, bound=BOUND_AGAIN)
    return None if result.ok else str(result)


def run(cluster, count, seed, folder, *, at_a_time=AT_A_TIME, tell=lambda _: None):
    """Run histories on a fresh cluster; what is not linearizable is saved in ``folder``, and logs that hold errors."""
    cluster.up("--metaservers", "3", "--no-restart", mount=False)
    context = multiprocessing.get_context("spawn")
    with Fleet(cluster, own_restarts=True) as fleet, ProcessPoolExecutor(1, context) as checkers:
        runner = _Run(cluster, fleet, checkers, count, seed, folder, at_a_time, tell)
        try:
            trio.run(runner.run)
        except BaseException:
            fleet.keep_logs(folder)
            raise
        runner.report.logged = fleet.logged_errors()
        if runner.report.logged:
            fleet.keep_logs(folder)  # first: whatever fails after it takes the cluster's own away
        runner.report.differing = fleet.differences()
    return runner.report


class _Run:
    """Shared across awaits: the next history's number, and the report."""

    def __init__(self, cluster, fleet, checkers, count, seed, folder, at_a_time, tell):
        self._cluster = cluster
        self._fleet = fleet
        self._checkers = checkers
        self._count = count
        self._rng = random.Random(seed)
        self._seed = seed
        self._folder = folder
        self._at_a_time = at_a_time
        self._tell = tell
        self._next = 0
        self._clients = []
        self._checks = trio.CapacityLimiter(CHECKS_WAITING_MAX)
        self._faults = None
        self.report = Report()

    async def run(self):
        began = time.monotonic()
        addresses = await trio.to_thread.run_sync(self._fleet.addresses)
        proxies = Proxies(_where_sessions_are_taken)
        self._faults = Faults(self._fleet, proxies, addresses, random.Random(self._rng.random()))
        async with trio.open_nursery() as background:
            await background.start(proxies.run, list(addresses.values()))

            async def new_client(timeout_s):
                client = Client(self._cluster.mds, self._cluster.fs, proxies, timeout_s=timeout_s)
                await background.start(client.run)
                return client

            self._clients = [await new_client(IMPATIENT_S if number % 2 else PATIENT_S) for number in range(CLIENTS)]
            watchers = [await new_client(PATIENT_S) for _ in range(self._at_a_time)]
            background.start_soon(self._faults.run)
            async with trio.open_nursery() as checking, trio.open_nursery() as histories:
                for watcher in watchers:
                    histories.start_soon(self._histories, checking, watcher)
            self._faults.stop()
            await self._faults.over.wait()
            await trio.to_thread.run_sync(self._fleet.wait_healthy)
            for client in [*self._clients, *watchers]:
                await client.close()
            background.cancel_scope.cancel()
        self.report.faults = dict(self._faults.counts)
        for client in [*self._clients, *watchers]:
            for error in client.surfaced:
                self.report.surfaced[error] = self.report.surfaced.get(error, 0) + 1
        self.report.took_s = time.monotonic() - began

    async def _histories(self, checking, watcher):
        while self._next < self._count:
            number, self._next = self._next, self._next + 1
            calls = await self._history(number, watcher)
            await checking.start(self._check, number, calls)

    async def _history(self, number, watcher):
        rng = random.Random(f"{self._seed}/{number}")
        choosing = Choosing(f"h{number}", rng)
        clients = rng.sample(self._clients, rng.randint(*CLIENTS_PER_HISTORY))
        total = rng.randint(*CALLS_PER_HISTORY)
        calls = []
        ids = itertools.count()

        async def call(client, operation):
            made = await client.call(f"{number}.{next(ids)}", operation)
            if made is not None:
                calls.append(made)
                choosing.learn(made)

        async def ask(client, count):
            for _ in range(count):
                await trio.sleep(rng.expovariate(1 / THINKING_S_MEAN))
                await call(client, choosing.operation())

        patient = max(clients, key=lambda client: client.timeout_s)
        for top in choosing.tops():
            await call(patient, top)
        left = total - len(calls)
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch, watcher, choosing, call, rng)
            async with trio.open_nursery() as nursery:
                for index, client in enumerate(clients):
                    nursery.start_soon(ask, client, left // len(clients) + (index < left % len(clients)))
            watching.cancel_scope.cancel()
        return calls

    async def _watch(self, watcher, choosing, call, rng):
        """List directories at intervals.

        This client is silent in between, for so long that it has not noticed when its leader stands still or was
        replaced: its next calls go to the old one, and lie there when that goes on.
        """
        while True:
            await trio.sleep(rng.uniform(*WATCHING_S))
            async with trio.open_nursery() as nursery:
                for parent in choosing.directories[-WATCHED_AT_ONCE:]:
                    nursery.start_soon(call, watcher, Readdir(parent))

    async def _check(self, number, calls, *, task_status):
        async with self._checks:
            task_status.started()
            future = self._checkers.submit(_check, calls)
            said = await trio.to_thread.run_sync(future.result, limiter=self._checks_threads())
        report = self.report
        report.histories += 1
        report.calls += len(calls)
        report.unknown += sum(one.ended is None for one in calls)
        last = max(one.ended or one.began for one in calls)
        report.hurt += bool(self._faults.during(min(one.began for one in calls), last))
        if said is not None:
            path = self._folder / f"history-{self._seed}-{number}.json"
            await trio.to_thread.run_sync(partial(files.save, path, calls))
            report.violations.append((path, said))
            self._tell(f"history {number} is not linearizable: {path}")
        if report.histories % 50 == 0:
            self._tell(f"{report.histories} histories, {len(self._faults.times)} faults")

    def _checks_threads(self):
        return trio.CapacityLimiter(1)  # each its own: they only wait
