"""kill -9 at every step of operations across partitions, on whoever coordinates or takes part: all or nothing.

Three real metaservers, groups of three replicas. At each failpoint that the code registers one of them dies in the
middle of an operation; it is started again, the operation gets its answer, observers saw all of it or nothing all the
time, and afterwards nothing is left of any transaction.
"""

import asyncio
import contextlib
import importlib
import os
import pkgutil
import random

import pytest

import curvefs.src.metaserver
from curvefs.src.common import failpoints

from ..support.fleet_client import FleetClient
from ..support.group_states import check_everything, unfinished
from ..support.metaservers import GROUPS, Metaservers
from ..support.spanning_operations import SCENARIOS, World, perform

LONG = os.environ.get("CURVEFS_TEST_LONG") == "1"
ROOTS, COORDINATOR, PARTICIPANT = 1, 2, 3  # server n leads group n: of the root and C, of A, of B
TRIES = 3  # at a point: a busy machine may elect another leader in between

MOVES = [name for name in SCENARIOS if ("directory" in name and "rename" in name) or "exchange" in name]
ROUNDS = ["rename_file_over_foreign_file", "rename_file_over_file", "rename_directory_over_directory"]
# What hits a point; the others are hit by everything that succeeds.
ONLY = {
    "coordinator.move_locked": MOVES,
    "coordinator.walked": MOVES,
    "coordinator.second_prepared": [*ROUNDS, "exchange_directory_with_foreign_file"],
    "coordinator.aborting": ["rename_refused"],
}
# Who is killed where, by failpoint; else the coordinator, or the participant, dies at the point.
ARMS = {
    # Whoever leads the coordinator's group next takes up what is decided.
    "coordinator.resuming": {
        COORDINATOR: "coordinator.before_telling=kill",
        ROOTS: "coordinator.resuming=kill",
        PARTICIPANT: "coordinator.resuming=kill",
    },
    # A participant asks only about what it was not told the end of.
    "participant.asking": {COORDINATOR: "coordinator.first_prepared=kill", PARTICIPANT: "participant.asking=kill"},
    "participant.told": {COORDINATOR: "coordinator.first_prepared=kill", PARTICIPANT: "participant.told=kill"},
}
# More of them: (failpoints by server, the servers of which one has to die, what is tried).
MORE = [
    # The second round of a participant that is prepared already.
    ({PARTICIPANT: "participant.prepared=kill:2"}, [PARTICIPANT], "rename_file_over_file"),
    # Who keeps the lock on moving directories.
    ({ROOTS: "participant.prepared=kill"}, [ROOTS], "rename_directory"),
    ({ROOTS: "participant.before_finish=kill"}, [ROOTS], "exchange_directory_with_foreign_file"),
    # Two die of the same transaction.
    (
        {COORDINATOR: "coordinator.decided=kill", PARTICIPANT: "participant.before_finish=kill"},
        [PARTICIPANT],
        "rename_directory_over_directory",
    ),
    (
        {COORDINATOR: "coordinator.first_prepared=kill", PARTICIPANT: "participant.finished=kill"},
        [PARTICIPANT],
        "unlink_foreign_file",
    ),
]


def registered():
    """All failpoints of transactions in the metaserver's code."""
    package = curvefs.src.metaserver
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return [point for point in failpoints.points() if point.startswith(("coordinator.", "participant."))]


def arms_of(point):
    """Return (failpoints by server, the servers of which one has to die at the point)."""
    arms = ARMS.get(point)
    if arms is None:
        arms = {COORDINATOR if point.startswith("coordinator.") else PARTICIPANT: f"{point}=kill"}
    return arms, [server for server, armed in arms.items() if armed.startswith(f"{point}=")]


class Trial:
    """A cluster with observers, through one failpoint after the other."""

    def __init__(self, servers, client, observers):
        self.servers = servers
        self.world = World(client)
        self.observers = observers
        self.rng = random.Random(1)
        self.looks = 0

    async def hit(self, arms, victims, scenario):
        """Have a failpoint kill one of the victims during a scenario, and perform another one while it comes back."""
        for _ in range(TRIES):
            for number, armed in arms.items():
                await self.servers.servers[number].restart(armed)
            deaths = {number: self.servers.servers[number].deaths for number in arms}
            for number, group_id in enumerate(GROUPS, 1):
                await self.servers.lead(group_id, number)
            await self.perform(scenario)
            if await self._deaths(victims, deaths):
                break
            leaders = [await self.servers.leader_of(group_id) for group_id in GROUPS]
            assert leaders != list(range(1, len(GROUPS) + 1)), "the failpoint was not hit"
        else:
            raise AssertionError("the leaders change all the time")
        await self.perform(self.rng.choice(list(SCENARIOS)))
        await self.servers.all_ready()
        tree = await check_everything(self.servers)
        assert {tree.find("A"), tree.find("B"), tree.find("C")} == set(self.world.tops.values())

    async def perform(self, scenario):
        self.looks += await perform(self.world, scenario, self.observers, self.rng.random())

    async def _deaths(self, victims, before):
        """Wait until one of the victims has died."""

        def dead():
            return any(self.servers.servers[number].deaths > before[number] for number in victims)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while not dead():
                    await asyncio.sleep(0.05)
        return dead()


@contextlib.asynccontextmanager
async def trial():
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Metaservers())
        client, *observers = [
            await stack.enter_async_context(FleetClient(servers, bytes([n]) * 16)) for n in range(1, 4)
        ]
        made = Trial(servers, client, observers)
        try:
            await made.world.begin()
            yield made
        except BaseException:
            print(servers.logs(), unfinished(servers), sep="\n")
            raise


def scenarios_for(point, points):
    """What is tried at a point: one scenario, another one at each; in the long run all."""
    able = ONLY.get(point) or [name for name in SCENARIOS if name != "rename_refused"]
    if LONG:
        return able
    return [able[points.index(point) % len(able)]]


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(3600 if LONG else 900)
async def test_a_kill_at_any_failpoint_leaves_all_or_nothing():
    points = registered()
    assert {"coordinator.decided", "participant.prepared"} < set(points)
    plans = [(*arms_of(point), scenario) for point in points for scenario in scenarios_for(point, points)]
    async with trial() as made:
        for arms, victims, scenario in [*plans, *MORE]:
            try:
                await made.hit(arms, victims, scenario)
            except BaseException as error:
                error.add_note(f"with {arms}, during {scenario}")
                raise
        assert made.looks > 50 * len(plans), "somebody watched"


@pytest.mark.asyncio
async def test_every_scenario_is_all_or_nothing_when_nobody_dies():
    async with trial() as made:
        for scenario in SCENARIOS:
            await made.perform(scenario)
        await check_everything(made.servers)
