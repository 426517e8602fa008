"""The schedulers on a simulated fleet of 1,000 metaservers in 10 zones, with 100,000 copysets of 3 replicas.

It fails metaservers, adds and drains some, restarts everything, and prints per event: moves and the fewest that would
do, passes and seconds per pass, and how replicas and leaders are spread afterwards. It fails when an invariant breaks,
when moves exceed the fewest by more than a tenth and a third of a move per metaserver (at the end of an
event the zones may leave no exact fit), or when leaders are further than LEADERS_OFF_MAX from their mean.

    python tools/bench/scheduling.py [--metaservers 1000] [--zones 10] [--copysets 100000] [--seed 1]
        [--at-a-time 16]
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
from collections.abc import Callable

from curvefs.src.mds.schedule.controller import Controller
from curvefs.src.mds.schedule.operators import Limits, Scheduler
from curvefs.test.mds.schedule.simulation import Fleet, Measured, make_pass

MOVES_OVER_MIN = 1.1
LEADERS_OFF_MAX = 3


def spread(counts: dict[int, int]) -> str:
    """Return lowest/mean/highest."""
    return f"{min(counts.values())}/{sum(counts.values()) / len(counts):.1f}/{max(counts.values())}"


def watch(fleet: Fleet, name: str, happens: Callable[[], None], *, is_bounded: bool = True) -> None:
    """Have something happen, let the fleet settle, print and judge.

    is_bounded: what happens, happens at one moment, so that the fewest moves are known.
    """
    fleet.measured = Measured()
    happens()
    moves_min = fleet.moves_min()
    fleet.settle()
    fleet.check_whole()
    done = fleet.measured
    fewest = f"of at least {moves_min:>6}" if is_bounded else " " * 18
    print(
        f"{name:<28} moves {done.moves:>6} {fewest}  transfers {done.transfers:>6}  "
        f"passes {done.passes:>4}, s per pass {done.all_passes_s / done.passes:.2f} "
        f"(longest {done.longest_pass_s:.2f}, its snapshot {done.longest_snapshot_s:.2f})  "
        f"replicas {spread(fleet.replica_counts())}  leaders {spread(fleet.leader_counts())}",
        flush=True,
    )
    # In an event so small that not every metaserver is concerned, the slack is smaller as well.
    slack = min(len(fleet.replica_counts()), moves_min) / 3
    if is_bounded and done.moves > moves_min * MOVES_OVER_MIN + slack:
        raise SystemExit(f"{name}: too many moves")
    leaders = fleet.leader_counts()
    mean = sum(leaders.values()) / len(leaders)
    if max(abs(count - mean) for count in leaders.values()) > LEADERS_OFF_MAX:
        raise SystemExit(f"{name}: leaders are not spread")


def restart(fleet: Fleet) -> None:
    """Have all groups elect at random, and spread the leaders at once."""
    fleet.restart_all()
    fleet.controller.switch(Scheduler.RAPID_LEADER, on=True)


def usable(fleet: Fleet, count: int, zone_id: int | None = None) -> list[int]:
    """Return some metaservers, of one zone or of all."""
    there = [one for one in fleet.metaservers.values() if one.usable and zone_id in (None, one.zone_id)]
    return fleet.random.sample([one.metaserver_id for one in there], count)


def fail(fleet: Fleet, count: int, zone_id: int) -> None:
    """Have metaservers of one zone fail together; of several zones, some copysets would be gone."""
    for id_ in usable(fleet, count, zone_id):
        fleet.fail(id_)


def drain(fleet: Fleet, count: int) -> None:
    """Have metaservers be emptied."""
    for id_ in usable(fleet, count):
        fleet.drain(id_)


def join(fleet: Fleet, count: int, zones: range) -> None:
    """Have new ones come."""
    for number in range(count):
        fleet.join(zones[number % len(zones)])


def exchange(fleet: Fleet, count: int) -> None:
    """Have some be emptied, and as many come to the same zones."""
    for id_ in usable(fleet, count):
        fleet.drain(id_)
        fleet.join(fleet.metaservers[id_].zone_id)


def everything(fleet: Fleet, count: int, zones: range) -> None:
    """Have some come, some be emptied, some fail and half of these come back, while the rest is under way."""
    for zone_id in zones:
        exchange(fleet, count // len(zones) + 1)
        failed = usable(fleet, 2, zone_id)
        for id_ in failed:
            fleet.fail(id_)
        for _ in range(6):
            fleet.step()
        fleet.come_back(failed[0])
        for _ in range(14):
            fleet.step()


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metaservers", type=int, default=1000)
    parser.add_argument("--zones", type=int, default=10)
    parser.add_argument("--copysets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-a-time", type=int, default=16, help="Replicas that come to a metaserver, or are sent.")
    args = parser.parse_args()
    limits = Limits(joins_per_metaserver=args.at_a_time, sends_per_metaserver=args.at_a_time)
    fleet = Fleet(args.metaservers, args.zones, replica_count=3, limits=limits, seed=args.seed)
    print(f"create: {args.copysets} copysets placed in {fleet.make_copysets(args.copysets):.2f} s", flush=True)
    part = max(1, args.metaservers // 100)
    zones = range(args.zones)
    watch(fleet, "nothing", lambda: None)
    watch(fleet, "1 fails", lambda: fail(fleet, 1, 0))
    watch(fleet, f"{part} of a zone fail at once", lambda: fail(fleet, part, 1))
    watch(fleet, f"{2 * part} join", lambda: join(fleet, 2 * part, zones))
    watch(fleet, f"{part} join one zone", lambda: join(fleet, part, range(1)))
    watch(fleet, f"{part} are drained", lambda: drain(fleet, part))
    watch(fleet, f"{part} are exchanged", lambda: exchange(fleet, part))
    watch(fleet, "all restart, rapid leader", lambda: restart(fleet))
    watch(fleet, "all restart, leader balance", fleet.restart_all)
    watch(fleet, "all of it, interleaved", lambda: everything(fleet, part, zones), is_bounded=False)
    fresh = Controller(fleet.limits, fleet.random)
    begun, _ = make_pass(fresh, [fleet.snapshot()], fleet.now_s)
    print(f"a new MDS finds nothing to do: {len(begun)} operators")
    if begun:
        raise SystemExit("a balanced fleet is not left alone")


if __name__ == "__main__":
    main()
