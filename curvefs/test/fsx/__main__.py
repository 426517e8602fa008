"""The commands.

python -m curvefs.test.fsx one FILE [OTHER] --seed S --steps N [--model KEPT]
    One file, in this process, so that a page that cannot be had kills only it. OTHER is the same file on another mount:
    then the two take turns, from close to open. KEPT: what the file must hold, from the run before and for the next.
python -m curvefs.test.fsx run [--operations N] [--seeds N] [--first S] [--two] [--large]
    A cluster, a mount (or two) and so many files; between rounds everything is unmounted and mounted again. Blocks are
    small, so that a file has many of them and some chunks; --large: as users have them.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from curvefs.test.fsx.exerciser import Exerciser
from curvefs.test.fsx.model import Model
from curvefs.test.support.cluster import Cluster

FS = "fsx"
AT_ONCE = 2
STEPS_PER_ROUND = 5000
STEPS_PER_TURN = 40
GEOMETRY = ("--chunk-size", "256K", "--block-size", "64K")
OPTIONS = ("", "memory=32M", "attr_timeout=0,entry_timeout=0")  # of the mounts, in turn
ROUND_S_MAX = 3600


def main():
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="fsx")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("one")
    one.add_argument("paths", nargs="+", type=Path)
    one.add_argument("--seed", required=True)
    one.add_argument("--steps", type=int, default=1000)
    one.add_argument("--model", type=Path)
    one.set_defaults(do=exercise)
    many = commands.add_parser("run")
    many.add_argument("--operations", type=int, default=1_000_000)
    many.add_argument("--seeds", type=int, default=10)
    many.add_argument("--first", type=int, default=1)
    many.add_argument("--two", action="store_true")
    many.add_argument("--large", action="store_true")
    many.set_defaults(do=run)
    said = parser.parse_args()
    return said.do(said)


def exercise(said):
    """Do the operations on one file."""
    model = Model.load(said.model) if said.model else Model()
    exerciser = Exerciser(said.paths[0], said.seed, model)
    done = 0
    while done < said.steps:
        steps = said.steps - done if len(said.paths) == 1 else min(STEPS_PER_TURN, said.steps - done)
        exerciser.run(steps)
        done += steps
        exerciser.reopen(said.paths[done // STEPS_PER_TURN % len(said.paths)])
    exerciser.close()
    if said.model:
        model.save(said.model)
    without = f" without {', '.join(sorted(exerciser.without))}" if exerciser.without else ""
    print(f"{done} operations{without}; {len(model)} bytes in the end")
    return 0


def run(said):
    """Do so many operations on files of as many seeds; says where to find what went wrong."""
    began, done = time.monotonic(), 0
    seeds = range(said.first, said.first + said.seeds)
    rounds = -(-said.operations // (said.seeds * STEPS_PER_ROUND))
    steps = -(-said.operations // (said.seeds * rounds))
    with Cluster() as cluster:
        cluster.up(mount=False)
        geometry = () if said.large else GEOMETRY
        cluster.tool(
            "create-fs", FS, "--data", cluster.data, "--object-store", f"file://{cluster.root}/blocks", *geometry
        )
        for number in range(rounds):
            options = OPTIONS[number % len(OPTIONS)]
            mounts = [mount(cluster, f"mnt{index}", options) for index in range(1 + said.two)]
            for begin in range(0, len(seeds), AT_ONCE):
                if not one_round(cluster, mounts, seeds[begin : begin + AT_ONCE], number, steps):
                    print(cluster.logs())
                    return 1
                done += steps * len(seeds[begin : begin + AT_ONCE])
            for place in mounts:
                cluster.umount(place)
            took = time.monotonic() - began
            print(f"{done} operations on {said.seeds} files are right, {60 * done / took:.0f} a minute", flush=True)
    return 0


def mount(cluster, name, options):
    """Mount the filesystem and return the folder."""
    place = cluster.root / name
    place.mkdir(exist_ok=True)
    mounted = cluster.try_mount(place, options, FS)
    assert mounted.returncode == 0, mounted.stderr
    return place


def one_round(cluster, mounts, seeds, number, steps):
    """Exercise some files at once, each in a process of its own. Says whether all went right."""
    processes = []
    for seed in seeds:
        paths = [place / f"file{seed}" for place in mounts]
        kept = cluster.root / f"model{seed}"
        words = ["one", *paths, "--seed", f"{seed}/{number}", "--steps", steps, "--model", kept]
        command = [sys.executable, "-m", "curvefs.test.fsx", *map(str, words)]
        processes.append((seed, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
    right = True
    for seed, process in processes:
        said, _ = process.communicate(timeout=ROUND_S_MAX)
        if process.returncode:
            print(f"seed {seed}, round {number}: exit {process.returncode}\n{said.decode(errors='replace')}")
            right = False
    return right


if __name__ == "__main__":
    sys.exit(main())
