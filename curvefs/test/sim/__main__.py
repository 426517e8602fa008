"""The command: python -m curvefs.test.sim [--seed N [--trace]] [--schedules N] [--first N] [--workers N] [--fix J]."""

import argparse
import json
import sys
import time

from curvefs.test.sim import runner


def main():
    """Run one schedule, or many. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seed", type=int, help="replay one schedule")
    parser.add_argument("--trace", action="store_true", help="print every event of it")
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=runner.WORKERS)
    parser.add_argument("--fix", type=json.loads, default={}, help="what is not drawn: see schedule.draw")
    said = parser.parse_args()
    began = time.monotonic()
    if said.seed is not None:
        runner.prepare()
        outcome = runner.run_one(said.seed, print if said.trace else None, **said.fix)
        failure, clean, counters = (outcome if outcome.invariant else None), 1, outcome.counters
    else:
        seeds = range(said.first, said.first + said.schedules)
        clean, counters, failure = runner.run_many(seeds, said.workers, **said.fix)
    if failure is not None:
        print(runner.report(failure))
        return 1
    took = time.monotonic() - began
    print(runner.coverage(counters, clean))
    print(f"{clean} schedules clean, {60 * clean / took:.0f} a minute")
    return 0


if __name__ == "__main__":
    sys.exit(main())
