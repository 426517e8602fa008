"""The schedulers on a simulated fleet of 1,000 metaservers in 10 zones, with 100,000 copysets of 3 replicas.

It fails metaservers, adds and drains some, restarts everything, and prints per event: moves and the fewest that would
do, passes and seconds per pass, and how replicas and leaders are spread afterwards. It fails when an invariant breaks,
when moves exceed the bound by more than a tenth, or when leaders are further than LEADERS_OFF_MAX from their mean.

    python tools/bench/scheduling.py [--metaservers 1000] [--zones 10] [--copysets 100000] [--seed 1]
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
from collections.abc import Callable

from curvefs.src.mds.schedule.controller import Controller
from curvefs.src.mds.schedule.operators import Limits, Scheduler
from curvefs.test.mds.schedule.simulation import Fleet, Measured

MOVES_OVER_MIN = 1.1
LEADERS_OFF_MAX = 3


def spread(counts: dict[int, int]) -> str:
    """Return lowest/mean/highest."""
    return f"{min(counts.values())}/{sum(counts.values()) / len(counts):.1f}/{max(counts.values())}"


def watch(fleet: Fleet, name: str, happens: Callable[[], None]) -> None:
    """Have something happen, let the fleet settle, print and judge."""
    fleet.measured = Measured()
    happens()
    moves_min = fleet.moves_min()
    fleet.settle()
    fleet.check_whole()
    done = fleet.measured
    print(
        f"{name:<34} moves {done.moves:>6} of at least {moves_min:>6}  transfers {done.transfers:>6}  "
        f"passes {done.passes:>4}, s per pass {done.all_passes_s / done.passes:.2f} (longest {done.longest_pass_s:.2f}, "
        f"snapshot {done.longest_snapshot_s:.2f})  replicas {spread(fleet.replica_counts())}  "
        f"leaders {spread(fleet.leader_counts())}",
        flush=True,
    )
    if done.moves > moves_min * MOVES_OVER_MIN + fleet.replica_count:
        raise SystemExit(f"{name}: too many moves")
    leaders = fleet.leader_counts()
    mean = sum(leaders.values()) / len(leaders)
    if max(abs(count - mean) for count in leaders.values()) > LEADERS_OFF_MAX:
        raise SystemExit(f"{name}: leaders are not spread")


def restart(fleet: Fleet) -> None:
    """Have all groups elect at random, and spread the leaders at once."""
    fleet.restart_all()
    fleet.controller.switch(Scheduler.RAPID_LEADER, on=True)


def shuffle(fleet: Fleet, count: int) -> None:
    """Have some fail, some join and some be drained, some of them while the others are under way."""
    for _ in range(count):
        healthy = [id_ for id_, one in fleet.metaservers.items() if one.usable]
        fleet.random.choice([fleet.fail, fleet.drain])(fleet.random.choice(healthy))
        fleet.join(fleet.random.randrange(10))


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metaservers", type=int, default=1000)
    parser.add_argument("--zones", type=int, default=10)
    parser.add_argument("--copysets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    fleet = Fleet(args.metaservers, args.zones, replica_count=3, limits=Limits(), seed=args.seed)
    print(f"create: {args.copysets} copysets placed in {fleet.make_copysets(args.copysets):.2f} s", flush=True)
    some = fleet.random.sample(sorted(fleet.metaservers), 30)
    part = max(1, args.metaservers // 100)
    watch(fleet, "nothing", lambda: None)
    watch(fleet, "one fails", lambda: fleet.fail(some[0]))
    watch(fleet, f"{part} fail at once", lambda: [fleet.fail(id_) for id_ in some[1 : part + 1]] and None)
    watch(fleet, f"{2 * part} join", lambda: [fleet.join(n % args.zones) for n in range(2 * part)] and None)
    watch(fleet, f"{part} join one zone", lambda: [fleet.join(0) for _ in range(part)] and None)
    watch(fleet, f"{part} are drained", lambda: [fleet.drain(id_) for id_ in some[part + 1 : 2 * part + 1]] and None)
    watch(fleet, "all restart, rapid leader", lambda: restart(fleet))
    watch(fleet, "all restart, leader balance", fleet.restart_all)
    watch(fleet, f"{2 * part} fail or retire, as many join", lambda: shuffle(fleet, 2 * part))
    fresh = Controller(fleet.limits, fleet.random)
    begun, _ = fresh.run(fleet.snapshot(), fleet.now_s)
    print(f"a new MDS finds nothing to do: {len(begun)} operators")
    if begun:
        raise SystemExit("a balanced fleet is not left alone")


if __name__ == "__main__":
    main()
