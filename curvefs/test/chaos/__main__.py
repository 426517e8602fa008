"""The command: python -m curvefs.test.chaos kills | histories | quotas | drill | recheck FILE."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from curvefs.src.common import logs
from curvefs.test.support.cluster import Cluster


def main():
    """Run one of them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos")
    commands = parser.add_subparsers(dest="command", required=True)
    kills = commands.add_parser("kills", help="kill leaders under a load, check that nothing is lost")
    kills.add_argument("--kills", type=int, default=20)
    histories = commands.add_parser("histories", help="histories under faults, checked to be linearizable")
    histories.add_argument("--count", type=int, default=1000)
    histories.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    histories.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "curvefs-chaos", help="for those that fail"
    )
    commands.add_parser("drill", help="metaservers and zones lost for good: what the fleet does about it")
    quotas = commands.add_parser("quotas", help="random operations under quotas that change, leaders killed meanwhile")
    quotas.add_argument("--operations", type=int, default=10_000)
    quotas.add_argument("--kills", type=int, default=10)
    quotas.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    recheck = commands.add_parser("recheck", help="check a saved history again")
    recheck.add_argument("file", type=Path)
    said = parser.parse_args()
    logs.configure(level="error", program="chaos")  # of clients in this process: they tell of each fault
    return COMMANDS[said.command](said)


def _kills(said):
    from curvefs.test.chaos import kills

    with Cluster() as cluster:
        report = kills.run(cluster, said.kills, tell=_tell)
    print(report)
    return 1 if report.faults else 0


def _histories(said):
    from curvefs.test.chaos import histories

    print(f"seed {said.seed}")
    with Cluster() as cluster:
        report = histories.run(cluster, said.count, said.seed, said.folder, tell=_tell)
    print(report)
    return 1 if report.violations or report.differing or report.logged else 0


def _drill(_):
    from curvefs.test.chaos import drill

    report = drill.run_drill(_tell)
    print(f"faults: {len(report.faults)}", *report.faults, sep="\n")
    return 1 if report.faults else 0


def _quotas(said):
    from curvefs.test.chaos import quotas

    print(f"seed {said.seed}")
    with Cluster() as cluster:
        report = quotas.run(cluster, said.operations, said.kills, said.seed, tell=_tell)
    print(report)
    return 1 if report.faults else 0


def _recheck(said):
    from curvefs.test.chaos import histories

    result = histories.recheck(said.file)
    print(result)
    return 0 if result.ok else 1


def _tell(line):
    print(line, flush=True)


COMMANDS = {"kills": _kills, "histories": _histories, "quotas": _quotas, "drill": _drill, "recheck": _recheck}


if __name__ == "__main__":
    sys.exit(main())
