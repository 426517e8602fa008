"""The simulator itself: that it repeats exactly, meets what it should, and that a run of some schedules is clean."""

import os
import subprocess
import sys

from curvefs.test.sim import plant, runner
from curvefs.test.sim.schedule import draw

SCHEDULES = range(160, 200)  # forty in which everything happens that is rare
MESSAGES = 600


def test_some_schedules_are_clean_and_meet_every_kind_of_event():
    clean, counters, failure = runner.run_many(SCHEDULES, workers=1, messages=MESSAGES)
    assert failure is None, runner.report(failure)
    assert clean == len(SCHEDULES)
    wanted = {"elections", "leader crashes", "truncations", "snapshots installed", "configurations committed"}
    wanted |= {"lease reads", "ReadIndex reads", "torn tails cut", "checkpoints", "writes refused"}
    assert wanted <= counters.keys()


def test_the_same_seed_gives_the_same_trace_in_another_process():
    def trace_hash(hash_seed):
        said = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from curvefs.test.sim.runner import digest; print(digest(5, messages={MESSAGES})[0])",
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=250,
        )
        return said.stdout.split()[-1]

    assert trace_hash("1") == trace_hash("2")


def test_other_seeds_give_other_traces():
    assert len({runner.digest(seed, messages=MESSAGES)[0] for seed in range(4)}) == 4


def test_seeds_draw_groups_of_every_size():
    assert {draw(seed).servers for seed in range(50)} == {3, 5, 7}


def test_a_fault_that_there_is_not_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plant", "nosuch"])
    assert plant.main() == 2
    assert capsys.readouterr().err == "there is no fault 'nosuch'; curvefs/test/sim/faults has them\n"
