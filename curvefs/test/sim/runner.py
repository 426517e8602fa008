"""Runs schedules: one, or many over several processes; says what was found and how to see it again."""

import functools
import gc
import hashlib
import multiprocessing
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

import structlog

from curvefs.test.sim.checkers import Violation
from curvefs.test.sim.client import Client
from curvefs.test.sim.metaserver import SimMetaserver
from curvefs.test.sim.plan import Plan
from curvefs.test.sim.schedule import draw
from curvefs.test.sim.world import World, line_of

WORKERS = 2
_COLLECT_EVERY = 32
_SAY_EVERY_S = 10.0


@dataclass(slots=True)
class Outcome:
    """How a schedule ended. invariant: the violated one, or None; the rest tells about that."""

    seed: int
    counters: Counter
    invariant: str | None = None
    what: str = ""
    recent: list[str] = field(default_factory=list)


def run_one(seed, trace=None, **more):
    """Run the schedule of a seed."""
    world = World(draw(seed, **more), SimMetaserver, Client, Plan, trace)
    outcome = Outcome(seed, world.counters)
    try:
        world.run()
    except Violation as violation:
        outcome.invariant, outcome.what = violation.invariant, str(violation)
    except Exception as error:  # whatever the code under test raises
        outcome.invariant = f"no {type(error).__name__}"
        outcome.what = traceback.format_exc()
    if outcome.invariant is not None:
        outcome.recent = [line_of(event) for event in world.recent]
    return outcome


def digest(seed, **more):
    """Return a hash of the whole trace of a schedule."""
    said = hashlib.sha256()
    outcome = run_one(seed, lambda line: said.update(line.encode()), **more)
    return said.hexdigest(), outcome


def prepare():
    """Make a process fit for many schedules: nobody reads the logs, and garbage is collected between them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    gc.collect()
    gc.freeze()
    gc.disable()


def run_collecting(seed, **more):
    """Run a schedule, and collect garbage now and then."""
    outcome = run_one(seed, **more)
    if seed % _COLLECT_EVERY == 0:
        gc.collect()
    return outcome


def run_many(seeds, workers=WORKERS, say=print, **more):
    """Run schedules until one fails. Returns (how many were clean, all counters, the failure or None)."""
    began = said_at = time.monotonic()
    counters, clean = Counter(), 0
    with multiprocessing.get_context("spawn").Pool(workers, prepare) as pool:
        for outcome in pool.imap_unordered(functools.partial(run_collecting, **more), seeds, chunksize=4):
            counters += outcome.counters
            if outcome.invariant is not None:
                return clean, counters, outcome
            clean += 1
            now = time.monotonic()
            if now - said_at >= _SAY_EVERY_S:
                said_at = now
                say(f"{clean} of {len(seeds)} schedules clean, {60 * clean / (now - began):.0f} a minute")
    return clean, counters, None


def report(outcome):
    """Return what is to be said about a failure."""
    return "\n".join(
        (
            f"seed {outcome.seed} violates: {outcome.invariant}",
            outcome.what.rstrip(),
            f"the last {len(outcome.recent)} events:",
            *outcome.recent,
            f"replay: make sim SEED={outcome.seed}    (TRACE=1 prints every event)",
        )
    )


def coverage(counters, schedules):
    """Return what the schedules met, as text."""
    messages = counters["messages"] / max(1, schedules)
    lines = [f"{messages:.0f} delivered messages a schedule"]
    lines += [f"  {count:>10}  {name}" for name, count in sorted(counters.items()) if name != "messages"]
    return "\n".join(lines)
