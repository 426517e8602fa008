"""The command: python -m curvefs.test.model [--examples N] [--seed N] [--script "(kind, seconds, steps)"]."""

import argparse
import ast
import time

from hypothesis import HealthCheck, given, seed, settings

from .machine import KINDS, play, scripts


def main() -> None:
    """Play one script, or many of each kind of mounts; what fails is made shorter and printed."""
    parser = argparse.ArgumentParser(prog="make model")
    parser.add_argument("--examples", type=int, default=2000, help="of each kind of mounts")
    parser.add_argument("--seed", type=int, help="draw the same scripts again")
    parser.add_argument("--script", type=ast.literal_eval, help="play this one, as a failure prints it")
    said = parser.parse_args()
    if said.script is not None:
        play(said.script)
        print("clean")
        return
    for kind in KINDS:
        _play_many(kind, said.examples, said.seed)


def _play_many(kind: str, examples: int, first: int | None) -> None:
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(scripts(kinds=(kind,)))
    def behaves(script) -> None:
        play(script)

    began = time.monotonic()
    (behaves if first is None else seed(first)(behaves))()
    print(f"{kind}: {examples} scripts clean, {60 * examples / (time.monotonic() - began):.0f} a minute")


if __name__ == "__main__":
    main()
