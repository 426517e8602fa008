"""How long a mount pauses when a leader goes: kill -9, a stop that lasts, an orderly end, a hand-over of leadership.

It starts a cluster of three metaservers of its own, creates files in directories of every group one after the other,
does each kind of harm to the leader of the busiest group in turn, and prints per kind: the longest create of each time,
their median, and errors.

    python tools/bench/failover.py [--rounds 5] [--kinds kill,stop,end,hand-over]
"""

# ruff: noqa: INP001 -- a script, in no package
# mypy: allow-untyped-calls

import argparse
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from curvefs.src.client import runtime
from curvefs.test.chaos.fleet import Fleet
from curvefs.test.support.cluster import Cluster

DIRECTORIES = 12
STOPPED_S = 5.0
WATCHED_S = 6.0
QUIET_S = 1.0


class Creating:
    """Creates files, one at a time, in one directory after the other."""

    def __init__(self, mount: Path) -> None:
        self.took: list[tuple[float, float]] = []  # (began, took)
        self.errors: list[str] = []
        self._places = [mount / f"d{number}" for number in range(DIRECTORIES)]
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        for place in self._places:
            place.mkdir()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def longest(self, since: float) -> float:
        """Return the longest create that had not ended then."""
        return max(took for began, took in self.took if began + took >= since)

    def _run(self) -> None:
        while not self._enough.is_set():
            began = time.monotonic()
            try:
                (self._places[len(self.took) % DIRECTORIES] / f"f{len(self.took)}").touch()
            except OSError as error:
                self.errors.append(str(error))
            self.took.append((began, time.monotonic() - began))


def harms(cluster: Cluster, fleet: Fleet) -> dict[str, Callable[[int, int], None]]:
    """Return kind -> what does it to (group, its leader) and returns when the cluster is whole again."""

    def kill(_: int, leader: int) -> None:
        pid = fleet.kill(leader)
        time.sleep(WATCHED_S)
        cluster.wait_restarted(f"metaserver-{leader}", pid)

    def end(_: int, leader: int) -> None:
        pid = fleet.pid(leader)
        started = runtime.start_time(pid)
        os.kill(pid, signal.SIGTERM)
        time.sleep(WATCHED_S)
        assert started is None or runtime.wait_gone(pid, started, WATCHED_S)
        cluster.wait_restarted(f"metaserver-{leader}", pid)

    def stop(_: int, leader: int) -> None:
        fleet.stop(leader)
        time.sleep(STOPPED_S)
        fleet.go_on(leader)

    def hand_over(group: int, leader: int) -> None:
        fleet.transfer(group, next(number for number in fleet.numbers if number != leader))
        time.sleep(QUIET_S)

    return {"kill": kill, "end": end, "stop": stop, "hand-over": hand_over}


def busiest(fleet: Fleet) -> tuple[int, int]:
    """Return the group in which most happens, and its leader."""
    before = fleet.committed()
    time.sleep(QUIET_S)
    group = max((index - before[group], group) for group, index in fleet.committed().items())[1]
    return group, fleet.leader(group)


def main() -> None:
    """Do it and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default="kill,stop,end,hand-over")
    said = parser.parse_args()
    with Cluster() as cluster:
        cluster.up("--metaservers", "3")
        with Fleet(cluster) as fleet, Creating(cluster.mnt) as creating:
            for kind in said.kinds.split(","):
                harm = harms(cluster, fleet)[kind]
                pauses = []
                for _ in range(said.rounds):
                    target = busiest(fleet)
                    began = time.monotonic()
                    harm(*target)
                    pauses.append(creating.longest(began))
                    fleet.wait_healthy()
                shown = " ".join(f"{pause:.2f}" for pause in pauses)
                errors, creating.errors = creating.errors, []
                print(f"{kind:<10} median {statistics.median(pauses):.2f} s   each {shown}   errors {errors or 'none'}")
        usual = 1000 * statistics.median(took for _, took in creating.took)
        print(f"{len(creating.took)} creates, median {usual:.1f} ms")


if __name__ == "__main__":
    main()
